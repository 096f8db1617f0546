"""Phase 2 goes on from a Phase 1 checkpoint: simulated workers, replayed outcomes, a planner that uses it."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from orchestai.app.phase2 import report_of, reward_curves
from orchestai.app.places import phase1_folder, phase2_folder
from orchestai.app.planning import current_checkpoint
from orchestai.checkpoint import load_checkpoint, read_manifest
from orchestai.config import Phase1Config, Phase2Config, PlannerConfig, Project, RewardConfig, Settings, load_project
from orchestai.contracts import Modality, WorkerCatalog, WorkerProfile
from orchestai.contracts.catalog import SimulationProfile
from orchestai.planner.learned import LearnedPlanner
from orchestai.routing.outcomes import build_table
from orchestai.training import phase1, phase2
from orchestai.training.environment import TableEnvironment
from orchestai.training.phase2 import Phase2Data, Phase2Result, digest_of
from orchestai.training.replayed import replayed_workflows
from orchestai.training.rollout import play
from orchestai.training.rows import assign_split
from orchestai.training.simulated import SimulatedOutcomes, simulated_workflows
from orchestai.training.soften import soften
from orchestai_assets.plots import pareto_picture
from tests.planner.toys import TASKS, WordEncoder, toy_examples

REWARDS = RewardConfig(success=10, cost=-10, latency_ms=-0.0001, successful_tasks=0.1)


def simulated(name: str, quality: dict[str, float], **more: Any) -> WorkerProfile:
    return WorkerProfile(
        name=name, description=f"{name} hand", model="m", simulation=SimulationProfile(quality=quality), **more
    )


WORKERS = WorkerCatalog(
    workers=(
        simulated("ann", {"paint": 0.95, "default": 0.05}),
        simulated("bob", {"bake": 0.95, "default": 0.05}),
        simulated("eye", {"default": 0.9}, modalities=(Modality.VISION,)),
        WorkerProfile(name="real", description="nobody knows how good", model="m"),
    )
)


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Phase 1 checkpoint that knows what to do, and sends both kinds of chat work to the worker for baking."""
    folder = tmp_path_factory.mktemp("start") / "phase1"
    swapped = {"ann": "bob", "bob": "bob", "eye": "eye"}
    examples = [
        each.model_copy(update={"model_selections": tuple(swapped[name] for name in each.model_selections or ())})
        for each in toy_examples()
    ]
    phase1.train(
        Phase1Config(epochs=6, learning_rate=3e-4, seed=3),
        examples,
        tasks=TASKS,
        workers=WORKERS,
        encoder=WordEncoder(),
        out=folder,
        planner=PlannerConfig(gnn="sage", subtask_size=32, node_size=16),
    )
    return folder


def load(folder: Path) -> LearnedPlanner:
    return LearnedPlanner.load(folder, encoder=WordEncoder(), tasks=TASKS, workers=WORKERS)


def simulated_data(planner: LearnedPlanner) -> Phase2Data:
    examples = toy_examples()
    states = planner.selector_states([each.instruction for each in examples], [each.task_types for each in examples])
    parts = []
    for split in ("train", "validation"):
        places = [place for place, each in enumerate(examples) if assign_split(each) == split]
        chosen = [examples[place] for place in places]
        parts.append(
            simulated_workflows(chosen, [states[place].numpy() for place in places], tasks=TASKS, workers=WORKERS)
        )
    draw = SimulatedOutcomes(WORKERS)
    training = TableEnvironment(parts[0], REWARDS, draw=draw)
    return Phase2Data(training, parts[1], parts[1], draw, "simulator", digest_of(*parts))


@pytest.fixture(scope="module")
def trained(start: Path, tmp_path_factory: pytest.TempPathFactory) -> Phase2Result:
    planner = load(start)
    return phase2.train(
        Phase2Config(updates=20, workflows=128, learning_rate=3e-3, max_kl=0.2, entropy=0.02),
        simulated_data(planner),
        checkpoint=start,
        planner=planner,
        rewards=REWARDS,
        out=tmp_path_factory.mktemp("end") / "phase2",
    )


def test_the_policy_learns_who_is_good_at_what(trained: Phase2Result) -> None:
    found = trained.methods
    assert found["ppo"]["reward"] > found["supervised_argmax"]["reward"] + 1
    assert found["ppo"]["success"] > 0.7
    assert found["oracle"]["reward"] >= found["ppo"]["reward"]
    assert found["ppo"]["invalid"] == 0
    assert trained.warning is None


def test_a_sure_policy_is_softened_and_chooses_as_before(start: Path) -> None:
    planner = load(start)
    data = simulated_data(planner)
    environment = TableEnvironment(data.validation, REWARDS)
    policy = copy.deepcopy(planner.ensemble.leader.selector)
    rows = np.arange(environment.size)
    before, _ = play(policy, planner.described_workers, environment, rows, seed=0, greedy=True)
    factor = soften(policy, planner.described_workers, environment, entropy=0.5)
    after, _ = play(policy, planner.described_workers, environment, rows, seed=0, greedy=True)
    assert 0 < factor < 1
    assert before.actions.equal(after.actions)
    chat = after.active & (after.allowed.sum(-1) == 2)
    found = after.probabilities[chat]
    entropy = -(found * found.clamp_min(1e-30).log()).sum(-1).mean() / np.log(2)
    assert float(entropy) == pytest.approx(0.5, abs=1e-3)
    assert soften(policy, planner.described_workers, environment, entropy=0.4) == 1.0


