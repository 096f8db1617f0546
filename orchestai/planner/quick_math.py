"""Small products and functions in numpy: in torch most cost more to start than to compute.

Reductions go by `ufunc.reduce`: the methods `sum`, `max` and `mean` spend most of such a call in Python.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

Array = npt.NDArray[np.float32]

_HALF = np.float32(0.5)
_ONE = np.float32(1)
_ROOT_HALF = np.float32(1 / math.sqrt(2))


def product(left: Array, right: Tensor) -> Array:
    """Matrix product by torch: numpy's library starts threads for it."""
    return torch.mm(torch.from_numpy(left), right).numpy()


def softmax(x: Array) -> Array:
    """Over the last axis, in place."""
    x -= np.maximum.reduce(x, axis=-1, keepdims=True)
    np.exp(x, x)
    x /= np.add.reduce(x, axis=-1, keepdims=True)
    return x


def gelu(x: Array) -> Array:
    """Exact, as torch has it."""
    raised = x * _ROOT_HALF
    torch.from_numpy(raised).erf_()  # scipy's takes ten times as long, and torch's GELU twice: it sets up oneDNN
    raised += _ONE
    raised *= x
    raised *= _HALF
    return raised


def layer_norm(x: Array, weight: Tensor, bias: Tensor, eps: float) -> Array:
    """Over the last axis (arXiv:1607.06450 eq. 4)."""
    return torch.layer_norm(torch.from_numpy(x), weight.shape, weight, bias, eps).numpy()
