"""What reinforcement learning adds to routing: PPO over whole workflows, on questions held out.

python -m bench.policy --train DIR --test DIR --out report.json [--seeds N] [--times LLMPERF] [--plans DIR ...]

DIR is in the format of LLMRouter or ZeroEval, as for bench.routing; the same folder twice is split by the hash of the
question, and questions that both sides hold leave the test side. Simulated: shapes are those of real plans (the starter
corpus; UltraTool and AsyncHow with --plans), outcomes are the recorded ones of real models, times are those of real
calls (llmperf) stretched to the answer's length; but nobody ever ran these workflows. Without --times and --plans,
folders named llmperf, ultratool and asynchow beside the training folder are used; without llmperf times are assumed.

A workflow succeeds if all its sub-tasks do. All methods see the same predictions of one router, which has not seen the
questions, and keep to the same budgets. Everything is chosen on the training side, by workflows of questions that PPO
did not learn from.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bench.command import run_command
from bench.policy_data import ASSUMED, questions, read_endpoints, read_shapes, with_times
from bench.policy_runs import METHODS, describe, make_sets, run_seed
from bench.report import data_sha256, over_seeds, write_report
from bench.routing import expected_prices
from bench.routing_data import aligned, embed, features, question_key, read_source, split_one, split_two
from orchestai.config import Phase2Config, load_project, read_phase2
from orchestai.config.training import RouterConfig
from orchestai.embeddings import load_encoder
from orchestai.errors import DataError
from orchestai.training.router import fit_router

_PLANS = ("ultratool", "asynchow")


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
    times = options.times or _beside(train_dir, "llmperf")
    plans = options.plans or [found for name in _PLANS if (found := _beside(train_dir, name)) is not None]
    with tempfile.TemporaryDirectory() as scratch:
        source = read_source(train_dir, Path(scratch) / "train")
        if train_dir == test_dir:
            sides = split_one(source.table)
        else:
            other = read_source(test_dir, Path(scratch) / "test")
            sides = split_two(source.table, aligned(other.table, source.table.workers))
    known = {question_key(text) for text in sides.train.texts}
    if any(question_key(text) in known for text in sides.test.texts):
        raise DataError("A question stands on both sides of the split.", remedy="This is an error of the benchmark.")
    endpoints = read_endpoints(times) if times else ASSUMED
    shapes, counted = read_shapes(plans)
    train_table, train_ms = with_times(sides.train, endpoints)
    test_table, _ = with_times(sides.test, endpoints)
    # What is expected of the time of a call is learned on the training side, like its price.
    test_ms = np.repeat(train_ms[:1], len(test_table), axis=0)
    encoder = load_encoder(options.encoder)
    descriptions = embed(source.descriptions, encoder, options.cache)
    train = features(train_table, source.prices, descriptions, encoder, options.cache)
    test = features(test_table, source.prices, descriptions, encoder, options.cache)
    test = test._replace(expected_usd=expected_prices(sides, source))
    fitted = fit_router(train, RouterConfig(seed=options.seed, attention=options.attention))
    foreseen = fitted.model.predict(test.embeddings, test.lexical)
    asked, held_out = questions(train, fitted.success, train_ms), questions(test, foreseen.success, test_ms)
    workers = describe(descriptions, source.prices, train_ms[0], fitted.model.base)
    rewards = load_project().rewards
    config = read_phase2(options.config) if options.config else Phase2Config()
    profile = options.rewards or config.rewards
    if profile not in rewards:
        raise DataError(f"There are no rewards {profile!r}.", remedy=f"Use one of {', '.join(sorted(rewards))}.")
    seeds = list(range(options.seed, options.seed + options.seeds))
    results = [
        run_seed(config, rewards[profile], make_sets(asked, held_out, shapes, workers, seed), workers, seed)
        for seed in seeds
    ]
    merged = over_seeds(results)
    merged["outcome_prediction"] = _prediction(foreseen.success, test_table.scores)
    merged["targets"] = targets(merged)
    merged["paired"] = {name: paired([each["gain"][name]["mean"] for each in results]) for name in METHODS[1:]}
    merged["verdict"] = verdict(merged)
    merged["config"] = config.model_dump(mode="json") | {"rewards": profile}
    return write_report(
        options.out,
        bench="policy",
        data={
            "kind": source.kind,
            "simulated": "real outcomes on real plan shapes at real times; the workflows themselves were never run",
            "train": options.train.name,
            "test": options.test.name,
            "rows": {"train": len(sides.train), "test": len(sides.test), "dropped_duplicates": sides.dropped},
            "workers": list(source.table.workers),
            "plans": counted,
            "times": times.name if times else "assumed",
            "units": "a workflow: reward, share of successes, dollars, milliseconds",
        },
        sha256=data_sha256(dict.fromkeys([train_dir, test_dir])),
        seed=seeds[0] if len(seeds) == 1 else seeds,
        results=merged,
    )


def targets(results: dict[str, Any]) -> dict[str, Any]:
    """Compare PPO with the best single worker, in percent of it, and say which of X13's targets are reached."""

    def change(key: str) -> float:
        return 100 * (_mean(results[key]["ppo"]) / max(_mean(results[key]["best_single"]), 1e-12) - 1)

    accuracy = 100 * results["outcome_prediction"]["accuracy"]
    wanted = {
        "routing_accuracy": (change("task_success"), 10.0),
        "task_success": (change("success"), 20.0),
        "completion_time": (change("latency"), -15.0),
        "outcome_prediction": (accuracy, 90.0),
    }
    return {
        name: {
            "observed_percent": observed,
            "wanted_percent": aim,
            "reached": observed <= aim if aim < 0 else observed >= aim,
        }
        for name, (observed, aim) in wanted.items()
    } | {"majority_class_percent": 100 * results["outcome_prediction"]["majority_class"]}


