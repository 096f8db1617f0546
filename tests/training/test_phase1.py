from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from orchestai.checkpoint import load_checkpoint
from orchestai.config import Phase1Config, PlannerConfig, TrackingConfig
from orchestai.contracts import Instruction, PlanExample, TaskCatalog, TaskType
from orchestai.errors import CheckpointError, DataError, InputError, StorageError
from orchestai.planner.agreement import PlanShape
from orchestai.planner.learned import LearnedPlanner
from orchestai.training import losses, phase1
from orchestai.training.batches import Row, compose
from orchestai.training.phase1 import TrainResult, train
from orchestai.training.rows import assign_split, prepare_rows
from orchestai.training.tracking import Tracker, flatten
from tests.planner.toys import TASKS, WORKERS, WordEncoder, toy_examples

CONFIG = Phase1Config(epochs=25, learning_rate=3e-4, patience=25, seed=3)
PLANNER = PlannerConfig(gnn="sage", subtask_size=32, node_size=16)


def fit(out: Path, *, config: Phase1Config = CONFIG, examples: list[PlanExample] | None = None, **more: Any):
    return train(
        config,
        toy_examples() if examples is None else examples,
        tasks=more.pop("tasks", TASKS),
        workers=WORKERS,
        encoder=WordEncoder(),
        out=out,
        planner=PLANNER,
        **more,
    )


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> TrainResult:
    return fit(tmp_path_factory.mktemp("toy") / "phase1")


def test_training_learns_the_toy_world_and_the_loss_falls(trained: TrainResult) -> None:
    first, last = trained.history[0], trained.history[-1]
    assert first["train_loss"] > 2 * last["train_loss"]
    assert last["train_loss"] < 0.5
    assert last["train"]["selections"] < first["train"]["selections"] / 2
    assert last["train"]["complexity"] < first["train"]["complexity"]
    assert trained.metrics["exact"] > 0.8
    assert trained.history[trained.best_epoch - 1]["metrics"]["agreement"] > 0.8


def test_a_history_row_says_all_parts(trained: TrainResult) -> None:
    row = trained.history[0]
    parts = {"types", "selections", "dag", "stop", "complexity", "presence", "documented", "total"}
    assert set(row["train"]) == set(row["validation"]) == parts
    documented = row["train"]["types"] + row["train"]["selections"] + 0.3 * row["train"]["dag"]
    assert row["train_loss"] == pytest.approx(documented, rel=1e-4)
    assert [row["epoch"] for row in trained.history] == list(range(1, len(trained.history) + 1))


def test_the_loaded_planner_plans_what_the_words_say(trained: TrainResult) -> None:
    planner = LearnedPlanner.load(trained.checkpoint, encoder=WordEncoder())
    chain, apart, single = planner.predict(["soon paint then bake", "soon paint and bake", "soon look"])
    assert (chain.task_types, chain.dependencies) == (("paint", "bake"), ((), (0,)))
    assert (apart.task_types, apart.dependencies) == (("paint", "bake"), ((), ()))
    assert (single.task_types, single.dependencies) == (("look",), ((),))
    assert min(chain.confidence, apart.confidence, single.confidence) > 0.5
    assert planner.predict([]) == []


def test_one_by_one_and_together_give_the_same_plans(trained: TrainResult) -> None:
    planner = LearnedPlanner.load(trained.checkpoint, encoder=WordEncoder())
    texts = [example.instruction for example in toy_examples()[:40]]
    together = planner.predict(texts)
    for text, prediction in zip(texts, together, strict=True):
        alone = planner.predict([text])[0]
        assert (alone.task_types, alone.dependencies) == (prediction.task_types, prediction.dependencies)
        assert alone.confidence == pytest.approx(prediction.confidence, abs=1e-3)


def test_the_full_prediction_carries_tensors_and_worker_preferences(trained: TrainResult) -> None:
    planner = LearnedPlanner.load(trained.checkpoint, encoder=WordEncoder())
    full = planner.predict_full("soon look then paint")
    assert full.prediction.task_types == ("look", "paint")
    assert full.outputs.decomposition.subtask_embeddings.shape == (1, 2, 32)
    assert full.outputs.graph.adjacency[0].tolist() == [[0, 1], [0, 0]]
    best = [max(range(3), key=row.__getitem__) for row in full.worker_probabilities]
    assert best == [2, 0]  # 'look' needs eyes; ann paints
    assert full.worker_probabilities[0] == [0, 0, 1]


