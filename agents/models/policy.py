"""The policy: a causal language model with a value head.

Notation: b episodes of length l; m selected positions; h the model's width.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, TypeVar, cast

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from transformers.modeling_layers import GradientCheckpointingLayer

from agents.models.block_attention import attend_in_blocks
from agents.models.config import ValueTrunk

T = TypeVar("T")
_CHUNK = 4096  # positions whose logits are held at once


class Policy(nn.Module):
    """A causal language model that acts, and a value head that judges.

    Args:
        language_model: A Transformers causal model (or a peft wrapper of one).
        value_trunk: What the value head reads: `shared` the policy's hidden states, `detached` the same
            without gradient into them, `apart` a trunk of its own that starts as a copy, `none` no head. The head,
            and the weights of its own trunk that are trained, are in single precision or better.
    """

    def __init__(self, language_model: nn.Module, value_trunk: ValueTrunk = "apart") -> None:
        super().__init__()
        self.language_model = language_model
        self.value_trunk = value_trunk
        attend_in_blocks(self.decoder)
        self.critic = _critic(self.decoder, self.score_dtype) if value_trunk == "apart" else None
        self.value_head = None if value_trunk == "none" else value_head(self.width, self.score_dtype)
        self._trunk = trunk

    @property
    def decoder(self) -> nn.Module:
        """The language model without its output layer."""
        return cast(nn.Module, cast(Any, self.language_model).get_decoder())

    @property
    def output_layer(self) -> nn.Module:
        """From hidden states to logits."""
        return cast(nn.Module, cast(Any, self.language_model).get_output_embeddings())

    @property
    def config(self) -> Any:
        """The Transformers configuration."""
        return cast(Any, self.language_model).config

    @property
    def lora_rank(self) -> int:
        """Rank of the adapters that are trained in place of the weights; 0 where all weights are."""
        adapters = getattr(self.language_model, "peft_config", {})
        return int(adapters["default"].r) if adapters else 0

    @property
    def width(self) -> int:
        """Size of a hidden state."""
        return int(self.config.hidden_size)

    @property
    def dtype(self) -> torch.dtype:
        """Type of the language model's weights."""
        return cast(Tensor, self.output_layer.weight).dtype

    @property
    def score_dtype(self) -> torch.dtype:
        """Type of log-probabilities and values: single precision, or better where the weights are."""
        return torch.float64 if self.dtype is torch.float64 else torch.float32

    @property
    def device(self) -> torch.device:
        """Where the language model's weights are."""
        return cast(Tensor, self.output_layer.weight).device

    def recompute_activations(self) -> None:
        """Save memory in `learning`: layers keep their input alone and are computed again in the backward pass."""
        for layer in self.modules():
            if isinstance(layer, GradientCheckpointingLayer):
                cast(Any, layer).gradient_checkpointing = True
                cast(Any, layer)._gradient_checkpointing_func = partial(checkpoint, use_reentrant=False)

    @contextmanager
    def learning(self) -> Iterator[None]:
        """While gradients are taken. Layers that recompute their activations do so here only.

        Transformers does it in modules in training mode, where a layer also refuses the sampler's cache. So the
        layers are switched for a while, and the modules in them, dropout among them, never.
        """
        layers = [m for m in self.modules() if isinstance(m, GradientCheckpointingLayer) and m.gradient_checkpointing]
        for layer in layers:
            layer.training = True
        try:
            yield
        finally:
            for layer in layers:
                layer.training = False

    def forward(self, compute: Callable[[], T]) -> T:
        """A computation with this policy. Where its weights are in parts, they are put together around it."""
        return compute()

    def compile_trunk(self, backend: str = "inductor") -> None:
        """Let `hidden` and `values` run compiled, for sequences of any length. Sampling stays as it is.

        Args:
            backend: Of `torch.compile`.
        """
        self._trunk = torch.compile(trunk, dynamic=True, backend=backend)

    def hidden(self, ids: Tensor, attention: Tensor | None = None) -> Tensor:
        """Hidden states of whole episodes: ids (b, l) -> (b, l, h). See `trunk` for `attention`."""
        return self._trunk(self.decoder, ids, attention)

    def log_probs(
        self, hidden: Tensor, targets: Tensor, temperature: float = 1.0, *, entropy_gradient: bool = False
    ) -> tuple[Tensor, Tensor]:
        """Log-probability of each target and entropy: hidden (m, h), targets (m,) -> (m,), (m,) in fp32 or better.

        The logits are made in chunks and made again in the backward pass, so that (m, vocabulary) is never held.
        An entropy with gradient keeps a further matrix of a chunk's tokens x vocabulary for the backward pass.
        """
        pieces = [
            checkpoint(self._chunk, h, t, temperature, entropy_gradient, use_reentrant=False)
            if hidden.requires_grad and len(hidden) > _CHUNK
            else self._chunk(h, t, temperature, entropy_gradient)
            for h, t in zip(torch.split(hidden, _CHUNK), torch.split(targets, _CHUNK), strict=True)
        ]
        return torch.cat([p[0] for p in pieces]), torch.cat([p[1] for p in pieces])

    def values(
        self, hidden: Tensor | None, ids: Tensor, attention: Tensor | None, rows: Tensor, columns: Tensor
    ) -> Tensor:
        """Value at the selected positions: (m,). Zero where the policy has no value head.

        `hidden` (b, l, h) is the policy's, of the same ids; where it is `None`, it is computed if it is needed.
        """
        if self.value_head is None:
            return torch.zeros(len(rows), dtype=self.score_dtype, device=ids.device)
        if self.critic is not None:
            hidden = self._trunk(self.critic, ids, attention)
        elif hidden is None:
            hidden = self.hidden(ids, attention)
        if self.value_trunk == "detached":
            hidden = hidden.detach()
        return self.head_values(hidden[rows, columns])

    def head_values(self, hidden: Tensor) -> Tensor:
        """Values (m,) of hidden states (m, h), in `score_dtype`, with autocast too."""
        with torch.autocast(hidden.device.type, enabled=False):
            return cast(Tensor, cast(nn.Module, self.value_head)(hidden.to(self.score_dtype))).squeeze(-1)

    def _chunk(
        self, hidden: Tensor, targets: Tensor, temperature: float, entropy_gradient: bool
    ) -> tuple[Tensor, Tensor]:
        logits = self.output_layer(hidden)
        scores = (logits.float() if logits.dtype in (torch.bfloat16, torch.float16) else logits) / temperature
        log_probs = scores.log_softmax(-1)
        with torch.set_grad_enabled(entropy_gradient and torch.is_grad_enabled()):
            entropy = -(log_probs.exp() * log_probs).sum(-1)
        return log_probs.gather(-1, targets[:, None]).squeeze(-1), entropy


