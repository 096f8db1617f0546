"""Logs of one day, written by hand."""

from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path

import pyarrow.parquet as pq

from orchestai.logs import ingest_day, table_path

DAY = date(2026, 11, 21)
NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)


class Home:
    """Folders of a project, with segments written by hand."""

    def __init__(self, root: Path) -> None:
        self.logs = root / "execution_logs"
        self.tables = root / "data" / "executions"
        self.quarantine = root / "quarantine"
        (self.logs / DAY.isoformat()).mkdir(parents=True)

    def segment(self, name: str, *lines: bytes) -> Path:
        path = self.logs / DAY.isoformat() / name
        path.write_bytes(b"".join(line + b"\n" for line in lines))
        return path

    def ingest(self):
        return ingest_day(self.logs, DAY, self.tables, self.quarantine)

    @property
    def table(self):
        return pq.read_table(table_path(self.tables, DAY), page_checksum_verification=True)