def test_a_proposal_is_what_the_composed_planner_asks_for(trained: TrainResult) -> None:
    planner = LearnedPlanner.load(trained.checkpoint, encoder=WordEncoder())
    proposal = planner.propose(Instruction(text="soon bake then paint"))
    assert [node.task_type for node in proposal.graph.nodes] == ["bake", "paint"]
    assert proposal.graph.dependencies == ((), (0,))
    bake, paint = (node.complexity for node in proposal.graph.nodes)
    assert bake is not None
    assert paint is not None
    assert bake > paint  # measured effort in the toy world: 0.8 and 0.2
    assert len(planner.model_version) == 12


def test_equal_seeds_give_equal_weights_and_others_do_not(tmp_path: Path) -> None:
    short = CONFIG.model_copy(update={"epochs": 2})
    a = load_checkpoint(fit(tmp_path / "a", config=short).checkpoint).tensors
    b = load_checkpoint(fit(tmp_path / "b", config=short).checkpoint).tensors
    c = load_checkpoint(fit(tmp_path / "c", config=short.model_copy(update={"seed": 4})).checkpoint).tensors
    assert all(torch.equal(a[name], b[name]) for name in a)
    assert any(not torch.equal(a[name], c[name]) for name in a)


_SCRIPT = """
import sys
from pathlib import Path
from orchestai.config import Phase1Config, PlannerConfig
from orchestai.training.phase1 import train
from tests.planner.toys import TASKS, WORKERS, WordEncoder, toy_examples

def slow(row):
    print("epoch", row["epoch"], flush=True)
    if row["epoch"] == 3:
        sys.stdin.read()

train(Phase1Config.model_validate_json(sys.argv[2]), toy_examples(), tasks=TASKS, workers=WORKERS,
      encoder=WordEncoder(), out=Path(sys.argv[1]), planner=PlannerConfig.model_validate_json(sys.argv[3]),
      on_epoch=slow)
"""


