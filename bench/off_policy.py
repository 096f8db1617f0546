"""Do off-policy estimates find the truth, and do their intervals hold it (LLMRouter or ZeroEval format)?

python -m bench.off_policy --train DIR --out report.json [--replications N] [--on validation|test]

Every outcome of every worker is known here, so the value of any policy is known exactly. A policy with an
exploration floor makes a log: tasks drawn from the held-out side, workers drawn, only their outcomes kept. From that
log alone the value of another policy is estimated, again and again: bias, coverage of the 95 % intervals, and how
often the answer was "not measurable". Policies are made on the training side.
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from bench.command import run_command
from bench.report import data_sha256, write_report
from bench.routing_data import read_source, split_one
from orchestai.evaluation.off_policy import LoggedChoice, LoggedExecution, SupportLimits, estimate, estimate_gain
from orchestai.evaluation.off_policy.intervals import empirical_bernstein
from orchestai.routing.outcomes import OutcomeTable

Array = npt.NDArray[np.float64]

_SHORT = 2000
_ESS_BINS = (0, 5, 10, 20, 30, 50, 100, 1_000_000)


class Scenario(NamedTuple):
    """One kind of log and one policy that is asked about.

    Attributes:
        name: In the report.
        logging: [N, W] probabilities that made the log.
        target: [N, W] probabilities of the policy that is asked about.
        executions: Length of the log.
        subtasks: Sub-tasks an execution; it succeeds if all of them do.
        known: Whether the logged propensities are the true ones.
    """

    name: str
    logging: Array
    target: Array
    executions: int
    subtasks: int = 1
    known: bool = True


def main(argv: list[str] | None = None) -> int:
    """Run the benchmark; return the exit status."""
    options = _parser().parse_args(argv)
    return run_command(lambda: run(options), print_summary)


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Measure as `options` say and write the report.

    Raises:
        OrchestAIError: The data or the place of the report cannot be used.
    """
    with tempfile.TemporaryDirectory() as scratch:
        source = read_source(options.train, Path(scratch) / "train")
    sides = split_one(source.table)
    learn, held = sides.train, sides.test
    if options.on == "validation":  # the training side once more: thresholds are chosen here
        chosen_here = np.array(
            [int(hashlib.sha256(f"inner {text}".encode()).hexdigest()[:8], 16) % 4 == 0 for text in learn.texts]
        )
        learn, held = learn.take(~chosen_here), learn.take(chosen_here)
    scenarios = _scenarios(learn, held)
    chosen = [each for each in scenarios if not options.only or each.name in options.only]
    results = {}
    for scenario in chosen:
        results[scenario.name] = _replicate(held, scenario, options.replications, options.seed, options.least_ess)
        print(f"{scenario.name}: {results[scenario.name]}", file=sys.stderr)
    return write_report(
        options.out,
        bench="off_policy",
        data={
            "kind": source.kind,
            "train": options.train.name,
            "on": options.on,
            "rows": {"train": len(learn), "population": len(held)},
            "workers": list(held.workers),
            "replications": options.replications,
            "coverage": "share of measurable replications whose 95 % interval holds the truth",
        },
        sha256=data_sha256([options.train]),
        seed=options.seed,
        results={"summary": _summary(results), "scenarios": results},
    )


def print_summary(report: dict[str, Any]) -> None:
    """Print one line a scenario."""
    print(f"{'':44}{'truth':>7}{'said':>6}{'bias':>8}{'cover':>7}{'width':>7}{'ess':>7}")
    for name, found in report["results"]["scenarios"].items():
        shown = found.get("dr") or {}
        line = (found["truth"], found["measurable"], shown.get("bias"), shown.get("coverage"), shown.get("width"))
        numbers = "".join(f"{'-' if value is None else f'{value:.3f}':>7}" for value in line)
        print(f"{name:44}{numbers}{found['ess']:>8.0f}")


def floored(greedy: npt.NDArray[np.int64], workers: int, share: float) -> Array:
    """Return [N, W] of a policy that takes `greedy` but explores all workers alike with probability `share`."""
    chances = np.full((len(greedy), workers), share / workers)
    chances[np.arange(len(greedy)), greedy] += 1 - share
    return chances


