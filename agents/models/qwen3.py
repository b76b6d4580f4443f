"""Hidden states of a Qwen 3 decoder at chosen positions, with less work on a CPU than Transformers' forward pass.

The results are the same. The last layer computes keys and values of all tokens and everything else at the chosen
positions only; norms and rotary embeddings have backward passes with few operations, because a narrow model
spends as much time in these as in multiplying; the weights of a norm are multiplied into the projections after it,
and LoRA adapters are added to the weights that they adapt.

Notation: b episodes of l tokens; m chosen positions; h the model's width; d the size of a head.
"""

from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers.models.qwen3.modeling_qwen3 import Qwen3DecoderLayer, Qwen3Model


def supports(decoder: nn.Module) -> bool:
    """Return whether `hidden_at` computes what the decoder does.

    It does not for other architectures, adapters other than plain LoRA, sharded or recomputed layers, attention
    windows, autocast, and half precision; on other devices it saves little.
    """
    if type(decoder) is not Qwen3Model or decoder.has_sliding_layers:
        return False
    weight, layers = cast(Any, decoder).embed_tokens.weight, cast(Any, decoder).layers
    return (
        weight.device.type == "cpu"
        and weight.dtype in (torch.float32, torch.float64)
        and not torch.is_autocast_enabled("cpu")
        and all(type(layer) is Qwen3DecoderLayer and not layer.gradient_checkpointing for layer in layers)
        and all(type(child) is nn.Linear or _is_plain_lora(child) for layer in layers for child in _projections(layer))
    )


