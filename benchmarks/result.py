"""From the turns of a race to its row, and from rows to a table."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any

from benchmarks.protocol import RaceName, Side, Turn
from benchmarks.race import Course
from benchmarks.spread import median

UNITS: dict[RaceName, str] = {"train": "tokens/s", "rl": "s/step", "sample": "tokens/s"}
PEERS: dict[RaceName, str] = {"train": "TRL SFTTrainer", "rl": "TRL GRPOTrainer", "sample": "transformers generate"}
Row = dict[str, Any]


def row(name: RaceName, batch: int, courses: dict[Side, Course]) -> Row:
    """Returns the result of a race.

    Args:
        name: Which one.
        batch: Its batch size.
        courses: What came of each side.

    Returns:
        ``name``; ``ours`` and ``peer``, medians in ``unit``; ``ratio``, the median over pairs of turns of how many times as
        fast ours is, with ``low``, ``high`` and their ``coverage`` (see `benchmarks.spread.median`); ``share_of_peak``, useful
        operations a second over the rate of large matrix products; ``peak_rss`` in bytes; and more of the same for the peer.
        What a side that failed leaves open is None, and ``failures`` says why.
    """
    ours, peer, peak = (courses[side] for side in ("ours", "peer", "peak"))
    pairs = list(zip(ours.turns, peer.turns, strict=False))
    ratio = median([_speed(name, a) / _speed(name, b) for a, b in pairs]) if pairs else None
    fastest = _peak(peak)
    return {
        "name": name,
        "unit": UNITS[name],
        "batch": batch,
        "precision": ours.precision or peer.precision,
        "ours": _absolute(name, ours.turns),
        "peer": _absolute(name, peer.turns),
        "peer_name": PEERS[name],
        "ratio": ratio and ratio.value,
        "low": ratio and ratio.low,
        "high": ratio and ratio.high,
        "coverage": ratio and ratio.coverage,
        "pairs": len(pairs),
        "share_of_peak": _share([turn.useful / turn.seconds for turn in ours.turns], fastest),
        "peer_share_of_peak": _share([turn.useful / turn.seconds for turn in peer.turns], fastest),
        "executed_share_of_peak": _share([turn.executed / turn.seconds for turn in ours.turns], fastest),
        "peak_operations_per_second": fastest,
        "peak_rss": ours.end and ours.end.peak_rss,
        "peer_peak_rss": peer.end and peer.end.peak_rss,
        "peak_device_memory": ours.end and ours.end.peak_device,
        "peer_peak_device_memory": peer.end and peer.end.peak_device,
        "tokens_per_step": _tokens(ours.turns),
        "peer_tokens_per_step": _tokens(peer.turns),
        "seconds": [[turn.seconds for turn in course.turns] for course in (ours, peer)],
        "failures": {side: course.failure for side, course in courses.items() if course.failure},
    }


def table(rows: Sequence[Row]) -> str:
    """Returns rows as a table in plain text."""
    head = ("race", "unit", "ours", "peer", "ratio", "interval", "share of peak", "its peer's", "memory", "its peer's")
    lines = [head, *(_cells(one) for one in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    text = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines]
    failures = [f"{one['name']} ({side}): {why}" for one in rows for side, why in one["failures"].items()]
    return "\n".join([*text, *failures])


def _cells(one: Row) -> tuple[str, ...]:
    on_device = one["peak_device_memory"] is not None or one["peer_peak_device_memory"] is not None
    memory = "peak_device_memory" if on_device else "peak_rss"
    between = "-" if one["low"] is None else f"{one['low']:.2f} to {one['high']:.2f}"
    return (
        f"{one['name']} x {one['batch']}",
        one["unit"],
        _number(one["ours"]),
        _number(one["peer"]),
        "-" if one["ratio"] is None else f"{one['ratio']:.2f} x",
        between,
        _percent(one["share_of_peak"]),
        _percent(one["peer_share_of_peak"]),
        _gib(one[memory]),
        _gib(one[f"peer_{memory}"]),
    )


def _speed(name: RaceName, turn: Turn) -> float:
    """Work a second: tokens where both sides have the same, else steps."""
    return (turn.steps if name == "rl" else turn.tokens) / turn.seconds


def _absolute(name: RaceName, turns: Sequence[Turn]) -> float | None:
    if not turns:
        return None
    middle = statistics.median(_speed(name, turn) for turn in turns)
    return 1 / middle if name == "rl" else middle


def _peak(course: Course) -> float | None:
    rates = [rate for turn in course.turns for rate in turn.rates]
    return statistics.median(rates) if rates else None


def _share(rates: Sequence[float], fastest: float | None) -> float | None:
    if fastest is None or not rates or not any(rates):
        return None
    return statistics.median(rates) / fastest


def _tokens(turns: Sequence[Turn]) -> float | None:
    return statistics.fmean(turn.tokens / turn.steps for turn in turns) if turns else None


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.0f} %"


def _gib(value: int | None) -> str:
    return "-" if value is None else f"{value / 2**30:.1f} GiB"
