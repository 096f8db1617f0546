"""Training the router as the hosts call it: from outcomes, logged or imported, to a checkpoint."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from orchestai.app.places import execution_tables, routing_folder
from orchestai.config import Project
from orchestai.contracts import TaskCatalog, WorkerCatalog
from orchestai.errors import DataError

if TYPE_CHECKING:
    from orchestai.config.training import RouterConfig
    from orchestai.embeddings.protocol import TextEncoder
    from orchestai.routing.outcomes import OutcomeTable
    from orchestai.training.router import RouterData


class RouterResult(NamedTuple):
    """What came of a training.

    Attributes:
        checkpoint: Folder of the router.
        rows: Sub-tasks that it was trained on.
        workers: Their workers.
        metrics: Measured out of fold.
        calibration: Expected success, observed success and outcomes by bin, out of fold.
        curve: Dollars a sub-task and success by weight of the price, out of fold.
    """

    checkpoint: Path
    rows: int
    workers: tuple[str, ...]
    metrics: dict[str, float]
    calibration: tuple[tuple[float, float, int], ...]
    curve: tuple[tuple[float, float], ...]


class _Source(NamedTuple):
    """Outcomes, and what describes their task types and workers."""

    table: OutcomeTable
    tasks: TaskCatalog
    workers: WorkerCatalog


def train_router_on(
    project: Project,
    folder: Path | None,
    *,
    out: Path,
    config: RouterConfig,
    on_step: Callable[[str], None] | None = None,
) -> RouterResult:
    """Train a router, save it, and for an import the tables that it was made from.

    Sub-tasks whose hash puts them into the test split are left out, so that they can be measured on later.

    Args:
        project: The configuration.
        folder: What `orchestai import` wrote; None learns from the project's own outcomes (`routing_outcomes`) and
            the imports that `config` names.
        out: Folder of the checkpoint.
        config: Sizes and seed.
        on_step: Told what is going on.

    Raises:
        DataError: There are no outcomes with texts, or too few.
        StorageError: The checkpoint cannot be written.
    """
    from orchestai.embeddings import load_encoder
    from orchestai.routing.outcomes import write_assets
    from orchestai.routing.store import save_router
    from orchestai.training.router import train_router

    sources = _sources(project, config) if folder is None else [_imported(project, folder)]
    if not sources:
        raise DataError(
            "There is no scored outcome in the logs, and no import to learn from.",
            remedy="Collect some (`orchestai collect`), or give an import: --data DIR.",
        )
    table, tasks, workers = _together(sources)
    encoder = load_encoder(project.planner.encoder, cache_dir=project.paths.embeddings)
    data = _data(table, tasks, workers, encoder)
    model = train_router(data, config, on_step=on_step)
    digest = hashlib.sha256(repr((table.ids, table.workers, table.scores.tobytes())).encode()).hexdigest()
    save_router(model, out, encoder=encoder.identity, data_hash=digest, seed=config.seed)
    if folder is not None:
        write_assets(table, out.with_name(f"{out.name}_tables"))
    return RouterResult(
        checkpoint=out,
        rows=len(table),
        workers=table.workers,
        metrics=model.metrics,
        calibration=model.calibration,
        curve=tuple((point.usd, point.success) for point in model.policy.curve),
    )


def router_rows(project: Project, config: RouterConfig) -> int:
    """Count the sub-tasks that `train_router_on` without a folder would learn from."""
    sources = _sources(project, config)
    return len(_together(sources)[0]) if sources else 0


def write_outcome_tables(project: Project) -> dict[str, int]:
    """Write `routing_outcomes`, `worker_metrics` and `features` of the ingested executions; returns their rows.

    Raises:
        DataError: A table of executions is damaged.
        StorageError: The folder cannot be written.
    """
    from orchestai.routing.logged import outcomes_of, write_tables

    return write_tables(outcomes_of(execution_tables(project)), routing_folder(project))


def _sources(project: Project, config: RouterConfig) -> list[_Source]:
    from orchestai.routing.logged import learnable, outcomes_of, read_routing_table
    from orchestai.routing.outcomes import OUTCOMES_ASSET

    folder = routing_folder(project)
    if (folder / OUTCOMES_ASSET).exists():
        outcomes = read_routing_table(folder, OUTCOMES_ASSET)
    else:
        outcomes = outcomes_of(execution_tables(project))
    found = []
    try:
        table = learnable(outcomes)
    except DataError:
        pass  # nothing was scored yet: the imports may do
    else:
        known = [name for name in table.workers if name in project.workers.names]
        if known:  # a worker that left the catalog has no price and no description any more
            found.append(_Source(table.columns(known), project.tasks, project.workers))
    return [*found, *(_imported(project, project.home / path) for path in config.imports)]


def _imported(project: Project, folder: Path) -> _Source:
    from orchestai.catalog import read_catalog
    from orchestai.routing.outcomes import table_of_import

    catalog = read_catalog(folder)
    table, workers = table_of_import(folder), catalog.workers or project.workers
    missing = [name for name in table.workers if name not in workers.names]
    if missing:
        raise DataError(f"{folder} has outcomes of workers that no catalog describes: {', '.join(missing)}.")
    return _Source(table, catalog.tasks, workers)


def _together(sources: Sequence[_Source]) -> _Source:
    """Join the sources; of a name that two describe, the first one's description holds."""
    from orchestai.routing.outcomes import joined

    table = joined([source.table for source in sources])
    tasks = {kind.name: kind for source in reversed(sources) for kind in source.tasks.types}
    workers = {worker.name: worker for source in reversed(sources) for worker in source.workers.profiles()}
    return _Source(
        _learnable(table),
        TaskCatalog(types=tuple(tasks.values())),
        WorkerCatalog(workers=tuple(workers[name] for name in table.workers)),
    )


def _learnable(table: OutcomeTable) -> OutcomeTable:
    """Leave out the test split, and of each question all but the first."""
    from orchestai.importers.splits import normalized, split_by_hash

    seen: set[str] = set()
    kept = []
    for place, text in enumerate(table.texts):
        key = normalized(text)
        digest = hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()
        if key not in seen and split_by_hash(digest) != "test":
            kept.append(place)
        seen.add(key)
    return table.take(kept)


def _data(table: OutcomeTable, tasks: TaskCatalog, workers: WorkerCatalog, encoder: TextEncoder) -> RouterData:
    import numpy as np

    from orchestai.catalog.estimate import estimate, tokens_of
    from orchestai.routing.features import lexical_matrix
    from orchestai.training.router import RouterData

    profiles = [workers[name] for name in table.workers]
    tried = (~np.isnan(table.output_tokens)).sum(0)
    length = np.nansum(table.output_tokens, 0) / np.maximum(tried, 1)
    expected = np.array(
        [
            [
                profile.cost_usd(tokens_of(len(text)), round(length[column]))
                if tried[column]
                else estimate(profile, tasks[family], len(text)).cost_usd
                for column, profile in enumerate(profiles)
            ]
            for text, family in zip(table.texts, table.families, strict=True)
        ]
    )
    return RouterData(
        table=table,
        embeddings=np.concatenate(
            [encoder.encode(table.texts[start : start + 256]) for start in range(0, len(table), 256)]
        ).astype(np.float64),
        lexical=lexical_matrix(table.texts),
        descriptions=encoder.encode([profile.description for profile in profiles]).astype(np.float64),
        expected_usd=expected.reshape(len(table), len(profiles)),
    )
