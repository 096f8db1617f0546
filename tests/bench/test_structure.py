from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

import bench.structure
from bench.structure import measure, shuffled, split_structures
from bench.structure_baselines import Chain, FrequentShape
from orchestai.contracts import StepPlan
from orchestai.errors import DataError
from orchestai.importers.splits import normalized
from orchestai.training import structure as training


def plan(key: int, goal: str = "", steps: tuple[str, ...] = ()) -> StepPlan:
    texts = steps or (f"take {key}", f"open {key}", f"close {key}")
    return StepPlan(
        id=f"p{key}", goal=goal or f"goal {key}", steps=texts, edges=((0, 2), (1, 2)), durations_s=(1.0, 2.0, 3.0)
    )


def test_no_goal_and_no_steps_of_the_test_are_learned_from() -> None:
    plans = [plan(i, goal=f"Goal  {i % 70}") for i in range(200)]
    parts = split_structures(plans)
    tested = {normalized(p.goal) for p in parts.test}
    assert not tested & {normalized(p.goal) for p in (*parts.train, *parts.validation)}
    assert parts.dropped > 0
    assert len(parts.train) + len(parts.validation) + len(parts.test) + parts.dropped == 200
    other = split_structures(plans, [plan(999, goal="new", steps=plans[3].steps), plan(998, goal="GOAL 5")])
    assert len(other.test) == 2
    assert plans[3] not in other.train + other.validation
    assert all(normalized(p.goal) != "goal 5" for p in other.train)
    with pytest.raises(DataError, match="validation part has no plan"):
        split_structures([plan(1)], [plan(2)])


def test_chain_by_hand() -> None:
    found = measure(Chain(), [plan(1)])
    assert found["edge_f1"] == pytest.approx(50)  # (1, 2) is right, (0, 1) is not, (0, 2) is not found
    assert found["dag_validity"] == 100
    assert found["missing_edges"] == 0
    assert found["schedule_ratio"] == pytest.approx(6 / 5)


def test_shuffling_renames_nodes_and_nothing_else() -> None:
    first = plan(7)
    mixed = shuffled(first)
    named = {(mixed.steps[p], mixed.steps[c]) for p, c in mixed.edges}
    assert named == {(first.steps[p], first.steps[c]) for p, c in first.edges}
    assert mixed == shuffled(first)
    assert mixed.durations_s is not None
    assert dict(zip(mixed.steps, mixed.durations_s, strict=True)) == {"take 7": 1.0, "open 7": 2.0, "close 7": 3.0}


def test_frequent_shape_knows_the_graph_of_each_size() -> None:
    shape = FrequentShape([plan(i) for i in range(3)])
    assert shape.edges("any", ["a", "b", "c"]) == ((0, 2), (1, 2))
    assert shape.edges("any", ["a", "b"]) == ((0, 1),)


def test_the_command_writes_a_report(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = random.Random(0)
    columns: dict[str, list[object]] = {"titles": [], "steps": [], "edge_list": [], "timedelta_dic": []}
    for i in range(40):
        one, two = rng.sample(["soup", "door", "car", "cat"], 2)
        columns["titles"].append(f"How to do {i}")
        columns["steps"].append([f"find the {one}", f"find the {two}", f"put both together {i}"])
        columns["edge_list"].append([["START", "1"], ["START", "2"], ["1", "3"], ["2", "3"], ["3", "END"]])
        columns["timedelta_dic"].append({str(k): [60, 60] for k in (1, 2, 3)})
    data = tmp_path / "data"
    data.mkdir()
    (data / "plans.json").write_text(json.dumps(columns))
    out = tmp_path / "report.json"
    arguments = ["--train", str(data), "--test", str(data), "--out", str(out), "--seeds", "2", "--epochs", "2"]
    assert bench.structure.main(arguments) == 0
    results = json.loads(out.read_text())["results"]
    for values in (results, *results["baselines"].values()):
        for key in bench.structure.KEYS:
            assert values[key].keys() == {"mean", "std"}
    assert results["dag_validity"]["mean"] == 100
    assert results["ms_per_plan_p50"]["mean"] > 0
    assert set(results["baselines"]) == {"chain", "frequent_shape", "pairwise"}
    assert results["baselines"]["chain"]["edge_f1"]["mean"] == pytest.approx(50)
    assert "frequent_shape" in capsys.readouterr().out
    monkeypatch.setattr(training, "train_structure", lambda *_, **__: pytest.fail("trained again"))
    out.unlink()
    assert bench.structure.main(arguments) == 0  # all of it is known by now
    assert json.loads(out.read_text())["results"] == results
    assert bench.structure.main(["--train", str(tmp_path / "no"), "--test", str(tmp_path), "--out", str(out)]) == 2
