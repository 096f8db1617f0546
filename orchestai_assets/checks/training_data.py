"""Checks of the training data."""

from collections import defaultdict
from collections.abc import Iterator, Sequence

import dagster as dg

from orchestai.app.places import related_values, training_folder
from orchestai.contracts import PlanExample, Subtask, WorkflowGraph
from orchestai.errors import PlanError
from orchestai_assets import keys
from orchestai_assets.checks.gates import gate_result, gate_results, gate_specs
from resources.orchestai_resource import OrchestAIResource

_SHOWN = 5


@dg.multi_asset_check(
    name="training_data_expectations",
    specs=gate_specs(
        keys.TRAINING_DATA,
        "expectations",
        "The rules of dbt_like_configs/expectations/training_data.yml, applied by Great Expectations.",
    ),
)
def training_data_expectations(orchestai: OrchestAIResource) -> Iterator[dg.AssetCheckResult]:
    """Apply the declared suite."""
    from orchestai.training.prepare import read_training_data
    from orchestai.validation.suite import run_suite

    project = orchestai.project
    table = read_training_data(training_folder(project)).table
    gates, _ = run_suite(table, project.expectations["training_data"], related=related_values(project))
    yield from gate_results(keys.TRAINING_DATA, "expectations", gates)


@dg.asset_check(
    asset=keys.TRAINING_DATA,
    name="enough_rows",
    blocking=True,
    description="There are as many rows as `training.min_rows` asks for, and some in each split.",
)
def training_data_enough_rows(orchestai: OrchestAIResource) -> dg.AssetCheckResult:
    """Count rows in all and in each split."""
    from orchestai.training.prepare import read_training_data

    project = orchestai.project
    summary = read_training_data(training_folder(project)).summary
    empty = [name for name, rows in summary.splits.items() if not rows]
    observed = f"{summary.rows} rows" + (f", none in {', '.join(empty)}" if empty else "")
    return gate_result(
        "rows",
        passed=summary.rows >= project.training.min_rows and not empty,
        observed=observed,
        allowed=f">= {project.training.min_rows} rows, every split with some",
    )


@dg.asset_check(
    asset=keys.TRAINING_DATA,
    name="valid_dags",
    blocking=True,
    description="Every plan to learn from is acyclic, names existing sub-tasks only and knows its task types.",
)
def training_data_valid_dags(orchestai: OrchestAIResource) -> dg.AssetCheckResult:
    """Build every plan as a graph."""
    from orchestai.training.prepare import read_training_data

    project = orchestai.project
    examples = read_training_data(training_folder(project)).examples
    return dags_result(examples, frozenset(project.tasks.names))


@dg.asset_check(
    asset=keys.TRAINING_DATA,
    name="no_split_leakage",
    blocking=True,
    description="No instruction and no group (template) stands in two splits.",
)
def training_data_no_leakage(orchestai: OrchestAIResource) -> dg.AssetCheckResult:
    """Look for instructions and groups in several splits."""
    from orchestai.training.prepare import read_training_data

    return leakage_result(read_training_data(training_folder(orchestai.project)).examples)


def dags_result(examples: Sequence[PlanExample], known: frozenset[str]) -> dg.AssetCheckResult:
    """Say which plans are no valid graphs."""
    wrong = [f"{example.id}: {problem}" for example in examples if (problem := _problem(example, known))]
    return gate_result(
        "valid DAGs",
        passed=not wrong,
        observed=(
            f"{len(examples) - len(wrong)} of {len(examples)}" + (f"; {'; '.join(wrong[:_SHOWN])}" if wrong else "")
        ),
        allowed="all",
    )


def leakage_result(examples: Sequence[PlanExample]) -> dg.AssetCheckResult:
    """Say what stands in two splits."""
    places: dict[tuple[str, str], set[str]] = defaultdict(set)
    for example in examples:
        text = " ".join(example.instruction.casefold().split())
        for kind, value in (("instruction", text), ("group", example.group)):
            places[kind, value].add(example.split or "none")
    leaks = sorted(key for key, splits in places.items() if len(splits) > 1)
    shown = "; ".join(f"{kind} {value[:80]!r}" for kind, value in leaks[:_SHOWN])
    return gate_result(
        "in two splits",
        passed=not leaks,
        observed=f"{len(leaks)}: {shown}" if leaks else "0",
        allowed="0 instructions and groups",
    )


def _problem(example: PlanExample, known: frozenset[str]) -> str | None:
    unknown = sorted(set(example.task_types) - known)
    if unknown:
        return f"unknown task types {', '.join(unknown)}"
    try:
        nodes = tuple(Subtask(task_type=name) for name in example.task_types)
        WorkflowGraph(nodes=nodes, dependencies=example.dependencies)
    except PlanError as error:
        return error.message
    return None
