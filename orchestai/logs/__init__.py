"""Execution logs that survive a crash: written in segments, read line by line, one table a day."""

from __future__ import annotations

from orchestai.logs.compact import CompactionReport, compact_day, days_to_compact, plain_path
from orchestai.logs.ingest import IngestReport, ingest_day, table_path
from orchestai.logs.quarantine import BadLine
from orchestai.logs.query import find_execution, read_executions
from orchestai.logs.reader import SegmentContent, iter_segment, read_segment
from orchestai.logs.record import SCHEMA_VERSION, ExecutionLogRecord, ExecutionSource
from orchestai.logs.segments import RepairedSegment, closed_segments, list_days, repair_orphans
from orchestai.logs.writer import ExecutionLogger, LogWatch

__all__ = [
    "SCHEMA_VERSION",
    "BadLine",
    "CompactionReport",
    "ExecutionLogRecord",
    "ExecutionLogger",
    "ExecutionSource",
    "IngestReport",
    "LogWatch",
    "RepairedSegment",
    "SegmentContent",
    "closed_segments",
    "compact_day",
    "days_to_compact",
    "find_execution",
    "ingest_day",
    "iter_segment",
    "list_days",
    "plain_path",
    "read_executions",
    "read_segment",
    "repair_orphans",
    "table_path",
]
