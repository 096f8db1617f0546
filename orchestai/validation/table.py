"""Says whether a table is fit to learn from."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

from orchestai.config import ExpectationSuite
from orchestai.errors import DataError
from orchestai.logs.columns import execution_schema
from orchestai.logs.parquet import read_parquet
from orchestai.validation.balance import LEARNED_COLUMNS, find_duplicates, measure_balance
from orchestai.validation.report import (
    DuplicateStats,
    Gate,
    LabelBalance,
    ValidationReport,
    ValidationThresholds,
)
from orchestai.validation.suite import Related, run_suite

if TYPE_CHECKING:
    import pyarrow as pa

LABEL_COLUMNS = ("task_types", "workers", "model_selections")


def read_table(path: Path) -> pa.Table:
    """Read a Parquet file, or all of a folder in order of name as one table, checksums verified.

    Raises:
        DataError: There is none, or it is damaged.
    """
    import pyarrow as pa

    files = sorted(path.glob("*.parquet")) if path.is_dir() else [path]
    if not files or not files[0].exists():
        raise DataError(
            f"There is no table at {path}.",
            remedy="Execution logs become tables in Dagster: `make run`, or the job `ingest_and_validate`.",
        )
    tables = []
    for file in files:
        try:
            tables.append(read_parquet(file))
        except (OSError, pa.ArrowException) as error:
            raise DataError(f"The table {file} cannot be read: {error}", remedy="Make it again.") from error
    try:
        return pa.concat_tables(tables, promote_options="default")
    except pa.ArrowException as error:
        remedy = "Ingest the days again with this version."
        raise DataError(f"The tables of {path} differ: {error}", remedy=remedy) from error


def validate_table(
    table: pa.Table | Path,
    suite: ExpectationSuite,
    *,
    schema: pa.Schema | None = None,
    thresholds: ValidationThresholds | None = None,
    learned_columns: tuple[str, ...] = LEARNED_COLUMNS,
    label_columns: tuple[str, ...] = LABEL_COLUMNS,
    related: Related | None = None,
) -> ValidationReport:
    """Check `table` against its schema, its declared suite and the thresholds.

    Args:
        table: The table, or its Parquet file or folder.
        suite: The declared rules.
        schema: Columns and types that it must have; that of the execution log for the suite of that name.
        thresholds: What it must keep to beside the suite.
        learned_columns: What two rows must share to be duplicates.
        label_columns: Columns whose balance is measured, as far as they hold names and not ids.
        related: Finds the other tables that the suite's `relationships` name.

    Raises:
        DataError: The file is missing or damaged. A table that is read but unfit is refused, not raised.
    """
    started = time.perf_counter()
    if isinstance(table, Path):
        table = read_table(table)
    limits = thresholds or ValidationThresholds()
    if schema is None and suite.table == "execution_logs":
        schema = execution_schema()
    duplicates = find_duplicates(table, learned_columns)
    balance = {
        column: measure_balance(table, column)
        for column in label_columns
        if column in table.column_names and _holds_names(table.schema.field(column).type)
    }
    rules, version = run_suite(table, suite, related=related)
    gates = [
        *([_schema_gate(table, schema)] if schema is not None else []),
        _rows_gate(table, limits),
        *_null_gates(table, suite, schema),
        *rules,
        _duplicates_gate(duplicates, limits),
        *(gate for found in balance.values() if found.counts for gate in _balance_gates(found, limits)),
    ]
    return ValidationReport(
        table=suite.table,
        rows=table.num_rows,
        gates=tuple(gates),
        duplicates=duplicates,
        balance=balance,
        great_expectations=version,
        seconds=time.perf_counter() - started,
    )


def _holds_names(kind: pa.DataType) -> bool:
    import pyarrow.types as kinds

    if kinds.is_list(kind) or kinds.is_large_list(kind):
        kind = kind.value_type
    return bool(kinds.is_string(kind) or kinds.is_large_string(kind))


def _schema_gate(table: pa.Table, schema: pa.Schema) -> Gate:
    wrong = []
    for field in schema:
        if field.name not in table.column_names:
            wrong.append(f"{field.name} is missing")
        elif table.schema.field(field.name).type != field.type:
            wrong.append(f"{field.name} is {table.schema.field(field.name).type}, not {field.type}")
    return Gate(
        name="schema",
        observed="; ".join(wrong) or f"{len(table.column_names)} columns",
        allowed=f"the {len(schema)} columns of the schema with their types",
        passed=not wrong,
        remedy="Make the table again with this version." if wrong else None,
    )


def _rows_gate(table: pa.Table, limits: ValidationThresholds) -> Gate:
    passed = table.num_rows >= limits.min_rows
    return Gate(
        name="rows",
        observed=table.num_rows,
        allowed=f"at least {limits.min_rows:,}",
        passed=passed,
        remedy=None if passed else "Run and log more instructions.",
    )


def _null_gates(table: pa.Table, suite: ExpectationSuite, schema: pa.Schema | None) -> list[Gate]:
    """Return a gate for each column that should hold values and holds none: rules on values pass on nulls."""
    needed = {rule.column for rule in suite.expectations if rule.column is not None}
    if schema is not None:
        needed |= {field.name for field in schema if not field.nullable}
    return [
        Gate(
            name=f"{name}: has values",
            observed=f"all {table.num_rows:,} rows are null",
            allowed="at least one value",
            passed=False,
            remedy=f"Find out why nothing writes {name!r}.",
        )
        for name in sorted(needed & set(table.column_names))
        if table.num_rows and table[name].null_count == table.num_rows
    ]


def _duplicates_gate(found: DuplicateStats, limits: ValidationThresholds) -> Gate:
    passed = found.share <= limits.max_duplicate_share
    return Gate(
        name="duplicates",
        observed=round(found.share, 4),
        allowed=f"at most {limits.max_duplicate_share:g} of the rows",
        passed=passed,
        remedy=None if passed else f"{found.rows:,} rows repeat another one: look for what wrote them twice.",
    )


def _balance_gates(found: LabelBalance, limits: ValidationThresholds) -> list[Gate]:
    fair_share = found.share <= limits.max_label_share
    fair_entropy = found.entropy >= limits.min_label_entropy
    remedy = f"Collect instructions that need other {found.column} than {found.most_frequent!r}."
    return [
        Gate(
            name=f"{found.column}: most frequent",
            observed=round(found.share, 4),
            allowed=f"at most {limits.max_label_share:g}",
            severity="warn",
            passed=fair_share,
            remedy=None if fair_share else remedy,
        ),
        Gate(
            name=f"{found.column}: entropy",
            observed=round(found.entropy, 4),
            allowed=f"at least {limits.min_label_entropy:g}",
            severity="warn",
            passed=fair_entropy,
            remedy=None if fair_entropy else remedy,
        ),
    ]
