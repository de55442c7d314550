"""What the machine can do at most: products of large square matrices."""

from __future__ import annotations

import time

import torch

from benchmarks.protocol import Work
from benchmarks.side import Stand, empty_queue

PRODUCTS = 20
"""Products that the median is taken of, at least."""
_SIDE = {"cuda": 8192}
_SIDE_ELSEWHERE = 2048
"""A GPU needs larger matrices before starting a product costs nothing beside it."""


def side_of(device_type: str) -> int:
    """Returns the side of the matrices for a kind of device."""
    return _SIDE.get(device_type, _SIDE_ELSEWHERE)


def products(stand: Stand) -> None:
    """Multiplies matrices in the precision of the race, some in every turn, and reports the rate of each product."""
    spec, device = stand.spec, stand.compute.device
    side = side_of(device.type)
    dtype = stand.compute.autocast or torch.float32
    # numbers of any size take the same time, but with denormal ones some processors are slow
    left = torch.linspace(-1, 1, side * side, device=device).reshape(side, side).to(dtype)
    right, result = left.T.contiguous(), torch.empty_like(left)
    each = -(-PRODUCTS // max(1, spec.turns - 1))  # the first turn is the warm-up
    operations = 2.0 * side**3
    stand.ready()
    for _ in range(spec.steps):
        rates = []
        torch.mm(left, right, out=result)  # not timed: it wakes the threads, which slept through the other sides' turns
        for _ in range(each):
            empty_queue(device)
            began = time.perf_counter()
            torch.mm(left, right, out=result)
            empty_queue(device)
            rates.append(operations / (time.perf_counter() - began))
        stand.pace.step(Work(rates=tuple(rates)))
