"""The policy: a causal language model with a value head.

Notation: b episodes of length l; m selected positions; h the model's width.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from transformers.modeling_layers import GradientCheckpointingLayer

from agents.models import qwen3
from agents.models.config import CriticKind

Output = Literal["log_prob", "entropy", "value", "hidden"]
SCORES: tuple[Output, ...] = ("log_prob", "entropy", "value")
_CHUNK = 4096  # positions whose logits are held at once


class Policy(nn.Module):
    """A causal language model with a value head.

    Args:
        language_model: A Transformers causal model (or a peft wrapper of one).
        critic: Input of the value head: `shared` the policy's hidden states, `detached` the same without gradient into
            the policy, `separate` the hidden states of a second decoder that starts as a copy, `none` no value head.
            The value head, and the trained weights of a second decoder, are in single precision or better.
        autocast: Multiply in bfloat16 in training.
    """

    def __init__(self, language_model: nn.Module, critic: CriticKind = "shared", *, autocast: bool = False) -> None:
        super().__init__()
        self.language_model = language_model
        self.critic_kind, self.autocast = critic, autocast
        self.critic = _critic(self.decoder, self.score_dtype) if critic == "separate" else None
        self.value_head = None if critic == "none" else value_head(self.width, self.score_dtype)

    @property
    def decoder(self) -> nn.Module:
        """The language model without its output layer."""
        return cast(nn.Module, cast(Any, self.language_model).get_decoder())

    @property
    def output_layer(self) -> nn.Module:
        """Output layer: hidden states to logits that are neither scaled nor capped, see `logits`."""
        return cast(nn.Module, cast(Any, self.language_model).get_output_embeddings())

    @property
    def config(self) -> Any:
        """The Transformers configuration."""
        return cast(Any, self.language_model).config

    @property
    def width(self) -> int:
        """Size of a hidden state."""
        return int(self.config.hidden_size)

    @property
    def dtype(self) -> torch.dtype:
        """Dtype of the language model's weights."""
        return cast(Tensor, self.output_layer.weight).dtype

    @property
    def score_dtype(self) -> torch.dtype:
        """Dtype of log-probabilities and values: that of the weights, at least float32."""
        return torch.float64 if self.dtype is torch.float64 else torch.float32

    @property
    def device(self) -> torch.device:
        """Device of the language model's weights."""
        return cast(Tensor, self.output_layer.weight).device

    def recompute_activations(self) -> None:
        """Save memory in `learning`: layers keep their input only and are recomputed in the backward pass."""
        for layer in self.modules():
            if isinstance(layer, GradientCheckpointingLayer):
                cast(Any, layer).gradient_checkpointing = True
                cast(Any, layer)._gradient_checkpointing_func = partial(checkpoint, use_reentrant=False)

    @contextmanager
    def learning(self) -> Iterator[None]:
        """Context of forward and backward passes in training: layers recompute their activations where asked to.

        Transformers recomputes in modules in training mode, where a layer also refuses the sampler's cache. So only the
        layers are in training mode, only in this context, and the modules inside them (dropout) never are.
        """
        layers = [m for m in self.modules() if isinstance(m, GradientCheckpointingLayer) and m.gradient_checkpointing]
        for layer in layers:
            layer.training = True
        try:
            yield
        finally:
            for layer in layers:
                layer.training = False

    def forward(
        self,
        ids: Tensor,
        rows: Tensor,
        positions: Tensor,
        targets: Tensor,
        want: tuple[Output, ...] = SCORES,
        *,
        entropy_gradient: bool = False,
    ) -> dict[Output, Tensor]:
        """Evaluate next tokens at selected positions.

        Args:
            ids: Tokens (b, l), padded on the right.
            rows: Episode of each selected position (m,), ascending.
            positions: Position in the episode (m,).
            targets: Next token (m,).
            want: Outputs to compute. Where the value alone is wanted, its gradient reaches the critic only.
            entropy_gradient: Keep the gradient of the entropy, which costs memory.

        Returns:
            `log_prob` of the targets, `entropy`, `value` (zero without a value head): (m,); `hidden`: (m, h).
        """
        found: dict[Output, Tensor] = {}
        read = set(want) - {"value"}
        hidden = torch.empty(0)
        if read or (self.value_head is not None and self.critic is None):
            with torch.set_grad_enabled(torch.is_grad_enabled() and bool(read)):
                hidden = _hidden_at(self.decoder, ids, rows, positions)
        if "hidden" in want:
            found["hidden"] = hidden
        if "log_prob" in want or "entropy" in want:
            log_prob, entropy = self.log_probs(hidden, targets, entropy_gradient=entropy_gradient)
            found |= {"log_prob": log_prob, "entropy": entropy}
        if "value" in want and self.value_head is None:
            found["value"] = torch.zeros(len(rows), dtype=self.score_dtype, device=ids.device)
        elif "value" in want:
            states = hidden if self.critic is None else _hidden_at(self.critic, ids, rows, positions)
            found["value"] = self.head_values(states.detach() if self.critic_kind == "detached" else states)
        return found

    def hidden(self, ids: Tensor) -> Tensor:
        """Hidden states of whole episodes: ids (b, l), padded on the right -> (b, l, h)."""
        return trunk(self.decoder, ids)

    def log_probs(self, hidden: Tensor, targets: Tensor, *, entropy_gradient: bool = False) -> tuple[Tensor, Tensor]:
        """Log-probability of each target and entropy: hidden (m, h), targets (m,) -> (m,), (m,), in fp32 or better.

        Logits are computed in chunks and recomputed in the backward pass, so (m, vocabulary) is never held. An entropy
        with gradient keeps a second chunk of tokens x vocabulary for the backward pass.
        """
        pieces = [
            checkpoint(self._chunk, h, t, entropy_gradient, use_reentrant=False)
            if hidden.requires_grad and len(hidden) > _CHUNK
            else self._chunk(h, t, entropy_gradient)
            for h, t in zip(torch.split(hidden, _CHUNK), torch.split(targets, _CHUNK), strict=True)
        ]
        return torch.cat([p[0] for p in pieces]), torch.cat([p[1] for p in pieces])

    def logits(self, hidden: Tensor) -> Tensor:
        """Logits (m, vocabulary) of hidden states (m, h), scaled and capped as the language model does itself."""
        logits, config = cast(Tensor, self.output_layer(hidden)), self.config
        if scale := getattr(config, "logit_scale", None):  # Cohere
            logits = logits * scale
        if divisor := getattr(config, "logits_scaling", None):  # Granite
            logits = logits / divisor
        if cap := getattr(config, "final_logit_softcapping", None):  # Gemma
            logits = (logits / cap).tanh() * cap
        return logits

    def head_values(self, hidden: Tensor) -> Tensor:
        """Values (m,) of hidden states (m, h), in `score_dtype`, also under autocast."""
        with torch.autocast(hidden.device.type, enabled=False):
            return cast(Tensor, cast(nn.Module, self.value_head)(hidden.to(self.score_dtype))).squeeze(-1)

    def frozen_copy(self) -> Policy:
        """Copy of the language model whose weights never change: the reference policy."""
        return Policy(copy.deepcopy(self.language_model), "none").requires_grad_(False).eval()

    def _chunk(self, hidden: Tensor, targets: Tensor, entropy_gradient: bool) -> tuple[Tensor, Tensor]:
        logits = self.logits(hidden)
        scores = logits.float() if logits.dtype in (torch.bfloat16, torch.float16) else logits
        log_probs = scores.log_softmax(-1)
        with torch.set_grad_enabled(entropy_gradient and torch.is_grad_enabled()):
            entropy = -(log_probs.exp() * log_probs).sum(-1)
        return log_probs.gather(-1, targets[:, None]).squeeze(-1), entropy


