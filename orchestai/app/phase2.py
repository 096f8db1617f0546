"""Phase 2 as the hosts call it: environments out of a project's data, a recorded training, what came of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestai.app.learning import read_examples
from orchestai.app.places import phase1_folder, training_folder
from orchestai.config import Phase2Config, Project
from orchestai.contracts import Assignment, Plan, PlanExample, WorkerCatalog
from orchestai.errors import CheckpointError, DataError, InputError
from orchestai.logs import ExecutionSource

if TYPE_CHECKING:
    from orchestai.planner.learned import LearnedPlanner
    from orchestai.training.environment_live import LiveOutcome
    from orchestai.training.phase2 import Phase2Data, Phase2Result
    from orchestai.training.tracking import Tracker

REPORT_FILE = "report.json"
_QUESTIONS = 2000
_COMPOSED = {"train": 3000, "validation": 800, "test": 1500}


def train_phase2(
    project: Project,
    *,
    out: Path,
    checkpoint: Path | None = None,
    source: Path | None = None,
    live: Path | None = None,
    config: Phase2Config | None = None,
    tracker: Tracker | None = None,
    on_update: Callable[[dict[str, Any]], None] | None = None,
    resume: bool = True,
) -> Phase2Result:
    """Train the policy with PPO, record it, save the planner with the new policy to `out`.

    Args:
        project: The project.
        out: Folder of the checkpoint.
        checkpoint: Of Phase 1; the project's if not given.
        source: Folder of an import. Its outcomes are replayed on the shapes of its or the project's plans; plans
            without outcomes are run on simulated workers, as the project's training data are by default.
        live: Starter corpus whose training instructions are executed, up to `spending_usd` of the recipe; validation
            and test stay simulated.
        config: The recipe; the project's if not given.
        tracker: An entered tracker; one of the project's own if not given.
        on_update: Called with each row of the history.
        resume: Whether to go on from a state that a killed training left.

    Raises:
        CheckpointError: There is no Phase 1 checkpoint that can be used.
        DataError: There is too little to train on.
        InputError: The rewards have no such name, or a live training has nothing to spend.
        StorageError: The checkpoint cannot be written.
    """
    from orchestai.embeddings import load_encoder
    from orchestai.importers.sink import OUTCOMES_FILE
    from orchestai.planner.learned import LearnedPlanner
    from orchestai.training.phase2 import train
    from orchestai.training.tracking import Tracker

    recipe = config or project.training.phase2
    rewards = project.rewards.get(recipe.rewards)
    if rewards is None:
        raise InputError(
            f"There are no rewards {recipe.rewards!r}.", remedy=f"Use one of {', '.join(sorted(project.rewards))}."
        )
    begin = checkpoint or phase1_folder(project)
    if not (begin / "manifest.json").exists():
        raise CheckpointError(f"There is no Phase 1 checkpoint at {begin}.", remedy="`orchestai train phase1` first.")
    examples, tasks, workers = read_examples(project, training_folder(project) if source is None else source)
    encoder = load_encoder(project.planner.encoder, cache_dir=project.paths.embeddings)
    planner = LearnedPlanner.load(begin, encoder=encoder, tasks=tasks, workers=workers)
    with ExitStack() as stack:
        if tracker is None:
            stamp = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
            folder = project.home / "wandb" / f"phase2-{stamp}"
            settings = recipe.model_dump()
            tracker = stack.enter_context(Tracker(project.tracking, name="phase2", directory=folder, settings=settings))
        if source is not None and (source / OUTCOMES_FILE).exists():
            data = _replay(project, source, examples, planner, recipe)
        else:
            data = _simulated(examples, planner, recipe, project)
        if live is not None:
            data = stack.enter_context(_live(project, live, data, planner, recipe))

        def after(row: dict[str, Any]) -> None:
            if tracker is not None:
                tracker.log_epoch(row)
            if on_update is not None:
                on_update(row)

        result = train(
            recipe,
            data,
            checkpoint=begin,
            planner=planner,
            rewards=rewards,
            out=out,
            on_update=after,
            resume=resume,
        )
    _draw_curves(result, out)
    return result


def reward_curves(history: Sequence[dict[str, Any]]) -> dict[str, list[float]]:
    """Return the rewards by round: training as acted, validation by the likeliest workers (last known value).

    Round 0, the policy that it began with, is what both curves start from.
    """
    known = float(history[0]["validation"]["reward"])
    training, validation = [], []
    for row in history:
        known = float(row["validation"]["reward"]) if "validation" in row else known
        training.append(float(row["train"].get("train_reward", known)))
        validation.append(known)
    return {"training": training, "validation": validation}


def curves_picture(history: Sequence[dict[str, Any]], best_update: int) -> bytes:
    """Draw the rewards by round, PNG."""
    from orchestai.evaluation.plots import loss_curves

    return loss_curves(
        reward_curves(history),
        best_epoch=best_update + 1,
        title="Reward by round, from before the first",
        quantity="reward",
    )


def report_of(project: Project, checkpoint: Path) -> dict[str, Any]:
    """Return what a Phase 2 checkpoint says of its training, in the form of `reports/phase2/report.json`.

    Raises:
        CheckpointError: It is missing or broken.
    """
    from orchestai.app.json_files import write_json
    from orchestai.app.places import phase2_report_folder
    from orchestai.checkpoint import read_manifest

    manifest = read_manifest(checkpoint)
    methods: dict[str, dict[str, float]] = {}
    for name, value in manifest.metrics.items():
        for key in ("reward", "success", "cost_usd", "latency_ms", "invalid"):
            if name.endswith(f"_{key}"):
                methods.setdefault(name.removesuffix(f"_{key}"), {})[key] = value
    summary = {
        "checkpoint": str(checkpoint),
        "environment": manifest.notes["environment"],
        "simulated": "no execution was made for these numbers: profiles or recorded outcomes stand for the workers",
        "methods": methods,
        "reward_scale": manifest.notes["reward_scale"],
        "warning": manifest.notes["warning"],
        "rewards": manifest.notes["rewards"],
        "best_update": manifest.notes["best_update"],
        "pareto": manifest.notes.get("pareto"),
        "history": list(manifest.history),
    }
    write_json(phase2_report_folder(project) / REPORT_FILE, summary)
    return summary


def _simulated(
    examples: Sequence[PlanExample], planner: LearnedPlanner, recipe: Phase2Config, project: Project
) -> Phase2Data:
    from orchestai.training.environment import TableEnvironment
    from orchestai.training.phase2 import Phase2Data, digest_of
    from orchestai.training.rows import assign_split
    from orchestai.training.simulated import SimulatedOutcomes, simulated_workflows

    states = planner.selector_states([each.instruction for each in examples], [each.task_types for each in examples])
    flows = {}
    for split in ("train", "validation", "test"):
        places = [place for place, each in enumerate(examples) if assign_split(each) == split]
        flows[split] = simulated_workflows(
            [examples[place] for place in places],
            [states[place].numpy() for place in places],
            tasks=planner.tasks,
            workers=planner.workers,
        )
        if not len(flows[split]):
            raise DataError(
                f"No plan of the {split} split can be done by simulated workers.",
                remedy="Collect more examples, or add simulated workers to workers/.",
            )
    draw = SimulatedOutcomes(planner.workers)
    rewards = project.rewards[recipe.rewards]
    training = TableEnvironment(flows["train"], rewards, draw=draw, masked=recipe.masking)
    return Phase2Data(training, flows["validation"], flows["test"], draw, "simulator", digest_of(*flows.values()))


def _replay(
    project: Project, folder: Path, examples: Sequence[PlanExample], planner: LearnedPlanner, recipe: Phase2Config
) -> Phase2Data:
    from orchestai.routing.outcomes import table_of_import
    from orchestai.training.environment import TableEnvironment
    from orchestai.training.phase2 import Phase2Data, digest_of
    from orchestai.training.replayed import replayed_workflows

    shapes = [each.dependencies for each in examples if len(each.task_types) > 1] or _own_shapes(project)
    flows = replayed_workflows(
        table_of_import(folder), planner, shapes, counts=_COMPOSED, most=_QUESTIONS, seed=recipe.seed
    )
    training = TableEnvironment(flows["train"], project.rewards[recipe.rewards], masked=recipe.masking)
    return Phase2Data(training, flows["validation"], flows["test"], None, "replay", digest_of(*flows.values()))


def _own_shapes(project: Project) -> list[tuple[tuple[int, ...], ...]]:
    """Return the graphs of the project's own plans; chains of two and three where it has none yet."""
    try:
        examples, _, _ = read_examples(project, training_folder(project))
    except DataError:
        return [((), (0,)), ((), (0,), (1,))]
    return [each.dependencies for each in examples]


