"""Small products and functions in numpy: in torch each costs more to start than to compute."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

Array = npt.NDArray[np.float32]


def product(left: Array, right: Tensor) -> Array:
    """Matrix product by torch: numpy's library starts threads for it."""
    return torch.mm(torch.from_numpy(left), right).numpy()


def sigmoid(x: Array) -> Array:
    """Logistic function."""
    return 0.5 * np.tanh(0.5 * x) + np.float32(0.5)


def softplus(x: Array) -> Array:
    """log(1 + exp(x)), without overflow."""
    return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))


def softmax(x: Array) -> Array:
    """Over the last axis."""
    raised = np.exp(x - x.max(axis=-1, keepdims=True))
    return np.asarray(raised / raised.sum(axis=-1, keepdims=True))


def gelu(x: Array) -> Array:
    """Exact, as torch has it."""
    from scipy.special import erf

    return np.asarray(0.5 * x * (1 + erf(x * np.float32(1 / math.sqrt(2)))), dtype=np.float32)


def layer_norm(x: Array, weight: Array, bias: Array, eps: float) -> Array:
    """Over the last axis (arXiv:1607.06450 eq. 4)."""
    centred = x - x.mean(axis=-1, keepdims=True)
    deviation = np.sqrt((centred**2).mean(axis=-1, keepdims=True) + eps)
    return np.asarray(centred / deviation * weight + bias)
