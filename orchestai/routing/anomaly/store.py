"""The anomaly model on disk: a checkpoint that is read without torch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from orchestai.errors import CheckpointError
from orchestai.routing.anomaly.behaviour import FEATURES, MEASURES, RATES, Expectations
from orchestai.routing.anomaly.model import METHODS, AnomalyModel, Detector, Layer

KIND = "anomaly"

_ARRAYS = ("mean", "scale")


def save_anomaly(model: AnomalyModel, directory: Path, *, data_hash: str = "", seed: int | None = None) -> None:
    """Write the model as a checkpoint.

    Args:
        model: The model.
        directory: The checkpoint's folder.
        data_hash: Hash of the calls that it was trained on.
        seed: Seed of the training.

    Raises:
        StorageError: It cannot be written.
    """
    import torch

    from orchestai.checkpoint import save_checkpoint
    from orchestai.checkpoint.manifest import ManifestFields

    detector = model.detector
    arrays: dict[str, Any] = {name: getattr(detector, name) for name in _ARRAYS}
    arrays["expectations"] = model.expectations.values
    for place, layer in enumerate(detector.layers):
        arrays[f"layer.{place}.weights"], arrays[f"layer.{place}.bias"] = layer
    config = {
        "table": [[worker, kind, place] for (worker, kind), place in model.expectations.table.items()],
        "layers": len(detector.layers),
        "limits": list(detector.limits),
        "method": detector.method,
        "threshold": detector.threshold,
        "measures": list(MEASURES),
        "rates": list(RATES),
    }
    save_checkpoint(
        directory,
        {name: torch.from_numpy(np.ascontiguousarray(values)) for name, values in arrays.items()},
        config,
        ManifestFields(kind=KIND, data_hash=data_hash, seed=seed, metrics=dict(model.metrics)),
    )


def load_anomaly(directory: Path) -> AnomalyModel:
    """Read a model; torch is not loaded.

    Raises:
        CheckpointError: It is no anomaly model, is damaged, or reads other measures than this version takes.
    """
    from orchestai.checkpoint.store import load_arrays

    loaded = load_arrays(directory)
    config, arrays = loaded.config, loaded.arrays
    if loaded.manifest.kind != KIND:
        raise CheckpointError(
            f"{directory} holds a {loaded.manifest.kind!r}, not an anomaly model.",
            remedy="Train one: orchestai train anomaly.",
        )
    if config.get("measures") != list(MEASURES) or config.get("rates") != list(RATES):
        raise CheckpointError(
            f"The anomaly model {directory} reads other measures than this version takes.", remedy="Train it anew."
        )
    try:
        if config["method"] not in METHODS or arrays["mean"].shape != (FEATURES,):
            raise ValueError(f"method {config['method']!r}, {arrays['mean'].shape} features")
        return AnomalyModel(
            expectations=Expectations(
                {(worker, kind): int(place) for worker, kind, place in config["table"]}, arrays["expectations"]
            ),
            detector=Detector(
                layers=tuple(
                    Layer(arrays[f"layer.{place}.weights"], arrays[f"layer.{place}.bias"])
                    for place in range(int(config["layers"]))
                ),
                limits=(float(config["limits"][0]), float(config["limits"][1])),
                method=str(config["method"]),
                threshold=float(config["threshold"]),
                **{name: arrays[name] for name in _ARRAYS},
            ),
            metrics=dict(loaded.manifest.metrics),
        )
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise CheckpointError(
            f"The anomaly model {directory} is incomplete: {error}.", remedy="Train it anew."
        ) from error
