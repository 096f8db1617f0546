"""SQLite files that many tasks, threads and processes share: one writing thread a process, one sync for all that wait.

It knows nothing of what the tables hold.
"""

from __future__ import annotations

from orchestai.database.database import Database, Operation

__all__ = ["Database", "Operation"]