def test_a_killed_training_goes_on_where_it_was(tmp_path: Path) -> None:
    config = CONFIG.model_copy(update={"epochs": 5})
    whole = fit(tmp_path / "whole", config=config)
    root = Path(__file__).parents[2]
    killed = subprocess.Popen(
        [
            sys.executable,
            "-c",
            _SCRIPT,
            str(tmp_path / "killed"),
            config.model_dump_json(),
            PLANNER.model_dump_json(),
        ],
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(root)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert killed.stdout is not None
    for line in killed.stdout:
        if line == "epoch 3\n":
            break
    killed.send_signal(signal.SIGKILL)
    assert killed.wait(timeout=30) == -signal.SIGKILL
    killed.stdout.close()
    if killed.stdin:
        killed.stdin.close()
    assert not (tmp_path / "killed").exists()

    seen: list[int] = []
    resumed = fit(tmp_path / "killed", config=config, on_epoch=lambda row: seen.append(row["epoch"]))
    assert seen == [4, 5]
    assert [row["epoch"] for row in resumed.history] == [1, 2, 3, 4, 5]
    a, b = load_checkpoint(whole.checkpoint).tensors, load_checkpoint(resumed.checkpoint).tensors
    assert all(torch.equal(a[name], b[name]) for name in a)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["killed", "whole"]


def interrupt_after(epoch: int) -> Any:
    def stop(row: dict[str, Any]) -> None:
        if row["epoch"] == epoch:
            raise KeyboardInterrupt

    return stop


@pytest.mark.parametrize("changed", ["fresh", "other config", "garbled"])
def test_a_state_that_does_not_fit_is_not_resumed(tmp_path: Path, changed: str) -> None:
    config = CONFIG.model_copy(update={"epochs": 3})
    with pytest.raises(KeyboardInterrupt):
        fit(tmp_path / "ck", config=config, on_epoch=interrupt_after(2))
    state = tmp_path / "ck.training" / "state.safetensors"
    assert state.exists()
    if changed == "garbled":
        state.write_bytes(state.read_bytes()[:100])
    if changed == "other config":
        config = config.model_copy(update={"dropout": 0.2})
    seen: list[int] = []
    fit(tmp_path / "ck", config=config, on_epoch=lambda r: seen.append(r["epoch"]), resume=changed != "fresh")
    assert seen == [1, 2, 3]
    assert not state.exists()


def test_training_stops_early_and_keeps_the_best(tmp_path: Path) -> None:
    result = fit(tmp_path / "ck", config=CONFIG.model_copy(update={"learning_rate": 0.02, "patience": 2}))
    assert len(result.history) < CONFIG.epochs
    assert result.best_epoch == len(result.history) - 2


def test_a_loss_that_is_not_finite_is_named(tmp_path: Path) -> None:
    class Broken(WordEncoder):
        def encode_tokens(self, texts):  # type: ignore[no-untyped-def]
            tokens = super().encode_tokens(texts)
            return tokens._replace(states=tokens.states * float("nan")) if "paint" in texts[0] else tokens

    with pytest.raises(DataError, match=r"loss is nan in epoch 1, step 1.*learning_rate"):
        train(
            CONFIG,
            [example.model_copy(update={"split": "train"}) for example in toy_examples()[:4]],
            tasks=TASKS,
            workers=WORKERS,
            encoder=Broken(),
            out=tmp_path / "ck",
            planner=PLANNER,
        )
    assert not (tmp_path / "ck").exists()


def test_no_example_is_refused_and_one_is_enough(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="None of the 0 examples"):
        fit(tmp_path / "ck", examples=[])
    only = toy_examples()[0].model_copy(update={"split": "train"})
    result = fit(tmp_path / "ck", config=CONFIG.model_copy(update={"epochs": 3}), examples=[only])
    assert LearnedPlanner.load(result.checkpoint, encoder=WordEncoder()).predict(["please paint"])[0].task_types


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"task_types": ("juggle",), "dependencies": ((),)}, "'juggle', which the catalog does not know"),
        ({"task_types": ("paint", "bake"), "dependencies": ((1,), ())}, "parents before children"),
        ({"task_types": (), "dependencies": ()}, "has 0 sub-tasks"),
        ({"task_types": ("paint",) * 21, "dependencies": ((),) * 21}, "has 21 sub-tasks"),
        ({"model_selections": ("ann", "ann")}, "1 sub-tasks but 2 selections"),
    ],
)
def test_an_example_that_does_not_fit_is_named(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    bad = toy_examples()[0].model_copy(update=change)
    with pytest.raises(DataError, match=message):
        fit(tmp_path / "ck", examples=[bad])


def test_types_that_cannot_be_told_apart_are_refused(tmp_path: Path) -> None:
    twins = TaskCatalog(types=(TaskType(name="a", description="x"), TaskType(name="A", description="X")))
    with pytest.raises(InputError, match="same name and description"):
        fit(tmp_path / "ck", tasks=twins)


def test_a_catalog_of_five_thousand_types_is_planned_with(trained: TrainResult) -> None:
    more = tuple(TaskType(name=f"t{i}", description=f"tool number {i}") for i in range(5000))
    catalog = TaskCatalog(types=(*TASKS.types, *more))
    (plan,) = LearnedPlanner.load(trained.checkpoint, encoder=WordEncoder(), tasks=catalog).predict(["soon paint"])
    assert set(plan.task_types) <= set(catalog.names)


def test_the_test_split_is_never_touched() -> None:
    examples = toy_examples()
    spoiled = examples[0].model_copy(update={"id": "t", "split": "test", "task_types": ("unknown",)})
    with_test = prepare_rows([*examples, spoiled], tasks=TASKS, workers=WORKERS, encoder=WordEncoder())
    without = prepare_rows(examples, tasks=TASKS, workers=WORKERS, encoder=WordEncoder())
    assert with_test.digest == without.digest
    assert len(with_test.train) == len(without.train)


def test_a_group_is_in_one_split() -> None:
    example = toy_examples()[0].model_copy(update={"split": None})
    splits = {assign_split(example.model_copy(update={"id": str(i), "group": "g"})) for i in range(20)}
    assert len(splits) == 1
    alone = [assign_split(example.model_copy(update={"id": str(i)})) for i in range(400)]
    assert pytest.approx({split: alone.count(split) for split in ("train", "validation", "test")}, abs=35) == {
        "train": 240,
        "validation": 80,
        "test": 80,
    }


def test_two_requests_in_one_have_both_plans() -> None:
    data = prepare_rows(toy_examples(), tasks=TASKS, workers=WORKERS, encoder=WordEncoder())
    first: Row = data.train[0]._replace(shape=PlanShape((0, 1), ((), (0,))), selections=(0, 1), complexities=(0, 0))
    second: Row = data.train[1]._replace(shape=PlanShape((2, 0), ((), (0,))), selections=(2, 0), complexities=(0, 0))
    apart = compose(first, second, linked=False, mean=data.hints.mean)
    assert apart.shape == PlanShape((0, 1, 2, 0), ((), (0,), (), (2,)))
    assert compose(first, second, linked=True, mean=data.hints.mean).shape.parents == ((), (0,), (1,), (2,))
    assert apart.selections == (0, 1, 2, 0)
    assert len(apart.states) == len(first.states) + len(second.states)
    assert data.linked is False


def test_a_checkpoint_of_another_encoder_is_refused(trained: TrainResult) -> None:
    with pytest.raises(CheckpointError, match=r"trained with the encoder 'words'.*'others'"):
        LearnedPlanner.load(trained.checkpoint, encoder=WordEncoder("others"))


def test_a_checkpoint_without_planner_weights_is_refused(trained: TrainResult, tmp_path: Path) -> None:
    from orchestai.checkpoint import save_checkpoint
    from orchestai.checkpoint.manifest import ManifestFields

    loaded = load_checkpoint(trained.checkpoint)
    save_checkpoint(tmp_path / "ck", {"x": torch.zeros(1)}, loaded.config, ManifestFields(kind="phase1"))
    with pytest.raises(CheckpointError, match="does not hold a planner of this version"):
        LearnedPlanner.load(tmp_path / "ck", encoder=WordEncoder())
    save_checkpoint(tmp_path / "ck", loaded.tensors, {"network": {}}, ManifestFields(kind="phase1"))
    with pytest.raises(CheckpointError, match="does not hold a planner of this version"):
        LearnedPlanner.load(tmp_path / "ck", encoder=WordEncoder())


def test_a_catalog_with_a_new_type_works_and_says_so(trained: TrainResult, caplog: pytest.LogCaptureFixture) -> None:
    more = TaskCatalog(types=(TaskType(name="sing", description="sing a song"), *TASKS.types))
    planner = LearnedPlanner.load(trained.checkpoint, encoder=WordEncoder(), tasks=more)
    assert planner.untrained == ("sing",)
    assert "1 of 4 task types were not trained" in caplog.text
    # The old types keep their meaning although their indices moved.
    assert planner.predict(["soon paint then bake"])[0].task_types == ("paint", "bake")
    assert LearnedPlanner.load(trained.checkpoint, encoder=WordEncoder()).untrained == ()


def test_a_new_type_is_chosen_where_the_text_asks_for_it_and_only_there(trained: TrainResult) -> None:
    more = TaskCatalog(types=(TaskType(name="sing", description="sing a song"), *TASKS.types))
    planner = LearnedPlanner.load(trained.checkpoint, encoder=WordEncoder(), tasks=more)
    asked = ["sing a song", "please sing a song then bake", "today sing", "please bake", "now paint then look"]
    together = planner.predict(asked)
    assert ["sing" in plan.task_types for plan in together] == [True, True, True, False, False]
    assert "bake" in together[1].task_types
    for text, plan in zip(asked, together, strict=True):  # one alone is planned as in company
        alone = planner.predict([text])[0]
        assert alone.task_types == plan.task_types
        assert alone.dependencies == plan.dependencies
        assert alone.confidence == pytest.approx(plan.confidence, abs=1e-4)


def test_a_catalog_that_was_trained_whole_is_not_judged_by_text(
    trained: TrainResult, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = ["soon paint then bake", "today look"]
    planner = LearnedPlanner.load(trained.checkpoint, encoder=WordEncoder())
    before = planner.predict(texts)

    def never(*_: object) -> None:
        raise AssertionError("a trained type was judged by its text")

    monkeypatch.setattr("orchestai.planner.model.judge_by_text", never)
    monkeypatch.setattr("orchestai.planner.quick.judge_by_text", never)
    assert planner.predict(texts) == before
    planner.predict(texts[:1])
    more = TaskCatalog(types=(*TASKS.types, TaskType(name="sing", description="sing a song")))
    larger = LearnedPlanner.load(trained.checkpoint, encoder=WordEncoder(), tasks=more)
    with pytest.raises(AssertionError, match="judged by its text"):
        larger.predict(texts)


def test_a_checkpoint_of_another_catalog_is_refused(trained: TrainResult) -> None:
    strange = TaskCatalog(
        types=(TaskType(name="sing", description="sing a song"), TaskType(name="paint", description="x"))
    )
    with pytest.raises(CheckpointError, match=r"another catalog.*paint, bake, look.*sing, paint"):
        LearnedPlanner.load(trained.checkpoint, encoder=WordEncoder(), tasks=strange)


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "\n\t",
        "\u0000",
        "画一面墙,然后烤面包",
        "ارسم جدارًا ثم اخبز",
        "🎨 → 🍞",
        "paint " * 3000,
        "[image]",
        "{{ 7 * 7 }}",
    ],
    ids=["empty", "space", "breaks", "nul", "chinese", "arabic", "emoji", "long", "mark", "template"],
)
def test_whatever_the_text_there_is_a_valid_plan(trained: TrainResult, text: str) -> None:
    planner = LearnedPlanner.load(trained.checkpoint, encoder=WordEncoder())
    (alone,) = planner.predict([text])
    (first, _) = planner.predict([text, "soon paint"])
    assert alone.task_types
    assert set(alone.task_types) <= set(TASKS.names)
    assert all(parent < child for child, parents in enumerate(alone.dependencies) for parent in parents)
    assert 0 <= alone.confidence <= 1
    assert (alone.task_types, alone.dependencies) == (first.task_types, first.dependencies)