def _scenarios(learn: OutcomeTable, held: OutcomeTable) -> list[Scenario]:
    workers = len(held.workers)
    means = np.nanmean(learn.scores, 0)
    best, second = (int(each) for each in np.argsort(-means)[:2])
    families = {
        name: np.asarray(np.nanmean(learn.take(np.array(learn.families) == name).scores, 0))
        for name in learn.family_names
    }
    by_family = np.array([int(np.argmax(families.get(name, np.asarray(means)))) for name in held.families])
    cheap = int(np.nanmean(learn.cost_usd, 0).argmin())

    def always(place: int) -> Array:
        return floored(np.full(len(held), place), workers, 0.0)

    single = floored(np.full(len(held), best), workers, 0.02)
    routed = floored(by_family, workers, 0.02)
    uniform = np.full((len(held), workers), 1 / workers)
    tilted = 0.9 * floored(by_family, workers, 0.0) + 0.1 * always(best)
    blind = single.copy()
    blind[:, second] = 0.0  # a worker that the log never took
    blind /= blind.sum(1, keepdims=True)
    # A floor of which the log says that it was 2 %, while it was none for the families' winners.
    lied = np.where(always(best) > 0, 1.0, 0.0)
    mild = 0.7 * always(best) + 0.3 * uniform
    halfway = 0.5 * always(best) + 0.5 * floored(by_family, workers, 0.0)
    return [
        Scenario("collection (uniform) -> best single, 500", uniform, always(best), 500),
        Scenario("collection (uniform) -> best single, 2000", uniform, always(best), 2000),
        Scenario("collection (uniform) -> family mean, 2000", uniform, tilted, 2000),
        Scenario("family mean, 2 % -> same, no floor, 2000", routed, floored(by_family, workers, 0.0), 2000),
        Scenario("family mean, 2 % -> best single, 2000", routed, always(best), 2000),
        Scenario("family mean, 2 % -> best single, 5000", routed, always(best), 5000),
        Scenario("best single, 2 % -> family mean, 2000", single, floored(by_family, workers, 0.0), 2000),
        Scenario("best single, 2 % -> family mean, 10000", single, floored(by_family, workers, 0.0), 10000),
        Scenario("best single, 2 % -> half family mean, 5000", single, halfway, 5000),
        Scenario("best single, 2 % -> second, 2000", single, always(second), 2000),
        Scenario("best single, 2 % -> second, 5000", single, always(second), 5000),
        Scenario("best single, 30 % -> cheapest, 2000", mild, always(cheap), 2000),
        Scenario("two sub-tasks, uniform -> best single, 4000", uniform, always(best), 4000, 2),
        Scenario("two sub-tasks, 30 % -> family mean, 4000", mild, floored(by_family, workers, 0.0), 4000, 2),
        Scenario("without support: never taken -> it, 5000", blind, always(second), 5000),
        Scenario(
            "without floor, 2 % claimed -> family mean, 5000", lied, floored(by_family, workers, 0.0), 5000, 1, False
        ),
    ]


def _replicate(
    table: OutcomeTable, scenario: Scenario, replications: int, seed: int, least_ess: float
) -> dict[str, Any]:
    scores = np.nan_to_num(table.scores)
    values = (scenario.target * scores).sum(1)
    truth = float(values.mean()) ** scenario.subtasks
    logged_value = float((scenario.logging * scores).sum(1).mean()) ** scenario.subtasks
    claimed = scenario.logging if scenario.known else 0.98 * scenario.logging + 0.02 / len(table.workers)
    limits = SupportLimits(least_ess=least_ess)
    heaviest = float((scenario.target / np.maximum(claimed, 1e-12))[scenario.target > 0].max()) ** scenario.subtasks
    generator = np.random.default_rng(seed)
    found: dict[str, list[tuple[float, float, float]]] = {
        name: [] for name in ("dr", "ips", "snips", "normal", "bernstein", "gain")
    }
    ess, reasons = [], []
    holds: list[tuple[float, bool]] = []
    for replication in range(replications):
        rows, policy = _log(table, scores, scenario, claimed, generator)
        told = estimate(rows, policy, limits=limits, seed=replication)
        ess.append(told.ess)
        if not told.measurable:
            reasons.append(told.reason)
            continue
        assert told.value is not None  # it is measurable
        assert told.low is not None
        assert told.high is not None
        found["dr"].append((told.value, told.low, told.high))
        for name, given in (("ips", told.ips), ("snips", told.snips)):
            if given is not None:
                found[name].append(given)
        terms = _ips_terms(rows, policy)
        mean, reach = float(terms.mean()), 1.96 * float(terms.std(ddof=1)) / len(terms) ** 0.5
        found["normal"].append((mean, mean - reach, mean + reach))
        sure = empirical_bernstein(terms, width=heaviest)
        found["bernstein"].append((sure.mean, sure.low, sure.high))
        holds.append((told.ess, told.low <= truth <= told.high))
        if replication % 4 == 0 and scenario.executions <= _SHORT:  # the same terms once more
            gain = estimate_gain(rows, policy, limits=limits, seed=replication)
            if gain.value is not None and gain.low is not None and gain.high is not None:
                found["gain"].append((gain.value, gain.low, gain.high))
    results = {name: _quality(each, truth if name != "gain" else truth - logged_value) for name, each in found.items()}
    return {
        "truth": truth,
        "executions": scenario.executions,
        "measurable": 1 - len(reasons) / replications,
        "ess": float(np.mean(ess)),
        "by_ess": holds,
        "reason": max(set(reasons), key=reasons.count) if reasons else None,
        **{name: each for name, each in results.items() if each is not None},
    }