def hidden_at(decoder: nn.Module, ids: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Hidden states (m, h) at the positions `rows` (m,), ascending, and `columns` (m,) of ids (b, l).

    The ids are padded on the right: causal attention never reads the padding.
    """
    model = cast(Any, decoder)
    x = model.embed_tokens(ids)
    cos, sin = model.rotary_emb(x, torch.arange(ids.shape[1], device=ids.device)[None])
    # Both halves of a head turn by the same angles.
    turns = cos[0, :, None, : cos.shape[-1] // 2], sin[0, :, None, : sin.shape[-1] // 2]
    *layers, last = model.layers
    for layer in layers:
        x = _feed_forward(layer, x + _attend(layer.self_attn, _norm(layer.input_layernorm, x), turns))
    x = x[rows, columns] + _attend_at(last.self_attn, _norm(last.input_layernorm, x), turns, rows, columns)
    x, weight = _norm(model.norm, _feed_forward(last, x))
    return x * weight


Normed = tuple[Tensor, Tensor]
"""States of unit mean square, and the norm's weights (h,), which they are yet to be multiplied with."""


def _norm(norm: Any, x: Tensor) -> Normed:
    return cast(Tensor, _Normalize.apply(x, norm.variance_epsilon)), norm.weight  # type: ignore[no-untyped-call]


def _linear(projection: nn.Module, normed: Normed) -> Tensor:
    x, norm = normed
    weight, bias = _affine(projection)
    return functional.linear(x, weight * norm, bias)


def _affine(projection: Any) -> tuple[Tensor, Tensor | None]:
    """Weight and bias of a projection, its adapter included."""
    if type(projection) is nn.Linear:
        return projection.weight, projection.bias
    base, (name,) = projection.base_layer, projection.active_adapters
    down, up = projection.lora_A[name].weight, projection.lora_B[name].weight
    return torch.addmm(base.weight, up, down, alpha=projection.scaling[name]), base.bias


def _is_plain_lora(projection: Any) -> bool:
    """Return true for PEFT's layer with one LoRA adapter in use and none of its variants, dropout or a bias."""
    if not _is_lora(projection) or type(projection.base_layer) is not nn.Linear:
        return False
    active = projection.active_adapters
    return (
        len(active) == 1
        and active[0] in projection.lora_A
        and not (projection.merged or projection.disable_adapters or projection.lora_variant)
        and isinstance(projection.lora_dropout[active[0]], nn.Identity)
        and projection.lora_B[active[0]].bias is None
        and projection.lora_A[active[0]].weight.dtype == projection.base_layer.weight.dtype
    )


def _is_lora(module: nn.Module) -> bool:
    """Return true for PEFT's LoRA layer; PEFT, which is slow to import, is imported where there is one."""
    return f"{type(module).__module__}.{type(module).__qualname__}" == "peft.tuners.lora.layer.Linear"


def _feed_forward(layer: Any, x: Tensor) -> Tensor:
    normed, mlp = _norm(layer.post_attention_layernorm, x), layer.mlp
    gated = mlp.act_fn(_linear(mlp.gate_proj, normed)) * _linear(mlp.up_proj, normed)
    return x + functional.linear(gated, *_affine(mlp.down_proj))


def _heads(attention: Any, name: str, normed: Normed, turns: tuple[Tensor, Tensor] | None) -> Tensor:
    """Queries, keys or values (..., heads, d) of one projection, turned by `turns` (..., 1, d / 2) where given."""
    flat = _linear(getattr(attention, f"{name}_proj"), normed)
    size = attention.head_dim
    x = flat.view(*flat.shape[:-1], flat.shape[-1] // size, size)
    if turns is None:
        return x
    norm = getattr(attention, f"{name}_norm")
    return cast(Tensor, _NormalizeTurn.apply(x, norm.weight, *turns, norm.variance_epsilon))  # type: ignore[no-untyped-call]


def _attend(attention: Any, normed: Normed, turns: tuple[Tensor, Tensor]) -> Tensor:
    q, k = (_heads(attention, name, normed, turns).transpose(1, 2) for name in ("q", "k"))
    v = _heads(attention, "v", normed, None).transpose(1, 2)
    read = functional.scaled_dot_product_attention(
        q, k, v, is_causal=True, scale=attention.scaling, enable_gqa=attention.num_key_value_groups > 1
    )
    return functional.linear(read.transpose(1, 2).flatten(2), *_affine(attention.o_proj))


def _attend_at(attention: Any, normed: Normed, turns: tuple[Tensor, Tensor], rows: Tensor, columns: Tensor) -> Tensor:
    """The output of the attention at the chosen positions: (m, h)."""
    x, weight = normed
    b, length, _ = x.shape
    k = _heads(attention, "k", normed, turns).transpose(1, 2)
    v = _heads(attention, "v", normed, None).transpose(1, 2)
    cos, sin = turns
    q = _heads(attention, "q", (x[rows, columns], weight), (cos[columns], sin[columns]))
    counts = torch.bincount(rows, minlength=b)
    places = torch.arange(len(rows), device=rows.device) - (counts.cumsum(0) - counts)[rows]
    at = rows, places
    padded = q.new_zeros(b, int(counts.max()), *q.shape[1:]).index_put(at, q)
    ends = columns.new_zeros(padded.shape[:2]).index_put(at, columns)
    seen = torch.arange(length, device=rows.device) <= ends[..., None]
    read = functional.scaled_dot_product_attention(
        padded.transpose(1, 2),
        k,
        v,
        attn_mask=seen[:, None],
        scale=attention.scaling,
        enable_gqa=attention.num_key_value_groups > 1,
    )
    return functional.linear(read.transpose(1, 2)[at].flatten(1), *_affine(attention.o_proj))


def _projections(layer: Any) -> list[nn.Module]:
    attention, mlp = layer.self_attn, layer.mlp
    own = [attention.q_proj, attention.k_proj, attention.v_proj, attention.o_proj]
    return [*own, mlp.gate_proj, mlp.up_proj, mlp.down_proj]


def _inverse_norm(x: Tensor, epsilon: float) -> Tensor:
    """`1 / sqrt(mean(x^2) + epsilon)` over the last dimension, which is kept."""
    norm = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
    return cast(Tensor, norm.square_().div_(x.shape[-1]).add_(epsilon).rsqrt_())


class _Normalize(torch.autograd.Function):
    """`x / sqrt(mean(x^2) + epsilon)` over the last dimension (Zhang & Sennrich 2019, without weights)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, epsilon: float) -> Tensor:
        scale = _inverse_norm(x, epsilon)
        y = x * scale
        ctx.save_for_backward(y, scale)
        return y

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        y, scale = ctx.saved_tensors
        along = (grad * y).mean(-1, keepdim=True)
        return torch.addcmul(grad, y, along, value=-1).mul_(scale), None


class _NormalizeTurn(torch.autograd.Function):
    """`_Normalize`, times `weight` (d,), then the rotary embedding of angles with `cos` and `sin` (..., 1, d / 2)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, cos: Tensor, sin: Tensor, epsilon: float) -> Tensor:
        scale = _inverse_norm(x, epsilon)
        y = x * scale
        turned = torch.empty_like(y)
        (y1, y2), (w1, w2), (out1, out2) = (t.chunk(2, -1) for t in (y, weight, turned))
        torch.mul(y1, w1 * cos, out=out1).addcmul_(y2, w2 * sin, value=-1)
        torch.mul(y2, w2 * cos, out=out2).addcmul_(y1, w1 * sin)
        ctx.save_for_backward(y, scale, weight, cos, sin)
        return turned

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor | None, None, None, None]:
        y, scale, weight, cos, sin = ctx.saved_tensors
        back = torch.empty_like(y)  # the gradient, turned back
        (grad1, grad2), (back1, back2) = (t.chunk(2, -1) for t in (grad, back))
        torch.mul(grad1, cos, out=back1).addcmul_(grad2, sin)
        torch.mul(grad2, cos, out=back2).addcmul_(grad1, sin, value=-1)
        product = back * y
        along = (product @ weight).div_(y.shape[-1])[..., None]
        return (
            back.mul_(weight).addcmul_(y, along, value=-1).mul_(scale),
            product.flatten(0, -2).sum(0) if ctx.needs_input_grad[1] else None,
            None,
            None,
            None,
        )