def test_the_cost_of_a_training_is_on_record(trained: TrainResult) -> None:
    cost = load_checkpoint(trained.checkpoint).manifest.notes["cost"]
    assert cost["cpu_s"] > 0
    assert cost["wall_s"] == pytest.approx(trained.seconds)
    assert cost["wall_s"] >= sum(row["seconds"] for row in trained.history)


def test_the_checkpoint_says_what_it_was_made_from(trained: TrainResult) -> None:
    loaded = load_checkpoint(trained.checkpoint)
    assert loaded.manifest.kind == "phase1"
    assert loaded.manifest.seed == 3
    assert len(loaded.manifest.history) == len(trained.history)
    assert loaded.manifest.notes["rows"] == {"train": 75, "validation": 15}
    assert len(loaded.manifest.notes["catalog_hash"]) == 64
    assert json.loads((trained.checkpoint / "metrics.json").read_text())["exact"] == trained.metrics["exact"]


def test_imitated_selections_are_trained_with_less_weight() -> None:
    data = prepare_rows(
        [example.model_copy(update={"imitation": True}) for example in toy_examples()],
        tasks=TASKS,
        workers=WORKERS,
        encoder=WordEncoder(),
    )
    assert all(row.imitation for row in data.train)
    assert 0 < losses.IMITATION_WEIGHT < 1


