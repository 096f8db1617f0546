from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from orchestai.catalog import read_catalog
from orchestai.errors import DataError, InputError
from orchestai.importers import (
    IMPORTERS,
    import_asynchow,
    import_dataset,
    import_llmperf,
    import_llmrouter,
    import_zeroeval,
    read_outcomes,
    read_plans,
    read_step_plans,
)


def write_zst(path: Path, body: bytes) -> None:
    with pa.OSFile(str(path), "wb") as raw, pa.CompressedOutputStream(raw, "zstd") as stream:
        stream.write(body)


def put(path: Path, body: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    text = body if isinstance(body, str) else json.dumps(body)
    if path.suffix == ".zst":
        write_zst(path, text.encode())
    else:
        path.write_text(text, encoding="utf-8")


def rejected(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / "rejected.jsonl").read_text(encoding="utf-8").splitlines()]


def test_unknown_kinds_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="ultratool, asynchow, zeroeval, llmrouter, llmperf"):
        import_dataset("taskbanch", tmp_path, tmp_path)


@pytest.mark.parametrize("kind", list(IMPORTERS))
def test_an_empty_folder_says_what_belongs_there(tmp_path: Path, kind: str) -> None:
    (tmp_path / "in").mkdir()
    with pytest.raises(DataError, match="folder should hold"):
        import_dataset(kind, tmp_path / "in", tmp_path / "out")
    assert not list((tmp_path / "out").glob("*"))


# AsyncHow


def test_asynchow_steps_and_edges(tmp_path: Path) -> None:
    put(
        tmp_path / "plans.json.zst",
        {
            "titles": ["make tea", "bad"],
            "steps": [["pour", "boil", "fetch cup"], ["one"]],
            "edge_list": [
                [["START", "2"], ["START", "3"], ["2", "1"], ["3", "1"], ["1", "END"]],
                [["1", "5"]],
            ],
            "timedelta_dic": [{"1": [10, 20], "2": [60, 60], "3": [5, 5]}, {}],
            "task_time": [[75, 75], [1, 1]],
        },
    )
    report = import_asynchow(tmp_path, tmp_path / "out")
    assert (report.plans, report.rejected, report.task_types) == (1, 1, 3)
    (plan,) = read_plans(tmp_path / "out")
    assert plan.task_types == ("boil", "fetch cup", "pour")
    assert plan.dependencies == ((), (), (0, 1))
    assert rejected(tmp_path / "out")[0]["reason"] == "edge to a step that does not exist: ['1', '5']"
    import pyarrow.parquet as pq

    row = pq.read_table(tmp_path / "out" / "plans.parquet").to_pylist()[0]
    assert row["durations_s"] == [60, 5, 15]
    assert row["optimal_s"] == 75
    assert row["links"] == [[0, 2], [1, 2]]


def test_asynchow_steps_as_they_were_written(tmp_path: Path) -> None:
    edges = [["START", "2"], ["2", "1"], ["1", "END"]]
    put(
        tmp_path / "plans.json.zst",
        {
            "titles": ["make tea", "bad", "cycle"],
            "steps": [["pour", "boil"], ["one"], ["a", "b"]],
            "edge_list": [edges, [["1", "5"]], [["1", "2"], ["2", "1"]]],
            "timedelta_dic": [{"1": [10, 20], "2": [60, 60]}, {}, {}],
        },
    )
    (plan,), rejected_records = read_step_plans(tmp_path)
    assert rejected_records == 2
    assert (plan.id, plan.goal) == ("asynchow-00000", "make tea")
    assert plan.steps == ("pour", "boil")
    assert plan.edges == ((1, 0),)
    assert plan.durations_s == (15, 60)


def test_asynchow_names_missing_columns(tmp_path: Path) -> None:
    put(tmp_path / "plans.json", {"titles": ["a"]})
    with pytest.raises(DataError, match="lacks the columns steps, edge_list"):
        import_asynchow(tmp_path, tmp_path / "out")
    put(tmp_path / "plans.json", {"titles": ["a"], "steps": [], "edge_list": []})
    with pytest.raises(DataError, match="different lengths"):
        import_asynchow(tmp_path, tmp_path / "out")


