"""Small products and functions in numpy: in torch each costs more to start than to compute.

Reductions go by `ufunc.reduce`: the methods `sum`, `max` and `mean` spend most of such a call in Python.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import torch
from scipy.special import erf
from torch import Tensor

Array = npt.NDArray[np.float32]

_HALF = np.float32(0.5)
_ONE = np.float32(1)
_ROOT_HALF = np.float32(1 / math.sqrt(2))


def product(left: Array, right: Tensor) -> Array:
    """Matrix product by torch: numpy's library starts threads for it."""
    return torch.mm(torch.from_numpy(left), right).numpy()


def sigmoid(x: Array) -> Array:
    """Logistic function."""
    return sigmoid_of_double(x * _HALF)


def sigmoid_of_double(x: Array) -> Array:
    """Logistic function of 2 * x, in place."""
    np.tanh(x, x)
    x *= _HALF
    x += _HALF
    return x


def softplus(x: Array) -> Array:
    """log(1 + exp(x)), without overflow."""
    return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))


def softmax(x: Array) -> Array:
    """Over the last axis, in place."""
    x -= np.maximum.reduce(x, axis=-1, keepdims=True)
    np.exp(x, x)
    x /= np.add.reduce(x, axis=-1, keepdims=True)
    return x


def log_softmax(x: Array) -> Array:
    """Over the last axis, in place."""
    x -= np.maximum.reduce(x, axis=-1, keepdims=True)
    x -= np.log(np.add.reduce(np.exp(x), axis=-1, keepdims=True))
    return x


def gelu(x: Array) -> Array:
    """Exact, as torch has it."""
    raised = x * _ROOT_HALF
    erf(raised, raised)
    raised += _ONE
    raised *= x
    raised *= _HALF
    return raised


def layer_norm(x: Array, weight: Array, bias: Array, eps: float) -> Array:
    """Over the last axis (arXiv:1607.06450 eq. 4)."""
    share = np.float32(1 / x.shape[-1])
    mean: Array = np.add.reduce(x, axis=-1, keepdims=True) * share
    centred = x - mean
    variance = np.add.reduce(centred * centred, axis=-1, keepdims=True) * share
    variance += np.float32(eps)
    centred /= np.sqrt(variance, variance)
    centred *= weight
    centred += bias
    return np.asarray(centred, dtype=np.float32)
