"""Every kind of mistake, in a copy of the packaged configuration, with its file, line, key and remedy."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from orchestai.config import Settings, load_project, packaged_directory
from orchestai.errors import ConfigError, ConfigProblem


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    target = tmp_path / "conf"
    shutil.copytree(packaged_directory(), target, ignore=shutil.ignore_patterns("__pycache__", "*.py"))
    return target


def replace(path: Path, old: str, new: str) -> int:
    """Replace text that is there once and return the line on which it begins."""
    text = path.read_text()
    assert text.count(old) == 1, f"{old!r} is {text.count(old)} times in {path.name}"
    path.write_text(text.replace(old, new))
    return text[: text.index(old)].count("\n") + 1


def problems(folder: Path, target: str | None = None, **environment: str) -> list[ConfigProblem]:
    with pytest.raises(ConfigError) as caught:
        load_project(folder, target=target, settings=Settings.from_mapping(environment))
    return caught.value.problems


def only(folder: Path, target: str | None = None, **environment: str) -> ConfigProblem:
    found = problems(folder, target, **environment)
    assert len(found) == 1, [str(problem) for problem in found]
    return found[0]


def test_the_copy_itself_is_right(folder: Path) -> None:
    assert load_project(folder, settings=Settings.from_mapping({})).directory == folder


@pytest.mark.parametrize(
    ("file", "old", "new", "key", "message", "remedy"),
    [
        (
            "project.yml",
            "max_attempts: 3",
            "max_atempts: 3",
            "engine.max_atempts",
            "is not a known key.",
            "Did you mean 'max_attempts'?",
        ),
        (
            "project.yml",
            "threads: 1",
            "threads: one",
            "endpoint.threads",
            "must be a whole number, got 'one'.",
            None,
        ),
        ("project.yml", "seed: 7", "seed: true", "simulator.seed", "must be a whole number, got true.", None),
        (
            "project.yml",
            "exploration: 0.02",
            "exploration: 2",
            "routing.exploration",
            "must be <= 1, got 2.",
            None,
        ),
        (
            "project.yml",
            "gnn: gat",
            "gnn: gta",
            "planner.gnn",
            "must be one of gcn, gat, sage, got 'gta'.",
            "Did you mean 'gat'?",
        ),
        (
            "project.yml",
            'version: "1.0.0"',
            "version: 1.0",
            "version",
            "must be text, got 1.0.",
            "Put it in quotes.",
        ),
        ("project.yml", "name: orchestai\n", "", "name", "is missing.", "Add `name: ...`."),
        (
            "project.yml",
            "data: data",
            "data: s3://bucket/data",
            "paths.data",
            "must be a path of this machine, got the URL 's3:/bucket/data'. Mount the bucket.",
            None,
        ),
        (
            "project.yml",
            "backoff_min_s: 1",
            "backoff_min_s: 60",
            "engine",
            "`backoff_min_s` must be <= `backoff_max_s`, got 60 > 10.",
            None,
        ),
        (
            "project.yml",
            "profile: orchestai",
            "profile: orchestra",
            "(file)",
            "has no profile 'orchestra', which project.yml names.",
            "Did you mean 'orchestai'?",
        ),
        (
            "project.yml",
            "llm_worker: null",
            "llm_worker: sim-frontir",
            "planner.llm_worker",
            "there is no worker 'sim-frontir'.",
            "Did you mean 'sim-frontier'?",
        ),
        (
            "workers/simulated.yml",
            "modalities: [chat, vision]",
            "modalities: [chat, visoin]",
            "workers[5].modalities[1]",
            "must be one of chat, vision, audio, embedding, got 'visoin'.",
            "Did you mean 'vision'?",
        ),
        (
            "workers/simulated.yml",
            "audio_transcription: 0.95",
            "audio_transcriptoin: 0.95",
            "workers[6].simulation.quality.audio_transcriptoin",
            "there is no task type 'audio_transcriptoin'.",
            "Did you mean 'audio_transcription'?",
        ),
        (
            "expectations/training_data.yml",
            "type: accepted_values",
            "type: accepted_value",
            "expectations[8].type",
            "must be one of not_null, unique, accepted_values, between, matches, row_count, column_exists, "
            "length_between, relationships, accepted_range, freshness, got 'accepted_value'.",
            "Did you mean 'accepted_values'?",
        ),
        (
            "expectations/training_data.yml",
            "kwargs: {values: [train, validation, test]}",
            "kwargs: {value: [train]}",
            "expectations[8].kwargs.value",
            "is not a known key.",
            "Did you mean 'values'?",
        ),
        (
            "expectations/training_data.yml",
            r"regex: '\S'",
            r"regex: '(\S'",
            "expectations[5].kwargs.regex",
            "is not a regular expression: missing ), unterminated subpattern at position 0.",
            None,
        ),
        (
            "training/data.yml",
            "test: 20",
            "test: 30",
            "split",
            "train + validation + test must be 100, got 110.",
            None,
        ),
        ("rewards/default.yml", "cost: -0.1", "cost: 0.1", "cost", "must be <= 0, got 0.1.", None),
        (
            "prompts/translation.yml",
            "task_type: translation",
            "task_type: translaton",
            "prompts[0].task_type",
            "there is no task type 'translaton'.",
            "Did you mean 'translation'?",
        ),
        (
            "prompts/default.yml",
            "task_type: default",
            "task_type: reasoning",
            "(file)",
            "no active prompt has the task_type 'default'.",
            "It serves task types without their own.",
        ),
    ],
)
def test_a_mistake_is_named_with_its_place(
    folder: Path, file: str, old: str, new: str, key: str, message: str, remedy: str | None
) -> None:
    line = replace(folder / file, old, new)
    found = problems(folder)
    assert (key, message, remedy) in [(p.key, p.message, p.remedy) for p in found], [str(p) for p in found]
    problem = next(p for p in found if p.message == message)
    if key not in ("(file)", "name"):
        assert problem.file == str(folder / file)
        assert problem.line is not None
        assert abs(problem.line - line) <= 2  # a rule over several keys is reported at the key around them


def test_the_line_is_exact(folder: Path) -> None:
    line = replace(folder / "workers" / "simulated.yml", "context_tokens: 200000", "context_tokens: 0")
    problem = only(folder)
    assert str(problem) == (f"{folder}/workers/simulated.yml:{line}: workers[0].context_tokens: must be >= 1, got 0.")


def test_all_problems_come_at_once(folder: Path) -> None:
    replace(folder / "project.yml", "threads: 1", "threads: 0")
    replace(folder / "workers" / "simulated.yml", "name: sim-coder", "name: sim-fast")
    replace(folder / "task_types" / "media.yml", "modality: vision", "modality: visual")
    replace(folder / "training" / "phase1.yml", "epochs: 50", "epochs: -1")
    with pytest.raises(ConfigError) as caught:
        load_project(folder, settings=Settings.from_mapping({}))
    keys = {problem.key for problem in caught.value.problems}
    assert keys == {"endpoint.threads", "workers[3].name", "task_types[0].modality", "epochs"}
    assert str(caught.value).startswith("4 problems in the configuration:\n")


def test_a_wrong_file_brings_no_false_problems_in_others(folder: Path) -> None:
    replace(folder / "task_types" / "language.yml", "max_output_tokens: 16\n", "max_output_tokens: none\n")
    assert only(folder).key == "task_types[4].max_output_tokens"


def test_duplicate_keys_name_the_first_line(folder: Path) -> None:
    line = replace(folder / "training" / "phase1.yml", "epochs: 50\n", "epochs: 50\nepochs: 60\n")
    problem = only(folder)
    assert (problem.line, problem.key) == (line + 1, "epochs")
    assert problem.message == f"is there twice; the first is on line {line}."


def test_yaml_syntax_is_reported_with_line(folder: Path) -> None:
    line = replace(folder / "training" / "phase1.yml", "epochs: 50\n", "epochs: [50\n")
    problem = only(folder)
    assert problem.key == "(YAML)"
    assert problem.line in (line, line + 1)
    assert problem.remedy is not None
    assert "indentation" in problem.remedy


def test_names_that_are_used_twice_over_files(folder: Path) -> None:
    text = (folder / "workers" / "packaged.yml").read_text()
    (folder / "workers" / "zz_more.yml").write_text(text)
    problem = only(folder)
    assert problem.file == str(folder / "workers" / "zz_more.yml")
    assert problem.message == (f"the worker 'smollm2-135m' is already defined at {folder}/workers/packaged.yml:5.")


def test_two_suites_for_one_table(folder: Path) -> None:
    shutil.copy(folder / "expectations" / "training_data.yml", folder / "expectations" / "x.yml")
    assert "'training_data' is already defined at" in only(folder).message


def test_two_active_prompts_for_one_task_type(folder: Path) -> None:
    text = (folder / "prompts" / "translation.yml").read_text()
    copy = folder / "prompts" / "translation_2.yml"
    copy.write_text(text.replace("version: 1", "version: 2"))
    assert only(folder).message == ("two prompts for 'translation' are active: translation@1 and translation@2.")
    copy.write_text(copy.read_text().replace("active: true", "active: false"))
    assert len(load_project(folder, settings=Settings.from_mapping({})).prompts) == 15


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("{% if request %}", "is not a Jinja template: line 1 of it: Unexpected end of template."),
        ("{{ reqest }}", "uses the unknown variable 'reqest'. Did you mean 'request'?"),
        ("{{ request | blok }}", "is not a Jinja template: line 1 of it: No filter named 'blok'."),
    ],
)
def test_templates_are_checked_when_they_are_read(folder: Path, template: str, message: str) -> None:
    prompt = (
        "prompts:\n  - name: extra\n    task_type: default\n    version: 1\n    active: false\n"
        f"    template: '{template}'\n"
    )
    (folder / "prompts" / "extra.yml").write_text(prompt)
    problem = only(folder)
    assert (problem.line, problem.key) == (6, "prompts[0].template")
    assert problem.message.startswith(message)


def test_the_planner_template_has_its_own_variables(folder: Path) -> None:
    replace(folder / "prompts" / "planner.yml", "at most {{ max_subtasks }}", "at most {{ outputs }}")
    assert "unknown variable 'outputs'" in only(folder).message


def test_a_missing_file_and_a_misplaced_one(folder: Path) -> None:
    (folder / "worker").mkdir()
    (folder / "workers" / "packaged.yml").rename(folder / "worker" / "packaged.yml")
    (folder / "profiles.yml").unlink()
    found = {problem.file: problem for problem in problems(folder)}
    assert found[str(folder / "profiles.yml")].message == "is missing: a configuration has profiles.yml."
    misplaced = found[str(folder / "worker" / "packaged.yml")]
    assert misplaced.remedy == "Did you mean 'workers'?"


def test_a_missing_folder(tmp_path: Path) -> None:
    problem = only(tmp_path / "nowhere")
    assert problem.message == "does not exist."
    assert problem.remedy is not None
    assert "orchestai init" in problem.remedy


def test_an_unknown_target_names_the_known_ones(folder: Path) -> None:
    problem = only(folder, "staging")
    assert (problem.key, problem.message) == ("orchestai.targets", "has no target 'staging'.")
    assert problem.remedy == "Known: dev, ci, prod."
    assert only(folder, "prd").remedy == "Did you mean 'prod'?"


def test_a_mistake_in_another_target_is_found_too(folder: Path) -> None:
    line = replace(folder / "profiles.yml", "routing: {simulated: never}", "routing: {simulated: nevr}")
    problem = only(folder, "dev")
    assert (problem.line, problem.key) == (line, "orchestai.targets.prod.routing.simulated")


def test_a_variable_is_needed_by_the_target_in_use_only(folder: Path) -> None:
    line = replace(folder / "profiles.yml", "env_var('ORCHESTAI_GPUS', '4')", "env_var('ORCHESTAI_GPUS')")
    settings = Settings.from_mapping({})
    assert load_project(folder, target="dev", settings=settings).target == "dev"
    problem = only(folder, "prod")
    assert (problem.line, problem.key) == (line, "orchestai.targets.prod.dagster.pools.gpu")
    assert problem.message == "the environment variable ORCHESTAI_GPUS is not set."
    assert load_project(
        folder, target="prod", settings=Settings.from_mapping({"ORCHESTAI_GPUS": "2"})
    ).dagster.pools == {"cpu": 32, "gpu": 2}


def test_rules_over_both_files_are_checked_after_merging(folder: Path) -> None:
    replace(
        folder / "profiles.yml",
        "routing: {simulated: never}",
        "routing: {simulated: never}\n      engine: {backoff_max_s: 0.2, backoff_min_s: 0.1}",
    )
    assert load_project(folder, target="prod", settings=Settings.from_mapping({})).engine.backoff_min_s == 0.1
    replace(
        folder / "profiles.yml",
        "engine: {backoff_max_s: 0.2, backoff_min_s: 0.1}",
        "engine: {backoff_min_s: 9, backoff_max_s: 9.5}",
    )
    replace(
        folder / "profiles.yml",
        "engine: {backoff_min_s: 9, backoff_max_s: 9.5}",
        "engine: {backoff_min_s: 9}",
    )
    replace(folder / "project.yml", "backoff_max_s: 10", "backoff_max_s: 5")
    problem = only(folder, "prod")
    assert problem.key == "orchestai.targets.prod.engine"
    assert problem.message == ("together with project.yml: `backoff_min_s` must be <= `backoff_max_s`, got 9 > 5.")


def test_a_step_names_a_pool_that_exists(folder: Path) -> None:
    replace(folder / "project.yml", "pool: gpu", "pool: gpus")
    assert (only(folder).key, only(folder).remedy) == ("dagster.steps.gpu.pool", "Did you mean 'gpu'?")


def test_a_gpu_request_equals_its_limit(folder: Path) -> None:
    replace(folder / "project.yml", 'requests: {cpu: "2", memory: 8Gi}', "requests: {nvidia.com/gpu: 2}")
    assert "Kubernetes wants the same nvidia.com/gpu" in only(folder).message


def test_jinja_in_values_cannot_reach_python(folder: Path) -> None:
    evil = "seed: \"{{ env_var.__globals__['os'].system('true') }}\""
    replace(folder / "project.yml", "seed: 7", evil)
    problem = only(folder)
    assert problem.key == "simulator.seed"
    assert problem.message.startswith("cannot be rendered:")


def test_keys_never_stand_in_a_message(folder: Path) -> None:
    replace(folder / "project.yml", "port: 8451", "port: \"{{ env_var('OPENAI_API_KEY') }}\"")
    problem = only(folder, OPENAI_API_KEY="sk-very-secret-1234")
    assert problem.message == "must be a whole number, got '***'."
    assert "secret" not in repr(problem)
