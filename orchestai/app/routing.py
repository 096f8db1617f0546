"""Training the router as the hosts call it: from an import's outcomes to a checkpoint."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from orchestai.config import Project
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
    """

    checkpoint: Path
    rows: int
    workers: tuple[str, ...]
    metrics: dict[str, float]


def router_folder(project: Project) -> Path:
    """Return the folder of the router's checkpoint."""
    return project.paths.checkpoints / "router"


def train_router_on(
    project: Project,
    folder: Path,
    *,
    out: Path,
    config: RouterConfig,
    on_step: Callable[[str], None] | None = None,
) -> RouterResult:
    """Train a router on what `orchestai import` wrote, save it and the tables that it was made from.

    Sub-tasks whose hash puts them into the test split are left out, so that they can be measured on later.

    Raises:
        DataError: The folder holds no outcomes with texts, or too few.
        StorageError: The checkpoint cannot be written.
    """
    from orchestai.embeddings import load_encoder
    from orchestai.routing.outcomes import table_of_import, write_assets
    from orchestai.routing.store import save_router
    from orchestai.training.router import train_router

    table = _learnable(table_of_import(folder))
    encoder = load_encoder(project.planner.encoder, cache_dir=project.paths.embeddings)
    data = _data(project, folder, table, encoder)
    model = train_router(data, config, on_step=on_step)
    digest = hashlib.sha256(repr((table.ids, table.workers, table.scores.tobytes())).encode()).hexdigest()
    save_router(model, out, encoder=encoder.identity, data_hash=digest, seed=config.seed)
    write_assets(table, out.with_name(f"{out.name}_tables"))
    return RouterResult(checkpoint=out, rows=len(table), workers=table.workers, metrics=model.metrics)


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


def _data(project: Project, folder: Path, table: OutcomeTable, encoder: TextEncoder) -> RouterData:
    import numpy as np

    from orchestai.catalog import read_catalog
    from orchestai.catalog.estimate import estimate, tokens_of
    from orchestai.routing.features import lexical_matrix
    from orchestai.training.router import RouterData

    catalog = read_catalog(folder)
    workers = catalog.workers or project.workers
    missing = [name for name in table.workers if name not in workers.names]
    if missing:
        raise DataError(f"{folder} has outcomes of workers that no catalog describes: {', '.join(missing)}.")
    profiles = [workers[name] for name in table.workers]
    tried = (~np.isnan(table.output_tokens)).sum(0)
    length = np.nansum(table.output_tokens, 0) / np.maximum(tried, 1)
    expected = np.array(
        [
            [
                profile.cost_usd(tokens_of(len(text)), round(length[column]))
                if tried[column]
                else estimate(profile, catalog.tasks[family], len(text)).cost_usd
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
        expected_usd=expected,
    )
