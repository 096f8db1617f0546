"""How much of the money and of the errors a router saves (LLMRouter or ZeroEval format).

python -m bench.routing --train DIR --test DIR --out report.json [--seeds N] [--times DIR] [--no-left-out]

DIR holds train.json or test.json, *default_llm.json and query files, or graded.csv and prompts_<family>.json
(plain or .zst). The same folder twice is split by the hash of the question, 80 to 20; with two folders, all of
the second is the test, less the questions that the first has too. The best single worker, every threshold and
every weight are chosen on the training side. Prices are dollars a thousand sub-tasks; LLMRouter has no answers,
so each is taken to be 200 tokens long. `--times` adds the time predictor, on a folder of llmperf.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from bench.command import run_command
from bench.report import data_sha256, over_seeds, write_report
from bench.routing_baselines import Columns, baselines, measured
from bench.routing_data import Sides, Source, aligned, embed, features, read_source, split_one, split_two
from bench.routing_left_out import left_out
from bench.routing_times import times
from orchestai.config.training import RouterConfig
from orchestai.contracts import TaskType, WorkerProfile
from orchestai.embeddings import load_encoder
from orchestai.evaluation.routing import auc, expected_calibration_error
from orchestai.routing.model import Prediction, RouterModel
from orchestai.routing.policy import choose
from orchestai.routing.router import Router
from orchestai.training.router import RouterData, train_router

_TIMED = 400
_PRICE_CAP = 0.9  # dollars a thousand
_NEAR = 0.01  # success given up for the price, out of fold


def main(argv: list[str] | None = None) -> int:
    """Run the benchmark; return the exit status."""
    options = _parser().parse_args(argv)
    return run_command(lambda: run(options), print_summary)


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Measure as `options` say and write the report.

    Raises:
        OrchestAIError: The data or the place of the report cannot be used.
    """
    train_dir, test_dir = options.train.resolve(), options.test.resolve()
    with tempfile.TemporaryDirectory() as scratch:
        source = read_source(train_dir, Path(scratch) / "train")
        if train_dir == test_dir:
            sides = split_one(source.table)
        else:
            other = read_source(test_dir, Path(scratch) / "test")
            sides = split_two(source.table, aligned(other.table, source.table.workers))
    encoder = load_encoder(options.encoder)
    descriptions = embed(source.descriptions, encoder, options.cache)
    train = features(sides.train, source.prices, descriptions, encoder, options.cache)
    test = features(sides.test, source.prices, descriptions, encoder, options.cache)._replace(
        # Lengths of answers are learned on the training side.
        expected_usd=expected_prices(sides, source)
    )
    seeds = list(range(options.seed, options.seed + options.seeds))
    results = [_one_seed(train, test, source, seed, options) for seed in seeds]
    merged = over_seeds(results)
    if not options.no_left_out:
        merged["left_out"] = left_out(train, RouterConfig(seed=seeds[0], attention=not options.no_attention))
    if options.times is not None:
        merged["times"] = times(options.times)
    return write_report(
        options.out,
        bench="routing",
        data={
            "kind": source.kind,
            "train": options.train.name,
            "test": options.test.name,
            "rows": {"train": len(sides.train), "test": len(sides.test), "dropped_duplicates": sides.dropped},
            "workers": list(source.table.workers),
            "notes": source.notes,
            "mean_price": "dollars a thousand sub-tasks",
        },
        sha256=data_sha256(dict.fromkeys([train_dir, test_dir])),
        seed=seeds[0] if len(seeds) == 1 else seeds,
        results=merged,
    )


def print_summary(report: dict[str, Any]) -> None:
    """Print one line a method."""
    results = report["results"]
    rows = {"router": results, "router, thrifty": results["thrifty"], **results["baselines"]}
    print(f"{'':24}{'accuracy':>16}{'$ per 1,000':>18}")
    for name, values in rows.items():
        print(f"{name:24}{_shown(values['accuracy']):>16}{_shown(values['mean_price']):>18}")
    print("  ".join(f"{key} {_shown(results[key])}" for key in ("auc", "ece", "price_ratio_at_best_single")))
    if "left_out" in results:
        for name, entry in results["left_out"]["families"].items():
            gain = entry["gain"]
            print(f"without {name:24} gain {gain['mean']:7.2f}  ({gain['low']:.2f} to {gain['high']:.2f})")


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return f"{value['mean']:.3f} ± {value['std']:.3f}"
    return f"{value:.3f}"


def expected_prices(sides: Sides, source: Source) -> Any:
    """Prices of the test calls before they are made, with the lengths of the training side."""
    from bench.routing_data import OUTPUT_TOKENS, input_tokens

    lengths = sides.train.output_tokens
    tried = (~np.isnan(lengths)).sum(0)
    mean = np.where(tried > 0, np.nansum(lengths, 0) / np.maximum(tried, 1), OUTPUT_TOKENS)
    return (input_tokens(sides.test)[:, None] * source.prices[:, 0] + mean * source.prices[:, 1]) / 1e6


