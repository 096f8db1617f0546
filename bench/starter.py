"""How well everyday instructions become DAGs of the ten default task types (starter corpus).

python -m bench.starter [--corpus FILE] --out report.json [--seeds N] [--checkpoint D] [--epochs E]

The split is by template, so no kind of need is in both train and test. `not_chains` holds the metrics on the
test plans that are no plain chain: there the edges say something.
"""

from __future__ import annotations

import argparse
import functools
import sys
import tempfile
from pathlib import Path
from typing import Any

from bench.command import run_command
from bench.learned import load_learned, train_learned, training_cost
from bench.measure import baselines, full_results
from bench.partial import PartialResults
from bench.planning import add_common_options, print_summary, question
from bench.report import data_sha256, over_seeds, write_report
from bench.splits import Parts, split_given
from orchestai.config import Project
from orchestai.contracts import PlanPredictor
from orchestai.embeddings import load_encoder

CORPUS = Path(__file__).resolve().parents[1] / "examples" / "starter" / "instructions.jsonl"


def main(argv: list[str] | None = None) -> int:
    """Run the benchmark; return the exit status."""
    options = _parser().parse_args(argv)
    return run_command(lambda: run(options), print_summary)


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Measure as `options` say and write the report.

    Raises:
        OrchestAIError: The corpus, the checkpoint or the place of the report cannot be used.
    """
    from orchestai.config import load_project
    from orchestai.importers import read_starter

    project = load_project(options.project)
    parts = split_given([record.to_example() for record in read_starter(options.corpus)])
    more = _with_synthetic(parts, project)
    recipe = project.training.phase1
    sha256 = data_sha256([options.corpus])
    decided = {"phase1": recipe, "synthetic": project.training.synthetic, "planner": project.planner}
    recorded = {name: part.model_dump(mode="json") for name, part in decided.items()}
    kept = PartialResults(options.out, question(options, sha256, recorded))
    seeds = list(range(options.seed, options.seed + options.seeds))
    with tempfile.TemporaryDirectory() as scratch:
        encoder = load_encoder(options.encoder, cache_dir=options.cache or Path(scratch) / "embeddings")
        simple = functools.cache(lambda: baselines(parts, project.tasks, encoder))

        def measure(seed: int) -> dict[str, Any]:
            learned: PlanPredictor | None = None
            folder = kept.folder(f"main-{seed}")
            if options.checkpoint is not None:
                learned = load_learned(
                    options.checkpoint, tasks=project.tasks, encoder=encoder, workers=project.workers
                )
            elif not options.baselines_only:
                learned = train_learned(
                    more,
                    tasks=project.tasks,
                    encoder=encoder,
                    seed=seed,
                    epochs=options.epochs,
                    out=folder,
                    workers=project.workers,
                    recipe=recipe,
                    sizes=project.planner,
                )
            return {**full_results(learned, simple(), parts, project.tasks), **training_cost(folder)}

        results = [kept.get(f"main-{seed}", functools.partial(measure, seed)) for seed in seeds]
    return write_report(
        options.out,
        bench="starter",
        data={
            "corpus": options.corpus.name,
            "examples": parts.counts(),
            "synthetic": len(more.train) - len(parts.train),
        },
        sha256=sha256,
        seed=seeds[0] if len(seeds) == 1 else seeds,
        results=over_seeds(results),
    )


def _with_synthetic(parts: Parts, project: Project) -> Parts:
    """Give the learned planner what the project's recipe adds; baselines and evaluation never see it."""
    from orchestai.training.synthesize import with_synthetic

    synthetic = project.training.synthetic
    everything = with_synthetic(
        [*parts.train, *parts.validation, *parts.test],
        rows=synthetic.rows,
        seed=synthetic.seed,
        tasks=project.tasks,
        max_subtasks=project.planner.max_subtasks,
    )
    added = everything[len(parts.train) + len(parts.validation) + len(parts.test) :]
    return parts._replace(train=[*parts.train, *added])


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="bench.starter", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--corpus", type=Path, default=CORPUS, help="starter corpus, a .jsonl file")
    parser.add_argument("--project", type=Path, help="configuration with the task types; null: the packaged")
    add_common_options(parser)
    return parser


if __name__ == "__main__":
    sys.exit(main())
