"""How well the steps of everyday plans become a DAG (AsyncHow), learned structure against simple ones.

python -m bench.structure --train DIR --test DIR --out report.json [--seeds N] [--checkpoint D] [--epochs E]

What each seed gave is kept in `report.parts/` beside the report: the same command goes on after a kill, and with more
seeds it trains the new ones only.

DIR holds plans.json (plain or .zst). The same folder twice is split by the hash of the ids: train and
validation are learned from, test is measured; with two folders, all of the second is the test. Training plans
with the goal or the steps of a test plan are left out. Everybody gets the goal and the steps in the order in
which the data has them (not in the order of an import, which puts parents first and so gives edges away);
`shuffled` holds the same numbers with the test steps in random order.

`edge_f1` is the F1 of the direct edges between steps (START and END are none), a plan, then the mean;
`missing_edges` the percentage of gold edges that the predicted graph does not imply; `schedule_ratio` the
finishing time over the optimal one, where a step waits for its predicted parents and for all that it truly
needs, and a plan whose predicted edges contradict true ones is done one step after another.
"""

from __future__ import annotations

import argparse
import functools
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from bench.command import run_command
from bench.partial import PartialResults
from bench.planning import add_common_options, question
from bench.report import data_sha256, over_seeds, write_report
from bench.structure_baselines import Chain, EdgePredictor, FrequentShape, Pairwise
from orchestai.contracts import StepPlan
from orchestai.embeddings import load_encoder
from orchestai.embeddings.protocol import TextEncoder
from orchestai.errors import DataError
from orchestai.evaluation.structure import score_structures
from orchestai.importers import read_step_plans
from orchestai.importers.splits import normalized, split_by_hash
from orchestai.planner.structure_prior import Edges

KEYS = ("edge_f1", "exact", "dag_validity", "schedule_ratio", "missing_edges")

_TIMED = 100


class StructureParts(NamedTuple):
    """Plans in three parts; no goal and no list of steps of the test occurs in the others."""

    train: list[StepPlan]
    validation: list[StepPlan]
    test: list[StepPlan]
    dropped: int