def _log(
    table: OutcomeTable, scores: Array, scenario: Scenario, claimed: Array, generator: np.random.Generator
) -> tuple[list[LoggedExecution], Any]:
    """Draw tasks and workers; keep the outcome of the drawn worker alone."""
    size = (scenario.executions, scenario.subtasks)
    tasks = generator.integers(0, len(table), size)
    edges = scenario.logging.cumsum(1)
    drawn = (generator.random(size)[..., None] > edges[tasks]).sum(-1).clip(max=len(table.workers) - 1)
    outcome = scores[tasks, drawn].prod(1)  # scores are 0 or 1 here: an execution needs all of its sub-tasks
    rows = [
        LoggedExecution(
            id=str(place),
            choices=tuple(
                LoggedChoice(table.families[task], table.workers[worker], float(claimed[task, worker]))
                for task, worker in zip(tasks[place], drawn[place], strict=True)
            ),
            reward=float(outcome[place]),
            group=str(place),
        )
        for place in range(scenario.executions)
    ]
    wishes = [
        {name: float(chance) for name, chance in zip(table.workers, line, strict=True) if chance > 0}
        for line in scenario.target
    ]

    def policy(row: LoggedExecution) -> Sequence[dict[str, float]]:
        return [wishes[task] for task in tasks[int(row.id)]]

    return rows, policy


def _ips_terms(rows: Sequence[LoggedExecution], policy: Any) -> Array:
    terms = []
    for row in rows:
        weight = 1.0
        for choice, chances in zip(row.choices, policy(row), strict=True):
            weight *= chances.get(choice.worker, 0.0) / (choice.propensity or 1.0)
        terms.append(weight * row.reward)
    return np.array(terms)


def _quality(found: list[tuple[float, float, float]], truth: float) -> dict[str, float] | None:
    if not found:
        return None
    values = np.array(found)
    inside = (values[:, 1] <= truth) & (truth <= values[:, 2])
    return {
        "bias": float(values[:, 0].mean() - truth),
        "bias_error": float(values[:, 0].std(ddof=1) / len(values) ** 0.5) if len(values) > 1 else float("nan"),
        "rmse": float(np.sqrt(((values[:, 0] - truth) ** 2).mean())),
        "coverage": float(inside.mean()),
        "too_high": float((values[:, 1] > truth).mean()),
        "width": float((values[:, 2] - values[:, 1]).mean()),
        "measured": len(values),
    }


def _summary(results: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Put together what was measured where there was support: coverage over all replications, worst scenario."""
    holds = [pair for found in results.values() for pair in found.pop("by_ess")]
    methods = ("dr", "ips", "snips", "normal", "bernstein", "gain")
    summary: dict[str, Any] = {}
    for method in methods:
        parts = [found[method] for found in results.values() if method in found and found["measurable"] >= 0.5]
        measured = sum(part["measured"] for part in parts)
        if measured:
            summary[method] = {
                "coverage": sum(part["coverage"] * part["measured"] for part in parts) / measured,
                "worst_coverage": min(part["coverage"] for part in parts),
                "largest_bias": max((part["bias"] for part in parts), key=abs),
                "mean_rmse": float(np.mean([part["rmse"] for part in parts])),
                "mean_width": float(np.mean([part["width"] for part in parts])),
            }
    summary["coverage_by_ess"] = {
        f"{low} to {high}": {"n": len(inside), "coverage": float(np.mean(inside))}
        for low, high in itertools.pairwise(_ESS_BINS)
        if (inside := [held for ess, held in holds if low <= ess < high])
    }
    return summary


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="bench.off_policy", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--train", type=Path, required=True, help="folder with the outcomes of all workers")
    parser.add_argument("--out", type=Path, required=True, help="report to write")
    parser.add_argument("--replications", type=int, default=200, help="logs drawn a scenario")
    parser.add_argument("--seed", type=int, default=0, help="seed of the draws")
    parser.add_argument(
        "--on", choices=("validation", "test"), default="test", help="side that the logs are drawn from"
    )
    parser.add_argument(
        "--least-ess", type=float, default=SupportLimits().least_ess, help="limit below which no number"
    )
    parser.add_argument("--only", action="append", help="name of a scenario; may be repeated")
    return parser


if __name__ == "__main__":
    sys.exit(main())