def test_the_planner_takes_the_new_policy_and_plans_as_before(start: Path, trained: Phase2Result) -> None:
    before, after = load(start), load(trained.checkpoint)
    texts = ["soon paint then bake", "soon bake and paint", "soon look"]
    assert [each.task_types for each in before.predict(texts)] == [each.task_types for each in after.predict(texts)]
    full = after.predict_full("soon paint then bake")
    assert full.prediction.task_types == ("paint", "bake")
    names = WORKERS.names
    chosen = [names[int(np.argmax(row))] for row in full.worker_probabilities]
    assert chosen == ["ann", "bob"]
    assert after.setup.reinforced == ("ann", "bob", "eye")
    assert before.setup.reinforced == ()
    assert max(row[names.index("real")] for row in full.worker_probabilities) < 1e-8


def test_only_the_policy_is_another_one(start: Path, trained: Phase2Result) -> None:
    before, after = load_checkpoint(start), load_checkpoint(trained.checkpoint)
    changed = {name for name in before.tensors if not before.tensors[name].equal(after.tensors[name])}
    assert changed
    assert all(name.startswith("members.0.selector.") for name in changed)
    assert after.manifest.kind == "phase2"
    assert after.manifest.parents == (before.manifest.digest,)


def test_states_one_by_one_and_together_are_the_same(start: Path) -> None:
    planner = load(start)
    plans = [(each.instruction, each.task_types) for each in toy_examples()[:9]]
    together = planner.selector_states([text for text, _ in plans], [types for _, types in plans])
    for (text, types), state in zip(plans, together, strict=True):
        (alone,) = planner.selector_states([text], [types])
        assert state.shape == (len(types), planner.ensemble.leader.selector.state_size)
        np.testing.assert_allclose(alone.numpy(), state.numpy(), atol=1e-5)


def test_real_workers_take_no_part_in_a_simulation(start: Path) -> None:
    data = simulated_data(load(start))
    assert not data.test.allowed[..., WORKERS.index("real")].any()
    (kinds,) = {row.tobytes() for row in data.test.allowed[data.test.present] if row[WORKERS.index("eye")]}
    assert np.frombuffer(kinds, dtype=np.bool_).sum() == 1


def test_a_fate_is_drawn_by_its_seed_and_as_often_as_the_profile_says(start: Path) -> None:
    flows = simulated_data(load(start)).test
    many = flows.take(np.zeros(4000, dtype=np.int64))
    draw = SimulatedOutcomes(WORKERS)
    first = draw(many, np.random.default_rng(1))
    np.testing.assert_array_equal(first.success, draw(many, np.random.default_rng(1)).success)
    np.testing.assert_allclose(first.success.mean(0), many.expected.success[0], atol=0.03)
    assert np.median(first.latency_ms[:, 0][:, many.allowed[0, 0]]) == pytest.approx(50, rel=0.05)


def test_replayed_questions_are_in_one_split_and_repeats_count_once(start: Path) -> None:
    rows, texts = [], {}
    for number in range(120):
        texts[f"q{number}"] = f"soon paint wall {number % 100}"
        for worker, score in (("ann", 1.0), ("bob", float(number % 2))):
            rows.append({"query_id": f"q{number}", "worker": worker, "task_type": "paint", "score": score})
    table = build_table(rows, texts)
    counts = {"train": 40, "validation": 20, "test": 20}
    flows = replayed_workflows(table, load(start), [((), (0,))], counts=counts, most=1000, seed=1)
    seen = {name: {state.tobytes() for state in each.states[each.present]} for name, each in flows.items()}
    assert not seen["train"] & seen["test"]
    assert not seen["train"] & seen["validation"]
    assert {name: len(each) for name, each in flows.items()} == counts
    usable = flows["test"].allowed[flows["test"].present].any(0)
    assert usable.tolist() == [True, True, False, False]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    monkeypatch.setenv("ORCHESTAI_HOME", str(tmp_path / "home"))
    return load_project(settings=Settings.load())


def test_a_project_plans_with_the_policy_that_belongs_to_its_planner(
    project: Project, start: Path, trained: Phase2Result
) -> None:
    assert current_checkpoint(project) is None
    phase1_folder(project).parent.mkdir(parents=True)
    phase1_folder(project).symlink_to(start)
    assert current_checkpoint(project) == phase1_folder(project)
    phase2_folder(project).symlink_to(trained.checkpoint)
    assert current_checkpoint(project) == phase2_folder(project)
    phase1_folder(project).unlink()
    phase1_folder(project).symlink_to(trained.checkpoint)  # another Phase 1: the policy is not its own
    assert current_checkpoint(project) == phase1_folder(project)


def test_the_report_says_what_the_checkpoint_knows(project: Project, trained: Phase2Result) -> None:
    report = report_of(project, trained.checkpoint)
    assert set(report["methods"]) == {"ppo", "supervised_argmax", "best_single", "cheapest", "greedy", "oracle"}
    assert report["methods"] == trained.methods
    assert report["environment"] == "simulator"
    front = report["pareto"]["front"]
    assert report["pareto"]["methods"].keys() == trained.methods.keys()
    assert front[-1]["expected_success"] >= front[0]["expected_success"]
    assert 0 < front[-1]["success"] <= 1
    assert pareto_picture(report["pareto"]).startswith(b"\x89PNG")
    curves = reward_curves(report["history"])
    assert len(curves["training"]) == len(report["history"])
    assert max(curves["validation"]) == pytest.approx(report["history"][report["best_update"]]["validation"]["reward"])
    assert read_manifest(trained.checkpoint).metrics["ppo_reward"] == trained.methods["ppo"]["reward"]
