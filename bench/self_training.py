"""A planner that is trained on its own plans, generation after generation, with and without the gate in front.

python -m bench.self_training --out report.json [--generations N] [--rows N] [--plot FILE] [--cache DIR]

Generation 0 learns from instructions with their true plans. Every generation after it learns from a fresh window of
instructions with the plans that the model before made for them, and is trained anew. The instructions are the
grammar's (`orchestai.training.synthesize`), none of them near a held-out one. Each window is judged by the six-stage
gate as execution logs are: against the last approved window, and against the first one, so that small steps do not
add up unseen. With the gate, a refused window trains nothing and the last model stays. `true plans`: the same windows
with their true plans, which have to be approved. Held out: the test split of the starter corpus, which no generation
sees; node F1 is that of each sample, then the mean.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.command import run_command
from bench.learned import train_learned
from bench.report import data_sha256, write_report
from bench.splits import Parts
from orchestai.config import Phase1Config, Project
from orchestai.contracts import PlanExample, PlanPredictor
from orchestai.embeddings import load_encoder
from orchestai.embeddings.protocol import TextEncoder

CORPUS = Path(__file__).resolve().parents[1] / "examples" / "starter" / "instructions.jsonl"
_VALIDATION_SHARE = 5
"""One row in so many is for early stopping, with plans of the same origin as those trained on."""


def main(argv: list[str] | None = None) -> int:
    """Run the benchmark; return the exit status."""
    parser = argparse.ArgumentParser(prog="bench.self_training", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="report to write")
    parser.add_argument("--generations", type=int, default=10, help="trainings on own plans")
    parser.add_argument("--rows", type=int, default=400, help="instructions in each window")
    parser.add_argument("--epochs", type=int, default=6, help="passes over each window")
    parser.add_argument("--learning-rate", type=float, default=5e-4)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--split", choices=("validation", "test"), default="test", help="held-out split to measure on")
    parser.add_argument("--cache", type=Path, help="folder that keeps embeddings between runs")
    parser.add_argument("--plot", type=Path, help="PNG to draw the curves to")
    options = parser.parse_args(argv)

    def draw(report: dict[str, Any]) -> None:
        if options.plot is not None:
            plot(report["results"], options.plot)

    return run_command(lambda: run(options), draw)


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Measure as `options` say and write the report.

    Raises:
        OrchestAIError: The corpus or the place of the report cannot be used.
    """
    from orchestai.config import load_project
    from orchestai.importers import read_starter
    from orchestai.training.synthesize import synthesize

    project = load_project()
    corpus = [record.to_example() for record in read_starter(CORPUS)]
    held_out = [example for example in corpus if example.split == options.split]
    avoid = [example.instruction for example in corpus if example.split != "train"]
    stream = synthesize(rows=options.rows * (options.generations + 1), seed=100 + options.seed, avoid=avoid)
    windows = [stream[start : start + options.rows] for start in range(0, len(stream), options.rows)]
    with tempfile.TemporaryDirectory() as scratch:
        encoder = load_encoder("minilm", cache_dir=options.cache or Path(scratch) / "embeddings")
        results = generations(options, project, encoder, windows, held_out, Path(scratch))
    return write_report(
        options.out,
        bench="self_training",
        data={"windows": len(windows), "rows": options.rows, "held_out": len(held_out), "split": options.split},
        sha256=data_sha256([CORPUS]),
        seed=options.seed,
        results=results,
    )


