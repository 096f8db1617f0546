"""The examples of docs/how-to/metrics.md do what the page says."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import yaml

from orchestai.config import TelemetryConfig

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "how-to" / "metrics.md").read_text(encoding="utf-8")


def test_the_python_example_runs(tmp_path: Path) -> None:
    (example,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    script = tmp_path / "example.py"
    script.write_text(example)
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, cwd=ROOT, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "orchestai_log_records_total 1.0\n" in done.stdout


def test_the_configuration_shown_is_one() -> None:
    shown = [yaml.safe_load(block) for block in re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)]
    (config,) = [block["telemetry"] for block in shown if "telemetry" in block]
    assert TelemetryConfig.model_validate(config).tracing.sample_ratio == 0.1
    (scrape,) = [block for block in shown if "scrape_configs" in block]
    assert scrape["scrape_configs"][0]["job_name"] == "orchestai", "the alerts look for this name"
    assert all((ROOT / file).is_file() for file in scrape["rule_files"])
