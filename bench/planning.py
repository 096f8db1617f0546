"""How well instructions become chains of tools (UltraTool format), learned planner against simple ones.

python -m bench.planning --train DIR --test DIR --out report.json [--seeds N] [--checkpoint D] [--epochs E]

Checkpoints and the results of each seed are kept in `report.parts/` beside the report: the same command goes on after
a kill, and with more seeds it trains the new ones only.

DIR holds plans.jsonl, tool_desc.json and graph_desc.json (plain or .zst). The same folder twice is split three
times, each with a training of its own: by the hash of the ids (80 % train, 10 % validation, 10 % test; the
published split trains on 82 %), by the hash of the combination of tools (`unseen_combinations`), and by tools
(`unseen_tools`: plans that need one of the 10 % held out are the test, and planning knows these by their text
alone). With two folders, all of the second is the test, and `unseen_combinations` is the part of it whose
combinations of tools the first does not have. Everything is chosen on validation.

The gold steps are never read. The links of `graph_desc.json` are a part of the catalog and given to the planner, as
in GNN4TaskPlan. Instructions that occur in an earlier part, be it with other numbers or a few other words, are left
out. F1 is that of each sample, then the mean; a sample whose gold plan has no link counts 1 for link F1 if
the planned one has none either, else 0; a sample without an answer counts 0 everywhere.
"""

from __future__ import annotations

import argparse
import functools
import sys
import tempfile
from collections.abc import Callable, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

from bench.command import run_command
from bench.learned import load_learned, train_learned, training_cost
from bench.measure import baselines, full_results
from bench.partial import PartialResults
from bench.report import data_sha256, over_seeds, write_report
from bench.splits import Parts, held_out_tools, split_combinations, split_one, split_tools, split_two
from bench.unseen_tools import price, tool_results, without
from orchestai.config import Phase1Config
from orchestai.contracts import PlanExample, PlanPredictor, TaskCatalog
from orchestai.embeddings import TextEncoder, load_encoder


