"""Phase 1: supervised training of the planner, read from top to bottom."""

from __future__ import annotations

import copy
import hashlib
import json
import math
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch

from orchestai.checkpoint.manifest import ManifestFields
from orchestai.checkpoint.store import save_checkpoint
from orchestai.config import Phase1Config, PlannerConfig
from orchestai.contracts import PlanExample, TaskCatalog, WorkerCatalog
from orchestai.embeddings.protocol import TextEncoder
from orchestai.embeddings.threads import torch_threads
from orchestai.errors import DataError
from orchestai.planner.learned import ENCODER_PREFIX, HINT_PREFIX, TRANSITIONS, PlannerSetup
from orchestai.planner.model import (
    NetworkConfig,
    PlannerEnsemble,
    PlannerNetwork,
    describe_types,
    describe_workers,
)
from orchestai.planner.shapes import DescribedTypes, DescribedWorkers
from orchestai.training.batches import Row, by_length, compose, make_batch
from orchestai.training.clock import Clock, Spent
from orchestai.training.distributed import Processes
from orchestai.training.encoder_tuning import TunedEncoder, can_tune, tune_encoder
from orchestai.training.losses import LossParts, supervised_losses
from orchestai.training.rows import PlannerData, check_catalog, prepare_rows, sort_examples, word_features
from orchestai.training.state import Averages, TrainingState, discard_state, load_state, save_state
from orchestai.training.tuning import measure_greedy, tune

COMPOSE_SHARE = 0.25
"""Share of the rows of a batch that are composed of two: unseen combinations are what plans are made of."""

AVERAGE_DECAY = 0.98
"""Decay of the moving average of the weights; the average is what is validated and saved."""

SMALL_ROWS = 1000
SMALL_MEMBERS = 2
"""Networks in the ensemble where there are few rows: there the seed decides more than anything else."""

RATE_SCALE = 10.0
"""Every part learns at this multiple of the configured rate."""

Metrics = dict[str, float]


class TrainResult(NamedTuple):
    """What came of a training."""

    checkpoint: Path
    history: list[dict[str, Any]]
    best_epoch: int
    seconds: float
    metrics: Metrics


class _Lesson(NamedTuple):
    """What every epoch reads and none changes."""

    data: PlannerData
    types: DescribedTypes
    workers: DescribedWorkers
    config: Phase1Config
    epochs: int
    device: torch.device
    processes: Processes


def train(
    config: Phase1Config,
    examples: Sequence[PlanExample],
    *,
    tasks: TaskCatalog,
    workers: WorkerCatalog,
    encoder: TextEncoder,
    out: Path,
    planner: PlannerConfig,
    on_epoch: Callable[[dict[str, Any]], None] | None = None,
    resume: bool = True,
) -> TrainResult:
    """Train the planner and write the best checkpoint to `out`.

    Examples marked `test` are not touched. Examples without a split get one by the hash of their group.
    The state after each epoch lies beside `out`; a training that was killed goes on from there, if
    configuration, data and catalogs are the same.

    Args:
        config: The recipe's numbers.
        examples: Instructions and their plans.
        tasks: Catalog of the task types.
        workers: Catalog of the workers.
        encoder: Text encoder; its last layers are tuned where the recipe says so and its kind allows it.
        out: Folder of the checkpoint.
        planner: Sizes and the kind of graph layer.
        on_epoch: Called with each row of the history.
        resume: Whether to go on from a state that a killed training left; else it is discarded.

    Raises:
        DataError: There is no training example, an example does not fit, or the loss is not finite.
        StorageError: The checkpoint or the state cannot be written.
    """
    check_catalog(tasks)
    processes = Processes.started(cpu=config.device == "cpu")
    device = processes.device or _device(config)
    # Batches this small gain nothing from a second thread, and the order of sums must not hang on the core count.
    with torch_threads(1):
        return _train(config, examples, tasks, workers, encoder, out, planner, on_epoch, resume, device, processes)