def _critic(decoder: nn.Module, dtype: torch.dtype) -> nn.Module:
    """A copy of the decoder whose trained weights are of `dtype`: in half precision small updates would be lost."""
    critic = copy.deepcopy(decoder)
    for parameter in critic.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.to(dtype)
    return critic


def trunk(decoder: nn.Module, ids: Tensor, attention: Tensor | None = None) -> Tensor:
    """Hidden states (b, l, h) of ids (b, l).

    `attention` (b, l), true at real tokens, is needed for padding on the left only: causal attention
    never looks right, so padding there changes nothing and the fast path without a mask is taken.
    """
    if attention is None:
        return cast(Tensor, decoder(input_ids=ids, use_cache=False).last_hidden_state)
    positions = (attention.long().cumsum(1) - 1).clamp(min=0)
    output = decoder(input_ids=ids, attention_mask=attention, position_ids=positions, use_cache=False)
    return cast(Tensor, output.last_hidden_state)


def value_head(width: int, dtype: torch.dtype, *, inputs: int = 0, seed: int = 0) -> nn.Module:
    """One hidden layer; the output starts at zero, so that a fresh critic adds no noise to advantages.

    Args:
        width: Of the hidden layer.
        dtype: Of the weights.
        inputs: Features that it reads; 0 for as many as it is wide.
        seed: Of the hidden layer's weights.
    """
    head = nn.Sequential(nn.Linear(inputs or width, width), nn.Tanh(), nn.Linear(width, 1))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for layer in (head[0], head[2]):
            nn.init.zeros_(cast(nn.Linear, layer).bias)
        nn.init.orthogonal_(cast(Tensor, head[0].weight))
    nn.init.zeros_(cast(Tensor, head[2].weight))
    return head.to(dtype)