def main(argv: list[str] | None = None) -> int:
    """Run the benchmark; return the exit status."""
    parser = argparse.ArgumentParser(prog="bench.structure", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--train", type=Path, required=True, help="folder to learn from")
    parser.add_argument("--test", type=Path, required=True, help="folder to measure on; may be the same")
    add_common_options(parser)
    options = parser.parse_args(argv)
    return run_command(lambda: run(options), lambda report: print_summary(report["results"]))


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Measure as `options` say and write the report.

    Raises:
        OrchestAIError: The data, the checkpoint or the place of the report cannot be used.
    """
    from orchestai.training.structure import StructureRecipe

    train_dir, test_dir = options.train.resolve(), options.test.resolve()
    parts = split_structures(_read(train_dir), None if train_dir == test_dir else _read(test_dir))
    seeds = list(range(options.seed, options.seed + options.seeds))
    sha256 = data_sha256(dict.fromkeys([train_dir, test_dir]))
    kept = PartialResults(options.out, question(options, sha256, StructureRecipe().model_dump(mode="json")))
    results = []
    with tempfile.TemporaryDirectory() as scratch:
        cache = options.cache or Path(scratch) / "embeddings"
        encoder = load_encoder(options.encoder, cache_dir=cache)
        baselines = kept.get("baselines", functools.partial(_baselines, parts, encoder))
        for seed in seeds:
            learned: dict[str, Any] = {}
            if not options.baselines_only:
                measured = functools.partial(_learned, options, parts, encoder, seed, kept.folder(f"seed-{seed}"))
                learned = kept.get(f"learned-{seed}", measured)
            results.append({**learned, "baselines": baselines})
    return write_report(
        options.out,
        bench="structure",
        data={
            "train": options.train.name,
            "test": options.test.name,
            "examples": {
                "train": len(parts.train),
                "validation": len(parts.validation),
                "test": len(parts.test),
                "dropped_from_training": parts.dropped,
            },
        },
        sha256=sha256,
        seed=seeds[0] if len(seeds) == 1 else seeds,
        results=over_seeds(results),
    )


def split_structures(plans: Sequence[StepPlan], test: Sequence[StepPlan] | None = None) -> StructureParts:
    """Split by the hash of the id: 60 % train, 20 % validation, 20 % test; or take `test` as it is.

    The test is measured whole. What it has in common with the rest is taken from the rest.

    Raises:
        DataError: A part is empty.
    """
    measured = [plan for plan in plans if split_by_hash(plan.id) == "test"] if test is None else list(test)
    goals = {normalized(plan.goal) for plan in measured}
    steps = {_steps_key(plan) for plan in measured}
    rest = [plan for plan in plans if test is not None or split_by_hash(plan.id) != "test"]
    fresh = [plan for plan in rest if normalized(plan.goal) not in goals and _steps_key(plan) not in steps]
    train = [plan for plan in fresh if split_by_hash(plan.id) != "validation"]
    validation = [plan for plan in fresh if split_by_hash(plan.id) == "validation"]
    for name, part in (("train", train), ("validation", validation), ("test", measured)):
        if not part:
            raise DataError(f"The {name} part has no plan.", remedy="Give more plans; the hash of the id decides.")
    return StructureParts(train, validation, measured, len(rest) - len(fresh))


def measure(predictor: EdgePredictor, plans: Sequence[StepPlan]) -> dict[str, Any]:
    """Return the metrics on `plans`, and under `shuffled` those with their steps in random order."""
    mixed = [shuffled(plan) for plan in plans]
    return {**_numbers(predictor, plans), "shuffled": _numbers(predictor, mixed)}


def shuffled(plan: StepPlan) -> StepPlan:
    """The same plan with its steps in an order that depends on nothing but its id."""
    order = random.Random(plan.id).sample(range(len(plan.steps)), len(plan.steps))
    place = {old: new for new, old in enumerate(order)}
    durations = plan.durations_s
    return StepPlan(
        id=plan.id,
        goal=plan.goal,
        steps=tuple(plan.steps[old] for old in order),
        edges=tuple(sorted((place[p], place[c]) for p, c in plan.edges)),
        durations_s=None if durations is None else tuple(durations[old] for old in order),
    )


def print_summary(results: Mapping[str, Any]) -> None:
    """Print one line a predictor."""
    print(f"{'':16}" + "".join(f"{key:>20}" for key in KEYS))
    for name, values in {"learned": results, **results["baselines"]}.items():
        if "edge_f1" in values:
            print(f"{name:16}" + "".join(f"{_shown(values[key]):>20}" for key in KEYS))


def _numbers(predictor: EdgePredictor, plans: Sequence[StepPlan]) -> dict[str, Any]:
    found: list[Edges | None] = [predictor.edges(plan.goal, plan.steps) for plan in plans]
    scores = score_structures(plans, found)
    known = scores.schedule[~np.isnan(scores.schedule)]
    return {
        "edge_f1": 100 * float(scores.edge_f1.mean()),
        "exact": 100 * float(scores.exact.mean()),
        "dag_validity": 100 * float(scores.valid.mean()),
        "schedule_ratio": float(known.mean()) if len(known) else float("nan"),
        "missing_edges": 100 * float(scores.missing.mean()),
    }


def _baselines(parts: StructureParts, encoder: TextEncoder) -> dict[str, Any]:
    simple: dict[str, EdgePredictor] = {
        "chain": Chain(),
        "frequent_shape": FrequentShape([*parts.train, *parts.validation]),
        "pairwise": Pairwise(parts.train, parts.validation, encoder),
    }
    return {name: measure(predictor, parts.test) for name, predictor in simple.items()}


class _Learned:
    """A StepStructure as the other predictors are seen."""

    def __init__(self, structure: Any) -> None:
        self._structure = structure

    def edges(self, goal: str, steps: Sequence[str]) -> Edges:
        edges: Edges = self._structure.predict(goal, steps).edges
        return edges


def _learned(
    options: argparse.Namespace, parts: StructureParts, encoder: TextEncoder, seed: int, out: Path
) -> dict[str, Any]:
    from orchestai.planner.structure import StepStructure
    from orchestai.training.structure import StructureRecipe, train_structure

    seconds: float | None = None
    checkpoint = options.checkpoint
    if checkpoint is None:
        recipe = StructureRecipe(seed=seed)
        if options.epochs is not None:
            recipe = recipe.model_copy(update={"epochs": options.epochs})
        trained = train_structure(recipe, [*parts.train, *parts.validation], encoder=encoder, out=out)
        checkpoint, seconds = trained.checkpoint, trained.seconds
    results = measure(_Learned(StepStructure.load(checkpoint, encoder=encoder)), parts.test)
    uncached = StepStructure.load(checkpoint, encoder=load_encoder(options.encoder))
    results["ms_per_plan_p50"] = _ms_p50(uncached, parts.test)
    results["ms_per_plan_cached_p50"] = _ms_p50(StepStructure.load(checkpoint, encoder=encoder), parts.test)
    results["training_seconds"] = seconds
    return results


def _ms_p50(structure: Any, plans: Sequence[StepPlan]) -> float:
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        taken = []
        for plan in plans[:_TIMED]:
            started = time.perf_counter()
            structure.predict(plan.goal, plan.steps)
            taken.append(1000 * (time.perf_counter() - started))
    finally:
        torch.set_num_threads(threads)
    return statistics.median(taken)


def _read(folder: Path) -> list[StepPlan]:
    plans, rejected = read_step_plans(folder)
    if rejected:
        print(f"{folder.name}: {rejected} records left out: they are no plans", file=sys.stderr)
    return plans


def _steps_key(plan: StepPlan) -> frozenset[str]:
    return frozenset(normalized(step) for step in plan.steps)


def _shown(value: Any) -> str:
    if isinstance(value, Mapping):
        return f"{value['mean']:.3f} ± {value['std']:.3f}"
    return f"{value:.3f}"


if __name__ == "__main__":
    sys.exit(main())