def _critic(decoder: nn.Module, dtype: torch.dtype) -> nn.Module:
    """Copy of the decoder whose trained weights have `dtype`: half precision would lose small updates."""
    critic = copy.deepcopy(decoder)
    for parameter in critic.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.to(dtype)
    return critic


def trunk(decoder: nn.Module, ids: Tensor) -> Tensor:
    """Hidden states (b, l, h) of ids (b, l), padded on the right: causal attention never reads the padding."""
    return cast(Tensor, decoder(input_ids=ids, use_cache=False).last_hidden_state)


def _hidden_at(decoder: nn.Module, ids: Tensor, rows: Tensor, positions: Tensor) -> Tensor:
    """Hidden states (m, h) of the selected positions of ids (b, l), see `trunk`."""
    if qwen3.supports(decoder):
        return qwen3.hidden_at(decoder, ids, rows, positions)
    return trunk(decoder, ids)[rows, positions]


def value_head(width: int, dtype: torch.dtype, *, inputs: int = 0, seed: int = 0) -> nn.Module:
    """Value head with one hidden layer of `width`; it has `inputs` features, by default `width`.

    Its output starts at zero, so a fresh critic adds no noise to advantages.
    """
    head = nn.Sequential(nn.Linear(inputs or width, width), nn.Tanh(), nn.Linear(width, 1))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for layer in (head[0], head[2]):
            nn.init.zeros_(cast(nn.Linear, layer).bias)
        nn.init.orthogonal_(cast(Tensor, head[0].weight))
    nn.init.zeros_(cast(Tensor, head[2].weight))
    return head.to(dtype)
