from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest

from orchestai.contracts import planning_text
from orchestai.errors import DataError
from orchestai.importers import read_starter
from orchestai.importers.splits import normalized, split_by_hash

CORPUS = Path(__file__).resolve().parents[2] / "examples" / "starter"


def record(**changes: Any) -> dict[str, Any]:
    return {
        "id": "tea-1",
        "template": "tea",
        "domain": "home",
        "language": "en",
        "instruction": "Read the label and tell me in French how long to steep it.",
        "inputs": {"image": "media/tea.png", "text": "for two cups"},
        "nodes": [
            {"task_type": "image_analysis", "description": "Read the label."},
            {"task_type": "translation", "description": "Translate the steeping time into French."},
        ],
        "dependencies": [[], [0]],
        "acceptance": [{"kind": "contains", "value": "minutes"}],
        **changes,
    }


def corpus(path: Path, *records: object) -> Path:
    file = path / "c.jsonl"
    file.write_text("\n".join(r if isinstance(r, str) else json.dumps(r) for r in records), encoding="utf-8")
    return file


def test_a_record_in_its_three_forms(tmp_path: Path) -> None:
    (one,) = read_starter(corpus(tmp_path, record()))
    example = one.to_example()
    assert example.task_types == ("image_analysis", "translation")
    assert example.dependencies == ((), (0,))
    assert example.group == "tea"
    assert example.split == one.split
    assert example.instruction == planning_text(one.instruction, one.inputs)
    assert example.instruction.endswith("steep it.\n[image] [text]")
    instruction = one.to_instruction(Path("/corpus"))
    assert instruction.inputs == {"image": "/corpus/media/tea.png", "text": "for two cups"}
    assert instruction.acceptance[0].value == "minutes"
    assert instruction.id == "tea-1"
    assert one.graph.edges == ((0, 1),)


def test_gold_descriptions_stay_out_of_examples(tmp_path: Path) -> None:
    (one,) = read_starter(corpus(tmp_path, record()))
    assert "steeping time" not in one.to_example().model_dump_json()


def test_all_bad_records_are_reported_at_once(tmp_path: Path) -> None:
    file = corpus(
        tmp_path,
        record(),
        "{broken",
        record(id="b", instruction=" "),
        record(id="c", instruction="c", dependencies=[[1], []]),
        record(id="d", instruction="d", dependencies=[[], [5]]),
        record(id="e", instruction="e", inputs={"video": "x"}),
        record(id="f", instruction="f", inputs={"image": "../../etc/passwd"}),
        record(id="g", instruction="g", nodes=[]),
        record(id="h", instruction="h", acceptance=[{"kind": "matches", "value": "("}]),
        record(instruction="the id again"),
        record(id="i", instruction="i", surprise=1),
        record(id="j", instruction="j", language="english"),
    )
    with pytest.raises(DataError) as caught:
        read_starter(file)
    text = str(caught.value)
    for line in range(2, 13):
        assert f"c.jsonl:{line}: " in text, line
    assert "c.jsonl:1: " not in text
    for part in ("node 0 comes before", "unknown inputs: video", "below the corpus", "used at", "surprise"):
        assert part in text


def test_one_instruction_in_two_splits_is_refused(tmp_path: Path) -> None:
    templates = {split_by_hash(f"t{i}"): f"t{i}" for i in range(50)}
    copy = record(id="x", template=templates["test"], instruction=record()["instruction"].upper())
    with pytest.raises(DataError, match="in another split"):
        read_starter(corpus(tmp_path, record(template=templates["train"]), copy))
    # other material makes another instruction
    other = record(id="x", template=templates["test"], inputs={})
    assert len(read_starter(corpus(tmp_path, record(template=templates["train"]), other))) == 2


def test_split_by_hash_is_fixed() -> None:
    # int(sha256('a'), 16) % 100 and so on, worked out apart from this code
    import hashlib

    for key in ("a", "b", "tea", "ünï"):
        place = int.from_bytes(hashlib.sha256(key.encode()).digest(), "big") % 100
        assert split_by_hash(key) == ("train" if place < 60 else "validation" if place < 80 else "test")
    shares = [split_by_hash(str(i)) for i in range(5000)]
    assert 0.57 < shares.count("train") / 5000 < 0.63
    assert 0.17 < shares.count("test") / 5000 < 0.23


def test_normalized() -> None:
    assert normalized("  Hello \n WORLD") == normalized("hello world")


def test_a_folder_prefers_the_merged_file(tmp_path: Path) -> None:
    corpus(tmp_path, record())
    (tmp_path / "instructions.jsonl").write_text(json.dumps(record(id="merged")), encoding="utf-8")
    assert [r.id for r in read_starter(tmp_path)] == ["merged"]
    with pytest.raises(DataError, match="no starter corpus"):
        read_starter(tmp_path / "nowhere")
    (tmp_path / "instructions.jsonl").write_text("\n", encoding="utf-8")
    with pytest.raises(DataError, match="no record"):
        read_starter(tmp_path)


def test_the_corpus_of_this_repository() -> None:
    records = read_starter(CORPUS)
    splits = defaultdict(set)
    shapes = defaultdict(set)
    for each in records:
        splits[each.template].add(each.split)
        shapes[each.template].add((tuple(n.task_type for n in each.nodes), each.dependencies))
        for name, value in each.inputs.items():
            if name != "text":
                assert (CORPUS / value).is_file(), value
    assert len(records) >= 300
    assert all(len(found) == 1 for found in splits.values())
    assert all(len(found) == 1 for found in shapes.values())
    assert {split for found in splits.values() for split in found} == {"train", "validation", "test"}
