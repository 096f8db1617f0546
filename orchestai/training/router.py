"""Trains the router: cross-fitted members, stacked, gated and tuned on what they had not seen."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from orchestai.catalog.estimate import tokens_of
from orchestai.config.training import RouterConfig
from orchestai.errors import DataError
from orchestai.routing.attention import AttentionNetwork
from orchestai.routing.families import FamilyReading, fit_families, strangeness
from orchestai.routing.gate import fit_gate, judge, signs
from orchestai.routing.logistic import fit_logistic, logit
from orchestai.routing.model import RouterModel, apply_stack, blend
from orchestai.routing.outcomes import OutcomeTable
from orchestai.routing.policy import PricePoint, RoutingPolicy, choose
from orchestai.routing.retrieval import recall
from orchestai.routing.timing import CallFacts, TimePredictor, fit_times

Array = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

_LOG = logging.getLogger(__name__)
_FAMILY_PRIOR = 5.0
_CLUSTERS = 8
_LOSSES = (0.03, 0.06, 0.1, 0.15, 0.25)
_MARGINS = (0.0, 0.01, 0.02, 0.04)
_REACHED = (-0.5, 0.0, 1.0)  # standard errors above the best single worker
_WORTHWHILE = 0.05
_FEWEST_TIMES = 20
_PRICE_WEIGHTS = (0.0, *np.geomspace(0.002, 2.0, 60).tolist())


class RouterData(NamedTuple):
    """What the recipe reads.

    Attributes:
        table: Outcomes, whose texts are unique.
        embeddings: [N, H] unit vectors of the texts.
        lexical: [N, L].
        descriptions: [W, H] embeddings of the workers' descriptions.
        expected_usd: [N, W] price as known before the call; infinite for a worker that may not be used.
    """

    table: OutcomeTable
    embeddings: Array
    lexical: Array
    descriptions: Array
    expected_usd: Array

    def take(self, rows: npt.NDArray[Any]) -> RouterData:
        """Return some of the rows."""
        return RouterData(
            self.table.take(rows),
            self.embeddings[rows],
            self.lexical[rows],
            self.descriptions,
            self.expected_usd[rows],
        )


class FittedRouter(NamedTuple):
    """A router, and what its members say of the rows that they were not trained on.

    Attributes:
        model: The router.
        success: [N, W] expected success of every training row, out of fold: whoever learns to use the router's
            probabilities must learn it from such ones, because those of rows it knows are surer than it is.
    """

    model: RouterModel
    success: Array


class _Light(NamedTuple):
    """What the members that need no gradient say of some rows."""

    by_family: Array
    by_past: Array
    reading: FamilyReading
    base: int


def train_router(
    data: RouterData, config: RouterConfig, *, on_step: Callable[[str], None] | None = None
) -> RouterModel:
    """Train the router as `fit_router` does.

    Raises:
        DataError: There is too little to learn from.
    """
    return fit_router(data, config, on_step=on_step).model


def fit_router(data: RouterData, config: RouterConfig, *, on_step: Callable[[str], None] | None = None) -> FittedRouter:
    """Train the router, and keep what it said of its rows out of fold.

    Every row is judged once by members that were trained without it (folds by the hash of its id), and once by
    members that were trained without its family. The first shows what the ensemble is worth and calibrates
    it; the second shows what it is worth on a kind of task that nobody told it of, and sets the abstention.

    Args:
        data: Outcomes with features.
        config: Sizes and seed.
        on_step: Told what is going on.

    Raises:
        DataError: There is too little to learn from.
    """
    tell = on_step or _LOG.debug
    table = data.table
    scores = np.where(np.isfinite(data.expected_usd), table.scores, np.nan)
    _check(table, scores, config)
    kinds = _kinds(data, config.seed)
    folds = _folds(table.ids, config)
    whole = fit_families(data.embeddings, data.lexical, kinds)
    inputs = whole.inputs(data.embeddings, data.lexical)
    labels = np.array([whole.names.index(kind) for kind in kinds])

    sources = np.zeros((3, *scores.shape))
    posterior = np.zeros((len(table), len(whole.names)))
    distances = np.zeros((len(table), 4))
    networks: list[AttentionNetwork] = []
    for fold in range(config.folds):
        held = folds == fold
        tell(f"fold {fold + 1} of {config.folds}")
        light = _light(data, scores, kinds, ~held, held)
        sources[0, held], sources[2, held] = light.by_family, light.by_past
        _place(posterior, light.reading.posterior, held, _names(kinds, ~held), whole.names)
        distances[held] = light.reading.distances
        if config.attention:
            network = _network(data, inputs, scores, labels, ~held, config, seed=config.seed * 100 + fold)
            networks.append(network)
            sources[1, held] = network.success(inputs[held])
        else:
            sources[1, held] = light.by_family
    seen = FamilyReading(inputs, posterior, posterior.argmax(1), distances)
    stack = _fit_stack(sources, scores)
    fitted = apply_stack(stack, sources)
    quantiles = strangeness(seen.distances, seen.nearest, len(whole.names))

    tell("families left out")
    signs_known = signs(seen, quantiles)
    signs_unknown, strange_success, strange_base = _left_out(data, scores, kinds, whole.names, quantiles)
    gate = fit_gate(quantiles, signs_known, signs_unknown)
    base = _best_single(scores)
    reference = float(np.nanmean(data.expected_usd[:, base]))
    known, strange = judge(gate, signs_known), _cross_judged(quantiles, signs_known, signs_unknown, kinds)
    policy = _tune_abstention(
        _Judged(scores, fitted, known, np.full(len(table), base)),
        _Judged(scores, strange_success, strange, strange_base),
        kinds,
        RoutingPolicy(
            best_single=table.workers[base],
            unknown_loss=_LOSSES[0],
            margin=0.0,
            reference_usd=reference,
            thrifty_weight=0.0,
        ),
    )
    calibrated = blend(fitted, known, _means(scores))
    policy = _tune_price(scores, fitted, known, data, policy, base)
    model = RouterModel(
        workers=table.workers,
        descriptions=data.descriptions,
        families=whole,
        family_scores=_family_means(scores, labels, len(whole.names)),
        family_tokens=_family_tokens(table.output_tokens, labels, len(whole.names)),
        mean_scores=_means(scores),
        bank=data.embeddings.astype(np.float32),
        bank_scores=scores,
        networks=tuple(networks),
        stack=stack,
        gate=gate,
        policy=policy,
        metrics=_metrics(scores, fitted, calibrated, known, data, policy, base),
        times=_times(table),
        calibration=_calibration(scores, calibrated),
    )
    return FittedRouter(model, calibrated)


def _calibration(scores: Array, calibrated: Array) -> tuple[tuple[float, float, int], ...]:
    from orchestai.evaluation.routing import calibration_bins

    tried = ~np.isnan(scores)
    return tuple(calibration_bins(calibrated[tried], scores[tried]))


def _times(table: OutcomeTable) -> TimePredictor | None:
    """Learn how long calls take, where enough were measured."""
    places = np.argwhere(table.latency_ms > 0)
    if len(places) < _FEWEST_TIMES:
        return None
    written = np.nan_to_num(table.output_tokens)
    facts = [CallFacts(tokens_of(len(table.texts[row])), float(written[row, column])) for row, column in places]
    workers = [table.workers[column] for _, column in places]
    return fit_times(workers, facts, [float(table.latency_ms[row, column]) for row, column in places])


def _check(table: OutcomeTable, scores: Array, config: RouterConfig) -> None:
    rows, workers = int((~np.isnan(scores)).any(1).sum()), scores.shape[1]
    if rows < config.min_rows or workers < 2:
        raise DataError(
            f"There are {rows} sub-tasks with outcomes of {workers} workers; a router needs at least "
            f"{config.min_rows} and 2.",
            remedy="Collect more (`orchestai collect`), or route by rule.",
        )
    if len(set(table.ids)) != len(table):
        raise DataError("Two rows of the outcomes have one id; the folds would not be independent.")


def _folds(ids: Sequence[str], config: RouterConfig) -> npt.NDArray[np.int64]:
    """Fold of each row, by a hash: the same in every session."""
    keys = (hashlib.sha256(f"{config.seed}:{name}".encode("utf-8", "surrogatepass")).digest() for name in ids)
    return np.array([int.from_bytes(key[:8], "big") % config.folds for key in keys])


def _kinds(data: RouterData, seed: int) -> tuple[str, ...]:
    """Families as named; clusters of meaning and form where all are of one name."""
    if len(set(data.table.families)) > 1:
        return data.table.families
    generator = np.random.default_rng(seed)
    points = fit_families(data.embeddings, data.lexical, data.table.families).inputs(data.embeddings, data.lexical)
    centres = points[generator.choice(len(points), min(_CLUSTERS, len(points)), replace=False)]
    nearest = np.zeros(len(points), dtype=np.int64)
    for _ in range(25):
        nearest = ((centres**2).sum(1) - 2 * points @ centres.T).argmin(1)
        centres = np.stack(
            [points[nearest == k].mean(0) if (nearest == k).any() else centres[k] for k in range(len(centres))]
        )
    # A cluster of a few has no spread of its own.
    counts = np.bincount(nearest, minlength=len(centres))
    large = int(counts.argmax())
    return tuple(f"cluster-{k if counts[k] >= 10 else large}" for k in nearest)


def _names(kinds: Sequence[str], rows: Mask) -> tuple[str, ...]:
    return tuple(sorted({kind for kind, inside in zip(kinds, rows, strict=True) if inside}))


def _place(target: Array, found: Array, rows: Mask, names: Sequence[str], all_names: Sequence[str]) -> None:
    columns = np.array([all_names.index(name) for name in names], dtype=np.int64)
    target[np.ix_(np.flatnonzero(rows), columns)] = found


def _light(data: RouterData, scores: Array, kinds: Sequence[str], train: Mask, held: Mask) -> _Light:
    own = [kind for kind, inside in zip(kinds, train, strict=True) if inside]
    families = fit_families(data.embeddings[train], data.lexical[train], own)
    reading = families.read(data.embeddings[held], data.lexical[held])
    labels = np.array([families.names.index(kind) for kind in own])
    table = _family_means(scores[train], labels, len(families.names))
    past = recall(
        data.embeddings[held], data.embeddings[train].astype(np.float32), scores[train], _means(scores[train])
    )
    return _Light(reading.posterior @ table, past, reading, _best_single(scores[train]))


def _network(
    data: RouterData,
    inputs: Array,
    scores: Array,
    labels: npt.NDArray[np.int64],
    rows: Mask,
    config: RouterConfig,
    *,
    seed: int,
) -> AttentionNetwork:
    from orchestai.training.router_network import train_network

    return train_network(
        inputs[rows],
        scores[rows],
        data.table.output_tokens[rows],
        labels[rows],
        data.descriptions,
        seed=seed,
        epochs=config.epochs,
        batch_size=config.batch_size,
        learning_rate=config.learning_rate,
        dropout=config.dropout,
        weight_decay=config.weight_decay,
    )


def _means(scores: Array) -> Array:
    """Mean of each worker, shrunk by one success and one failure, so that it is never 0, 1 or undefined."""
    tried = (~np.isnan(scores)).sum(0)
    return np.asarray((np.nansum(scores, 0) + 1) / (tried + 2), dtype=np.float64)


def _best_single(scores: Array) -> int:
    """The worker of the best mean among those that were tried on half as many rows as the most tried one.

    A few lucky answers make no best worker.
    """
    tried = (~np.isnan(scores)).sum(0)
    means = np.where(tried >= max(tried.max() / 2, 1), _means(scores), -np.inf)
    return int(means.argmax())


def _family_means(scores: Array, labels: npt.NDArray[np.int64], families: int) -> Array:
    prior = _means(scores)
    return np.stack(
        [
            (np.nansum(scores[labels == k], 0) + _FAMILY_PRIOR * prior)
            / ((~np.isnan(scores[labels == k])).sum(0) + _FAMILY_PRIOR)
            for k in range(families)
        ]
    )


def _family_tokens(tokens: Array, labels: npt.NDArray[np.int64], families: int) -> Array:
    counts = (~np.isnan(tokens)).sum(0)
    overall = np.where(counts > 0, np.nansum(tokens, 0) / np.maximum(counts, 1), np.nan)
    rows = []
    for k in range(families):
        own = tokens[labels == k]
        tried = (~np.isnan(own)).sum(0)
        rows.append((np.nansum(own, 0) + _FAMILY_PRIOR * overall) / (tried + _FAMILY_PRIOR))
    return np.stack(rows)


def _fit_stack(sources: Array, scores: Array) -> Array:
    tried = ~np.isnan(scores)
    return fit_logistic(np.moveaxis(logit(sources), 0, -1)[tried], scores[tried], ridge=1.0)


def _left_out(
    data: RouterData, scores: Array, kinds: Sequence[str], names: Sequence[str], quantiles: Array
) -> tuple[Array, Array, npt.NDArray[np.int64]]:
    """Judge each row by members that know nothing of its family: signs, success, best single worker."""
    labels = np.array(kinds)
    raw = np.zeros((len(labels), 5))
    success = np.zeros_like(scores)
    base = np.zeros(len(labels), dtype=np.int64)
    for name in names:
        held = labels == name
        light = _light(data, scores, kinds, ~held, held)
        others = [place for place, each in enumerate(names) if each != name]
        raw[held] = signs(light.reading, quantiles[others])
        success[held] = light.by_family
        base[held] = light.base
    return raw, success, base


def _cross_judged(quantiles: Array, known: Array, unknown: Array, kinds: Sequence[str]) -> Array:
    """Judge the rows of each family, as unknown ones, by a gate that had not seen that family either."""
    labels = np.array(kinds)
    found = np.zeros(len(labels))
    for name in sorted(set(kinds)):
        own = labels == name
        found[own] = judge(fit_gate(quantiles, known[~own], unknown[~own]), unknown[own])
    return found


class _Judged(NamedTuple):
    """Rows with what a router thought of them.

    Attributes:
        scores: [N, W] truth.
        success: [N, W] expected.
        known: [N].
        base: [N] the best single worker.
    """

    scores: Array
    success: Array
    known: Array
    base: npt.NDArray[np.int64]

    def gains(self, policy: RoutingPolicy) -> Array:
        """Return [N] what the policy gains over the best single worker; NaN where that is not known."""
        rows = np.arange(len(self.scores))
        gains = np.zeros(len(rows))
        free = np.where(np.isnan(self.scores), np.inf, 0.0)
        for base in np.unique(self.base):
            own = self.base == base
            chosen = choose(self.success[own], self.known[own], free[own], policy, base=int(base)).chosen
            gains[own] = self.scores[own][np.arange(own.sum()), chosen] - self.scores[own][:, base]
        return gains


def _tune_abstention(seen: _Judged, unseen: _Judged, kinds: Sequence[str], policy: RoutingPolicy) -> RoutingPolicy:
    """Choose loss and margin: what is gained on known kinds, less twice what is lost on unknown ones.

    Where the best single worker was never tried nobody knows what leaving it loses: a family of such rows alone has
    no say, for it is no family in which nothing is lost.
    """
    labels = np.array(kinds)
    best, best_value = policy, -np.inf
    for loss in _LOSSES:
        for margin in _MARGINS:
            tried = policy.model_copy(update={"unknown_loss": loss, "margin": margin})
            gain = float(np.nanmean(seen.gains(tried)))
            strange = unseen.gains(tried)
            measured = ~np.isnan(strange)
            families = sorted(set(labels[measured]))
            lost = [min(0.0, float(strange[measured & (labels == name)].mean())) for name in families]
            value = gain + 2 * float(np.mean(lost)) if lost else gain
            if value > best_value:
                best, best_value = tried, value
    gains = seen.gains(best)
    gains = gains[~np.isnan(gains)]
    # One standard error: a gain that may be chance does not justify leaving the best worker.
    trusted = float(gains.mean()) > float(gains.std()) / max(len(gains), 1) ** 0.5
    return best.model_copy(update={"trusted": trusted})


def _tune_price(
    scores: Array, success: Array, known: Array, data: RouterData, policy: RoutingPolicy, base: int
) -> RoutingPolicy:
    """Find the weight of the price that is cheapest while the best single worker's success is still reached.

    Reached means by one standard error of the paired difference; where nothing does so, by its mean; and where
    that saves nothing either, to within half a standard error, which these data cannot tell from equal.
    """
    rows = np.arange(len(scores))
    costs = np.where(np.isnan(scores), np.inf, data.expected_usd)
    # Chosen by what is expected, judged by what it came to: hard sub-tasks have long answers and go to dear workers.
    paid = np.where(np.isnan(data.table.cost_usd), costs, data.table.cost_usd)
    own = paid[:, base][np.isfinite(paid[:, base])]
    found: list[tuple[int, float, float]] = []
    curve = []
    for weight in _PRICE_WEIGHTS:
        chosen = choose(success, known, costs, policy, base=base, price_weight=weight).chosen
        difference = scores[rows, chosen] - scores[:, base]
        difference = difference[~np.isnan(difference)]
        error = float(difference.std()) / max(len(difference), 1) ** 0.5
        spent = paid[rows, chosen]
        spent = spent[np.isfinite(spent)]
        usd = float(spent.mean())
        curve.append(
            PricePoint(
                price_weight=weight,
                success=float(np.nanmean(scores[rows, chosen])),
                usd=usd,
                usd_error=float(spent.std()) / max(len(spent), 1) ** 0.5,
            )
        )
        standing = float(difference.mean()) / max(error, 1e-12)
        found.append((sum(standing >= least for least in _REACHED), usd, weight))
    dearest = (float(own.mean()) if len(own) else policy.reference_usd) * (1 - _WORTHWHILE)
    for level in range(len(_REACHED), 0, -1):
        reached = [entry for entry in found if entry[0] >= level and entry[1] <= dearest]
        if reached:
            weight = min(reached, key=lambda entry: entry[1])[2]
            break
    else:
        weight = 0.0
    return policy.model_copy(update={"thrifty_weight": weight, "curve": tuple(curve)})


def _metrics(
    scores: Array,
    success: Array,
    calibrated: Array,
    known: Array,
    data: RouterData,
    policy: RoutingPolicy,
    base: int,
) -> dict[str, float]:
    from orchestai.evaluation.routing import auc, expected_calibration_error

    rows = np.arange(len(scores))
    tried = ~np.isnan(scores)
    costs = np.where(tried, data.expected_usd, np.inf)
    found = {
        "best_single": 100 * float(np.nanmean(scores[:, base])),
        "auc": auc(calibrated[tried], scores[tried]),
        "ece": expected_calibration_error(calibrated[tried], scores[tried]),
        "known": float(known.mean()),
    }
    for name, weight in (("accuracy", 0.0), ("thrifty", policy.thrifty_weight)):
        chosen = choose(success, known, costs, policy, base=base, price_weight=weight).chosen
        found[f"{name}_routed"] = 100 * float(np.nanmean(scores[rows, chosen]))
        found[f"{name}_usd"] = float(np.nanmean(costs[rows, chosen]))
    return found
