"""The router on disk: a checkpoint of tensors and a JSON document, never pickle."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from orchestai.errors import CheckpointError
from orchestai.routing.attention import AttentionNetwork
from orchestai.routing.families import FamilyModel
from orchestai.routing.features import LEXICAL_SIZE, LEXICAL_VERSION
from orchestai.routing.gate import Gate
from orchestai.routing.model import RouterModel
from orchestai.routing.policy import RoutingPolicy
from orchestai.routing.timing import TimePredictor

KIND = "router"

_FAMILY_ARRAYS = (
    *("lexical_mean", "lexical_scale", "whitening", "centres", "log_prior"),
    *("form_mean", "form_variance", "members", "member_family"),
)
_GATE_ARRAYS = ("quantiles", "mean", "scale", "weights")
_MODEL_ARRAYS = (*("descriptions", "family_scores", "family_tokens", "mean_scores", "bank", "bank_scores", "stack"),)


def save_router(
    model: RouterModel, directory: Path, *, encoder: str, data_hash: str = "", seed: int | None = None
) -> None:
    """Write the router as a checkpoint.

    Args:
        model: The router.
        directory: The checkpoint's folder.
        encoder: Identity of the encoder of its embeddings; loading with another is refused.
        data_hash: Hash of the data that it was trained on.
        seed: Seed of the training.

    Raises:
        StorageError: It cannot be written.
    """
    import torch

    from orchestai.checkpoint import save_checkpoint
    from orchestai.checkpoint.manifest import ManifestFields

    arrays: dict[str, Any] = {f"families.{name}": getattr(model.families, name) for name in _FAMILY_ARRAYS}
    arrays |= {f"gate.{name}": getattr(model.gate, name) for name in _GATE_ARRAYS}
    arrays |= {name: getattr(model, name) for name in _MODEL_ARRAYS}
    for place, network in enumerate(model.networks):
        arrays[f"network.{place}.workers"] = network.workers
        arrays |= {f"network.{place}.weights.{name}": values for name, values in network.weights.items()}
    config = {
        "workers": list(model.workers),
        "families": list(model.families.names),
        "networks": len(model.networks),
        "policy": model.policy.model_dump(),
        "encoder": encoder,
        "times": None if model.times is None else model.times.to_json(),
        "calibration": [list(bin_) for bin_ in model.calibration],
        "lexical_version": LEXICAL_VERSION,
        "lexical_size": LEXICAL_SIZE,
    }
    save_checkpoint(
        directory,
        {name: torch.from_numpy(np.ascontiguousarray(values)) for name, values in arrays.items()},
        config,
        ManifestFields(kind=KIND, data_hash=data_hash, seed=seed, metrics=dict(model.metrics)),
    )


def load_router(directory: Path, *, encoder: str | None = None) -> RouterModel:
    """Read a router.

    Args:
        directory: The checkpoint's folder.
        encoder: Identity of the encoder that will be used; None does not compare.

    Raises:
        CheckpointError: It is no router, is damaged, or was trained with other features.
    """
    from orchestai.checkpoint import load_checkpoint

    loaded = load_checkpoint(directory)
    config = loaded.config
    if loaded.manifest.kind != KIND:
        raise CheckpointError(
            f"{directory} holds a {loaded.manifest.kind!r}, not a router.", remedy="Train one: orchestai train router."
        )
    if config.get("lexical_version") != LEXICAL_VERSION or config.get("lexical_size") != LEXICAL_SIZE:
        raise CheckpointError(
            f"The router {directory} reads other features of a text than this version makes.", remedy="Train it anew."
        )
    if encoder is not None and config.get("encoder") != encoder:
        raise CheckpointError(
            f"The router {directory} was trained on embeddings of another encoder.",
            remedy="Set the encoder that it was trained with, or train it anew.",
        )
    arrays = {name: tensor.numpy() for name, tensor in loaded.tensors.items()}
    try:
        networks = []
        for place in range(int(config["networks"])):
            prefix = f"network.{place}.weights."
            networks.append(
                AttentionNetwork(
                    weights={n.removeprefix(prefix): v for n, v in arrays.items() if n.startswith(prefix)},
                    workers=arrays[f"network.{place}.workers"],
                )
            )
        return RouterModel(
            workers=tuple(config["workers"]),
            families=FamilyModel(
                names=tuple(config["families"]), **{name: arrays[f"families.{name}"] for name in _FAMILY_ARRAYS}
            ),
            gate=Gate(**{name: arrays[f"gate.{name}"] for name in _GATE_ARRAYS}),
            networks=tuple(networks),
            policy=RoutingPolicy.model_validate(config["policy"]),
            metrics=dict(loaded.manifest.metrics),
            calibration=tuple((float(a), float(b), int(n)) for a, b, n in config.get("calibration", ())),
            times=TimePredictor.from_json(config["times"]) if config.get("times") else None,
            **{name: arrays[name] for name in _MODEL_ARRAYS},
        )
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"The router {directory} is incomplete: {error}.", remedy="Train it anew.") from error
