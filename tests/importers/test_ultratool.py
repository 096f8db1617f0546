from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from orchestai.catalog import read_catalog
from orchestai.errors import DataError
from orchestai.importers import import_dataset, import_ultratool, read_outcomes, read_plans
from orchestai.importers.sink import RejectedRecordError
from orchestai.importers.ultratool import index_links


def write_zst(path: Path, body: bytes) -> None:
    with pa.OSFile(str(path), "wb") as raw, pa.CompressedOutputStream(raw, "zstd") as stream:
        stream.write(body)


TOOLS = {"nodes": [{"id": name, "desc": f"does {name}", "domain": ["Home"]} for name in ("x", "y", "z")]}
GRAPH = {
    "nodes": TOOLS["nodes"],
    "links": [{"source": "x", "target": "y"}, {"source": "x", "target": "gone"}],
}


def record(names: str, links: list[str] | None = None, **more: Any) -> dict[str, Any]:
    pairs = links if links is not None else [a + b for a, b in itertools.pairwise(names)]
    return {
        "id": "1",
        "user_request": f"please {names}\n",
        "task_steps": [f"Step 1 Call {names}"],
        "task_nodes": [{"task": name} for name in names],
        "task_links": [{"source": a, "target": b} for a, b in pairs],
        **more,
    }


def folder(path: Path, *records: object, zst: bool = False) -> Path:
    path.mkdir(exist_ok=True)
    body = "\n".join(r if isinstance(r, str) else json.dumps(r) for r in records).encode()
    if zst:
        write_zst(path / "plans.jsonl.zst", body)
    else:
        (path / "plans.jsonl").write_bytes(body)
    (path / "tool_desc.json").write_text(json.dumps(TOOLS), encoding="utf-8")
    (path / "graph_desc.json").write_text(json.dumps(GRAPH), encoding="utf-8")
    return path


@pytest.mark.parametrize("zst", [True, False])
def test_a_good_folder(tmp_path: Path, zst: bool) -> None:
    source = folder(tmp_path / "in", record("xyx", id="7"), record("z", id=8), zst=zst)
    report = import_dataset("ultratool", source, tmp_path / "out")
    assert (report.plans, report.outcomes, report.rejected, report.task_types) == (2, 0, 0, 3)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["catalog.yml", "plans.parquet"]
    first, second = read_plans(tmp_path / "out")
    assert (first.id, first.instruction) == ("7", "please xyx")
    assert first.task_types == ("x", "y", "x")
    assert first.dependencies == ((), (0,), (1,))
    assert (second.id, second.task_types, second.dependencies) == ("8", ("z",), ((),))
    catalog = read_catalog(tmp_path / "out")
    assert catalog.tasks["x"].description == "does x. Domain: Home."
    assert catalog.tasks.links == (("x", "y"),)
    with pytest.raises(DataError, match=r"no outcomes\.parquet"):
        read_outcomes(tmp_path / "out")


def test_gold_steps_never_reach_the_output(tmp_path: Path) -> None:
    source = folder(tmp_path / "in", record("xy", task_steps=["SECRETSTEP"]))
    import_ultratool(source, tmp_path / "out")
    assert "SECRETSTEP" not in read_plans(tmp_path / "out")[0].model_dump_json()
    assert all(b"SECRETSTEP" not in path.read_bytes() for path in (tmp_path / "out").iterdir())


