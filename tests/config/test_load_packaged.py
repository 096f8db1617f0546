from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from orchestai.config import Settings, load_project
from orchestai.contracts import Modality
from orchestai.errors import ConfigError


def load(target: str | None = None, **environment: str):
    return load_project(target=target, settings=Settings.from_mapping(environment))


def test_defaults_are_the_documented_ones() -> None:
    project = load()
    assert project.target == "dev"
    assert project.routing.simulated == "fallback"
    assert project.tracking.wandb_mode == "offline"
    assert (project.engine.max_attempts, project.engine.backoff_min_s, project.engine.backoff_max_s) == (
        3,
        1,
        10,
    )
    assert project.logs.segment_bytes == 16 * 1024 * 1024
    phase1 = project.training.phase1
    assert (phase1.batch_size, phase1.learning_rate, phase1.epochs, phase1.lambda_dag) == (32, 1e-4, 50, 0.3)
    split = project.training.split
    assert (split.train, split.validation, split.test) == (60, 20, 20)


def test_task_types_and_workers_keep_their_order() -> None:
    project = load()
    assert project.tasks.names == (
        "text_extraction",
        "summarization",
        "translation",
        "generation",
        "classification",
        "question_answering",
        "reasoning",
        "code_generation",
        "image_analysis",
        "audio_transcription",
    )
    assert project.workers.names == (
        "smollm2-135m",
        "sim-frontier",
        "sim-balanced",
        "sim-fast",
        "sim-coder",
        "sim-polyglot",
        "sim-vision",
        "sim-audio",
    )
    assert project.tasks["image_analysis"].modality is Modality.VISION
    assert project.tasks["audio_transcription"].modality is Modality.AUDIO
    assert [worker.name for worker in project.workers.profiles() if not worker.simulated] == ["smollm2-135m"]


@pytest.mark.parametrize(
    ("target", "simulated", "wandb"),
    [("dev", "fallback", "offline"), ("ci", "allow", "disabled"), ("prod", "never", "online")],
)
def test_targets_differ_as_documented(target: str, simulated: str, wandb: str) -> None:
    project = load(target)
    assert (project.routing.simulated, project.tracking.wandb_mode) == (simulated, wandb)
    assert project.simulator.enabled is (target != "prod")
    assert project.routing.exploration == 0.02  # of project.yml, which no target changes


def test_a_target_changes_single_keys_and_keeps_the_others() -> None:
    dev, prod = load("dev"), load("prod")
    assert prod.dagster.pools == {"cpu": 32, "gpu": 4}
    assert prod.dagster.steps["gpu"].limits == {"cpu": "16", "memory": "64Gi", "nvidia.com/gpu": "1"}
    assert dev.dagster.steps["gpu"].limits["nvidia.com/gpu"] == "1"
    assert prod.simulator.port == dev.simulator.port == 8452
    assert prod.dagster.steps["gpu"].k8s_config["container_config"]["resources"]["limits"]["memory"] == "64Gi"


def test_a_variable_reaches_a_number_by_yaml_rules() -> None:
    assert load("prod", ORCHESTAI_GPUS="9").dagster.pools["gpu"] == 9
    with pytest.raises(ConfigError, match=r"pools\.gpu: must be a whole number, got 'many'"):
        load("prod", ORCHESTAI_GPUS="many")


def test_argument_wins_over_environment_over_profile() -> None:
    assert load(ORCHESTAI_TARGET="ci").target == "ci"
    assert load("prod", ORCHESTAI_TARGET="ci").target == "prod"


def test_paths_start_at_home_and_home_at_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    project = load()
    assert project.home == project.paths.home == tmp_path / ".orchestai"
    assert project.paths.checkpoints == tmp_path / ".orchestai" / "checkpoints"
    assert project.sources["execution_logs"].path == project.paths.execution_logs
    assert load(ORCHESTAI_HOME="state").home == tmp_path / "state"
    assert load("prod", ORCHESTAI_HOME="/srv/o").paths.data == Path("/srv/o/data")
    assert load("prod").home == Path("/var/lib/orchestai")
    assert load("prod", ORCHESTAI_CHECKPOINTS="/mnt/weights").paths.checkpoints == Path("/mnt/weights")
    assert list(tmp_path.iterdir()) == []  # loading writes nothing


def test_settings_made_in_code_choose_the_home(tmp_path: Path) -> None:
    settings = Settings.from_mapping({}).model_copy(update={"home": tmp_path})
    assert load_project(settings=settings).home == tmp_path
    assert load_project(settings=Settings(home=tmp_path), target="prod").home == tmp_path


