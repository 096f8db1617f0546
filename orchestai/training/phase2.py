"""Phase 2: the policy of a Phase 1 checkpoint learns from rewards, read from top to bottom."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from orchestai.checkpoint import load_checkpoint
from orchestai.checkpoint.manifest import ManifestFields
from orchestai.checkpoint.store import save_checkpoint
from orchestai.config import Phase2Config, RewardConfig
from orchestai.embeddings.threads import torch_threads
from orchestai.planner.learned import LearnedPlanner
from orchestai.planner.selector import RLModelSelector
from orchestai.planner.shapes import DescribedWorkers
from orchestai.training.environment import Ended, TableEnvironment, WorkflowEnvironment
from orchestai.training.heuristics import best_single, greedy, oracle
from orchestai.training.pareto import front_of, sample_rows
from orchestai.training.policy import train_policy
from orchestai.training.rewards import reward_scale
from orchestai.training.rollout import play
from orchestai.training.soften import soften
from orchestai.training.workflows import Actions, Workflows

_LEADER = "members.0.selector."
_MEASURED_SEED = 1_000_003


class Phase2Data(NamedTuple):
    """Where the policy learns, is chosen and is measured.

    Attributes:
        training: Environment to learn in; may be live.
        validation: Workflows of tables.
        test: Workflows of tables.
        draw: Makes their outcomes, for simulated workers; None where they are recorded.
        kind: `simulator`, `replay` or `live`.
        digest: Hash of all of it.
        tried: Names of workers that only the training can try; those of the test workflows are known to be.
    """

    training: WorkflowEnvironment
    validation: Workflows
    test: Workflows
    draw: Callable[[Workflows, np.random.Generator], Any] | None
    kind: str
    digest: str
    tried: tuple[str, ...] = ()


class Phase2Result(NamedTuple):
    """What came of a training."""

    checkpoint: Path
    history: list[dict[str, Any]]
    best_update: int
    seconds: float
    methods: dict[str, dict[str, float]]
    warning: str | None
    pareto: dict[str, Any]


def train(
    config: Phase2Config,
    data: Phase2Data,
    *,
    checkpoint: Path,
    planner: LearnedPlanner,
    rewards: RewardConfig,
    out: Path,
    on_update: Callable[[dict[str, Any]], None] | None = None,
    resume: bool = True,
) -> Phase2Result:
    """Go on from `checkpoint` with PPO and write the whole planner, its policy replaced, to `out`.

    The policy is made less sure first, so that it tries what Phase 1 has ruled out; its likeliest choices stay.
    Only the policy and its critic learn; what the planner sees and how it decomposes stays as it is. The state lies
    beside `out`; a training that was killed goes on from there.

    Args:
        config: The recipe's numbers.
        data: Environments.
        checkpoint: Of Phase 1.
        planner: The same, loaded.
        rewards: Weights.
        out: Folder of the new checkpoint.
        on_update: Called with each row of the history.
        resume: Whether to go on from a state that is there.

    Raises:
        DataError: There is nothing to train on, or a loss is not finite.
        StorageError: The checkpoint or the state cannot be written.
    """
    loaded = load_checkpoint(checkpoint)
    workers = planner.described_workers
    first = planner.ensemble.leader.selector
    policy = copy.deepcopy(first)
    validation = TableEnvironment(data.validation, rewards, draw=data.draw)
    scale = reward_scale(rewards, data.validation)
    with torch_threads(1):  # batches this small gain nothing from more, and sums keep their order
        softened = soften(policy, workers, validation, entropy=config.first_entropy)
        trained = train_policy(
            config,
            policy,
            workers,
            data.training,
            validation,
            state_folder=out.with_name(f"{out.name}.training"),
            identity=f"{loaded.manifest.digest}{data.digest}{rewards.model_dump_json()}",
            resume=resume,
            on_update=on_update,
            # Validation knows nothing of workers that only the training can try: it cannot say which round is best.
            keep="last" if data.tried else "best",
        )
        methods = compare(policy, first, workers, data, rewards)
        pareto = _pareto(policy, first, workers, data, rewards)
    usable = data.test.allowed[data.test.present]  # (sub-tasks, W)
    tried = [name for column, name in enumerate(planner.workers.names) if usable[:, column].any() or name in data.tried]
    tensors = dict(loaded.tensors)
    tensors |= {_LEADER + name: tensor for name, tensor in policy.state_dict().items()}
    fields = ManifestFields(
        kind="phase2",
        data_hash=data.digest,
        seed=config.seed,
        metrics={f"{name}_{key}": value for name, row in methods.items() for key, value in row.items()},
        parents=(loaded.manifest.digest,),
        history=tuple(trained.history),
        notes={
            "best_update": trained.best_update,
            "environment": data.kind,
            "config": config.model_dump(mode="json"),
            "rewards": rewards.model_dump(mode="json"),
            "reward_scale": scale._asdict(),
            "warning": scale.warning(),
            "softened": softened,
            "phase1": dict(loaded.manifest.metrics),
            "pareto": pareto,
        },
    )
    save_checkpoint(
        out, tensors, {**loaded.config, "reinforced": tried}, fields, extra={"metrics.json": fields.metrics}
    )
    return Phase2Result(out, trained.history, trained.best_update, trained.seconds, methods, scale.warning(), pareto)


def compare(
    policy: RLModelSelector,
    first: RLModelSelector,
    workers: DescribedWorkers,
    data: Phase2Data,
    rewards: RewardConfig,
) -> dict[str, dict[str, float]]:
    """Measure the policy on the test workflows, beside others that meet the same fates.

    Returns:
        By method: `reward`, `success`, `cost_usd`, `latency_ms`, and `invalid`, the share of choices that were not
        allowed. `supervised_argmax` is what Phase 1 would take; `greedy` knows the profiles of the workers, which no
        policy is told; `oracle` knows the outcomes.
    """
    test = _with_fates(data)
    environment = TableEnvironment(test, rewards)
    rows = np.arange(len(test))
    found: dict[str, dict[str, float]] = {}
    for name, each in (("ppo", policy), ("supervised_argmax", first)):
        played, ended = play(each, workers, environment, rows, seed=0, greedy=True)
        found[name] = _measured(test, played.actions.numpy(), ended)
    # The most often done well, of those that may do most.
    tried = test.allowed & test.present[..., None]
    column = int(np.where(tried, test.expected.success, 0.0).sum((0, 1)).argmax())
    fixed: dict[str, Actions] = {
        "best_single": best_single(test, column),
        "cheapest": np.where(test.allowed, test.expected.cost_usd, np.inf).argmin(-1),
        "greedy": greedy(test, rewards),
        "oracle": oracle(test, rewards),
    }
    for name, actions in fixed.items():
        environment.reset(rows, 0)
        for step in range(environment.steps):
            environment.act(actions[:, step])
        found[name] = _measured(test, actions, environment.end())
    return found


def _with_fates(data: Phase2Data) -> Workflows:
    if data.draw is None:
        return data.test
    return data.test.with_actual(data.draw(data.test, np.random.default_rng(_MEASURED_SEED)))


def _pareto(
    policy: RLModelSelector,
    first: RLModelSelector,
    workers: DescribedWorkers,
    data: Phase2Data,
    rewards: RewardConfig,
) -> dict[str, Any]:
    """Return the front of cost and success on test workflows, and where the methods stand on the same ones."""
    sample = data._replace(test=data.test.take(sample_rows(data.test)))
    methods = compare(policy, first, workers, sample, rewards)
    return {
        "workflows": len(sample.test),
        "front": [point._asdict() for point in front_of(_with_fates(sample))],
        "methods": {name: {"cost_usd": row["cost_usd"], "success": row["success"]} for name, row in methods.items()},
    }


def digest_of(*flows: Workflows) -> str:
    """Return the hash of workflows."""
    digest = hashlib.sha256()
    for each in flows:
        for part in (each.present, each.parents, each.allowed, each.states, *each.expected, *each.actual):
            digest.update(np.ascontiguousarray(part).tobytes())
    return digest.hexdigest()


def _measured(test: Workflows, actions: Actions, ended: Ended) -> dict[str, float]:
    may = np.take_along_axis(test.allowed, actions[..., None], -1)[..., 0]
    return {
        "reward": float(ended.rewards.sum(1).mean()),
        "success": float(ended.totals.success.mean()),
        "cost_usd": float(ended.totals.cost_usd.mean()),
        "latency_ms": float(ended.totals.latency_ms.mean()),
        "invalid": float((~may & test.present).sum() / max(test.present.sum(), 1)),
    }