def _one_seed(
    train: RouterData, test: RouterData, source: Source, seed: int, options: argparse.Namespace
) -> dict[str, Any]:
    config = RouterConfig(seed=seed, attention=not options.no_attention)
    started = time.perf_counter()
    model = train_router(train, config)
    seconds = time.perf_counter() - started
    found = model.predict(test.embeddings, test.lexical)
    table, base = test.table, model.base
    usable = ~np.isnan(table.scores)
    costs = np.where(usable, _foreseen(model, found, test, source), np.inf)

    def chosen(weight: float) -> Columns:
        return choose(found.success_if_known, found.known, costs, model.policy, base=base, price_weight=weight).chosen

    simple = baselines(train, test, base=base, seed=seed)
    others = {name: measured(each.chosen, each.success, table, base) for name, each in simple.items()}
    routed = measured(chosen(0.0), None, table, base)
    thrifty = measured(chosen(model.policy.thrifty_weight), None, table, base)
    best = model.metrics["best_single"] / 100
    near = measured(chosen(model.policy.weight_within(best - _NEAR)), None, table, base)
    capped = measured(chosen(model.policy.weight_for(_PRICE_CAP / 1000)), None, table, base)
    single = others["best_single"]
    return {
        "accuracy": routed["accuracy"],
        "mean_price": routed["mean_price"],
        "gain_over_best_single": routed["gain"],
        "price_ratio_at_best_single": thrifty["mean_price"] / single["mean_price"],
        "thrifty": {**thrifty, "reached": thrifty["accuracy"] >= single["accuracy"]},
        f"at_most_{_PRICE_CAP}": capped,
        "within_one_point": {**near, "price_ratio": near["mean_price"] / single["mean_price"]},
        "auc": auc(found.success[usable], table.scores[usable]),
        "ece": expected_calibration_error(found.success[usable], table.scores[usable]),
        "known": float(found.known.mean()),
        "latency_ms_p99": _latency_ms(model, test)[1],
        "latency_ms_p50": _latency_ms(model, test)[0],
        "train_seconds": seconds,
        "out_of_fold": model.metrics,
        "best_single": model.policy.best_single,
        "baselines": others,
        "families": _by_family(chosen(0.0), chosen(model.policy.thrifty_weight), test, train, base),
        "curve": _curve(model, chosen, test),
    }


def _foreseen(model: RouterModel, found: Prediction, test: RouterData, source: Source) -> Any:
    """Prices with the length of an answer that the router foresees."""
    if np.isnan(found.output_tokens).any():
        return test.expected_usd
    from bench.routing_data import input_tokens

    prices = source.prices
    return (input_tokens(test.table)[:, None] * prices[:, 0] + found.output_tokens * prices[:, 1]) / 1e6


def _by_family(routed: Columns, thrifty: Columns, test: RouterData, train: RouterData, base: int) -> dict[str, Any]:
    labels = np.array(test.table.families)
    known = set(train.table.families)
    found = {}
    for name in test.table.family_names:
        rows = labels == name
        part = test.table.take(rows)
        found[name] = {
            "n": int(rows.sum()),
            "in_train": name in known,
            "best_single": 100 * float(np.nanmean(part.scores[:, base])),
            **measured(routed[rows], None, part, base),
            "thrifty": measured(thrifty[rows], None, part, base)["accuracy"],
        }
    return found


def _curve(model: RouterModel, chosen: Any, test: RouterData) -> list[dict[str, float]]:
    """Accuracy and price on the test side by weight of the price: the Pareto front, for the eye only."""
    rows = np.arange(len(test.table))
    points = []
    for point in model.policy.curve[::6]:
        columns = chosen(point.price_weight)
        points.append(
            {
                "price_weight": point.price_weight,
                "accuracy": 100 * float(np.nanmean(test.table.scores[rows, columns])),
                "mean_price": 1000 * float(np.nanmean(test.table.cost_usd[rows, columns])),
            }
        )
    return points


def _latency_ms(model: RouterModel, test: RouterData) -> tuple[float, float]:
    """Median and 99th percentile of routing one sub-task, the embedding given, everything else included."""
    router = Router(model)
    kind = TaskType(name="answer", description="Answer.")
    workers = [WorkerProfile(name=name, description=name, model=name) for name in model.workers]
    taken = []
    for place in range(min(_TIMED, len(test.table))):
        started = time.perf_counter()
        router.route(test.table.texts[place], kind, workers, embedding=test.embeddings[place])
        taken.append(1000 * (time.perf_counter() - started))
    taken = taken[5:] or taken  # the first few fill caches
    return float(np.quantile(taken, 0.5)), float(np.quantile(taken, 0.99))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="bench.routing", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--train", type=Path, required=True, help="folder to learn from")
    parser.add_argument("--test", type=Path, required=True, help="folder to measure on; may be the same")
    parser.add_argument("--out", type=Path, required=True, help="report to write")
    parser.add_argument("--seeds", type=_positive, default=1, help="how many seeds to train with")
    parser.add_argument("--seed", type=int, default=0, help="the first seed")
    parser.add_argument("--times", type=Path, help="folder of llmperf, for the time predictor")
    parser.add_argument("--encoder", default="minilm", help="name or folder of the encoder")
    parser.add_argument("--cache", type=Path, help="folder that keeps embeddings between runs")
    parser.add_argument("--no-left-out", action="store_true", help="skip the families left out one by one")
    parser.add_argument("--no-attention", action="store_true", help="leave the attention networks out")
    return parser


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be >= 1, got {value}")
    return value


if __name__ == "__main__":
    sys.exit(main())
