"""Rules that span files: names that must differ, and names that must exist."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from orchestai.config.document import Document, KeyPath
from orchestai.config.files import EXPECTATIONS, PROJECT, PROMOTION, PROMPTS, SOURCES, TASK_TYPES, WORKERS
from orchestai.config.problems import suggest
from orchestai.config.prompts import DEFAULT, ROLES
from orchestai.config.targets import Selection
from orchestai.errors import ConfigProblem

Documents = Mapping[str, list[Document]]
Entry = tuple[Document, KeyPath, dict[str, Any]]


def check_references(documents: Documents, selection: Selection | None) -> list[ConfigProblem]:
    """Check the files against each other.

    It reads the raw values, so that one wrong file does not hide or invent problems of others.
    """
    problems: list[ConfigProblem] = []
    for kind, label in ((WORKERS, "worker"), (TASK_TYPES, "task type"), (SOURCES, "source")):
        problems.extend(_check_unique(label, list(_entries(documents, kind.name)), "name"))
    suites: list[Entry] = [(document, (), document.data) for document in documents[EXPECTATIONS.name]]
    problems.extend(_check_unique("suite for table", suites, "table"))
    problems.extend(_check_filled(documents))
    problems.extend(_check_prompts(documents))
    problems.extend(_check_quality(documents))
    problems.extend(_check_worker_names(documents, selection))
    problems.extend(_check_arms(documents))
    problems.extend(_check_pools(documents, selection))
    problems.extend(_check_policy(documents, selection))
    return problems


def _entries(documents: Documents, kind: str) -> Iterator[Entry]:
    for document in documents[kind]:
        items = document.data.get(kind)
        for index, item in enumerate(items if isinstance(items, list) else []):
            if isinstance(item, dict):
                yield document, (kind, index), item


def _names(documents: Documents, kind: str) -> list[str]:
    return [str(item["name"]) for _, _, item in _entries(documents, kind) if "name" in item]


def _check_unique(label: str, entries: list[Entry], field: str) -> Iterator[ConfigProblem]:
    first: dict[str, str] = {}
    for document, key, item in entries:
        if field not in item:
            continue
        name = str(item[field])
        place = f"{document.name}:{document.line((*key, field))}"
        if name in first:
            message = f"the {label} {name!r} is already defined at {first[name]}."
            yield document.problem((*key, field), message, "Rename or remove one of them.")
        first.setdefault(name, place)


def _check_filled(documents: Documents) -> Iterator[ConfigProblem]:
    for kind, label in ((WORKERS, "worker"), (TASK_TYPES, "task type")):
        files = documents[kind.name]
        if files and all(document.data.get(kind.name) == [] for document in files):
            yield files[0].problem((kind.name,), "must have at least one entry.", f"Describe a {label}.")


def _check_prompts(documents: Documents) -> Iterator[ConfigProblem]:
    known = [*ROLES, *_names(documents, TASK_TYPES.name)]
    entries = list(_entries(documents, PROMPTS.name))
    labels = [
        (document, key, {"label": f"{item['name']}@{item['version']}"})
        for document, key, item in entries
        if "name" in item and "version" in item
    ]
    yield from _check_unique("prompt", labels, "label")
    active: dict[str, list[str]] = {}
    for document, key, item in entries:
        task_type = item.get("task_type")
        if not isinstance(task_type, str):
            continue
        if task_type not in known:
            message = f"there is no task type {task_type!r}."
            yield document.problem((*key, "task_type"), message, suggest(task_type, known))
        others = active.setdefault(task_type, [])
        if item.get("active", True) is True:
            others.append(f"{item.get('name')}@{item.get('version')}")
            if len(others) > 1:
                message = f"two prompts for {task_type!r} are active: {others[0]} and {others[-1]}."
                yield document.problem((*key, "active"), message, "Set `active: false` on all but one.")
    for role in ROLES:
        if documents[PROMPTS.name] and not active.get(role):
            message = f"no active prompt has the task_type {role!r}."
            remedy = "It serves task types without their own." if role == DEFAULT else "The LLM planner needs it."
            yield documents[PROMPTS.name][0].problem((), message, remedy)


def _check_quality(documents: Documents) -> Iterator[ConfigProblem]:
    known = [*_names(documents, TASK_TYPES.name), "default"]
    for document, key, item in _entries(documents, WORKERS.name):
        simulation = item.get("simulation")
        quality = simulation.get("quality") if isinstance(simulation, dict) else None
        for name in quality if isinstance(quality, dict) else {}:
            if name not in known:
                place = (*key, "simulation", "quality", name)
                yield document.problem(place, f"there is no task type {name!r}.", suggest(name, known))


def _sections(
    documents: Documents, selection: Selection | None, section: str
) -> Iterator[tuple[Document, KeyPath, dict[str, Any]]]:
    for document in documents[PROJECT.name]:
        value = document.data.get(section)
        if isinstance(value, dict):
            yield document, (section,), value
    if selection is not None:
        profile, _, target = selection.key
        value = selection.document.data[profile]["targets"][target].get(section)
        if isinstance(value, dict):
            yield selection.document, (*selection.key, section), value


def _check_worker_names(documents: Documents, selection: Selection | None) -> Iterator[ConfigProblem]:
    known = _names(documents, WORKERS.name)
    named: list[tuple[Document, KeyPath, Any]] = []
    for document, key, section in _sections(documents, selection, "planner"):
        named.append((document, (*key, "llm_worker"), section.get("llm_worker")))
    for document, key, section in _sections(documents, selection, "engine"):
        named.append((document, (*key, "judge"), section.get("judge")))
    for document, key, section in _sections(documents, selection, "dagster"):
        workers = section.get("gpu_workers")
        for index, worker in enumerate(workers if isinstance(workers, list) else []):
            named.append((document, (*key, "gpu_workers", index), worker))
    for document, key, worker in named:
        if isinstance(worker, str) and worker not in known:
            yield document.problem(key, f"there is no worker {worker!r}.", suggest(worker, known))


def _check_arms(documents: Documents) -> Iterator[ConfigProblem]:
    """An arm's members stand before it, so that none can be a member of itself; its task types exist."""
    tasks = _names(documents, TASK_TYPES.name)
    before: list[str] = []
    for document, key, item in _entries(documents, WORKERS.name):
        kinds = item.get("task_types")
        for index, kind in enumerate(kinds if isinstance(kinds, list) else []):
            if isinstance(kind, str) and kind not in tasks:
                yield document.problem(
                    (*key, "task_types", index), f"there is no task type {kind!r}.", suggest(kind, tasks)
                )
        arm = item.get("arm")
        members = arm.get("members") if isinstance(arm, dict) else None
        for index, member in enumerate(members if isinstance(members, list) else []):
            if isinstance(member, str) and member not in before:
                message = f"there is no worker {member!r} above this one."
                yield document.problem((*key, "arm", "members", index), message, suggest(member, before))
        before.append(str(item.get("name", "")))


def _check_policy(documents: Documents, selection: Selection | None) -> Iterator[ConfigProblem]:
    known = ["default", *(document.path.stem for document in documents[PROMOTION.name])]
    for document, key, section in _sections(documents, selection, "registry"):
        policy = section.get("policy")
        if isinstance(policy, str) and policy not in known:
            message = f"there is no file promotion/{policy}.yml."
            yield document.problem((*key, "policy"), message, suggest(policy, known))


def _check_pools(documents: Documents, selection: Selection | None) -> Iterator[ConfigProblem]:
    sections = list(_sections(documents, selection, "dagster"))
    declared = [section["pools"] for _, _, section in sections if isinstance(section.get("pools"), dict)]
    known = list(dict.fromkeys(name for pools in declared for name in pools))
    for document, key, section in sections:
        steps = section.get("steps")
        for kind, step in steps.items() if known and isinstance(steps, dict) else ():
            pool = step.get("pool") if isinstance(step, dict) else None
            if isinstance(pool, str) and pool not in known:
                place = (*key, "steps", kind, "pool")
                yield document.problem(place, f"there is no pool {pool!r}.", suggest(pool, known))
