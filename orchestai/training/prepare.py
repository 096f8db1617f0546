"""Executions become training data: one row an instruction, with the plan and the workers worth imitating.

The documented `training_data.json` says what to learn; its Parquet twin says in more columns where that
comes from. Equal executions give equal bytes.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from orchestai.config import SplitConfig
from orchestai.contracts import PlanExample, Split, TaskCatalog, WorkerCatalog
from orchestai.contracts.base import Record
from orchestai.errors import DataError
from orchestai.importers.splits import split_by_hash
from orchestai.logs.columns import execution_schema
from orchestai.logs.feedback import Label
from orchestai.logs.files import replacing, write_file
from orchestai.logs.parquet import read_parquet
from orchestai.training.outcomes import Outcome, UnusableError, complexities, read_outcome

if TYPE_CHECKING:
    import pyarrow as pa

JSON_FILE = "training_data.json"
TABLE_FILE = "training_data.parquet"

_SUMMARY = b"orchestai.summary"
_JSON_SHA256 = b"orchestai.json_sha256"
_COLUMNS = [
    "execution_id",
    "attempt",
    "sequence",
    "timestamp",
    "instruction",
    "inputs",
    "success",
    "completed",
    "simulated",
    "cost",
    "latency_ms",
    "planner",
    "fallback_reason",
    "model_selections",
    "workers",
    "task_type_ids",
    "task_types",
    "dependencies",
    "adjacency",
    "subtasks",
    "checks",
    "example_id",
    "template",
    "split",
]


class PreparationSummary(Record):
    """What became of the executions.

    Attributes:
        executions: Executions that were given.
        duplicates: Those of them that were given more than once.
        unusable: Those of them without a plan that can be learned, by reason.
        rows: Training rows.
        imitation_rows: Rows whose workers only repeat what was done.
        simulated_rows: Rows that rest on a simulated worker.
        fallback_rows: Rows whose plan took the place of a learned one, and was accepted.
        fallback_instructions: Instructions for which the learned plan gave way at least once.
        failed_instructions: Instructions left out because no plan of theirs is worth learning.
        split_conflicts: Groups that the logs put into several splits; the most protected one won.
        splits: Rows of each split.
        planners: Rows by who made the plan.
        labelled: Executions whose outcome a person or a judge said.
    """

    executions: int
    duplicates: int
    unusable: dict[str, int]
    rows: int
    imitation_rows: int
    simulated_rows: int
    fallback_rows: int
    fallback_instructions: int
    failed_instructions: int
    split_conflicts: int
    splits: dict[str, int]
    planners: dict[str, int]
    labelled: int = 0


@dataclass(frozen=True)
class TrainingData:
    """What the planner learns from.

    Attributes:
        examples: The rows as plans, in order of id.
        table: The rows with all their columns, in the same order.
        summary: What became of the executions.
    """

    examples: list[PlanExample]
    table: pa.Table
    summary: PreparationSummary

    def documented_rows(self) -> list[dict[str, Any]]:
        """Return the rows as `training_data.json` has them."""
        return [
            {
                "instruction": row["instruction"],
                "targets": {
                    "model_selections": row["model_selection_ids"],
                    "task_types": row["task_type_ids"],
                    "dependencies": row["dependencies"],
                },
                "rewards": {
                    "success": row["reward_success"],
                    "cost": row["reward_cost"],
                    "latency": row["reward_latency"],
                },
            }
            for row in self.table.to_pylist()
        ]


class TrainingPaths(NamedTuple):
    """Where training data were written."""

    json: Path
    parquet: Path


def prepare_training_data(
    tables: pa.Table | Path | Iterable[pa.Table | Path],
    tasks: TaskCatalog,
    workers: WorkerCatalog,
    split: SplitConfig | None = None,
    *,
    labels: Mapping[str, Label] | None = None,
) -> TrainingData:
    """Make training data of executions.

    One row an instruction text. Its plan is the one that succeeded: first a plan that a person made, then
    the one that succeeded most often, then the cheaper. Without any success only a person's plan is learned
    from; what a fallback or the planner itself made, and failed with, is not. So each time that the learned plan
    gave way (`fallback_reason` in the log) and the answer was accepted, the plan that took its place is a row,
    unless a person's plan or one that succeeded more often stands for the instruction. The workers are the cheapest
    assignment among the executions of that plan whose answer a check accepted; otherwise those of the last
    good execution, and the row is marked `imitation`. Rewards are means over the executions of this plan by
    these workers. `weight` is 1 for a person's plan, else the share of its executions that succeeded.

    Args:
        tables: Tables of executions, or their Parquet files.
        tasks: Gives task types their ids.
        workers: Gives workers their ids.
        split: Percentages of the groups in each split, for groups whose split the log does not say.
        labels: What people or judges said of executions, by id; it overrides what the checks said.

    Raises:
        DataError: A table is not one of executions.
    """
    rows = [row for table in _tables(tables) for row in table.select(_COLUMNS).to_pylist()]
    unique: dict[tuple[str, int, int], dict[str, Any]] = {}
    for row in sorted(rows, key=lambda row: row["timestamp"]):
        unique.setdefault((row["execution_id"], row["attempt"], row["sequence"]), row)
    outcomes: dict[str, list[Outcome]] = defaultdict(list)
    unusable: Counter[str] = Counter()
    labelled = 0
    for key in sorted(unique):
        try:
            outcome = read_outcome(unique[key], tasks, workers)
        except UnusableError as error:
            unusable[str(error)] += 1
        else:
            label = (labels or {}).get(outcome.execution_id)
            if label is not None:
                outcome = replace(outcome, success=label.success, accepted=label.success)
                labelled += 1
            outcomes[outcome.instruction].append(outcome)
    groups = {text: _group(text, found) for text, found in outcomes.items()}
    splits, conflicts = _assign_splits(groups, outcomes, split or SplitConfig())
    made = [
        row
        for text, found in outcomes.items()
        if (row := _row(text, found, groups[text], splits[groups[text]], tasks, workers)) is not None
    ]
    made.sort(key=lambda row: (row["id"], row["instruction"]))
    _number_equal_ids(made)
    return TrainingData(
        examples=[_example(row) for row in made],
        table=_to_table(made),
        summary=PreparationSummary(
            executions=len(rows),
            duplicates=len(rows) - len(unique),
            unusable=dict(sorted(unusable.items())),
            rows=len(made),
            imitation_rows=sum(row["imitation"] for row in made),
            simulated_rows=sum(row["simulated"] for row in made),
            fallback_rows=sum(row["fallback_reason"] is not None for row in made),
            fallback_instructions=sum(any(o.fallback_reason for o in found) for found in outcomes.values()),
            failed_instructions=len(outcomes) - len(made),
            split_conflicts=conflicts,
            labelled=labelled,
            splits={name: sum(row["split"] == name for row in made) for name in ("train", "validation", "test")},
            planners=dict(sorted(Counter(row["planner"] for row in made).items())),
        ),
    )


def write_training_data(data: TrainingData, directory: Path) -> TrainingPaths:
    """Write `training_data.json` and its Parquet twin, each at once.

    Raises:
        StorageError: The disk refuses.
    """
    import pyarrow.parquet as pq

    paths = TrainingPaths(directory / JSON_FILE, directory / TABLE_FILE)
    rows = [json.dumps(row, ensure_ascii=False) for row in data.documented_rows()]
    content = ("[\n" + ",\n".join(rows) + "\n]\n").encode()
    metadata = {
        _SUMMARY: data.summary.model_dump_json().encode(),
        _JSON_SHA256: hashlib.sha256(content).hexdigest().encode(),
    }
    write_file(paths.json, content)
    with replacing(paths.parquet) as temporary:
        table = data.table.replace_schema_metadata(metadata)
        pq.write_table(table, temporary, compression="zstd", write_page_checksum=True)
    return paths


def read_training_data(directory: Path) -> TrainingData:
    """Read what `write_training_data` wrote.

    Raises:
        DataError: It is missing or damaged, or the two files do not belong together.
    """
    import pyarrow as pa

    path = directory / TABLE_FILE
    remedy = "Prepare the training data again."
    if not path.exists():
        raise DataError(
            f"There are no training data in {directory}.",
            remedy="`make run` or the Dagster job `train_planner` prepares them from the logs; "
            "`orchestai import KIND DIR --out D` makes others, for --data D.",
        )
    try:
        table = read_parquet(path)
        content = (directory / JSON_FILE).read_bytes()
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"The training data in {directory} cannot be read: {error}", remedy=remedy) from error
    metadata = table.schema.metadata or {}
    if not table.schema.equals(_schema()) or _SUMMARY not in metadata:
        raise DataError(f"{path} is not a table of training data of this version.", remedy=remedy)
    if metadata.get(_JSON_SHA256) != hashlib.sha256(content).hexdigest().encode():
        raise DataError(f"{directory / JSON_FILE} is not the twin of {path}.", remedy=remedy)
    table = table.replace_schema_metadata(None).cast(_schema())
    return TrainingData(
        examples=[_example(row) for row in table.to_pylist()],
        table=table,
        summary=PreparationSummary.model_validate_json(metadata[_SUMMARY]),
    )


def split_of(group: str, split: SplitConfig) -> Split:
    """Return the split of a group by the hash of its name: the same on every machine."""
    return split_by_hash(group, train=split.train, validation=split.validation)


def _tables(tables: pa.Table | Path | Iterable[pa.Table | Path]) -> list[pa.Table]:
    import pyarrow as pa

    given = [tables] if isinstance(tables, pa.Table | Path) else list(tables)
    schema = execution_schema()
    read = []
    for item in given:
        try:
            table = item if isinstance(item, pa.Table) else read_parquet(item)
            read.append(table.select(_COLUMNS).cast(pa.schema([schema.field(name) for name in _COLUMNS])))
        except (OSError, KeyError, ValueError, pa.ArrowException) as error:
            name = "A table" if isinstance(item, pa.Table) else item
            raise DataError(
                f"{name} is not a table of executions: {error}", remedy="Ingest the execution logs again."
            ) from error
    return read


def _group(text: str, outcomes: Sequence[Outcome]) -> str:
    return min((outcome.template for outcome in outcomes if outcome.template), default=text)


def _assign_splits(
    groups: dict[str, str], outcomes: dict[str, list[Outcome]], config: SplitConfig
) -> tuple[dict[str, Split], int]:
    """Return the split of each group, and how many groups were logged in several."""
    logged: dict[str, set[Split]] = defaultdict(set)
    for text, group in groups.items():
        logged[group].update(outcome.split for outcome in outcomes[text] if outcome.split)
    splits: dict[str, Split] = {}
    for group, found in logged.items():
        # What was once held out must never be trained on.
        protected: list[Split] = [name for name in ("test", "validation", "train") if name in found]
        splits[group] = protected[0] if protected else split_of(group, config)
    return splits, sum(len(found) > 1 for found in logged.values())


def _row(
    text: str, outcomes: list[Outcome], group: str, split: Split, tasks: TaskCatalog, workers: WorkerCatalog
) -> dict[str, Any] | None:
    plans: dict[tuple[Any, ...], list[Outcome]] = defaultdict(list)
    for outcome in outcomes:
        plans[outcome.plan].append(outcome)
    worth = [same for same in plans.values() if any(o.success or o.person_made for o in same)]
    if not worth:
        return None
    same = min(worth, key=_plan_rank)
    accepted = [outcome for outcome in same if outcome.accepted]
    done = _cheapest(accepted) if accepted else max(same, key=_recency).workers
    chosen = [outcome for outcome in same if outcome.workers == done]
    person = [outcome for outcome in same if outcome.person_made]
    example_id = min((outcome.example_id for outcome in outcomes if outcome.example_id), default=None)
    return {
        "id": example_id or f"live-{hashlib.sha256(text.encode()).hexdigest()[:16]}",
        "instruction": text,
        "task_types": same[0].task_types,
        "task_type_ids": [tasks.index(name) for name in same[0].task_types],
        "dependencies": same[0].dependencies,
        "model_selections": done,
        "model_selection_ids": [workers.index(name) for name in done],
        "imitation": not accepted,
        "complexities": complexities(chosen),
        "reward_success": _mean([float(outcome.success) for outcome in chosen]),
        "reward_cost": 0.0 - _mean([outcome.cost_usd for outcome in chosen]),  # 0.0, never -0.0
        "reward_latency": 0.0 - _mean([outcome.latency_ms for outcome in chosen]) / 1000,
        "group": group,
        "split": split,
        "planner": min(outcome.planner for outcome in person or same),
        "fallback_reason": None if person else _latest_reason(same),
        "simulated": any(outcome.simulated for outcome in chosen),
        "weight": 1.0 if person else _mean([float(outcome.success) for outcome in same]),
        "executions": len(outcomes),
        "execution_ids": sorted({outcome.execution_id for outcome in same}),
    }


def _plan_rank(same: list[Outcome]) -> tuple[Any, ...]:
    """Sort key of a plan, given its executions: the smallest is learned from."""
    successes = sum(outcome.success for outcome in same)
    person = any(outcome.person_made for outcome in same)
    return (
        not successes,
        not person,
        -successes,
        _mean([outcome.cost_usd for outcome in same]),
        same[0].plan,
    )


def _cheapest(accepted: list[Outcome]) -> tuple[str, ...]:
    by_workers: dict[tuple[str, ...], list[Outcome]] = defaultdict(list)
    for outcome in accepted:
        by_workers[outcome.workers].append(outcome)

    def price(names: tuple[str, ...]) -> tuple[float, float, tuple[str, ...]]:
        found = by_workers[names]
        return (_mean([o.cost_usd for o in found]), _mean([o.latency_ms for o in found]), names)

    return min(by_workers, key=price)


def _recency(outcome: Outcome) -> tuple[Any, ...]:
    key = (outcome.execution_id, outcome.attempt, outcome.sequence)
    return (outcome.success, outcome.completed, outcome.timestamp, key)


def _latest_reason(same: list[Outcome]) -> str | None:
    """Say why the learned plan gave way, as the last accepted execution logged it."""
    reasons = [o for o in same if o.fallback_reason and o.success]
    return max(reasons, key=_recency).fallback_reason if reasons else None


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _number_equal_ids(rows: list[dict[str, Any]]) -> None:
    """Tell rows apart whose example changed its wording between executions."""
    seen: Counter[str] = Counter()
    for row in rows:
        seen[row["id"]] += 1
        if seen[row["id"]] > 1:
            row["id"] = f"{row['id']}~{seen[row['id']]}"


def _example(row: dict[str, Any]) -> PlanExample:
    found = row["complexities"]
    return PlanExample(
        id=row["id"],
        instruction=row["instruction"],
        task_types=tuple(row["task_types"]),
        dependencies=tuple(tuple(parents) for parents in row["dependencies"]),
        model_selections=tuple(row["model_selections"]),
        imitation=row["imitation"],
        complexities=None if found is None else tuple(found),
        group=row["group"],
        split=row["split"],
    )


def _schema() -> pa.Schema:
    import pyarrow as pa

    text, number, flag = pa.string(), pa.float64(), pa.bool_()
    ids, names = pa.list_(pa.int32()), pa.list_(text)
    columns = [
        ("id", text),
        ("instruction", text),
        ("task_types", names),
        ("task_type_ids", ids),
        ("dependencies", pa.list_(ids)),
        ("model_selections", names),
        ("model_selection_ids", ids),
        ("imitation", flag),
        ("complexities", pa.list_(number)),
        ("reward_success", number),
        ("reward_cost", number),
        ("reward_latency", number),
        ("group", text),
        ("split", text),
        ("planner", text),
        ("fallback_reason", text),
        ("simulated", flag),
        ("weight", number),
        ("executions", pa.int32()),
        ("execution_ids", names),
    ]
    return pa.schema(
        [pa.field(name, kind, nullable=name in ("complexities", "fallback_reason")) for name, kind in columns]
    )


def _to_table(rows: list[dict[str, Any]]) -> pa.Table:
    import pyarrow as pa

    return pa.Table.from_pylist(rows, schema=_schema())
