"""UltraTool as GNN4TaskPlan publishes it: requests, gold tools, gold links between tools by name."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from orchestai.catalog import ImportedCatalog
from orchestai.contracts import TaskCatalog, TaskType
from orchestai.errors import DataError
from orchestai.importers.sink import ImportReport, ImportSink, RejectedRecordError
from orchestai.importers.sources import iter_lines, locate, read_json

HOLDS = "plans.jsonl, tool_desc.json and graph_desc.json (each plain or .zst)"


def import_ultratool(folder: Path, out: Path) -> ImportReport:
    """Import a folder of UltraTool's format.

    The gold steps (`task_steps`) are not read at all: nearly all of them name the gold tool, so that a
    planner which saw them would be measured on what it was told.

    Args:
        folder: Holds plans.jsonl, tool_desc.json and graph_desc.json.
        out: Folder for catalog.yml and plans.parquet.

    Raises:
        DataError: A file is missing or not what it should be.
        StorageError: `out` cannot be written.
    """
    plans = locate(folder, "plans.jsonl", holds=HOLDS)
    catalog = read_tool_catalog(folder)
    known = frozenset(catalog.tasks.names)
    with ImportSink("ultratool", out) as sink:
        for line in iter_lines(plans):
            try:
                record = _parse(line.body)
                nodes = _nodes(record, known)
                links = index_links(nodes, _links(record))
                sink.add_plan(_text(record, "id"), _text(record, "user_request"), nodes, links)
            except RejectedRecordError as refusal:
                sink.reject(str(refusal), file=plans, position=line.number, record=line.body)
        return sink.finish(catalog)


def read_tool_catalog(folder: Path) -> ImportedCatalog:
    """Read the descriptions of the tools and the links between them.

    Raises:
        DataError: A file is missing or not what it should be.
    """
    tools = locate(folder, "tool_desc.json", holds=HOLDS)
    graph = locate(folder, "graph_desc.json", holds=HOLDS)
    types = []
    for node in _list_of(read_json(tools), "nodes", tools):
        name, description = node.get("id"), node.get("desc")
        if not isinstance(name, str) or not name:
            raise DataError(f"{tools}: a node has no `id`: {str(node)[:200]}.")
        domains = [word for word in node.get("domain") or () if isinstance(word, str)]
        text = description if isinstance(description, str) and description.strip() else name.replace("_", " ")
        if domains:
            text = f"{text.strip().rstrip('.')}. Domain: {', '.join(domains)}."
        types.append(TaskType(name=name, description=text.strip()))
    names = {task_type.name for task_type in types}
    if len(names) < len(types) or not types:
        raise DataError(f"{tools} must name at least one tool, and each only once.")
    links = [(link.get("source"), link.get("target")) for link in _list_of(read_json(graph), "links", graph)]
    kept = tuple(pair for pair in links if pair[0] in names and pair[1] in names)
    return ImportedCatalog(source="ultratool", tasks=TaskCatalog(types=tuple(types), links=kept))


def index_links(nodes: Sequence[str], links: Sequence[tuple[str, str]]) -> list[tuple[int, int]]:
    """Turn links between names into links between positions, because a tool may occur twice.

    Each link takes the closest pair of positions that has these names, runs forwards and is still free; for
    a chain this is exactly the chain.

    Raises:
        RejectedRecordError: No such pair is left.
    """
    free = [(i, j) for i in range(len(nodes)) for j in range(i + 1, len(nodes))]
    free += [(j, i) for i, j in free]
    free.sort(key=lambda pair: (pair[0] > pair[1], abs(pair[1] - pair[0]), pair[0]))
    found = []
    for source, target in links:
        pair = next((p for p in free if nodes[p[0]] == source and nodes[p[1]] == target), None)
        if pair is None:
            raise RejectedRecordError(f"link without its nodes: {source} -> {target}")
        free.remove(pair)
        found.append(pair)
    return found


def _parse(body: bytes) -> dict[str, Any]:
    try:
        record = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise RejectedRecordError(f"not JSON: {error}") from error
    if not isinstance(record, dict):
        raise RejectedRecordError("not an object")
    return record


def _text(record: dict[str, Any], key: str) -> str:
    value = record.get(key)
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str):
        raise RejectedRecordError(f"field missing or not text: {key}")
    return value


def _nodes(record: dict[str, Any], known: frozenset[str]) -> list[str]:
    entries = record.get("task_nodes")
    if not isinstance(entries, list) or not entries:
        raise RejectedRecordError("field missing or empty: task_nodes")
    names = [entry.get("task") if isinstance(entry, dict) else entry for entry in entries]
    for name in names:
        if name not in known:
            raise RejectedRecordError(f"tool without description: {name}")
    return [str(name) for name in names]


def _links(record: dict[str, Any]) -> list[tuple[str, str]]:
    entries = record.get("task_links", [])
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise RejectedRecordError("field not a list of objects: task_links")
    return [(str(entry.get("source")), str(entry.get("target"))) for entry in entries]


def _list_of(body: object, key: str, path: Path) -> list[dict[str, Any]]:
    entries = body.get(key) if isinstance(body, dict) else None
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise DataError(f"{path} must hold an object whose `{key}` is a list of objects.")
    return entries
