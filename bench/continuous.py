"""Learning that goes on by itself: what its release test promises, and what its sensors and ingestion take.

    python -m bench.continuous --out report.json [--learning-curve curve.png] [--only PART]

Every part is a function of its own that returns keys of the report; what a part reaches is written as soon as it is
there, so that a run that was cut off has not been in vain.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench.canary_simulation import simulate
from bench.report import data_sha256, write_report

DAYS, ROWS = 1000, 10_000
"""Days of executions, and executions a day, that the sensor and the webserver are shown."""


def release_test(options: argparse.Namespace) -> dict[str, Any]:
    """Return false rollbacks, missed harms and instructions until rollback, simulated."""
    return simulate(runs=options.runs, seed=options.seed)


def ingestion(options: argparse.Namespace) -> dict[str, Any]:
    """Return rows a second and the sensor's ticks over all days."""
    from bench import ingestion as part

    with tempfile.TemporaryDirectory(prefix="orchestai-ingestion-") as folder:
        return part.measure(Path(folder) / "home", days=DAYS, rows=ROWS, ingest_days=options.ingest_days)


def sensor(_options: argparse.Namespace) -> dict[str, Any]:
    """Return the time from a segment that lands to its run, and to the verdict on its day; a real daemon."""
    from bench import ingestion as part

    with tempfile.TemporaryDirectory(prefix="orchestai-daemon-") as folder:
        landed = part.log_to_sensor_seconds(Path(folder))
    return {"log_to_sensor_seconds": landed["asked"], "log_to_validated_seconds": landed["validated"]}


def webserver(_options: argparse.Namespace) -> dict[str, Any]:
    """Return how long the webserver takes to answer with all days materialised."""
    from bench import ui as part

    with tempfile.TemporaryDirectory(prefix="orchestai-ui-") as folder:
        return part.measure(Path(folder), days=DAYS, runs=300)


def learning_curve(options: argparse.Namespace) -> dict[str, Any]:
    """Return success and cost by simulated day with and without learning; only where a plot is asked for."""
    if options.learning_curve is None:
        return {}
    from bench import learning_curve as part

    with tempfile.TemporaryDirectory(prefix="orchestai-days-") as folder:
        found = part.measure(Path(folder), per_day=part.PER_DAY, seed=options.seed, epochs=part.EPOCHS)
    part.draw(found, options.learning_curve)
    return {"learning_curve": found}


PARTS: dict[str, Callable[[argparse.Namespace], dict[str, Any]]] = {
    "release_test": release_test,
    "ingestion": ingestion,
    "sensor": sensor,
    "webserver": webserver,
    "learning_curve": learning_curve,
}
"""What is measured, by name."""


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--runs", type=int, default=2000, help="Simulated releases with and without harm.")
    parser.add_argument("--ingest-days", type=int, default=20, help=f"Days of {ROWS:,} executions that are ingested.")
    parser.add_argument("--learning-curve", type=Path, metavar="PNG", help="Play five days of traffic, and draw them.")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", choices=sorted(PARTS), action="append", help="Only these parts.")
    options = parser.parse_args()
    results: dict[str, Any] = {}
    for name, part in PARTS.items():
        if options.only and name not in options.only:
            continue
        started, environment = time.perf_counter(), dict(os.environ)
        found = part(options)
        os.environ.clear()  # parts name homes of their own there
        os.environ.update(environment)
        if not found:
            continue
        results.update(found)
        results[f"{name}_seconds"] = time.perf_counter() - started
        print(f"{name}: {found}", flush=True)
        write_report(
            options.out,
            bench="continuous",
            data={"releases": "simulated by bench/canary_simulation.py", "executions": "made by bench/ingestion.py"},
            sha256=data_sha256([Path(__file__).with_name(name) for name in ("canary_simulation.py", "ingestion.py")]),
            seed=options.seed,
            results=results,
        )


if __name__ == "__main__":
    main()