def main(argv: list[str] | None = None) -> int:
    """Run the benchmark; return the exit status."""
    options = _parser().parse_args(argv)
    return run_command(lambda: run(options), print_summary)


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Measure as `options` say and write the report.

    Raises:
        OrchestAIError: The data, the checkpoint or the place of the report cannot be used.
    """
    train_dir, test_dir = options.train.resolve(), options.test.resolve()
    with tempfile.TemporaryDirectory() as scratch:
        examples, tasks = _read(train_dir, Path(scratch) / "train")
        if train_dir == test_dir:
            parts = split_one(examples)
        else:
            test, test_tasks = _read(test_dir, Path(scratch) / "test")
            tasks = _united(tasks, test_tasks)
            parts = split_two(examples, test)
        encoder = load_encoder(options.encoder, cache_dir=options.cache or Path(scratch) / "embeddings")
        own_splits = train_dir == test_dir and options.checkpoint is None and not options.main_only
        unseen = _prepare_unseen(examples, tasks) if own_splits else None
        sha256 = data_sha256(dict.fromkeys([train_dir, test_dir]))
        kept = PartialResults(options.out, question(options, sha256, Phase1Config().model_dump(mode="json")))
        seeds = list(range(options.seed, options.seed + options.seeds))
        simple = functools.cache(lambda: baselines(parts, tasks, encoder))  # fitted if something is to be measured
        results = []
        for seed in seeds:
            found = kept.get(
                f"main-{seed}",
                functools.partial(_main_results, options, parts, simple, tasks, encoder, seed, kept),
            )
            if unseen is not None:
                found |= _unseen_results(options, unseen, tasks, encoder, seed, kept)
            results.append(found)
        counts = parts.counts() if unseen is None else {**parts.counts(), **unseen.counts()}
        return write_report(
            options.out,
            bench="planning",
            data={"train": options.train.name, "test": options.test.name, "examples": counts},
            sha256=sha256,
            seed=seeds[0] if len(seeds) == 1 else seeds,
            results=over_seeds(results),
        )


def question(options: argparse.Namespace, sha256: str, recipe: Mapping[str, Any]) -> dict[str, Any]:
    """What decides the results of a seed."""
    checkpoint = options.checkpoint
    return {
        "data": sha256,
        "recipe": dict(recipe),
        "encoder": options.encoder,
        "epochs": options.epochs,
        "checkpoint": None if checkpoint is None else data_sha256([checkpoint]),
        "baselines_only": options.baselines_only,
        "version": metadata.version("orchestai"),
    }


class _Unseen(NamedTuple):
    """The splits by combination and by tool."""

    combinations: Parts
    tools: Parts
    held: frozenset[str]

    def counts(self) -> dict[str, Any]:
        return {"unseen_combinations": self.combinations.counts(), "unseen_tools": self.tools.counts()}


def _prepare_unseen(examples: list[PlanExample], tasks: TaskCatalog) -> _Unseen:
    held = held_out_tools(tasks.names)
    return _Unseen(split_combinations(examples), split_tools(examples, held), held)


def _main_results(
    options: argparse.Namespace,
    parts: Parts,
    simple: Callable[[], dict[str, PlanPredictor]],
    tasks: TaskCatalog,
    encoder: TextEncoder,
    seed: int,
    kept: PartialResults,
) -> dict[str, Any]:
    learned = _learned(options, parts, tasks, encoder, seed, kept.folder(f"main-{seed}"))
    return {**full_results(learned, simple(), parts, tasks), **training_cost(kept.folder(f"main-{seed}"))}


def _unseen_results(
    options: argparse.Namespace,
    unseen: _Unseen,
    tasks: TaskCatalog,
    encoder: TextEncoder,
    seed: int,
    kept: PartialResults,
) -> dict[str, Any]:
    """`unseen_combinations` and `unseen_tools`, each from a training of its own."""

    def combinations() -> dict[str, Any]:
        learned = _learned(options, unseen.combinations, tasks, encoder, seed, kept.folder(f"combinations-{seed}"))
        return full_results(learned, baselines(unseen.combinations, tasks, encoder), unseen.combinations, tasks)

    def tools() -> dict[str, Any]:
        described, trained = (without(tasks, unseen.held, keep_types=keep) for keep in (True, False))
        learned, alone = (
            train_learned(  # the second finds the checkpoint of the first
                unseen.tools,
                tasks=trained,
                plan_with=catalog,
                encoder=encoder,
                seed=seed,
                epochs=options.epochs,
                out=kept.folder(f"tools-{seed}"),
            )
            for catalog in (described, trained)
        )
        return {
            **tool_results(learned, encoder, unseen.tools.test, described, unseen.held),
            "price_elsewhere": price(learned, alone, unseen.tools.validation, described),
        }

    found = {"unseen_combinations": kept.get(f"combinations-{seed}", combinations)}
    if not options.baselines_only:
        found["unseen_tools"] = kept.get(f"tools-{seed}", tools)
    return found


def print_summary(report: dict[str, Any]) -> None:
    """Print one line a planner."""
    results = report["results"]
    rows = {"learned": results, **results["baselines"]}
    keys = ("node_f1", "link_f1", "edge_f1", "exact", "dag_validity", "ece", "ms_per_plan_p50")
    print(f"{'':14}" + "".join(f"{key:>17}" for key in keys))
    for name, values in rows.items():
        if keys[0] in values:
            print(f"{name:14}" + "".join(f"{_shown(values[key]):>17}" for key in keys))


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return f"{value['mean']:.3f} ± {value['std']:.3f}"
    return f"{value:.3f}"


def _learned(
    options: argparse.Namespace, parts: Parts, tasks: TaskCatalog, encoder: Any, seed: int, out: Path
) -> PlanPredictor | None:
    if options.baselines_only:
        return None
    if options.checkpoint is not None:
        return load_learned(options.checkpoint, tasks=tasks, encoder=encoder)
    return train_learned(parts, tasks=tasks, encoder=encoder, seed=seed, epochs=options.epochs, out=out)


def _read(folder: Path, scratch: Path) -> tuple[list[PlanExample], TaskCatalog]:
    from orchestai.catalog import read_catalog
    from orchestai.importers import import_ultratool, read_plans

    report = import_ultratool(folder, scratch)
    if report.rejected:
        print(f"{folder.name}: {report.rejected} records left out: {report.reasons}", file=sys.stderr)
    return read_plans(scratch), read_catalog(scratch).tasks


def _united(first: TaskCatalog, second: TaskCatalog) -> TaskCatalog:
    """Add the tools that only the test folder describes: a planner has to cope with new ones."""
    known = set(first.names)
    types = (*first.types, *(kind for kind in second.types if kind.name not in known))
    return TaskCatalog(types=types, links=tuple(dict.fromkeys([*first.links, *second.links])))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="bench.planning", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--train", type=Path, required=True, help="folder to learn from")
    parser.add_argument("--test", type=Path, required=True, help="folder to measure on; may be the same")
    parser.add_argument("--main-only", action="store_true", help="leave the splits by combination and by tool out")
    add_common_options(parser)
    return parser


def add_common_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that all planner benchmarks share."""
    parser.add_argument("--out", type=Path, required=True, help="report to write")
    parser.add_argument("--seeds", type=_positive, default=1, help="how many seeds to train with")
    parser.add_argument("--seed", type=int, default=0, help="the first seed")
    parser.add_argument("--checkpoint", type=Path, help="measure this checkpoint instead of training")
    parser.add_argument("--epochs", type=_positive, help="passes over the data; null means the recipe's own")
    parser.add_argument("--encoder", default="minilm", help="name or folder of the encoder")
    parser.add_argument("--cache", type=Path, help="folder that keeps embeddings between runs")
    parser.add_argument("--baselines-only", action="store_true", help="leave the learned planner out")


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be >= 1, got {value}")
    return value


if __name__ == "__main__":
    sys.exit(main())
