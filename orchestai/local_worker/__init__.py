"""A `transformers` model as a worker, for machines with a GPU; torch loads when a worker is built.

It owns the weights and the one thread that runs them; it does not serve them to others.
"""

from __future__ import annotations

from orchestai.local_worker.worker import TransformersWorker

__all__ = ["TransformersWorker"]
