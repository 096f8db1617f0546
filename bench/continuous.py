"""Learning that goes on by itself: what its release test promises, and what its sensors and ingestion take.

`python -m bench.continuous --out report.json`. Every part is a function of its own that returns keys of the report.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench.canary_simulation import simulate
from bench.report import data_sha256, write_report


def release_test(runs: int, seed: int) -> dict[str, Any]:
    """Return false rollbacks, missed harms and instructions until rollback, simulated."""
    return simulate(runs=runs, seed=seed)


def ingestion(_runs: int, _seed: int) -> dict[str, Any]:
    """Return rows a second, the sensor's ticks over 1,000 days of 10,000 executions, and the time to its run."""
    from bench import ingestion as part

    with tempfile.TemporaryDirectory(prefix="orchestai-ingestion-") as folder:
        found = part.measure(Path(folder) / "home", days=1000, rows=10_000, ingest_days=100)
    with tempfile.TemporaryDirectory(prefix="orchestai-daemon-") as folder:
        landed = part.log_to_sensor_seconds(Path(folder))
    return {**found, "log_to_sensor_seconds": landed["asked"], "log_to_validated_seconds": landed["validated"]}


PARTS: dict[str, Callable[[int, int], dict[str, Any]]] = {"release_test": release_test, "ingestion": ingestion}
"""What is measured, by name; each part is given the number of simulated releases and a seed."""


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--runs", type=int, default=2000, help="Simulated releases with and without harm.")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", choices=sorted(PARTS), action="append", help="Only these parts.")
    arguments = parser.parse_args()
    results: dict[str, Any] = {}
    for name, part in PARTS.items():
        if arguments.only and name not in arguments.only:
            continue
        started = time.perf_counter()
        results.update(part(arguments.runs, arguments.seed))
        results[f"{name}_seconds"] = time.perf_counter() - started
    write_report(
        arguments.out,
        bench="continuous",
        data={"releases": "simulated by bench/canary_simulation.py"},
        sha256=data_sha256([Path(__file__).with_name("canary_simulation.py")]),
        seed=arguments.seed,
        results=results,
    )


if __name__ == "__main__":
    main()
