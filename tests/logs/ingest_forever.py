"""Repairs, ingests and compacts until killed; argument `once` ends after one pass."""

from __future__ import annotations

import sys
from pathlib import Path

from orchestai.logs import compact_day, ingest_day, list_days, repair_orphans


def main(root: str, times: str) -> None:
    logs, tables, quarantine = (Path(root) / name for name in ("execution_logs", "tables", "quarantine"))
    while True:
        repair_orphans(logs, quarantine)
        for day in list_days(logs):
            ingest_day(logs, day, tables, quarantine)
            compact_day(logs, day, tables, quarantine)
        if times == "once":
            return


if __name__ == "__main__":
    main(*sys.argv[1:])
