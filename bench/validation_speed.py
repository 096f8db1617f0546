"""How long all six stages take, how much memory they hold, and how both grow with the rows.

`python -m bench.validation_speed --rows 1000000 --columns 50 --out report.json`. Each size runs in a process of its
own, so that its peak of memory is its own.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from bench.report import write_report

_CHUNK = 100_000


def write_table(path: Path, rows: int, columns: int, seed: int) -> None:
    """Write a Parquet file: correlated numbers, whole numbers, categories, some gaps, and a label they explain."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    fixed = np.random.default_rng(1)  # the same population for every file
    numbers = max(1, columns * 3 // 5)
    counts = max(1, columns // 5)
    levels = max(1, columns - numbers - counts - 1)
    mixing = fixed.standard_normal((8, numbers))
    centres = fixed.standard_normal((5, 8)) * 2
    slopes = fixed.standard_normal(8)
    rng = np.random.default_rng([2, seed])
    writer = None
    for start in range(0, rows, _CHUNK):
        size = min(_CHUNK, rows - start)
        hidden = centres[rng.integers(0, 5, size)] + rng.standard_normal((size, 8))
        table = hidden @ mixing + rng.standard_normal((size, numbers))
        table[rng.random(table.shape) < 0.01] = np.nan
        data: dict[str, Any] = {f"number_{k}": pa.array(table[:, k], from_pandas=True) for k in range(numbers)}
        for k in range(counts):
            data[f"count_{k}"] = rng.poisson(np.exp(0.3 * hidden[:, k % 8]).clip(max=50))
        for k in range(levels):
            codes = np.digitize(hidden[:, k % 8], np.linspace(-3, 3, 4 + k))
            data[f"level_{k}"] = pa.DictionaryArray.from_arrays(
                pa.array(codes.astype(np.int32)), pa.array([f"value {c}" for c in range(5 + k)])
            ).dictionary_decode()
        data["label"] = (hidden @ slopes + rng.logistic(size=size) > 0).astype(np.int64)
        batch = pa.table(data)
        writer = writer or pq.ParquetWriter(path, batch.schema)
        writer.write_table(batch)
    assert writer is not None
    writer.close()


def measure(folder: Path) -> dict[str, Any]:
    """Validate the table of a folder against its reference and holdout, in this process."""
    from orchestai.validation.gate import DatasetValidator
    from orchestai.validation.monitor import cpu_seconds

    begun, cpu = time.perf_counter(), cpu_seconds()
    result = DatasetValidator(use_cache=False).validate_sync(
        folder / "table.parquet",
        reference=folder / "reference.parquet",
        holdout=folder / "holdout.parquet",
        label="label",
    )
    return {
        "wall_seconds": time.perf_counter() - begun,
        "cpu_seconds": cpu_seconds() - cpu,
        "peak_memory_bytes": result.peak_memory_bytes,
        "rows_per_second": result.rows_per_second,
        "stages": result.stage_seconds,
        "verdict": result.verdict,
        "collapse_score": result.collapse_score,
        "partial": result.partial,
    }


def in_process_of_its_own(folder: Path) -> dict[str, Any]:
    """Measure in a fresh process."""
    done = subprocess.run(
        [sys.executable, "-m", "bench.validation_speed", "--measure", str(folder)],
        check=True,
        capture_output=True,
        text=True,
    )
    return dict(json.loads(done.stdout.splitlines()[-1]))


def peers(folder: Path, python: str) -> dict[str, Any]:
    """Run what other tools can do of this on the same table; those that are not installed are said to be so.

    Args:
        folder: Holds the tables.
        python: Interpreter that has the other tools; they need not be installed beside this project.
    """
    found: dict[str, Any] = {}
    for name, code in _PEERS.items():
        begun = time.perf_counter()
        done = subprocess.run([python, "-c", code, str(folder)], capture_output=True, text=True, check=False)
        if done.returncode:
            reason = done.stderr.strip().splitlines()[-1] if done.stderr.strip() else "failed"
            found[name] = {"not_measured": reason[:200]}
        else:
            cpu, peak = map(float, done.stdout.split()[-2:])
            found[name] = {"wall_seconds": time.perf_counter() - begun, "cpu_seconds": cpu, "peak_memory_bytes": peak}
    return found


_TAIL = """
import resource
use = resource.getrusage(resource.RUSAGE_SELF)
print(use.ru_utime + use.ru_stime, use.ru_maxrss * 1024)
"""
_PEERS = {
    "great_expectations: ranges, nulls, uniqueness of every column": """
import sys, warnings; warnings.simplefilter("ignore")
import pandas as pd, great_expectations as gx
frame = pd.read_parquet(sys.argv[1] + "/table.parquet")
context = gx.get_context(mode="ephemeral")
context.variables.progress_bars = None
batch = context.data_sources.add_pandas("m").add_dataframe_asset("t").add_batch_definition_whole_dataframe("w")
rules = []
for name in frame.columns:
    rules.append(gx.expectations.ExpectColumnValuesToNotBeNull(column=name, mostly=0.9))
    if frame[name].dtype.kind in "if":
        rules.append(gx.expectations.ExpectColumnValuesToBeBetween(column=name, min_value=-1000, max_value=1000))
batch.get_batch({"dataframe": frame}).validate(gx.ExpectationSuite(name="s", expectations=rules))
"""
    + _TAIL,
    "evidently: drift of every column": """
import sys, pandas as pd
from evidently import Report
from evidently.presets import DataDriftPreset
a, b = (pd.read_parquet(f"{sys.argv[1]}/{name}.parquet") for name in ("table", "reference"))
Report([DataDriftPreset()]).run(a, b)
"""
    + _TAIL,
    "sdmetrics: quality report": """
import sys, pandas as pd
from sdmetrics.reports.single_table import QualityReport
a, b = (pd.read_parquet(f"{sys.argv[1]}/{name}.parquet") for name in ("table", "reference"))
kind = lambda c: {"sdtype": "numerical" if c.dtype.kind in "if" else "categorical"}
QualityReport().generate(b, a, {"columns": {name: kind(a[name]) for name in a.columns}}, verbose=False)
"""
    + _TAIL,
    "cleanlab: Datalab labels and duplicates": """
import sys, pandas as pd
from cleanlab import Datalab
from sklearn.linear_model import SGDClassifier
from sklearn.model_selection import cross_val_predict
a = pd.read_parquet(f"{sys.argv[1]}/table.parquet")
x = a.select_dtypes("number").drop(columns="label").fillna(0).to_numpy()
p = cross_val_predict(SGDClassifier(loss="log_loss"), x, a["label"], cv=3, method="predict_proba")
Datalab(data={"y": a["label"].to_numpy()}, label_name="y").find_issues(pred_probs=p, issue_types={"label": {}})
"""
    + _TAIL,
}


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--columns", type=int, default=50)
    parser.add_argument("--reference-rows", type=int, default=200_000)
    parser.add_argument("--scaling", type=int, nargs="*", default=[], help="further numbers of rows")
    parser.add_argument("--peers", action="store_true", help="run other tools on the same table")
    parser.add_argument("--peers-python", default=sys.executable, help="interpreter in which the other tools are")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure is not None:
        print(json.dumps(measure(arguments.measure)))
        return
    if arguments.out is None:
        parser.error("--out is needed")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_table(folder / "reference.parquet", arguments.reference_rows, arguments.columns, 1)
        write_table(folder / "holdout.parquet", arguments.reference_rows // 2, arguments.columns, 2)
        scaling = {}
        for rows in arguments.scaling:
            write_table(folder / "table.parquet", rows, arguments.columns, 3)
            scaling[str(rows)] = in_process_of_its_own(folder)
            print(rows, scaling[str(rows)], flush=True)
        write_table(folder / "table.parquet", arguments.rows, arguments.columns, 3)
        found = in_process_of_its_own(folder)
        print(arguments.rows, found, flush=True)
        found["peers"] = peers(folder, arguments.peers_python) if arguments.peers else {}
        found["scaling"] = scaling
    write_report(
        arguments.out,
        bench="validation_speed",
        data={"rows": arguments.rows, "columns": arguments.columns, "reference_rows": arguments.reference_rows},
        sha256="made here",
        seed=0,
        results=found,
    )


if __name__ == "__main__":
    main()