def generations(
    options: argparse.Namespace,
    project: Project,
    encoder: TextEncoder,
    windows: Sequence[list[PlanExample]],
    held_out: Sequence[PlanExample],
    scratch: Path,
) -> dict[str, Any]:
    """Train generation after generation; return node F1 and verdicts by generation."""
    from orchestai.validation.executions import example_plan_table

    names = project.tasks.names

    def learn(rows: Sequence[PlanExample], name: str) -> PlanPredictor:
        parts = Parts(
            [row for place, row in enumerate(rows) if place % _VALIDATION_SHARE],
            [row for place, row in enumerate(rows) if not place % _VALIDATION_SHARE],
            [],
            0,
        )
        recipe = Phase1Config(learning_rate=options.learning_rate, encoder_layers=0, encoder_epochs=0)
        return train_learned(
            parts,
            tasks=project.tasks,
            encoder=encoder,
            seed=options.seed,
            epochs=options.epochs,
            out=scratch / name,
            recipe=recipe,
        )

    judge = _Judge(example_plan_table(windows[0], names))
    truth = _Judge(example_plan_table(windows[0], names))
    alone = gated = learn(windows[0], "generation-0")
    gated_from = 0
    rows = [_row(0, alone, alone, held_out, project, None, None)]
    print(rows[0], flush=True)
    for number, window in enumerate(windows[1:], 1):
        own = _with_plans_of(alone, window)
        same = gated is alone
        mine = own if same else _with_plans_of(gated, window)
        verdict = judge(example_plan_table(mine, names))
        alone = learn(own, f"generation-{number}")
        if verdict["approved"]:
            gated, gated_from = (alone if same else learn(mine, f"gated-{number}")), number
        row = _row(number, alone, gated, held_out, project, verdict, truth(example_plan_table(window, names)))
        rows.append(row | {"distinct_plans": len({(e.task_types, e.dependencies) for e in own})})
        print(rows[-1], flush=True)
    refused = [row["generation"] for row in rows if row["gate"] is not None and not row["gate"]["approved"]]
    return {
        "generations": rows,
        "first_refused": refused[0] if refused else None,
        "refused": refused,
        "true_plans_refused": [
            row["generation"] for row in rows if row["true_plans"] is not None and not row["true_plans"]["approved"]
        ],
        "node_f1_first": rows[0]["node_f1"],
        "node_f1_last": rows[-1]["node_f1"],
        "node_f1_last_with_gate": rows[-1]["node_f1_with_gate"],
        "last_model_with_gate": gated_from,
    }


class _Judge:
    """The gate against the last approved window and against the first one."""

    def __init__(self, first: Any) -> None:
        from orchestai.app.log_windows import window_settings
        from orchestai.validation.gate import DatasetValidator

        self._validator = DatasetValidator(settings=window_settings(None), use_cache=False)
        self._anchor = self._before = self._validator.profile(first)

    def __call__(self, table: Any) -> dict[str, Any]:
        found = {"previous": self._opinion(table, self._before)}
        if self._before is not self._anchor:
            found["anchor"] = self._opinion(table, self._anchor)
        approved = all(opinion["approved"] for opinion in found.values())
        if approved:
            self._before = self._validator.profile(table)
        return {"approved": approved, **found}

    def _opinion(self, table: Any, reference: Any) -> dict[str, Any]:
        result = self._validator.validate_sync(table, reference=reference)
        return {
            "approved": result.approved_for_training,
            "verdict": result.verdict,
            "collapse_score": result.collapse_score,
            "diversity_score": result.diversity_score,
            "reason": result.reason,
            "dimensions": {name: found.score for name, found in result.dimensions.items()},
        }


def _with_plans_of(planner: PlanPredictor, window: Sequence[PlanExample]) -> list[PlanExample]:
    plans = planner.predict([example.instruction for example in window])
    return [
        example.model_copy(update={"task_types": plan.task_types, "dependencies": plan.dependencies})
        for example, plan in zip(window, plans, strict=True)
        if plan.task_types
    ]


def _row(
    number: int,
    alone: PlanPredictor,
    gated: PlanPredictor,
    held_out: Sequence[PlanExample],
    project: Project,
    verdict: dict[str, Any] | None,
    truth: dict[str, Any] | None,
) -> dict[str, Any]:
    from orchestai.evaluation.evaluate import evaluate_predictor

    mine = evaluate_predictor(alone, held_out, tasks=project.tasks)
    with_gate = mine if gated is alone else evaluate_predictor(gated, held_out, tasks=project.tasks)
    return {
        "generation": number,
        "node_f1": round(mine["node_f1"], 2),
        "node_f1_with_gate": round(with_gate["node_f1"], 2),
        "link_f1": round(mine["link_f1"], 2),
        "link_f1_with_gate": round(with_gate["link_f1"], 2),
        "gate": verdict,
        "true_plans": truth,
    }


def plot(results: dict[str, Any], path: Path) -> None:
    """Draw node F1 by generation, with and without the gate, as PNG."""
    from matplotlib.figure import Figure

    rows = results["generations"]
    numbers = [row["generation"] for row in rows]
    figure = Figure(figsize=(7, 3), dpi=90, layout="constrained")
    axes = figure.subplots()
    axes.plot(numbers, [row["node_f1"] for row in rows], "o-", color="#c62828", label="without the gate")
    axes.plot(numbers, [row["node_f1_with_gate"] for row in rows], "s-", color="#2e7d32", label="with the gate")
    for place, number in enumerate(results["refused"]):
        axes.axvline(number, color="#9e9e9e", lw=0.8, ls=":", label=None if place else "window refused")
    axes.set_xlabel("generation trained on own plans")
    axes.set_ylabel("held-out node F1, %")
    axes.set_xticks(numbers)
    axes.legend(fontsize=8)
    figure.savefig(path)


if __name__ == "__main__":
    sys.exit(main())