def test_bad_records_are_counted_and_explained(tmp_path: Path) -> None:
    source = folder(
        tmp_path / "in",
        record("xy"),
        '{"id": "2", "user_request": ',
        "[1]",
        record("xy", id="4", user_request="  "),
        record("xq", id="5"),
        record("xy", id="6", task_links=[{"source": "y", "target": "z"}]),
        record("xy"),  # the id once more
        record("", id="8"),
        record("xy", id="9", links=["xy", "yx"]),
        record("x" * 21, id="10"),
        record("xy", id="11", user_request=None),
    )
    report = import_ultratool(source, tmp_path / "out")
    assert (report.plans, report.rejected) == (1, 10)
    lines = (tmp_path / "out" / "rejected.jsonl").read_text(encoding="utf-8").splitlines()
    reasons = {entry["position"]: entry["reason"] for entry in map(json.loads, lines)}
    assert sorted(reasons) == list(range(2, 12))
    assert reasons[2].startswith("not JSON")
    assert reasons[3] == "not an object"
    assert reasons[4].startswith("instruction: The instruction is empty")
    assert reasons[5] == "tool without description: q"
    assert reasons[6] == "link without its nodes: y -> z"
    assert reasons[7] == "duplicate id"
    assert reasons[8] == "field missing or empty: task_nodes"
    assert reasons[9].startswith("graph: ")
    assert "circle" in reasons[9]
    assert reasons[10] == "number of nodes: 21, allowed are 1 to 20"
    assert reasons[11] == "field missing or not text: user_request"
    assert sum(report.reasons.values()) == 10


def test_nodes_are_put_behind_their_parents(tmp_path: Path) -> None:
    source = folder(tmp_path / "in", record("xyz", links=["zx"]))
    import_ultratool(source, tmp_path / "out")
    (plan,) = read_plans(tmp_path / "out")
    assert plan.task_types == ("y", "z", "x")
    assert plan.dependencies == ((), (), (1,))


@pytest.mark.parametrize("name", ["plans.jsonl", "tool_desc.json", "graph_desc.json"])
def test_a_missing_file_is_named(tmp_path: Path, name: str) -> None:
    source = folder(tmp_path / "in", record("xy"))
    (source / name).unlink()
    with pytest.raises(DataError, match=rf"neither {name} .*graph_desc\.json"):
        import_ultratool(source, tmp_path / "out")


def test_nothing_usable_is_an_error_and_leaves_the_old_import(tmp_path: Path) -> None:
    out = tmp_path / "out"
    import_ultratool(folder(tmp_path / "good", record("xy")), out)
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    with pytest.raises(DataError, match=r"no usable record.*tool without description \(1\)"):
        import_ultratool(folder(tmp_path / "bad", record("qq")), out)
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before


def test_a_second_import_replaces_all_files_of_the_first(tmp_path: Path) -> None:
    out = tmp_path / "out"
    import_ultratool(folder(tmp_path / "a", record("xy"), "broken"), out)
    assert (out / "rejected.jsonl").exists()
    import_ultratool(folder(tmp_path / "b", record("z")), out)
    assert not (out / "rejected.jsonl").exists()
    assert [plan.task_types for plan in read_plans(out)] == [("z",)]


def test_links_of_repeated_tools_become_the_chain_that_they_name() -> None:
    assert index_links("aba", [("a", "b"), ("b", "a")]) == [(0, 1), (1, 2)]
    assert index_links("abab", [("a", "b"), ("b", "a"), ("a", "b")]) == [(0, 1), (1, 2), (2, 3)]
    assert index_links("aaa", [("a", "a"), ("a", "a")]) == [(0, 1), (1, 2)]
    with pytest.raises(RejectedRecordError):
        index_links("aa", [("a", "a")] * 3)


def test_read_plans_refuses_what_is_no_plans_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="orchestai import"):
        read_plans(tmp_path)
    (tmp_path / "plans.parquet").write_bytes(b"PAR1 nonsense PAR1")
    with pytest.raises(DataError, match="not a readable Parquet"):
        read_plans(tmp_path)


def test_the_public_data_set(public_data: Path, tmp_path: Path) -> None:
    report = import_ultratool(public_data / "ultratool", tmp_path)
    assert (report.plans, report.rejected, report.task_types) == (2803, 0, 260)
    plans = read_plans(tmp_path)
    names = set(read_catalog(tmp_path).tasks.names)
    assert all(set(plan.task_types) <= names for plan in plans)
    assert all(plan.dependencies == tuple((i - 1,) if i else () for i in range(len(plan.task_types))) for plan in plans)
    assert len({plan.group for plan in plans}) > 2700
