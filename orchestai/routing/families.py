"""Which kind of task a text is, by linear discriminants, and how unlike that kind it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
Floats = npt.NDArray[np.float32]

_EMBEDDING_SCALE = 8.0  # brings the entries of a unit vector of some hundred numbers near those of the rest
_FAR = 4.0
_SHRINKAGE = 0.1
_TEMPERATURE = 4.0
_VARIANCE_FLOOR = 0.05
_NEAR = 5
_QUANTILES = 200

DISTANCES = 4
"""How many ways there are to be unlike a family: discriminant, form, meaning, both."""


class FamilyReading(NamedTuple):
    """What the model sees in some texts.

    Attributes:
        inputs: [N, Z] scaled features; the networks read them too.
        posterior: [N, K] probability of each family, if it is one of these.
        nearest: [N] the most probable family.
        distances: [N, DISTANCES] to that family.
    """

    inputs: Array
    posterior: Array
    nearest: npt.NDArray[np.int64]
    distances: Array


@dataclass(frozen=True)
class FamilyModel:
    """Gaussian families with one covariance (linear discriminant analysis), and the members themselves.

    One shared covariance tells families apart with few members each, but says little of how one member
    strays; so distances are also taken with each family's own spread of form and to its nearest members.

    Attributes:
        names: The families.
        lexical_mean: [L] of the training texts.
        lexical_scale: [L] their deviation.
        whitening: [Z, Z] lower triangle; inputs times its transpose have unit covariance within a family.
        centres: [K, Z] whitened means.
        log_prior: [K].
        form_mean: [K, L] mean scaled lexical vector a family.
        form_variance: [K, L] its variance.
        members: [N, Z] scaled training inputs.
        member_family: [N].
    """

    names: tuple[str, ...]
    lexical_mean: Array
    lexical_scale: Array
    whitening: Array
    centres: Array
    log_prior: Array
    form_mean: Array
    form_variance: Array
    members: Floats
    member_family: npt.NDArray[np.int64]

    def inputs(self, embeddings: Array, lexical: Array) -> Array:
        """Scale and join: [N, H], [N, L] -> [N, H + L]."""
        form = np.clip((lexical - self.lexical_mean) / self.lexical_scale, -_FAR, _FAR)
        return np.hstack([_EMBEDDING_SCALE * embeddings, form])

    def read(self, embeddings: Array, lexical: Array) -> FamilyReading:
        """Look at some texts: embeddings [N, H], lexical vectors [N, L]."""
        inputs = self.inputs(embeddings, lexical)  # (N, Z)
        white = inputs @ self.whitening.T
        squared = (white**2).sum(1)[:, None] - 2 * white @ self.centres.T + (self.centres**2).sum(1)  # (N, K)
        scores = -0.5 * squared / _TEMPERATURE + self.log_prior
        posterior = np.exp(scores - scores.max(1, keepdims=True))
        posterior /= posterior.sum(1, keepdims=True)
        nearest = posterior.argmax(1)
        return FamilyReading(inputs, posterior, nearest, self._distances(inputs, squared, nearest))

    def _distances(self, inputs: Array, squared: Array, nearest: npt.NDArray[np.int64]) -> Array:
        size, width = len(inputs), self.form_mean.shape[1]
        found = np.zeros((size, DISTANCES))
        found[:, 0] = squared[np.arange(size), nearest] / inputs.shape[1]
        form = inputs[:, -width:]
        found[:, 1] = ((form - self.form_mean[nearest]) ** 2 / self.form_variance[nearest]).mean(1)
        meaning = inputs.shape[1] - width
        for family in np.unique(nearest):
            rows = nearest == family
            own_meaning, own = self._units[int(family)]
            found[rows, 2] = _unlike(inputs[rows, :meaning], own_meaning)
            found[rows, 3] = _unlike(inputs[rows], own)
        return found

    @cached_property
    def _units(self) -> list[tuple[Floats, Floats]]:
        """Members of each family as unit vectors: meaning alone, and meaning with form."""
        meaning = self.members.shape[1] - self.form_mean.shape[1]
        own = [self.members[self.member_family == family] for family in range(len(self.names))]
        return [(_unit(each[:, :meaning]), _unit(each)) for each in own]


def fit_families(embeddings: Array, lexical: Array, families: Sequence[str]) -> FamilyModel:
    """Fit the model in closed form.

    Args:
        embeddings: [N, H] unit vectors.
        lexical: [N, L].
        families: The family of each.
    """
    names = tuple(sorted(set(families)))
    labels = np.array([names.index(family) for family in families])
    mean, scale = lexical.mean(0), lexical.std(0)
    scale = np.where(scale > 1e-9, scale, 1.0)
    form = np.clip((lexical - mean) / scale, -_FAR, _FAR)
    inputs = np.hstack([_EMBEDDING_SCALE * embeddings, form])
    centres = np.stack([inputs[labels == family].mean(0) for family in range(len(names))])
    rest = inputs - centres[labels]
    covariance = rest.T @ rest / len(rest)
    size = len(covariance)
    level = max(float(np.trace(covariance)) / size, 1e-6)
    covariance = (1 - _SHRINKAGE) * covariance + _SHRINKAGE * level * np.eye(size)
    whitening = np.linalg.inv(np.linalg.cholesky(covariance))
    own = [form[labels == family] for family in range(len(names))]
    return FamilyModel(
        names=names,
        lexical_mean=mean,
        lexical_scale=scale,
        whitening=whitening,
        centres=centres @ whitening.T,
        log_prior=np.log(np.bincount(labels, minlength=len(names)) / len(labels)),
        form_mean=np.stack([each.mean(0) for each in own]),
        form_variance=np.stack([each.var(0) for each in own]) + _VARIANCE_FLOOR,
        members=inputs.astype(np.float32),
        member_family=labels,
    )


def strangeness(distances: Array, nearest: npt.NDArray[np.int64], families: int) -> Array:
    """Summarise how far true members lie, seen by models that did not know them.

    Args:
        distances: [N, DISTANCES] of known texts, out of fold.
        nearest: [N] the family that each was taken for.
        families: How many there are.

    Returns:
        [K, DISTANCES, Q] quantiles; those of all families for one that nothing was taken for.
    """
    levels = (np.arange(_QUANTILES) + 0.5) / _QUANTILES
    table = np.zeros((families, DISTANCES, _QUANTILES))
    for family in range(families):
        rows = distances[nearest == family] if (nearest == family).any() else distances
        table[family] = np.quantile(rows, levels, axis=0).T
    return table


def conformal(table: Array, distances: Array, nearest: npt.NDArray[np.int64]) -> Array:
    """Return p-values [N, DISTANCES]: the share of true members that lie at least as far."""
    quantiles = table[nearest]  # (N, DISTANCES, Q)
    beyond = (quantiles >= distances[:, :, None]).sum(2)
    return np.asarray((beyond + 0.5) / (quantiles.shape[2] + 1), dtype=np.float64)


def _unit(rows: npt.NDArray[Any]) -> Floats:
    return np.asarray(rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12), dtype=np.float32)


def _unlike(inputs: Array, members: Floats) -> Array:
    """One minus the mean cosine to the nearest of these unit vectors."""
    near = min(_NEAR, len(members))
    cosines = _unit(inputs) @ members.T
    return np.asarray(1 - np.partition(cosines, -near, axis=1)[:, -near:].mean(1), dtype=np.float64)
