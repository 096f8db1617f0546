"""Layers of a BERT encoder with gradients, written out.

The library drops attention weights by a way of its own that materialises five tensors of their size, and draws its
masks a unit at a time (see `planner.dropout`). This is the same arithmetic with neither, and with one product where
it has three.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from orchestai.planner.dropout import drop


def pass_layers(layers: nn.ModuleList, states: Tensor, mask: Tensor) -> Tensor:
    """States [B, T, H] after the layers.

    Args:
        layers: Of a `transformers` model of the BERT family.
        states: [B, T, H] that enter the first of them.
        mask: [B, T] true where there is a token.
    """
    barred = torch.zeros_like(mask, dtype=states.dtype).masked_fill(~mask, torch.finfo(states.dtype).min)
    for layer in layers:
        if _is_plain(layer):
            states = _pass(layer, states, barred[:, None, None, :])
        else:
            found = layer(states, barred[:, None, None, :])
            states = found[0] if isinstance(found, tuple) else found
    return states


def _is_plain(layer: Any) -> bool:
    """Whether `_pass` is the layer's arithmetic: BERT as published."""
    act = getattr(getattr(layer, "intermediate", None), "intermediate_act_fn", None)
    return (
        type(layer).__name__ == "BertLayer"
        and type(act).__name__ in ("GELUActivation", "GELU")
        and not getattr(layer, "is_decoder", False)
        and not getattr(layer, "add_cross_attention", False)
    )


def _pass(layer: Any, states: Tensor, barred: Tensor) -> Tensor:
    """One layer (arXiv:1810.04805, post-norm); `barred` [B, 1, 1, T] is added to the scores."""
    own, out = layer.attention.self, layer.attention.output
    asked = (own.query, own.key, own.value)
    weight, bias = torch.cat([part.weight for part in asked]), torch.cat([part.bias for part in asked])
    heads = int(own.num_attention_heads)
    parts = functional.linear(states, weight, bias).unflatten(2, (3, heads, -1))  # (B, T, 3, h, d)
    query, key, value = parts.permute(2, 0, 3, 1, 4)  # (B, h, T, d) each
    scores = (query / query.shape[-1] ** 0.5) @ key.transpose(2, 3) + barred  # (B, h, T, T)
    weights = drop(scores.softmax(dim=-1), own.dropout.p, training=layer.training)
    mixed = (weights @ value).transpose(1, 2).flatten(2)  # (B, T, H)
    states = out.LayerNorm(drop(out.dense(mixed), out.dropout.p, training=layer.training) + states)
    wide = functional.gelu(layer.intermediate.dense(states))  # (B, T, F)
    last = layer.output
    after: Tensor = last.LayerNorm(drop(last.dense(wide), last.dropout.p, training=layer.training) + states)
    return after