def test_asynchow_public(public_data: Path, tmp_path: Path) -> None:
    report = import_asynchow(public_data / "asynchow", tmp_path)
    assert (report.plans, report.rejected) == (1138, 0)
    plans = read_plans(tmp_path)
    assert max(len(plan.task_types) for plan in plans) == 14
    chains = sum(
        plan.dependencies == tuple((i - 1,) if i else () for i in range(len(plan.task_types))) for plan in plans
    )
    assert chains < len(plans) // 2
    assert {name for plan in plans for name in plan.task_types} == set(read_catalog(tmp_path).tasks.names)


# ZeroEval

HEADER = "model,family,prompt_key,correct,output_chars,prompt_chars\n"


def zeroeval(path: Path, rows: str) -> Path:
    put(path / "prompts_gsm.json", {"q1": ["How many?"], "q2": ["Why?"], "q3": [""]})
    put(path / "graded.csv", HEADER + rows)
    return path


def test_zeroeval_outcomes(tmp_path: Path) -> None:
    report = import_zeroeval(zeroeval(tmp_path, "m1,gsm,gsm:q1,1,36,9\nm2,gsm,gsm:q1,0,1,9\n"), tmp_path / "out")
    assert (report.plans, report.outcomes, report.workers) == (2, 2, 2)
    first, second = read_outcomes(tmp_path / "out").to_pylist()
    # 36 characters / 3.6 = 10 tokens; 9 / 3.6 = 2.5, rounded up
    assert (first["worker"], first["score"], first["correct"]) == ("m1", 1.0, True)
    assert (first["output_tokens"], first["input_tokens"], first["tokens_estimated"]) == (10, 3, True)
    assert (second["worker"], second["correct"], second["output_tokens"]) == ("m2", False, 1)
    assert first["cost_usd"] is None
    assert [plan.id for plan in read_plans(tmp_path / "out")] == ["gsm:q1", "gsm:q2"]


def test_zeroeval_bad_rows(tmp_path: Path) -> None:
    rows = "m,gsm,gsm:q1,1,5,9\nm,gsm,gsm:q1,0,5,9\nm,gsm,gsm:q9,1,5,9\n"
    rows += "m,gsm,gsm:q2,yes,5,9\nm,gsm,gsm:q2,1,-5,9\nm,gsm\n"
    report = import_zeroeval(zeroeval(tmp_path, rows), tmp_path / "out")
    assert (report.outcomes, report.rejected) == (1, 6)
    assert [entry["reason"].split(":")[0] for entry in rejected(tmp_path / "out")] == [
        "instruction",
        "duplicate outcome",
        "answer to a prompt that is not in the prompts file",
        "`correct` is neither 0 nor 1",
        "`output_chars` is not a count",
        "empty field",
    ]


