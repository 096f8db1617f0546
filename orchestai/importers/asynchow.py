"""AsyncHow: how-to plans whose steps truly run side by side; one JSON object whose values are columns."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from orchestai.catalog import ImportedCatalog
from orchestai.contracts import TaskCatalog, TaskType
from orchestai.contracts.steps import StepPlan
from orchestai.errors import DataError, InputError
from orchestai.importers.sink import ImportReport, ImportSink, RejectedRecordError
from orchestai.importers.sources import locate, read_json

HOLDS = "plans.json (plain or .zst) with the columns titles, steps and edge_list"


def import_asynchow(folder: Path, out: Path) -> ImportReport:
    """Import the plans of AsyncHow.

    A node's name is the text of its step, and the catalog describes each distinct step: the steps are free
    text, and a catalog that names all nodes of its plans is what every reader of an import relies on.

    Args:
        folder: Holds plans.json.
        out: Folder for catalog.yml and plans.parquet.

    Raises:
        DataError: The file is missing or not what it should be.
        StorageError: `out` cannot be written.
    """
    path = locate(folder, "plans.json", holds=HOLDS)
    columns = _columns(read_json(path), path)
    steps_seen: dict[str, None] = {}
    with ImportSink("asynchow", out) as sink:
        for index in range(len(columns["titles"])):
            row = {key: values[index] for key, values in columns.items()}
            try:
                nodes = _steps(row["steps"])
                links = _links(row["edge_list"], len(nodes))
                title = row["titles"]
                if not isinstance(title, str):
                    raise RejectedRecordError("field missing or not text: titles")
                sink.add_plan(
                    f"asynchow-{index:05d}",
                    title,
                    nodes,
                    links,
                    durations_s=_durations(row.get("timedelta_dic"), len(nodes)),
                    optimal_s=_middle(row.get("task_time")),
                )
                steps_seen.update(dict.fromkeys(nodes))
            except RejectedRecordError as refusal:
                sink.reject(str(refusal), file=path, position=index, record=row.get("titles"))
        types = tuple(TaskType(name=step, description=step) for step in steps_seen or {"step": None})
        return sink.finish(ImportedCatalog(source="asynchow", tasks=TaskCatalog(types=types)))


def read_step_plans(folder: Path) -> tuple[list[StepPlan], int]:
    """Read the plans with their steps in the order in which they were written down.

    An import puts parents before children, which gives a good part of the graph away: whoever predicts the
    graph must not see that order, but this one.

    Args:
        folder: Holds plans.json.

    Returns:
        The plans, with the ids that an import gives them, and the number of records that are no plans.

    Raises:
        DataError: The file is missing or not what it should be.
    """
    path = locate(folder, "plans.json", holds=HOLDS)
    columns = _columns(read_json(path), path)
    plans, rejected = [], 0
    for index, title in enumerate(columns["titles"]):
        row = {key: values[index] for key, values in columns.items()}
        try:
            steps = _steps(row["steps"])
            if not isinstance(title, str):
                raise RejectedRecordError("field missing or not text: titles")
            durations = _durations(row.get("timedelta_dic"), len(steps))
            plan = StepPlan(
                id=f"asynchow-{index:05d}",
                goal=title,
                steps=tuple(steps),
                edges=tuple(sorted(set(_links(row["edge_list"], len(steps))))),
                durations_s=None if durations is None else tuple(durations),
            )
        except (RejectedRecordError, InputError):
            rejected += 1
        else:
            plans.append(plan)
    return plans, rejected


def _columns(body: object, path: Path) -> dict[str, list[Any]]:
    if not isinstance(body, dict):
        raise DataError(f"{path} must hold an object of columns.", remedy=f"It should be {HOLDS}.")
    missing = [key for key in ("titles", "steps", "edge_list") if not isinstance(body.get(key), list)]
    if missing:
        raise DataError(f"{path} lacks the columns {', '.join(missing)}.", remedy=f"It should be {HOLDS}.")
    wanted = ("titles", "steps", "edge_list", "timedelta_dic", "task_time")
    columns = {key: body[key] for key in wanted if isinstance(body.get(key), list)}
    sizes = {key: len(values) for key, values in columns.items()}
    if len(set(sizes.values())) > 1:
        raise DataError(f"{path} has columns of different lengths: {sizes}.")
    return columns


def _steps(value: object) -> list[str]:
    if not isinstance(value, list) or not value or not all(isinstance(s, str) and s.strip() for s in value):
        raise RejectedRecordError("field missing or not a list of texts: steps")
    return [step.strip() for step in value]


def _links(value: object, size: int) -> list[tuple[int, int]]:
    """Drop the START and END nodes and count from zero."""
    if not isinstance(value, list):
        raise RejectedRecordError("field not a list: edge_list")
    links = []
    for pair in value:
        if not isinstance(pair, list | tuple) or len(pair) != 2:
            raise RejectedRecordError(f"edge is not a pair: {pair}")
        if "START" in pair or "END" in pair:
            continue
        try:
            source, target = int(pair[0]) - 1, int(pair[1]) - 1
        except (TypeError, ValueError):
            raise RejectedRecordError(f"edge is not between numbers: {pair}") from None
        if not (0 <= source < size and 0 <= target < size):
            raise RejectedRecordError(f"edge to a step that does not exist: {pair}")
        links.append((source, target))
    return links


def _durations(value: object, size: int) -> list[float] | None:
    if not isinstance(value, dict):
        return None
    found = [_middle(value.get(str(index + 1))) for index in range(size)]
    return [d for d in found if d is not None] if None not in found else None


def _middle(value: object) -> float | None:
    """Return the middle of a [shortest, longest] time."""
    if isinstance(value, list) and value and all(isinstance(v, int | float) for v in value):
        return float(sum(value)) / len(value)
    return None