def test_training_leaves_threads_and_random_state_alone(tmp_path: Path) -> None:
    before = torch.get_num_threads()
    torch.manual_seed(11)
    expected = torch.rand(1)
    torch.manual_seed(11)
    fit(tmp_path / "ck", config=CONFIG.model_copy(update={"epochs": 1}))
    assert torch.rand(1) == expected
    assert torch.get_num_threads() == before


def test_one_plan_takes_milliseconds(trained: TrainResult) -> None:
    planner = LearnedPlanner.load(trained.checkpoint, encoder=WordEncoder())
    times = []
    for index in range(12):
        started = time.thread_time()  # CPU time: the machine may be busy
        planner.predict([f"soon paint then bake {index}"])
        times.append(time.thread_time() - started)
    assert sorted(times)[6] < 0.05


def test_tracking_is_off_when_it_is_disabled(tmp_path: Path) -> None:
    config = TrackingConfig(wandb_mode="disabled")
    with Tracker(config, name="n", directory=tmp_path / "w", settings={}) as tracker:
        tracker.log_epoch({"epoch": 1, "train": {"types": 0.5}})
        assert not tracker.active
    assert not (tmp_path / "w").exists()


def test_tracking_that_fails_never_fails_the_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)  # import raises ImportError
    with Tracker(TrackingConfig(), name="n", directory=tmp_path, settings={}) as tracker:
        tracker.log({"a": 1.0}, step=1)
        assert not tracker.active
    assert "the training goes on" in caplog.text


def test_rows_are_flattened_for_tracking() -> None:
    row = {"epoch": 2, "train": {"types": 0.5, "name": "x"}, "metrics": {}}
    assert flatten(row) == {"epoch": 2.0, "train/types": 0.5}


def test_the_device_is_checked(tmp_path: Path) -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a CUDA device")
    with pytest.raises(DataError, match="no CUDA device"):
        fit(tmp_path / "ck", config=CONFIG.model_copy(update={"device": "cuda"}))
    assert phase1.COMPOSE_SHARE >= 0


def test_a_full_disk_ends_the_training_and_leaves_the_planner_that_was_there(tmp_path: Path) -> None:
    out = tmp_path / "phase1"
    short = CONFIG.model_copy(update={"epochs": 1})
    fit(out, config=short)
    before = load_checkpoint(out).manifest.digest
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))
    try:
        with pytest.raises(StorageError, match=r"File too large|No space left"):
            fit(out, config=short.model_copy(update={"seed": 4}))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    assert load_checkpoint(out).manifest.digest == before
    assert not list(tmp_path.rglob("*.tmp")), "half a file would keep the disk full"
    fit(out, config=short.model_copy(update={"seed": 4}))
    assert load_checkpoint(out).manifest.digest != before