def test_zeroeval_missing_prompts_of_a_family(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no prompts_crux\.json"):
        import_zeroeval(zeroeval(tmp_path, "m,crux,crux:q1,1,5,9\n"), tmp_path / "out")


def test_zeroeval_missing_columns(tmp_path: Path) -> None:
    put(tmp_path / "prompts_gsm.json", {"q1": ["How many?"]})
    put(tmp_path / "graded.csv", "model,family\n")
    with pytest.raises(DataError, match="lacks the columns prompt_key, correct"):
        import_zeroeval(tmp_path, tmp_path / "out")


def test_zeroeval_public(public_data: Path, tmp_path: Path) -> None:
    report = import_zeroeval(public_data / "zeroeval", tmp_path)
    assert (report.plans, report.outcomes, report.workers, report.rejected) == (2119, 62932, 30, 0)
    table = read_outcomes(tmp_path)
    # 49,937 of the 62,932 lines of the file end in a 1 in the column `correct`
    assert sum(table["correct"].to_pylist()) == 49937


# LLMRouter


def llmrouter(path: Path, *records: object) -> Path:
    prices = {"input_price": 0.2, "output_price": 0.6, "feature": "small", "model": "org/a"}
    put(
        path / "example_data__llm_candidates__default_llm.json",
        {"a": prices, "b": {**prices, "model": "org/b"}},
    )
    queries = [{"query": "1+1?", "task_name": "gsm8k"}, {"query": 5}]
    put(
        path / "example_data__query_data__default_query_train.jsonl.zst",
        "\n".join(json.dumps(query) for query in queries),
    )
    put(path / "train.json.zst", list(records))
    return path


def test_llmrouter_scores_and_prices(tmp_path: Path) -> None:
    source = llmrouter(
        tmp_path,
        {"question": "1+1?", "scores": {"a": 1.0, "b": 0.25}},
        {"question": "who?", "scores": {"a": 0}},
        {"question": "bad", "scores": {"a": 1.5}},
        {"question": "bad", "scores": {"c": 1.0}},
        {"question": "bad", "scores": {"a": float("nan")}},
        {"question": "bad", "scores": {}},
        {"scores": {"a": 1}},
        {"question": "1+1?", "scores": {"a": 1.0}},
        7,
    )
    report = import_llmrouter(source, tmp_path / "out")
    assert (report.plans, report.outcomes, report.workers, report.rejected) == (2, 3, 2, 8)
    rows = read_outcomes(tmp_path / "out").to_pylist()
    assert [(row["worker"], row["score"], row["task_type"]) for row in rows] == [
        ("a", 1.0, "gsm8k"),
        ("b", 0.25, "gsm8k"),
        ("a", 0.0, "unknown"),
    ]
    plans = read_plans(tmp_path / "out")
    assert [plan.instruction for plan in plans] == ["1+1?", "who?"]
    assert rows[0]["query_id"] == plans[0].id
    workers = read_catalog(tmp_path / "out").workers
    assert workers is not None
    assert workers["b"].model == "org/b"
    assert workers["a"].cost_usd(1_000_000, 1_000_000) == pytest.approx(0.8)


def test_llmrouter_needs_prices(tmp_path: Path) -> None:
    source = llmrouter(tmp_path, {"question": "q", "scores": {"a": 1}})
    put(tmp_path / "example_data__llm_candidates__default_llm.json", {"a": {"input_price": 0.2}})
    with pytest.raises(DataError, match="`output_price` of 'a'"):
        import_llmrouter(source, tmp_path / "out")


def test_llmrouter_public(public_data: Path, tmp_path: Path) -> None:
    report = import_llmrouter(public_data / "llmrouter9", tmp_path)
    assert report.plans + report.rejected == 5608
    assert report.rejected <= 5
    assert report.outcomes == 9 * report.plans
    assert len(set(read_outcomes(tmp_path)["task_type"].to_pylist())) == 14


# llmperf


def call(**changes: Any) -> dict[str, Any]:
    return {
        "error_code": None,
        "error_msg": "",
        "ttft_s": 0.2,
        "end_to_end_latency_s": 1.5,
        "number_output_tokens": 151,
        "number_input_tokens": 550,
        **changes,
    }


def test_llmperf_times_and_errors(tmp_path: Path) -> None:
    refused = call(error_code=429, end_to_end_latency_s=0, ttft_s=0, number_output_tokens=1)
    short = call(error_code=-100, error_msg="too few", end_to_end_latency_s=9.0)
    calls = [call(), call(end_to_end_latency_s=2.5), refused, short, call(ttft_s="fast"), "x"]
    put(tmp_path / "raw_data__individual__acme_13b.json.zst", calls)
    put(tmp_path / "raw_data__summary__acme_13b.json", {"model": "org/chat-13b"})
    report = import_llmperf(tmp_path, tmp_path / "out")
    assert (report.plans, report.outcomes, report.rejected) == (0, 4, 2)
    first, _, third, fourth = read_outcomes(tmp_path / "out").to_pylist()
    assert first["query_id"] == "acme_13b-0000"
    assert (first["worker"], first["latency_ms"], first["ttft_ms"]) == ("acme-13b", 1500, 200)
    assert (first["completed"], first["output_tokens"], first["tokens_estimated"]) == (True, 151, False)
    assert (third["completed"], third["latency_ms"], third["output_tokens"]) == (False, None, 0)
    assert third["error"] == "429: no message"
    assert (fourth["completed"], fourth["latency_ms"]) == (False, 9000)
    workers = read_catalog(tmp_path / "out").workers
    assert workers is not None
    assert workers["acme-13b"].model == "org/chat-13b"
    assert workers["acme-13b"].typical_latency_ms == 2000  # median of the two completed calls


def test_llmperf_public(public_data: Path, tmp_path: Path) -> None:
    report = import_llmperf(public_data / "llmperf", tmp_path)
    assert (report.outcomes, report.workers, report.rejected) == (2845, 19, 0)
    table = read_outcomes(tmp_path)
    # 97 + 49 ended early, 3 x 130 + 2 were refused, 1 failed otherwise
    assert table["completed"].to_pylist().count(False) == 97 + 49 + 390 + 2 + 1
