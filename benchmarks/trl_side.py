"""What both of TRL's trainers are told, and how they are made to run in turns."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

from transformers import TrainerCallback

from benchmarks.protocol import Work
from benchmarks.side import Stand

LEARNING_RATE = 1e-5
"""Both sides': small, so that the weights stay where they are."""


def libraries() -> tuple[Any, Any]:
    """Returns TRL and datasets, loaded only here: our side, whose memory is measured, has no use for them."""
    return import_module("trl"), import_module("datasets")


def arguments(stand: Stand) -> dict[str, Any]:
    """Returns the arguments of a TRL trainer that make its step the same work as ours.

    Left at TRL's defaults it would recompute activations to save memory, which ours does not: that is switched off.
    """
    on_cpu = stand.compute.device.type == "cpu"
    return {
        "output_dir": stand.spec.scratch,
        "per_device_train_batch_size": stand.spec.batch,
        "gradient_accumulation_steps": 1,
        "max_steps": stand.spec.steps,
        "optim": "adamw_torch_fused",
        "learning_rate": LEARNING_RATE,
        "lr_scheduler_type": "constant",
        "weight_decay": 0.0,
        "max_grad_norm": 1.0,
        "bf16": stand.compute.autocast is not None,
        "gradient_checkpointing": False,
        "use_cpu": on_cpu,
        "dataloader_pin_memory": not on_cpu,
        "logging_strategy": "no",
        "save_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
    }


class InTurns(TrainerCallback):
    """Ends a step of the pace with every optimiser step of a trainer."""

    def __init__(self, stand: Stand, work: Callable[[int], Work]) -> None:
        """Takes the pace and what the steps are worth.

        Args:
            stand: The side.
            work: From a step, counted from 0, to its worth.
        """
        self._stand = stand
        self._work = work

    def on_train_begin(self, *_args: Any, **_given: Any) -> None:
        """Everything is set up."""
        self._stand.ready()

    def on_step_end(self, args: Any, state: Any, control: Any, **_given: Any) -> None:
        """The optimiser has stepped."""
        del args, control
        self._stand.pace.step(self._work(state.global_step - 1))
