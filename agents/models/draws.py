"""Draws of tokens from logits by inverse transform sampling."""

import torch
from torch import Tensor


def draw(logits: Tensor, uniforms: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    """Draw a token per row of logits (n, vocabulary). Return ids (n,) and log-probabilities (n,).

    Inverse transform sampling with a uniform number per row (n,), float64: logits that differ by rounding give
    different tokens only with a probability of about the rounding error. Temperature 0 takes the most probable token
    and uses no numbers. Does not synchronize the device.
    """
    logits = logits if logits.dtype == torch.float64 else logits.float()
    if temperature == 0:
        ids = logits.argmax(-1)
        return ids, logits.log_softmax(-1).gather(-1, ids[:, None]).squeeze(-1)
    log_probs = (logits / temperature).log_softmax(-1)
    ids = inverse(log_probs.exp(), uniforms)
    return ids, log_probs.gather(-1, ids[:, None]).squeeze(-1)


def inverse(weights: Tensor, uniforms: Tensor) -> Tensor:
    """Return the tokens (n,) at the quantiles `uniforms` (n,) of the distributions `weights` (n, vocabulary).

    A token of weight 0 is never returned. Sums are in float64: single precision would lose rare tokens.
    """
    sums = weights.cumsum(-1, dtype=torch.float64)
    ids = torch.searchsorted(sums, (uniforms * sums[:, -1])[:, None], right=True).squeeze(-1)
    return ids.clamp(max=weights.shape[-1] - 1)
