"""One text through a BERT encoder with few, large products: what planning waits for.

`transformers` spends a third of the time of a short text on masks, dispatch and three products where one does. This is
the same arithmetic (arXiv:1810.04805; post-norm layers) for a single text, which needs no mask. Batches keep to the
library.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, Self

import torch
from torch import Tensor, nn
from torch.nn import functional


class _Norm(NamedTuple):
    weight: Tensor
    bias: Tensor
    eps: float

    @classmethod
    def of(cls, layer: nn.LayerNorm) -> Self:
        return cls(layer.weight, layer.bias, layer.eps)

    def __call__(self, states: Tensor) -> Tensor:
        return functional.layer_norm(states, self.weight.shape, self.weight, self.bias, self.eps)


class _Layer(NamedTuple):
    # Products run a sixth faster on weights that lie as (in, out).
    heard: Tensor  # (H, 3 * H) query, key and value side by side
    heard_bias: Tensor
    said: Tensor  # (H, H)
    said_bias: Tensor
    said_norm: _Norm
    wide: Tensor  # (H, F)
    wide_bias: Tensor
    narrow: Tensor  # (F, H)
    narrow_bias: Tensor
    narrow_norm: _Norm


class SingleText:
    """The forward pass of a `BertModel`; weights are copied.

    Args:
        model: As `fits` accepts it.
    """

    def __init__(self, model: Any) -> None:
        inputs = model.embeddings
        self._words = inputs.word_embeddings.weight
        self._places = inputs.position_embeddings.weight + inputs.token_type_embeddings.weight[0]
        self._norm = _Norm.of(inputs.LayerNorm)
        self._heads = int(model.config.num_attention_heads)
        self._layers = [_layer(layer) for layer in model.encoder.layer]

    @staticmethod
    def fits(model: Any) -> bool:
        """Whether this arithmetic is the model's: BERT as published, on a CPU."""
        config = model.config
        return (
            type(model).__name__ == "BertModel"
            and config.hidden_act == "gelu"
            and getattr(config, "position_embedding_type", "absolute") == "absolute"
            and not getattr(config, "is_decoder", False)
            and next(model.parameters()).device.type == "cpu"
        )

    def __call__(self, ids: Sequence[int]) -> Tensor:
        """States [T, H] of the tokens."""
        with torch.inference_mode():
            states = self._norm(self._words[list(ids)] + self._places[: len(ids)])  # (T, H)
            for layer in self._layers:
                states = self._pass(layer, states)
            return states

    def _pass(self, layer: _Layer, states: Tensor) -> Tensor:
        length, width = states.shape
        heard = torch.addmm(layer.heard_bias, states, layer.heard)  # (T, 3 * H)
        parts = heard.view(length, 3, self._heads, -1).permute(1, 2, 0, 3)[:, None]  # (3, 1, heads, T, d)
        mixed = functional.scaled_dot_product_attention(parts[0], parts[1], parts[2])[0]  # (heads, T, d)
        mixed = mixed.transpose(0, 1).reshape(length, width)
        states = layer.said_norm(torch.addmm(layer.said_bias, mixed, layer.said).add_(states))
        wide = functional.gelu(torch.addmm(layer.wide_bias, states, layer.wide))  # (T, F)
        return layer.narrow_norm(torch.addmm(layer.narrow_bias, wide, layer.narrow).add_(states))


def _layer(layer: Any) -> _Layer:
    own, out = layer.attention.self, layer.attention.output
    asked = (own.query, own.key, own.value)
    return _Layer(
        heard=torch.cat([part.weight for part in asked]).detach().T.contiguous(),
        heard_bias=torch.cat([part.bias for part in asked]).detach(),
        said=out.dense.weight.detach().T.contiguous(),
        said_bias=out.dense.bias.detach(),
        said_norm=_Norm.of(out.LayerNorm),
        wide=layer.intermediate.dense.weight.detach().T.contiguous(),
        wide_bias=layer.intermediate.dense.bias.detach(),
        narrow=layer.output.dense.weight.detach().T.contiguous(),
        narrow_bias=layer.output.dense.bias.detach(),
        narrow_norm=_Norm.of(layer.output.LayerNorm),
    )
