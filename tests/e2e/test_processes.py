"""Steps in processes of their own: values travel by file, and the fork server starts what it preloaded."""

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from orchestai.config import Project
from orchestai.logs import read_executions

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

ROOT = Path(__file__).parents[2]


def test_a_live_instruction_runs_with_each_step_in_its_own_process(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = project.directory / "project.yml"
    content = yaml.safe_load(file.read_text(encoding="utf-8"))
    content["dagster"]["executor"] = "multiprocess"
    file.write_text(yaml.safe_dump(content), encoding="utf-8")
    home = tmp_path / "dagster_home"
    home.mkdir()
    (home / "dagster.yaml").write_text("telemetry: {enabled: false}\nnux: {enabled: false}\n", encoding="utf-8")
    monkeypatch.setenv("DAGSTER_HOME", str(home))
    config = tmp_path / "run.yaml"
    plan = {
        "graph": {
            "nodes": [{"task_type": "summarization"}, {"task_type": "translation"}, {"task_type": "classification"}],
            "dependencies": [[], [0], [0]],
        },
        "assignments": [{"worker": "sim-fast"}] * 3,
    }
    run_config = {
        "resources": {"orchestai": {"config": {"mock": True}}},
        "ops": {"plan": {"config": {"instruction": "Summarise, translate and classify.", "plan": plan}}},
    }
    config.write_text(yaml.safe_dump(run_config), encoding="utf-8")
    command = [str(Path(sys.executable).with_name("dagster")), "job", "execute"]
    arguments = ["-m", "orchestai_assets.definitions", "-j", "live_instruction", "-c", str(config)]

    done = subprocess.run(command + arguments, cwd=ROOT, capture_output=True, text=True, timeout=280)

    assert done.returncode == 0, done.stderr[-3000:]
    assert 'Launching subprocess for "subtask_cpu_01[01_translation]"' in done.stderr
    (record,) = read_executions(project.paths.execution_logs)
    assert record.completed
    assert [subtask.status for subtask in record.subtasks] == ["done"] * 3
