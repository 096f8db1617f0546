from __future__ import annotations

import json
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import bench.planning
import bench.starter
from bench.measure import full_results
from bench.report import data_sha256, over_seeds, write_report
from bench.splits import (
    Parts,
    held_out_tools,
    near_duplicates,
    split_combinations,
    split_given,
    split_one,
    split_tools,
    split_two,
    unseen,
)
from bench.unseen_tools import nearest, recall, without
from orchestai.contracts import PlanExample, PlanPrediction, TaskCatalog, TaskType
from orchestai.errors import DataError, StorageError
from orchestai.importers import read_starter

TOOLS = ("wake", "wash", "cook", "ride", "read", "sing")


class WordEncoder:
    name = "words"
    identity = "words"
    hidden_size = 128

    def encode(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        out = np.zeros((len(texts), self.hidden_size), dtype=np.float32)
        for row, text in enumerate(texts):
            for word in (word for word in text.split() if not word.isdigit()):
                out[row, zlib.crc32(word.encode()) % self.hidden_size] += 1
        return np.asarray(out / np.maximum(np.linalg.norm(out, axis=1, keepdims=True), 1e-9), dtype=np.float32)


class Perfect:
    """Knows the answer: each word of the instruction that names a tool."""

    def predict(self, instructions: Sequence[str]) -> list[PlanPrediction]:
        return [self._one([word for word in text.split() if word in TOOLS] or ["wake"]) for text in instructions]

    def _one(self, names: list[str]) -> PlanPrediction:
        chain = tuple((i - 1,) if i else () for i in range(len(names)))
        return PlanPrediction(task_types=tuple(names), dependencies=chain, confidence=1.0)


def example(key: str, *names: str, instruction: str = "", **more: Any) -> PlanExample:
    chain = tuple((i - 1,) if i else () for i in range(len(names)))
    text = instruction or f"{key} " + " ".join(names)
    return PlanExample(id=key, instruction=text, task_types=names, dependencies=chain, **more)


def ultratool(path: Path, start: int = 0, count: int = 120) -> Path:
    path.mkdir()
    pairs = [(a, b) for a in TOOLS for b in TOOLS if a != b]
    with (path / "plans.jsonl").open("w", encoding="utf-8") as stream:
        for i in range(start, start + count):
            a, b = pairs[i % len(pairs)]
            record = {
                "id": str(i),
                "user_request": f"please {a} and {b} w{i}a w{i}b w{i}c",
                "task_steps": ["SECRET"],
                "task_nodes": [{"task": a}, {"task": b}],
                "task_links": [{"source": a, "target": b}],
            }
            stream.write(json.dumps(record) + "\n")
    nodes = [{"id": name, "desc": f"to {name}"} for name in TOOLS]
    (path / "tool_desc.json").write_text(json.dumps({"nodes": nodes}), encoding="utf-8")
    (path / "graph_desc.json").write_text(json.dumps({"nodes": nodes, "links": []}), encoding="utf-8")
    return path


@pytest.fixture
def stubs(monkeypatch: pytest.MonkeyPatch) -> list[Parts]:
    """A word encoder instead of MiniLM, a perfect planner instead of training; returns what it was given."""
    given: list[Parts] = []

    def train(parts: Parts, **_: Any) -> Perfect:
        given.append(parts)
        return Perfect()

    for module in (bench.planning, bench.starter):
        monkeypatch.setattr(module, "load_encoder", lambda name, cache_dir: WordEncoder())
        monkeypatch.setattr(module, "train_learned", train)
    return given


def test_planning_on_one_folder(tmp_path: Path, stubs: list[Parts]) -> None:
    source, out = ultratool(tmp_path / "ut"), tmp_path / "deep" / "report.json"
    arguments = ["--train", str(source), "--test", str(source), "--out", str(out)]
    assert bench.planning.main(arguments) == 0
    report = json.loads(out.read_text(encoding="utf-8"))
    assert set(report) == {"bench", "data", "data_sha256", "seed", "machine", "results"}
    assert report["bench"] == "planning"
    assert report["seed"] == 0
    assert report["machine"]["cores"] >= 1
    results = report["results"]
    wanted = {"node_f1", "link_f1", "exact", "dag_validity", "ece", "ms_per_plan_p50"}
    assert wanted <= set(results)
    for name in ("rules", "nn_copy", "kernel_ridge"):
        assert wanted <= set(results["baselines"][name])
    assert results["exact"] == 100.0
    assert results["dag_validity"] == 100.0
    assert results["baselines"]["most_frequent"]["exact"] < 50
    assert results["gain_over"]["most_frequent"]["node_f1"]["low"] > 0
    counts = report["data"]["examples"]
    assert counts["train"] + counts["validation"] + counts["test"] == 120
    assert [len(stubs[0].train), len(stubs[0].test)] == [counts["train"], counts["test"]]
    assert "SECRET" not in out.read_text(encoding="utf-8")


def test_planning_on_two_folders_measures_all_of_the_second(tmp_path: Path, stubs: list[Parts]) -> None:
    train, test = ultratool(tmp_path / "a"), ultratool(tmp_path / "b", start=100, count=60)
    out = tmp_path / "r.json"
    assert bench.planning.main(["--train", str(train), "--test", str(test), "--out", str(out)]) == 0
    # 100..119 stand in both folders: measured on what was learned, they would flatter
    counts = json.loads(out.read_text(encoding="utf-8"))["data"]["examples"]
    assert (counts["test"], counts["dropped_duplicates"]) == (40, 20)
    assert counts["train"] + counts["validation"] == 120


def test_unseen_combinations_and_tools_have_trainings_of_their_own(
    tmp_path: Path, stubs: list[Parts], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bench.planning, "held_out_tools", lambda names: frozenset({"ride"}))
    source, out = ultratool(tmp_path / "ut"), tmp_path / "r.json"
    assert bench.planning.main(["--train", str(source), "--test", str(source), "--out", str(out)]) == 0
    results = json.loads(out.read_text(encoding="utf-8"))["results"]
    _, combinations, tools, again = stubs
    assert again is tools
    known = [sorted(e.task_types) for e in combinations.train + combinations.validation]
    assert not any(sorted(e.task_types) in known for e in combinations.test)
    assert all("ride" in e.task_types for e in tools.test)
    assert not any("ride" in e.task_types for e in tools.train + tools.validation)
    assert results["unseen_combinations"]["exact"] == 100.0
    assert {"rules", "nn_copy", "kernel_ridge"} <= set(results["unseen_combinations"]["baselines"])
    assert results["unseen_tools"]["recall"] == 100.0
    assert 0 <= results["unseen_tools"]["zero_shot_cosine"] <= 100
    assert results["unseen_tools"]["price_elsewhere"]["n"] > 0
    assert -100 <= results["unseen_tools"]["price_elsewhere"]["node_f1"] <= 100
    assert {"brier", "ece", "ms_per_plan_cached_p50"} <= set(results)


def test_near_duplicates_go_by_words_and_not_by_numbers() -> None:
    known = ["Please wake me at 7 and wash my car", "Go"]
    texts = [
        "please WAKE me at 9 and wash my car",
        "please wake me at 7 and wash my dog",  # 7 words in common of 9
        "please wake me at 7 and wash my car now",  # 8 of 9
        "go",
        "go now",
        "",
    ]
    assert near_duplicates(known, texts) == [True, False, True, True, False, False]
    assert near_duplicates([], texts) == [False] * 6


def test_no_part_has_what_an_earlier_one_nearly_has() -> None:
    examples = [example(str(i), "wake", instruction=f"book w{i // 2} x{i // 2} y{i // 2} at {i}") for i in range(200)]
    examples += [example(f"t{i}", "wash", instruction=f"cancel v{i} u{i} s{i}") for i in range(200)]
    for parts in (
        split_one(examples),
        split_two(examples[:150] + examples[200:300], examples[150:200] + examples[300:]),
    ):
        for earlier, later in ((0, 1), (0, 2), (1, 2)):
            known = [e.instruction for e in parts[earlier]]
            assert not any(near_duplicates(known, [e.instruction for e in parts[later]]))


def test_parts_by_tool_and_by_combination() -> None:
    names = [f"n{i}" for i in range(1000)]
    held = held_out_tools(names)
    assert len(held) == 100
    assert held == held_out_tools(list(reversed(names)))
    examples = [example(str(i), f"n{i % 50}", f"n{i % 7}") for i in range(400)]
    tools = split_tools(examples, frozenset({"n3"}))
    assert {"n3" in e.task_types for e in tools.test} == {True}
    assert not any("n3" in e.task_types for e in tools.train + tools.validation)
    sets = [{tuple(sorted(e.task_types)) for e in part} for part in split_combinations(examples)[:3]]
    assert not sets[0] & sets[1]
    assert not sets[0] & sets[2]
    assert not sets[1] & sets[2]


def test_recall_counts_held_out_tools_only() -> None:
    golds = [example("1", "wake", "ride", "ride"), example("2", "ride"), example("3", "cook")]
    plans = [("wake", "ride"), ("wash",), ("ride",)]
    assert recall(golds, plans, frozenset({"ride"})) == pytest.approx(100 / 3)
    assert recall(golds, plans, frozenset({"wash"})) == 0.0


def test_the_nearest_tools_are_as_many_as_the_plan_has_and_links_are_withheld() -> None:
    tasks = TaskCatalog(
        types=tuple(TaskType(name=name, description=f"to {name}") for name in TOOLS), links=(("wake", "ride"),)
    )
    golds = [example("1", "cook", "ride", instruction="ride: to ride and cook:")]
    assert set(nearest(WordEncoder(), golds, tasks)[0]) == {"ride", "cook"}
    assert without(tasks, frozenset({"ride"})).names == ("wake", "wash", "cook", "read", "sing")
    described = without(tasks, frozenset({"ride"}), keep_types=True)
    assert described.names == TOOLS
    assert described.links == ()


def test_several_seeds_give_mean_and_deviation(tmp_path: Path, stubs: list[Parts]) -> None:
    source, out = ultratool(tmp_path / "ut"), tmp_path / "r.json"
    status = bench.planning.main(
        ["--train", str(source), "--test", str(source), "--out", str(out), "--seeds", "2", "--main-only"]
    )
    assert status == 0
    report = json.loads(out.read_text(encoding="utf-8"))
    assert len(stubs) == 2
    assert report["seed"] == [0, 1]
    assert report["results"]["node_f1"] == {"mean": 100.0, "std": 0.0}
    assert set(report["results"]["baselines"]["rules"]["exact"]) == {"mean", "std"}


def test_bad_input_is_one_line_and_status_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status = bench.planning.main(["--train", str(tmp_path), "--test", str(tmp_path), "--out", str(tmp_path / "r")])
    assert status == 2
    assert "error: " in capsys.readouterr().err
    with pytest.raises(SystemExit):
        bench.planning.main(["--train", ".", "--test", ".", "--out", "r", "--seeds", "0"])


def test_starter_on_the_corpus_of_this_repository(tmp_path: Path, stubs: list[Parts]) -> None:
    out = tmp_path / "r.json"
    assert bench.starter.main(["--baselines-only", "--out", str(out)]) == 0
    results = json.loads(out.read_text(encoding="utf-8"))["results"]
    assert set(results["baselines"]) == {"rules", "nn_copy", "kernel_ridge", "most_frequent"}
    rules = results["baselines"]["rules"]
    assert rules["dag_validity"] == 100.0
    assert rules["node_f1"] > results["baselines"]["most_frequent"]["node_f1"]
    assert 0 < rules["not_chains"]["edge_f1"] < 100


def test_the_shipped_corpus_has_no_instruction_in_two_parts_nor_nearly() -> None:
    parts = split_given([record.to_example() for record in read_starter(bench.starter.CORPUS)])
    assert parts.dropped == 0
    texts = [[example.instruction for example in part] for part in (parts.train, parts.validation, parts.test)]
    assert not any(near_duplicates(texts[0], texts[1]))
    assert not any(near_duplicates(texts[0] + texts[1], texts[2]))
    assert any(near_duplicates(texts[0], [texts[0][0].upper() + " 7"]))  # it would have been found


def test_a_benchmark_that_was_killed_goes_on_where_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trained: list[tuple[int, Path]] = []

    def train(parts: Parts, *, seed: int, out: Path, **_: Any) -> Perfect:
        if seed == 1 and len(trained) == 1:
            raise KeyboardInterrupt
        trained.append((seed, out))
        return Perfect()

    monkeypatch.setattr(bench.planning, "load_encoder", lambda name, cache_dir: WordEncoder())
    monkeypatch.setattr(bench.planning, "train_learned", train)
    source, out = ultratool(tmp_path / "ut"), tmp_path / "report.json"
    command = ["--train", str(source), "--test", str(source), "--out", str(out), "--main-only", "--seeds", "2"]
    with pytest.raises(KeyboardInterrupt):
        bench.planning.main(command)
    assert not out.exists()
    trained.append((-1, tmp_path))  # the second time it does not stop
    assert bench.planning.main(command) == 0
    assert [seed for seed, _ in trained] == [0, -1, 1]
    assert json.loads(out.read_text(encoding="utf-8"))["results"]["exact"] == {"mean": 100.0, "std": 0.0}
    assert bench.planning.main([*command, "--epochs", "3"]) == 0  # another question, another answer
    assert [seed for seed, _ in trained] == [0, -1, 1, 0, 1]
    assert trained[0][1].parent != trained[3][1].parent


def test_parts_share_no_instruction() -> None:
    examples = [example(str(i), "wake", instruction=f"same {i // 2}") for i in range(400)]
    parts = split_one(examples)
    texts = [{e.instruction for e in part} for part in parts[:3]]
    assert not texts[0] & texts[1]
    assert not texts[0] & texts[2]
    assert not texts[1] & texts[2]
    assert parts.dropped > 50
    assert sum(map(len, parts[:3])) + parts.dropped == 400


def test_spelling_does_not_hide_a_duplicate() -> None:
    train = [example(str(i), "wake") for i in range(60)]
    test = [example("t1", "wake", instruction=f"  {train[0].instruction.upper()}"), example("t2", "cook")]
    parts = split_two(train, test)
    assert [e.id for e in parts.test] == ["t2"]


def test_given_splits_are_kept_and_must_be_there() -> None:
    parts = split_given([example(name, "wake", split=name) for name in ("train", "validation", "test")])
    assert [part[0].id for part in parts[:3]] == ["train", "validation", "test"]
    with pytest.raises(DataError, match="'x' belongs to no split"):
        split_given([example("x", "wake")])
    with pytest.raises(DataError, match="test part has no example"):
        split_given([example("a", "wake", split="train"), example("b", "wake", split="validation")])


def test_unseen_goes_by_multisets() -> None:
    train = [example("1", "wake", "wash"), example("2", "cook")]
    test = [example("3", "wash", "wake"), example("4", "cook", "cook"), example("5", "ride")]
    assert unseen(train, test) == [1, 2]


def test_full_results_without_a_learned_planner_have_no_score_of_it() -> None:
    tasks = TaskCatalog(types=tuple(TaskType(name=name, description=name) for name in TOOLS))
    parts = Parts([example("1", "wake")], [example("2", "wake")], [example("3", "wash", "cook")], 0)
    results = full_results(None, {"perfect": Perfect()}, parts, tasks)
    assert set(results) == {"baselines"}
    found = results["baselines"]["perfect"]
    assert found["exact"] == 100.0
    assert found["unseen_combinations"] == {
        "n": 1,
        "node_f1": 100.0,
        "link_f1": 100.0,
        "edge_f1": 100.0,
        "exact": 100.0,
    }
    assert "not_chains" not in found


def test_over_seeds_by_hand() -> None:
    # mean of 1 and 3 is 2; sample deviation sqrt(((1-2)^2 + (3-2)^2) / 1) = sqrt 2
    merged = over_seeds([{"a": 1.0, "b": {"c": 2}, "d": "x"}, {"a": 3.0, "b": {"c": 2}, "d": "x"}])
    assert merged["a"] == pytest.approx({"mean": 2.0, "std": 2**0.5})
    assert merged["b"] == {"c": {"mean": 2.0, "std": 0.0}}
    assert merged["d"] == "x"
    assert over_seeds([{"a": 1.0}]) == {"a": 1.0}


def test_data_hash_follows_content_and_names(tmp_path: Path) -> None:
    folder = tmp_path / "f"
    (folder / "sub").mkdir(parents=True)
    (folder / "sub" / "a").write_text("1", encoding="utf-8")
    first = data_sha256([folder])
    assert data_sha256([folder]) == first
    (folder / "sub" / "a").write_text("2", encoding="utf-8")
    second = data_sha256([folder])
    (folder / "sub" / "a").rename(folder / "sub" / "b")
    assert len({first, second, data_sha256([folder])}) == 3
    with pytest.raises(DataError, match="nowhere"):
        data_sha256([tmp_path / "nowhere"])


def test_reports_hold_no_nan_and_are_whole_or_absent(tmp_path: Path) -> None:
    facts: dict[str, Any] = {"bench": "b", "data": {}, "sha256": "0", "seed": 1}
    write_report(tmp_path / "r.json", results={"x": float("nan"), "y": 1 / 3}, **facts)
    assert json.loads((tmp_path / "r.json").read_text(encoding="utf-8"))["results"] == {
        "x": None,
        "y": 0.333333,
    }
    assert [path.name for path in tmp_path.iterdir()] == ["r.json"]
    with pytest.raises(StorageError):
        write_report(tmp_path / "r.json" / "below.json", results={}, **facts)
