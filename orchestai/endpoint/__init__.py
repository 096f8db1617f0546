"""The packaged SmolLM2-135M-Instruct as a local server in the OpenAI format, in a process of its own."""

from __future__ import annotations

from orchestai.endpoint.local import LocalEndpoint, ensure_running
from orchestai.endpoint.model_file import MODEL_NAME, find_model

__all__ = ["MODEL_NAME", "LocalEndpoint", "ensure_running", "find_model"]
