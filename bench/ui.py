"""How long the webserver takes to answer what its pages ask, with many days of executions and many runs.

    python -m bench.ui --days 1000 --runs 300 --out report.json

A real `dagster-webserver` reads an instance in which every day of `execution_logs` was materialised, and which has so
many runs. Each question is asked once cold and five times more; no run is started.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from datetime import timedelta
from pathlib import Path
from typing import Any

import yaml

from bench.ingestion import FIRST, ROOT
from bench.report import machine

QUESTIONS = {
    "lineage": """{ assetNodes { assetKey { path } dependencyKeys { path } groupName kinds description
        assetMaterializations(limit: 1) { timestamp } } }""",
    "partitions": """{ assetNodes(assetKeys: [{path: ["execution_logs"]}]) {
        partitionStats { numMaterialized numPartitions }
        assetPartitionStatuses { ... on TimePartitionStatuses { ranges { status startKey endKey } } } } }""",
    "asset": """{ assetOrError(assetKey: {path: ["execution_logs"]}) { ... on Asset { assetMaterializations(limit: 50)
        { partition timestamp metadataEntries { label } } } } }""",
    "runs": """{ runsOrError(limit: 25) { ... on Runs { results { runId status jobName tags { key value } } } } }""",
}
"""Questions of the pages, by page."""


def measure(folder: Path, days: int, runs: int) -> dict[str, Any]:
    """Fill an instance, start the webserver, ask."""
    import dagster as dg

    from orchestai.config import packaged_directory
    from orchestai_assets import keys
    from orchestai_assets.definitions import defs

    configs = folder / "configs"
    shutil.copytree(packaged_directory(), configs)
    content = yaml.safe_load((configs / "project.yml").read_text(encoding="utf-8"))
    content["dagster"]["start_date"] = FIRST
    (configs / "project.yml").write_text(yaml.safe_dump(content), encoding="utf-8")
    home = folder / "dagster_home"
    home.mkdir()
    shutil.copy(ROOT / "deploy" / "dev" / "dagster.yaml", home)
    os.environ.update(DAGSTER_HOME=str(home), ORCHESTAI_PROJECT_DIR=str(configs), ORCHESTAI_HOME=str(folder / "home"))
    job = defs.resolve_job_def("ingest_and_validate")
    with dg.DagsterInstance.get() as instance:
        for number in range(days):
            day = (FIRST + timedelta(days=number)).isoformat()
            event = dg.AssetMaterialization(keys.EXECUTION_LOGS, partition=day, metadata={"rows": 10_000, "day": day})
            instance.report_runless_asset_event(event)
        for number in range(runs):
            tags = {"dagster/partition": (FIRST + timedelta(days=number % days)).isoformat()}
            instance.create_run_for_job(job, tags=tags, status=dg.DagsterRunStatus.SUCCESS)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [str(Path(sys.executable).with_name("dagster-webserver")), "-w", str(ROOT / "workspace.yaml")]
    arguments = ["-h", "127.0.0.1", "-p", str(port)]
    started = time.perf_counter()
    with (folder / "webserver.log").open("wb") as log:
        process = subprocess.Popen(
            command + arguments, cwd=ROOT, stdout=log, stderr=subprocess.STDOUT, env=dict(os.environ)
        )
    try:
        while True:
            try:
                ask(port, "{ version }")
                break
            except (urllib.error.URLError, ConnectionError, TimeoutError):
                assert process.poll() is None, (folder / "webserver.log").read_text()[-2000:]
                assert time.perf_counter() - started < 180, "the webserver did not start"
                time.sleep(0.1)
        found: dict[str, Any] = {"ui_days": days, "ui_runs": runs, "ui_start_seconds": time.perf_counter() - started}
        for name, question in QUESTIONS.items():
            seconds = []
            for _ in range(6):
                begin = time.perf_counter()
                answer = ask(port, question)
                seconds.append(time.perf_counter() - begin)
            found[f"ui_{name}_cold_seconds"] = round(seconds[0], 3)
            found[f"ui_{name}_seconds"] = round(statistics.median(seconds[1:]), 3)
            if name == "partitions":
                (node,) = answer["assetNodes"]
                assert node["partitionStats"]["numMaterialized"] == days, node
    finally:
        process.terminate()
        process.wait(timeout=60)
    return found


def ask(port: int, query: str) -> dict[str, Any]:
    """Ask the webserver."""
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/graphql",
        json.dumps({"query": query}).encode(),
        {"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=120) as answer:
        content: dict[str, Any] = json.load(answer)
    assert "errors" not in content, content["errors"]
    data: dict[str, Any] = content["data"]
    return data


def main() -> None:
    """Measure and write the report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--days", type=int, default=1000)
    parser.add_argument("--runs", type=int, default=300)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="orchestai-ui-") as folder:
        report = {"machine": machine(), **measure(Path(folder), options.days, options.runs)}
    options.out.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
