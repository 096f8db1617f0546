"""The routing benchmark on small folders of its two formats; nothing leaks from test to training."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from bench import routing
from bench.routing_data import question_key, read_source, split_one, split_two
from bench.routing_times import times
from orchestai.errors import DataError
from orchestai.importers.splits import normalized

MODELS = ("big", "small", "coder")
QUALITY = {"trivia": (0.8, 0.7, 0.1), "code": (0.6, 0.2, 0.9)}
TEXTS = {"trivia": "who won the cup in the year {0}", "code": "Write a function f{0}(x) that returns x + {0}."}


def llmrouter(folder: Path, *, rows: int, name: str = "train.json", start: int = 0, queries: bool = True) -> Path:
    rng = np.random.default_rng(start)
    folder.mkdir()
    records, lines = [], []
    for place in range(start, start + rows):
        kind = ("trivia", "code")[place % 2]
        text = TEXTS[kind].format(place)
        scores = {m: float(rng.random() < q) for m, q in zip(MODELS, QUALITY[kind], strict=True)}
        records.append({"question": text, "scores": scores})
        lines.append(json.dumps({"query": text, "task_name": kind}))
    (folder / name).write_text(json.dumps(records), encoding="utf-8")
    prices = {"big": 1.0, "small": 0.1, "coder": 0.5}
    facts = {m: {"input_price": p, "output_price": p, "feature": f"{m} model"} for m, p in prices.items()}
    (folder / "default_llm.json").write_text(json.dumps(facts), encoding="utf-8")
    if queries:
        (folder / "query_data.jsonl").write_text("\n".join(lines), encoding="utf-8")
    return folder


def zeroeval(folder: Path, *, rows: int) -> Path:
    rng = np.random.default_rng(1)
    folder.mkdir()
    models = {"o1-mini-2024-09-12": 0.9, "gpt-4o-mini-2024-07-18": 0.8, "no-price": 0.9}
    with (folder / "graded.csv").open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["model", "family", "prompt_key", "correct", "output_chars", "prompt_chars"])
        for model, quality in models.items():
            for place in range(rows):
                writer.writerow([model, "gsm", f"gsm:q{place}", int(rng.random() < quality), 360, 72])
    prompts = {f"q{place}": [f"How many are {place} apples and {place} pears?"] for place in range(rows)}
    (folder / "prompts_gsm.json").write_text(json.dumps(prompts), encoding="utf-8")
    return folder


def test_no_question_is_on_both_sides(tmp_path: Path) -> None:
    train = read_source(llmrouter(tmp_path / "a", rows=60), tmp_path / "x").table
    test = read_source(llmrouter(tmp_path / "b", rows=60, name="test.json", start=40), tmp_path / "y").table
    sides = split_two(train, test)
    assert not {normalized(text) for text in sides.train.texts} & {normalized(text) for text in sides.test.texts}
    assert sides.dropped == 20  # 40 to 59 are in both folders
    assert len(sides.test) == 40
    alone = split_one(train)
    assert not set(map(question_key, alone.train.texts)) & set(map(question_key, alone.test.texts))
    with pytest.raises(DataError, match="question of its own"):
        split_two(train, train)


def test_spacing_case_and_marks_make_no_other_question() -> None:
    assert question_key(" Who  won?\n") == question_key("who won")
    assert question_key("Who won 2") != question_key("Who won 3")


def test_a_test_folder_may_lack_families(tmp_path: Path) -> None:
    source = read_source(llmrouter(tmp_path / "b", rows=30, name="test.json", queries=False), tmp_path / "y")
    assert source.table.family_names == ("unknown",)


def test_zeroeval_is_priced_by_the_list(tmp_path: Path) -> None:
    source = read_source(zeroeval(tmp_path / "z", rows=20), tmp_path / "x")
    assert source.notes["workers_without_price"] == 1
    place = source.table.workers.index("o1-mini-2024-09-12")
    text = source.table.texts[0]
    # 360 characters are 100 tokens: at $12 a million, and the question at $3.
    assert source.table.cost_usd[0, place] == pytest.approx((len(text) / 3.6 * 3 + 100 * 12) / 1e6)


def test_the_report_has_what_was_asked_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train, test = (
        llmrouter(tmp_path / "train", rows=200),
        llmrouter(tmp_path / "test", rows=60, name="test.json", start=300),
    )
    out = tmp_path / "report.json"
    command = ["--train", str(train), "--test", str(test), "--out", str(out), "--no-attention"]
    assert routing.main(command) == 0
    report = json.loads(out.read_text(encoding="utf-8"))
    results = report["results"]
    wanted = {"accuracy", "mean_price", "price_ratio_at_best_single", "auc", "ece", "latency_ms_p99", "families"}
    assert wanted <= set(results)
    methods = {"best_single", "cheapest", "random", "knn", "family_mean", "matrix_factorization", "oracle"}
    assert methods <= set(results["baselines"])
    oracle, single = results["baselines"]["oracle"], results["baselines"]["best_single"]
    assert oracle["accuracy"] >= results["accuracy"] >= single["accuracy"] - 5
    assert results["accuracy"] > single["accuracy"]  # two kinds, two specialists: not hard
    assert set(results["left_out"]["families"]) == {"trivia", "code"}
    assert results["latency_ms_p99"] < 100
    assert "router" in capsys.readouterr().out


def test_a_folder_of_neither_format_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert routing.main(["--train", str(tmp_path), "--test", str(tmp_path), "--out", str(tmp_path / "r.json")]) == 2
    assert "train.json" in capsys.readouterr().err


def test_times_know_a_provider_better_after_a_few_calls(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for provider, seconds in (("alpha", 1.0), ("beta", 4.0), ("gamma", 2.0)):
        calls = [
            {
                "error_code": None,
                "error_msg": "",
                "ttft_s": 0.2,
                "end_to_end_latency_s": seconds * float(np.exp(0.05 * rng.normal())),
                "number_input_tokens": 550,
                "number_output_tokens": 150,
            }
            for _ in range(60)
        ]
        (tmp_path / f"raw_data__individual__{provider}_7b.json").write_text(json.dumps(calls), encoding="utf-8")
    found = times(tmp_path)
    assert found["unseen_provider_after_20"]["mae_ms"] < 0.3 * found["unseen_provider_after_0"]["mae_ms"]
    assert found["own_median"]["mae_ms"] < 150