def test_without_variables_the_real_worker_is_the_packaged_model() -> None:
    worker = load(OPENAI_API_KEY="sk-someone", OPENAI_MODEL="big").workers["smollm2-135m"]
    assert (worker.base_url, worker.model) == (None, "smollm2-135m")
    assert "without network" in worker.description
    assert (worker.input_usd_per_mtok, worker.output_usd_per_mtok) == (0, 0)


def test_the_packaged_model_reads_no_images_whatever_the_variable_says() -> None:
    worker = load(ORCHESTAI_OPENAI_MODALITIES="chat,vision").workers["smollm2-135m"]
    assert worker.modalities == (Modality.CHAT,)


def test_an_endpoint_of_the_user_takes_its_place() -> None:
    worker = load(
        OPENAI_BASE_URL="https://llm.example/v1",
        OPENAI_MODEL="00123",
        ORCHESTAI_OPENAI_MODALITIES="chat, vision,audio",
        ORCHESTAI_OPENAI_INPUT_USD_PER_MTOK="0.15",
        ORCHESTAI_OPENAI_CONTEXT_TOKENS="128000",
    ).workers["smollm2-135m"]
    assert worker.base_url == "https://llm.example/v1"
    assert worker.model == "00123"  # text, although YAML alone would make it a number
    assert worker.modalities == (Modality.CHAT, Modality.VISION, Modality.AUDIO)
    assert worker.input_usd_per_mtok == 0.15
    assert worker.context_tokens == 128_000
    assert "OPENAI_BASE_URL" in worker.description
    assert "SmolLM2" not in worker.description


def test_an_endpoint_without_a_model_is_a_problem_with_a_remedy() -> None:
    with pytest.raises(ConfigError) as caught:
        load(OPENAI_BASE_URL="https://llm.example/v1")
    assert "OPENAI_MODEL is not set. Set it, put it into .env" in str(caught.value)
    assert caught.value.problems[0].key == "workers[0].model"


def test_the_description_of_simulated_workers_says_so() -> None:
    for worker in load().workers.profiles():
        assert ("Simulated" in worker.description) is worker.simulated


def test_simulated_workers_trade_quality_for_price_and_time() -> None:
    workers = load().workers
    frontier, fast = workers["sim-frontier"], workers["sim-fast"]
    assert frontier.simulation
    assert fast.simulation
    assert frontier.simulation.quality_of("reasoning") > fast.simulation.quality_of("reasoning") + 0.3
    assert frontier.output_usd_per_mtok > 10 * fast.output_usd_per_mtok
    for worker in workers.profiles():
        if worker.simulation:
            assert 40 <= worker.simulation.latency_ms <= 400
            assert worker.typical_latency_ms == worker.simulation.latency_ms


def test_every_task_type_has_its_own_prompt_and_distinct_keywords() -> None:
    project = load()
    assert {prompt.task_type for prompt in project.prompts} == {
        *project.tasks.names,
        "default",
        "planner",
        "repair",
        "revision",
    }
    owners: dict[str, str] = {}
    for task in project.tasks.types:
        for keyword in task.keywords:
            assert keyword == keyword.casefold()
            assert owners.setdefault(keyword, task.name) == task.name, keyword
    assert len(owners) > 200


def test_rewards_follow_the_documented_formula() -> None:
    rewards = load().rewards
    measured = {"success": True, "cost_usd": 2.0, "latency_ms": 300.0, "successful_tasks": 4}
    # 10 - 0.1 * 2 - 0.01 * 300 + 0.1 * 4
    assert rewards["default"].reward(**measured) == pytest.approx(7.2)
    # 10 - 10 * 2 - 0.0001 * 300 + 0.1 * 4
    assert rewards["balanced"].reward(**measured) == pytest.approx(-9.63)


def test_importing_reads_nothing_and_loads_nothing_heavy() -> None:
    heavy = "{'torch', 'transformers', 'pandas', 'openai', 'networkx', 'dagster'}"
    code = f"import orchestai.config, orchestai.prompts, sys; print(sorted({heavy} & set(sys.modules)))"
    environment = {**os.environ, "ORCHESTAI_LOG_LEVEL": "nonsense"}  # would raise if it were read
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env=environment,
        cwd=Path.cwd(),
    )
    assert done.stdout.strip() == "[]"
