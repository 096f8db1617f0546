"""Did the inputs change: two samples of each feature, compared by effect size and by test.

With many rows every difference is significant, and with few a large one may be chance. So a feature drifted only when
both say so: the population stability index or the Kolmogorov-Smirnov distance is above its limit, and the p-value below
the error rate divided by the number of features (Bonferroni).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from orchestai.contracts.base import Record
from orchestai.errors import InputError

Floats = npt.NDArray[np.float64]
Values = Sequence[float] | Floats

_BINS = 10
_RARE = 5
"""Categories that occur less often, in both samples together, are counted as one."""


class DriftLimits(Record):
    """How much is too much.

    Attributes:
        alpha: Error rate over all features together.
        max_psi: Largest population stability index.
        max_ks: Largest distance between the two distribution functions.
    """

    alpha: float = 0.01
    max_psi: float = 0.25
    max_ks: float = 0.15


class FeatureDrift(Record):
    """One feature before and after.

    Attributes:
        feature: Its name.
        kind: `number` or `category`.
        reference: Rows before, those without a value left out.
        current: Rows after.
        psi: Population stability index over deciles of the reference, or over categories.
        ks: Largest distance of the distribution functions; null for categories.
        p: Probability of such a distance by chance: Kolmogorov-Smirnov, or chi-square.
        before: Median, or the most frequent category with its share.
        after: The same of the rows after.
        drifted: Large and not by chance.
    """

    feature: str
    kind: str
    reference: int
    current: int
    psi: float
    ks: float | None
    p: float
    before: str
    after: str
    drifted: bool


def compare_features(
    reference: Mapping[str, Sequence[float | str]],
    current: Mapping[str, Sequence[float | str]],
    limits: DriftLimits | None = None,
) -> list[FeatureDrift]:
    """Compare all features that both sides have values of.

    Args:
        reference: Values before, by feature: numbers or names.
        current: Values after.
        limits: What is too much.
    """
    limits = limits or DriftLimits()
    names = [name for name in reference if len(reference[name]) and len(current.get(name, ()))]
    alpha = limits.alpha / max(len(names), 1)
    return [_compare(name, reference[name], current[name], limits, alpha) for name in names]


def _compare(
    name: str, before: Sequence[float | str], after: Sequence[float | str], limits: DriftLimits, alpha: float
) -> FeatureDrift:
    if isinstance(before[0], str):
        names, others = [str(value) for value in before], [str(value) for value in after]
        psi, p = category_psi(names, others), category_p(names, others)
        return FeatureDrift(
            feature=name,
            kind="category",
            reference=len(before),
            current=len(after),
            psi=psi,
            ks=None,
            p=p,
            before=_commonest(names),
            after=_commonest(others),
            drifted=psi > limits.max_psi and p < alpha,
        )
    first, second = np.asarray(before, np.float64), np.asarray(after, np.float64)
    psi = number_psi(first, second)
    distance, p = kolmogorov_smirnov(first, second)
    return FeatureDrift(
        feature=name,
        kind="number",
        reference=len(first),
        current=len(second),
        psi=psi,
        ks=distance,
        p=p,
        before=f"median {np.median(first):.4g}",
        after=f"median {np.median(second):.4g}",
        drifted=(psi > limits.max_psi or distance > limits.max_ks) and p < alpha,
    )


def number_psi(reference: Values, current: Values, *, bins: int = _BINS) -> float:
    """Return the population stability index over quantiles of the reference.

    Bins end with the value at their quantile; where many rows share a value, there are fewer of them.

    Raises:
        InputError: A side is empty.
    """
    first, second = _checked(reference), _checked(current)
    edges = np.unique(np.quantile(first, np.linspace(0, 1, bins + 1)[1:-1], method="inverted_cdf"))
    counts = [
        np.bincount(np.searchsorted(edges, side, side="left"), minlength=len(edges) + 1) for side in (first, second)
    ]
    return _psi(counts[0], counts[1])


def category_psi(reference: Sequence[str], current: Sequence[str]) -> float:
    """Return the population stability index over categories, also those that only one side has.

    Raises:
        InputError: A side is empty.
    """
    table = _table(reference, current)
    return _psi(table[0], table[1])


def category_p(reference: Sequence[str], current: Sequence[str]) -> float:
    """Return the probability of such different counts by chance (chi-square test of homogeneity)."""
    from scipy.stats import chi2_contingency

    table = _table(reference, current)
    return float(chi2_contingency(table).pvalue) if table.shape[1] > 1 else 1.0


def kolmogorov_smirnov(reference: Values, current: Values) -> tuple[float, float]:
    """Return the largest distance between the two distribution functions, and its asymptotic p-value.

    Raises:
        InputError: A side is empty.
    """
    from scipy.stats import ks_2samp

    found = ks_2samp(_checked(reference), _checked(current), method="asymp")
    return float(found.statistic), float(found.pvalue)


def _psi(first: npt.NDArray[np.int64], second: npt.NDArray[np.int64]) -> float:
    seen = first + second > 0
    first, second = first[seen], second[seen]
    # Half a row in each bin: one that is empty on one side is no infinite surprise.
    p = (first + 0.5) / (first.sum() + 0.5 * len(first))
    q = (second + 0.5) / (second.sum() + 0.5 * len(second))
    return float(((q - p) * np.log(q / p)).sum())


def _table(reference: Sequence[str], current: Sequence[str]) -> npt.NDArray[np.int64]:
    """Return counts, (2, categories); rare categories together in one."""
    if not len(reference) or not len(current):
        raise InputError("Both sides need rows to be compared.")
    counts = (Counter(reference), Counter(current))
    total = counts[0] + counts[1]
    common = [name for name, n in sorted(total.items()) if n >= _RARE]
    rows = [
        [count[name] for name in common] + [sum(n for key, n in count.items() if total[key] < _RARE)]
        for count in counts
    ]
    table = np.array(rows, np.int64)
    return table[:, table.sum(axis=0) > 0]


def _checked(values: Values) -> Floats:
    array = np.asarray(values, np.float64)
    array = array[np.isfinite(array)]
    if not len(array):
        raise InputError("Both sides need rows to be compared.")
    return array


def _commonest(names: Sequence[str]) -> str:
    name, n = Counter(names).most_common(1)[0]
    return f"{name} {100 * n / len(names):.0f} %"