def _train(
    config: Phase1Config,
    examples: Sequence[PlanExample],
    tasks: TaskCatalog,
    workers: WorkerCatalog,
    encoder: TextEncoder,
    out: Path,
    planner: PlannerConfig,
    on_epoch: Callable[[dict[str, Any]], None] | None,
    resume: bool,
    device: torch.device,
    processes: Processes,
) -> TrainResult:
    clock = Clock(on_epoch)
    found = sort_examples(examples, tasks, max_subtasks=planner.max_subtasks)
    fingerprint = _fingerprint(config, planner, found.digest, tasks, workers, encoder)
    folder = out.with_name(f"{out.name}.training")
    types = DescribedTypes(*(part.to(device) for part in describe_types(tasks, encoder)))
    sizes = NetworkConfig(
        hidden_size=encoder.hidden_size,
        trained_types=len(tasks),
        subtask_size=planner.subtask_size,
        node_size=planner.node_size,
        max_subtasks=planner.max_subtasks,
        gnn=planner.gnn,
        dropout=config.dropout,
        members=SMALL_MEMBERS if len(found.train) <= SMALL_ROWS else 1,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        ensemble = PlannerEnsemble(sizes).to(device)
    with processes.main_first():  # the others find the tuned layers and the embeddings on disk
        if processes.main and not resume:
            discard_state(folder)
        features = word_features(found, tasks, encoder) if can_tune(encoder, config) else None
        tuned = TunedEncoder(encoder)
        if features is not None:
            tuned = tune_encoder(
                encoder,
                examples=found,
                features=features,
                types=types,
                evidence=copy.deepcopy(ensemble.leader.evidence),
                config=config,
                folder=folder / "encoder",
                fingerprint=fingerprint,
                device=device,
                on_epoch=clock.see,
            )
            for network in ensemble.networks():
                network.evidence.load_state_dict(tuned.evidence)
        data = prepare_rows(
            examples,
            tasks=tasks,
            workers=workers,
            encoder=tuned.encoder,
            max_subtasks=planner.max_subtasks,
            features=features,
        )
    lesson = _Lesson(
        data=data,
        types=types,
        workers=DescribedWorkers(*(part.to(device) for part in describe_workers(workers, tasks, encoder))),
        config=config,
        epochs=min(config.epochs, max(1, config.max_steps // math.ceil(len(data.train) / config.batch_size))),
        device=device,
        processes=processes,
    )
    optimizer = torch.optim.AdamW(_groups(ensemble, config), lr=config.learning_rate, fused=True)
    averages = Averages(ensemble, AVERAGE_DECAY)
    state = load_state(folder, fingerprint, ensemble, optimizer, averages) or TrainingState()

    for epoch in range(state.epoch + 1, lesson.epochs + 1):
        if state.stale >= config.patience:
            break
        begun = Spent.now()
        # Seeded by epoch, so that a resumed training draws what an uninterrupted one would have drawn.
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(processes.seed(config.seed * 100_003 + epoch))
            rng = random.Random(config.seed * 100_003 + epoch)
            trained = _run_epoch(ensemble, optimizer, averages, lesson, rng, epoch)
        with averages.swapped_in(ensemble):
            validated, metrics = processes.decided(lambda: _validate(ensemble, lesson))
            row: dict[str, Any] = {
                "epoch": epoch,
                "train_loss": trained["documented"],
                "validation_loss": validated.get("documented", trained["documented"]),
                "train": trained,
                "validation": validated,
                "metrics": metrics,
                **begun.until_now(),
            }
            state.see(row, ensemble)
        if processes.main:
            save_state(folder, fingerprint, state, ensemble, optimizer, averages)
            clock.see(row)

    ensemble.load_state_dict(state.best)
    ensemble.eval()
    decoding, calibration, metrics = processes.decided(
        lambda: tune(ensemble, data.validation, lesson.types, data.transitions.to(device), device)
    )
    cost = clock.cost([*tuned.history, *state.history])
    metrics |= {
        "train_loss": state.history[-1]["train_loss"],
        "first_train_loss": state.history[0]["train_loss"],
    }
    setup = PlannerSetup(
        network=sizes,
        encoder=encoder.name,
        encoder_identity=encoder.identity,
        tasks=tasks,
        workers=workers,
        decoding=decoding,
        calibration=calibration,
    )
    processes.decided(lambda: _save(out, ensemble, data, tuned, setup, metrics, state, config, cost))
    if processes.main:
        discard_state(folder)
    return TrainResult(out, state.history, state.best_epoch, cost["wall_s"], metrics)


def _run_epoch(
    ensemble: PlannerEnsemble,
    optimizer: torch.optim.Optimizer,
    averages: Averages,
    lesson: _Lesson,
    rng: random.Random,
    epoch: int,
) -> Metrics:
    data, config = lesson.data, lesson.config
    ensemble.train()
    networks = ensemble.networks()
    orders = [rng.sample(range(len(data.train)), len(data.train)) for _ in networks]
    steps = math.ceil(len(data.train) / config.batch_size)
    sums: Metrics = {}
    for step in range(steps):
        rate = _rate((epoch - 1) * steps + step, steps * lesson.epochs)
        for group in optimizer.param_groups:
            group["lr"] = config.learning_rate * group["scale"] * rate
        optimizer.zero_grad(set_to_none=True)
        for network, order in zip(networks, orders, strict=True):
            picked = order[step * config.batch_size : (step + 1) * config.batch_size]
            rows = [_maybe_compose(data, index, rng, network.config.max_subtasks) for index in picked]
            numbers: Metrics = {}
            if mine := lesson.processes.share(rows):
                parts = _losses(network, mine, lesson)
                numbers = _numbers(parts, config)
                parts.total(config.lambda_dag).backward()
            numbers = lesson.processes.average(network, numbers, len(mine))
            if not math.isfinite(numbers["total"]):
                named = ", ".join(f"{name} {value:.3g}" for name, value in numbers.items())
                raise DataError(
                    f"The loss is {numbers['total']} in epoch {epoch}, step {step + 1}: {named}.",
                    remedy="Lower learning_rate or grad_clip in training/phase1.yml; look for broken embeddings.",
                )
            torch.nn.utils.clip_grad_norm_(network.parameters(), config.grad_clip)
            for name, value in numbers.items():
                sums[name] = sums.get(name, 0.0) + value * len(rows)
        optimizer.step()
        averages.update(ensemble)
    return {name: value / len(data.train) / len(networks) for name, value in sums.items()}


def _maybe_compose(data: PlannerData, index: int, rng: random.Random, max_subtasks: int) -> Row:
    row = data.train[index]
    if rng.random() >= COMPOSE_SHARE:
        return row
    other = data.train[rng.randrange(len(data.train))]
    if len(row.shape.types) + len(other.shape.types) > min(max_subtasks, data.longest):
        return row
    return compose(row, other, linked=data.linked, mean=data.hints.mean)


def _validate(ensemble: PlannerEnsemble, lesson: _Lesson) -> tuple[Metrics, Metrics]:
    """Losses and greedy metrics on the validation rows; empty where there are none."""
    ensemble.eval()
    rows, device = by_length(lesson.data.validation), lesson.device
    sums: Metrics = {}
    with torch.inference_mode():
        for start in range(0, len(rows), 64):
            part = rows[start : start + 64]
            for network in ensemble.networks():
                share = len(part) / len(rows) / len(ensemble.members)
                for name, value in _numbers(_losses(network, part, lesson), lesson.config).items():
                    sums[name] = sums.get(name, 0.0) + value * share
    transitions = lesson.data.transitions.to(device)
    return sums, measure_greedy(ensemble, rows, lesson.types, transitions, device)


def _losses(network: PlannerNetwork, rows: Sequence[Row], lesson: _Lesson) -> LossParts:
    batch = make_batch(by_length(rows), lesson.device)
    with torch.autocast(lesson.device.type, dtype=torch.bfloat16, enabled=lesson.device.type == "cuda"):
        outputs, stops = network(
            batch.encoded,
            lesson.types,
            lesson.workers,
            batch.hints,
            batch.targets.types,
            batch.targets.mask,
        )
    return supervised_losses(outputs, stops, batch.targets)


def _numbers(parts: LossParts, config: Phase1Config) -> Metrics:
    named = {name: float(part.detach()) for name, part in parts._asdict().items()}
    named["documented"] = float(parts.documented(config.lambda_dag).detach())
    named["total"] = float(parts.total(config.lambda_dag).detach())
    return named


def _groups(network: PlannerEnsemble, config: Phase1Config) -> list[dict[str, Any]]:
    """Matrices decay, vectors and learned parts do not."""
    groups: dict[float, list[torch.nn.Parameter]] = {}
    for parameter in network.parameters():
        decay = config.weight_decay if parameter.dim() > 1 else 0.0
        groups.setdefault(decay, []).append(parameter)
    return [{"params": ps, "weight_decay": decay, "scale": RATE_SCALE} for decay, ps in groups.items()]


def _rate(step: int, total: int) -> float:
    """Linear warm-up over 5 %, then a cosine to a tenth."""
    warm = max(1, total // 20)
    if step < warm:
        return (step + 1) / warm
    progress = (step - warm) / max(1, total - warm)
    return 0.1 + 0.9 * 0.5 * (1 + math.cos(math.pi * progress))


def _device(config: Phase1Config) -> torch.device:
    if config.device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if config.device == "cuda" and not torch.cuda.is_available():
        raise DataError("`device` is cuda, but no CUDA device is there.", remedy="Use device: auto.")
    return torch.device(config.device)


def _fingerprint(
    config: Phase1Config,
    planner: PlannerConfig,
    digest: str,
    tasks: TaskCatalog,
    workers: WorkerCatalog,
    encoder: TextEncoder,
) -> str:
    """Hash of all that a resumed training must share with the killed one."""
    parts = [
        config.model_dump_json(),
        planner.model_dump_json(),
        digest,
        tasks.model_dump_json(),
        workers.model_dump_json(),
        encoder.identity,
    ]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def _save(
    out: Path,
    ensemble: PlannerEnsemble,
    data: PlannerData,
    tuned: TunedEncoder,
    setup: PlannerSetup,
    metrics: Metrics,
    state: TrainingState,
    config: Phase1Config,
    cost: dict[str, float],
) -> None:
    tensors = dict(ensemble.state_dict())
    tensors[TRANSITIONS] = data.transitions
    tensors |= {ENCODER_PREFIX + name: tensor for name, tensor in tuned.layers.items()}
    for name, array in data.hints._asdict().items():
        tensors[HINT_PREFIX + name] = torch.from_numpy(array).half()
    described = [f"{kind.name}\0{kind.description}" for kind in setup.tasks.types]
    fields = ManifestFields(
        kind="phase1",
        data_hash=data.digest,
        seed=config.seed,
        metrics=metrics,
        history=tuple(state.history),
        notes={
            "best_epoch": state.best_epoch,
            "cost": cost,
            "encoder": {"tuned_weights": len(tuned.layers), "history": tuned.history},
            "rows": {"train": len(data.train), "validation": len(data.validation)},
            "config": config.model_dump(mode="json"),
            "catalog_hash": hashlib.sha256("\n".join(described).encode()).hexdigest(),
        },
    )
    save_checkpoint(out, tensors, setup.model_dump(mode="json"), fields, extra={"metrics.json": metrics})
