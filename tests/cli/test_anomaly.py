"""`train anomaly` on the user's own log."""

from __future__ import annotations

from pathlib import Path

from orchestai.app.runtime import open_runtime
from orchestai.contracts import Instruction
from tests.app.endpoint import load
from tests.cli.conftest import Cli


def test_train_anomaly_says_what_it_learned_from(cli: Cli, configs: Path) -> None:
    refused = cli("train", "anomaly")
    assert refused.code != 0
    assert "No worker has 200 calls" in refused.err
    with open_runtime(load(configs, cli.home), mock=True, learned=False) as runtime:
        for _ in range(205):
            runtime.execute(Instruction(text="Name a river."))
    trained = cli("train", "anomaly", "--json").json
    assert sum(trained["calls"].values()) >= 200
    assert (cli.home / "checkpoints" / "anomaly" / "manifest.json").exists()
    assert "false alarms on held-out calls" in cli("train", "anomaly", "--since", "1h").out