@contextmanager
def _live(
    project: Project, corpus: Path, data: Phase2Data, planner: LearnedPlanner, recipe: Phase2Config
) -> Iterator[Phase2Data]:
    """Replace the training environment by one that executes the corpus' training instructions."""
    from orchestai.app.collection import reference_answers
    from orchestai.app.runtime import open_runtime
    from orchestai.importers.starter import read_starter
    from orchestai.training.environment_live import LiveEnvironment, LiveOutcome, Purse
    from orchestai.training.phase2 import digest_of
    from orchestai.training.simulated import able_to_do, workflows_of

    if recipe.spending_usd <= 0:
        raise InputError(
            "A live training needs money to spend, and `spending_usd` is 0.",
            remedy="Set spending_usd in training/phase2.yml, or give --spend.",
        )
    playing = _trainable(project, planner)
    every = read_starter(corpus)
    records = [record for record in every if record.split == "train"]
    pairs = [(record, record.to_example()) for record in records]
    pairs = [pair for pair in pairs if able_to_do(pair[1], planner.tasks, playing, project.routing)]
    if not pairs:
        raise DataError(
            f"No training instruction of {corpus} can be done by the workers that routing allows.",
            remedy="Add workers, or set routing.simulated to fallback or allow.",
        )
    examples = [example for _, example in pairs]
    states = planner.selector_states([each.instruction for each in examples], [each.task_types for each in examples])
    flows = workflows_of(
        examples,
        [state.numpy() for state in states],
        tasks=planner.tasks,
        workers=planner.workers,
        playing=playing,
        routing=project.routing,
    )
    names = planner.workers.names
    real = tuple(
        name
        for column, name in enumerate(names)
        if flows.allowed[flows.present][:, column].any() and not planner.workers[name].simulated
    )
    root = corpus if corpus.is_dir() else corpus.parent
    # What stands in for a worker that is down is no work of it, and nobody else steps in: who was chosen is learned.
    engine = project.engine.model_copy(update={"stand_ins": 0, "default_answer": None})
    alone = project.model_copy(update={"engine": engine})
    with open_runtime(alone, learned=False, references=reference_answers(every), guarded=False) as runtime:

        def run(row: int, chosen: Sequence[int]) -> LiveOutcome:
            record = pairs[row][0]
            plan = Plan(
                graph=record.graph,
                assignments=tuple(Assignment(worker=names[worker], reason="Phase 2 tries it") for worker in chosen),
                planner="learned",
            )
            source = ExecutionSource(kind="phase2", example_id=record.id, template=record.template, split=record.split)
            result = runtime.execute(record.to_instruction(root), plan, source=source).result
            done = sum(bool(metrics.get("success")) for metrics in result.task_metrics.values())
            return LiveOutcome(result.success, result.total_cost, result.total_latency_ms, done)

        environment = LiveEnvironment(flows, project.rewards[recipe.rewards], run, Purse(recipe.spending_usd))
        yield data._replace(training=environment, kind="live", digest=data.digest + digest_of(flows), tried=real)


def _trainable(project: Project, planner: LearnedPlanner) -> WorkerCatalog:
    """Return the workers that a live training may try: those of the project, none with effects outside.

    Raises:
        InputError: The planner knows none of them.
    """
    names = set(project.workers.names)
    found = tuple(each for each in planner.workers.profiles() if each.name in names and not each.external_effects)
    if not found:
        raise InputError(
            "The planner knows no worker of this project that may be tried.",
            remedy="Train Phase 1 on data of this project (without --data), then Phase 2 live.",
        )
    return WorkerCatalog(workers=found)


def _draw_curves(result: Phase2Result, out: Path) -> None:
    from orchestai.app.recorded import curves_file

    curves_file(out).write_bytes(curves_picture(result.history, result.best_update))