def paired(gains: Sequence[float]) -> dict[str, Any]:
    """Return the mean gain over seeds with its 95 % interval (Student's t), and how many seeds gained.

    All seeds share the test questions: this says what another training would give, the interval over groups of
    questions (`gain`) what other questions would. One seed has no interval.
    """
    from scipy import stats

    mean, reach = float(np.mean(gains)), 0.0
    if len(gains) > 1:
        reach = float(stats.t.ppf(0.975, len(gains) - 1) * np.std(gains, ddof=1) / len(gains) ** 0.5)
    known = len(gains) > 1
    return {
        "mean": mean,
        "low": mean - reach if known else float("nan"),
        "high": mean + reach if known else float("nan"),
        "seeds_won": sum(gain > 0 for gain in gains),
        "seeds": len(gains),
    }


def verdict(results: dict[str, Any]) -> dict[str, Any]:
    """Say who wins, PPO or what it must beat: by mean, by the interval over questions, by that over seeds."""
    judged: dict[str, Any] = {}
    sentences = []
    for name in ("supervised_argmax", "greedy"):
        gain, seeds = results["gain"][name], results["paired"][name]
        mean, low, high = (_mean(gain[key]) for key in ("mean", "low", "high"))
        over_seeds_low, over_seeds_high = seeds["low"], seeds["high"]
        beaten = mean > 0
        sure = low > 0 and not over_seeds_low <= 0
        lost = high < 0 and not over_seeds_high >= 0
        judged[name] = {"beaten": beaten, "beyond_chance": sure, "lost_beyond_chance": lost}
        word = "beats" if sure else "loses to" if lost else "is ahead of" if beaten else "is behind"
        doubt = "" if sure or lost else ", which may be chance"
        sentences.append(
            f"PPO {word} {name} by {abs(mean):.3f} a workflow ({low:+.3f} to {high:+.3f} over questions"
            + (
                f", {over_seeds_low:+.3f} to {over_seeds_high:+.3f} over {seeds['seeds']} seeds"
                if seeds["seeds"] > 1
                else ""
            )
            + f"; {seeds['seeds_won']} of {seeds['seeds']} seeds won){doubt}."
        )
    learned = results["gain"]["settled"]
    sentences.append(
        f"What it learned beyond the plan that it begins with: {_mean(learned['mean']):+.3f} "
        f"({_mean(learned['low']):+.3f} to {_mean(learned['high']):+.3f})."
    )
    judged["summary"] = " ".join(sentences)
    return judged


def print_summary(report: dict[str, Any]) -> None:
    """Print one line a method."""
    results = report["results"]
    columns = ("reward", "success", "cost", "latency")
    print(f"{'':20}" + "".join(f"{column:>20}" for column in columns))
    for name in METHODS:
        print(f"{name:20}" + "".join(f"{_shown(results[column][name]):>20}" for column in columns))
    for name, gain in results["gain"].items():
        print(
            f"gain over {name:20} {_mean(gain['mean']):+.3f} ({_mean(gain['low']):+.3f} to {_mean(gain['high']):+.3f})"
        )
    for name, found in results["targets"].items():
        if isinstance(found, dict):
            reached = "reached" if found["reached"] else "not reached"
            print(f"{name:20} {found['observed_percent']:+.1f} % (wanted {found['wanted_percent']:+.0f} %): {reached}")
    print(results["verdict"]["summary"])


def _prediction(success: Any, scores: Any) -> dict[str, float]:
    """How often success is predicted right, over all questions and workers, beside always saying the same."""
    tried = ~np.isnan(scores)
    right, guess = scores[tried] >= 0.5, success[tried] >= 0.5
    share = float(right.mean())
    return {"accuracy": float((right == guess).mean()), "majority_class": max(share, 1 - share)}


def _mean(value: Any) -> float:
    return float(value["mean"]) if isinstance(value, dict) else float(value)


def _shown(value: Any) -> str:
    return f"{value['mean']:.4g} ± {value['std']:.2g}" if isinstance(value, dict) else f"{value:.4g}"


def _beside(folder: Path, name: str) -> Path | None:
    found = folder.parent / name
    return found if found.is_dir() else None


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="bench.policy", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--train", type=Path, required=True, help="folder to learn from")
    parser.add_argument("--test", type=Path, required=True, help="folder to measure on; may be the same")
    parser.add_argument("--out", type=Path, required=True, help="report to write")
    parser.add_argument("--seeds", type=_positive, default=1, help="how many seeds to train with")
    parser.add_argument("--seed", type=int, default=0, help="the first seed")
    parser.add_argument("--times", type=Path, help="folder of llmperf")
    parser.add_argument("--plans", type=Path, nargs="*", help="folders of UltraTool or AsyncHow, for shapes")
    parser.add_argument("--config", type=Path, help="a training/phase2.yml")
    parser.add_argument("--rewards", help="name of the reward weights, instead of the recipe's")
    parser.add_argument("--encoder", default="minilm", help="name or folder of the encoder")
    parser.add_argument("--cache", type=Path, help="folder that keeps embeddings between runs")
    parser.add_argument("--attention", action="store_true", help="train the router's attention networks, too")
    return parser


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be >= 1, got {value}")
    return value


if __name__ == "__main__":
    sys.exit(main())
