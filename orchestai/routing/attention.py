"""The attention network between task and worker, as it is used: numpy only, a fraction of a millisecond.

Trained by `orchestai.training.router_network`, whose forward pass this repeats number by number.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from orchestai.routing.logistic import sigmoid

Array = npt.NDArray[np.float64]

TOKENS = 4
"""Task tokens that a worker attends to."""


@dataclass(frozen=True)
class AttentionNetwork:
    """One trained member of the ensemble.

    Attributes:
        weights: By name, as the training names them.
        workers: [W, D] vectors of the workers: from their descriptions, and learned.
    """

    weights: Mapping[str, Array]
    workers: Array

    def success(self, inputs: Array) -> Array:
        """Return [N, W] success probabilities for scaled inputs [N, Z]."""
        return sigmoid(self._heads(inputs)[0])

    def log_tokens(self, inputs: Array) -> Array:
        """Return [N, W] expected log(1 + output tokens)."""
        return self._heads(inputs)[1]

    @cached_property
    def _of_workers(self) -> tuple[Array, Array]:
        """What depends on the workers alone: scaled queries [W, D], and their part of the mix [W, M]."""
        w = self.weights
        queries = (self.workers @ w["queries.weight"].T + w["queries.bias"]) / math.sqrt(self.workers.shape[1])
        mixing = self.workers @ w["mix.weight"][:, self.workers.shape[1] :].T + w["mix.bias"]
        return queries, mixing

    def _heads(self, inputs: Array) -> tuple[Array, Array]:
        w = self.weights
        hidden = _gelu(inputs @ w["enter.weight"].T + w["enter.bias"])  # (N, H)
        hidden = hidden + _gelu(hidden @ w["deepen.weight"].T + w["deepen.bias"])
        tokens = (hidden @ w["tokens.weight"].T + w["tokens.bias"]).reshape(len(inputs), TOKENS, -1)  # (N, T, D)
        both = tokens @ w["keys_values.weight"].T + w["keys_values.bias"]  # (N, T, 2D)
        width = both.shape[-1] // 2
        keys, values = both[..., :width], both[..., width:]
        queries, mixing = self._of_workers
        scores = queries @ keys.transpose(0, 2, 1)  # (N, W, T)
        shares = np.exp(scores - scores.max(-1, keepdims=True))
        shares /= shares.sum(-1, keepdims=True)
        context = shares @ values  # (N, W, D)
        mixed = _gelu(context @ w["mix.weight"][:, :width].T + mixing)  # (N, W, M)
        heads = mixed @ w["heads.weight"].T + w["heads.bias"]  # (N, W, 2)
        affinity = (hidden @ w["affinity.weight"].T + w["affinity.bias"]) @ self.workers.T  # (N, W)
        return heads[..., 0] + affinity, heads[..., 1]


def _gelu(values: Array) -> Array:
    # The tanh form (arXiv:1606.08415, section 2): numpy has no error function.
    cubic = math.sqrt(2 / math.pi) * (values + 0.044715 * values * values * values)
    return np.asarray(0.5 * values * (1 + np.tanh(cubic)), dtype=np.float64)
