"""The report's own arithmetic and writing; what it measures is tested in `orchestai.evaluation`."""

from __future__ import annotations

from html.parser import HTMLParser
from typing import Any

import pytest

from orchestai.app.report import describe_plan
from orchestai.app.report.examples import listed, worst
from orchestai.app.report.fallback import KEPT, on_test_rows, success_shares
from orchestai.app.report.measure import differences, families, intervals, written
from orchestai.app.report.previous import REPORTED, _reported
from orchestai.app.report.render import Section, to_html, to_markdown
from orchestai.app.report.sections import sections
from orchestai.contracts import PlanExample, PlanPrediction

CHAIN = PlanExample(id="c", instruction="c", task_types=("a", "b"), dependencies=((), (0,)), group="g1")
FORK = PlanExample(id="f", instruction="é", task_types=("a", "b", "c"), dependencies=((), (0,), (0,)), group="g2")
ONE = PlanExample(id="o", instruction="o", task_types=("a",), dependencies=((),), group="g2")


def right(example: PlanExample, confidence: float = 0.9) -> PlanPrediction:
    return PlanPrediction(task_types=example.task_types, dependencies=example.dependencies, confidence=confidence)


def wrong(confidence: float = 0.1) -> PlanPrediction:
    return PlanPrediction(task_types=("x",), dependencies=((),), confidence=confidence)


def test_a_plan_reads_as_one_line() -> None:
    assert describe_plan(FORK) == "a; b(0); c(0)"
    assert describe_plan(None) == "no plan"


def test_scores_have_their_intervals_in_percent() -> None:
    found = intervals([CHAIN, FORK], [right(CHAIN), wrong()])
    assert found["exact"] == {"mean": 50.0, "low": 0.0, "high": 100.0}
    other = FORK.model_copy(update={"group": "g1"})
    halves = intervals([FORK, ONE, CHAIN, other], [right(FORK), wrong(), right(CHAIN), wrong()])["exact"]
    assert halves == {"mean": 50.0, "low": 50.0, "high": 50.0}, "templates are drawn as a whole"
    alone = intervals([FORK, ONE], [right(FORK), wrong()])["exact"]
    assert alone == {"mean": 50.0, "low": 0.0, "high": 100.0}, "one template cannot vary: its rows are drawn"
    gained = differences([CHAIN], [right(CHAIN)], [None])
    assert gained["node_f1"] == {"mean": 100.0, "low": 100.0, "high": 100.0}
    assert written(gained["node_f1"], signed=True) == "+100.0 (+100.0 to +100.0)"


def test_families_are_what_the_rows_carry() -> None:
    rows = families([CHAIN, FORK, ONE], [right(CHAIN), right(FORK), wrong()])
    found = {(row["family"], row["member"]): (row["n"], round(row["exact"]["mean"])) for row in rows}
    assert found == {
        ("sub-tasks", "1"): (1, 0),
        ("sub-tasks", "2"): (1, 100),
        ("sub-tasks", "3"): (1, 100),
        ("shape", "branching"): (1, 100),
        ("shape", "chain"): (1, 100),
        ("shape", "single"): (1, 0),
        ("writing", "accented Latin"): (1, 100),
        ("writing", "plain Latin"): (2, 50),
        ("template", "g2"): (2, 50),  # one row of a template says nothing
    }


def test_the_worst_plan_is_the_one_that_agrees_least_and_was_surest() -> None:
    # Of a plan without edges, one without edges gets the edges right.
    assert worst([CHAIN, ONE, FORK], [right(CHAIN), wrong(0.8), wrong(0.2)]) == [2, 1, 0]
    assert worst([CHAIN, FORK], [wrong(0.2), wrong(0.8)]) == [1, 0], "both agree in nothing"
    assert listed(FORK, wrong(0.2)) == {
        "instruction": "é",
        "gold": "a; b(0); c(0)",
        "predicted": "x",
        "confidence": "0.20",
        "exact": "no",
    }
    assert listed(FORK, None)["predicted"] == "no plan"


def test_log_rows_are_told_apart_by_who_gave_way_to_whom() -> None:
    rows = [
        {"instruction": "1", "planner": "learned", "fallback_reason": None, "success": True},
        {"instruction": "2", "planner": "learned", "fallback_reason": None, "success": False},
        {"instruction": "3", "planner": "llm", "fallback_reason": "unsure", "success": True},
        {"instruction": "4", "planner": "rules", "fallback_reason": "unsure; LLM", "success": False},
        {"instruction": "5", "planner": "rules", "fallback_reason": None, "success": True},  # nothing gave way
        {"instruction": "6", "planner": "corpus", "fallback_reason": None, "success": True},
    ]
    found = {row["plan"]: (row["executions"], row["success"]["mean"]) for row in success_shares(rows)}
    assert found == {KEPT: (2, 50.0), "gave way to llm": (1, 100.0), "gave way to rules": (1, 0.0)}
    assert success_shares([]) == []


def test_the_threshold_parts_the_test_rows() -> None:
    found = on_test_rows(
        [CHAIN, FORK, ONE], [right(CHAIN), wrong(0.6), wrong(0.2)], [wrong(), wrong(), right(ONE)], 0.6
    )
    assert found["share_below"] == pytest.approx(100 / 3)
    kept, below = found["parts"]
    assert (kept["rows"], kept["n"], below["rows"], below["n"]) == ("kept", 2, "gives way", 1)
    assert kept["learned exact"]["mean"] == 50.0
    assert kept["rules exact"]["mean"] == 0.0
    assert below["difference exact"]["mean"] == -100.0
    everything = on_test_rows([CHAIN], [right(CHAIN)], [wrong()], 0.6)
    assert [row["rows"] for row in everything["parts"]] == ["kept"]


def test_numbers_of_an_old_report_stand_in_for_a_lost_model() -> None:
    scores = {"node_f1": 1.0, "link_f1": 2.0, "edge_f1": 3.0, "exact": 4.0}
    old: dict[str, Any] = {"checkpoint": "old", "planners": {"learned": scores}}
    found = _reported(old, "new")
    assert found is not None
    assert (found["checkpoint"], found["how"], found["scores"]["exact"]) == ("old", REPORTED, {"mean": 4.0})
    again = _reported({"checkpoint": "new", "planners": {"learned": scores}, "previous": found}, "new")
    assert again == found, "a second report on one model keeps its predecessor"
    assert _reported({"checkpoint": "new", "planners": {"learned": scores}}, "new") is None
    assert _reported(None, "new") is None


class Page(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_page_needs_nothing_beside_it_and_escapes_what_it_shows() -> None:
    part = Section("A & B", "Text.", [{"plan": "<script>alert(1)</script> | x"}], ("p.png",))
    html = to_html("T", [part], {"p.png": b"\x89PNG"})
    page = Page(html)
    assert "script" not in {tag for tag, _ in page.tags}
    assert "<script>alert(1)</script> | x" in page.text
    sources = [attributes.get("src") for tag, attributes in page.tags if tag == "img"]
    assert sources == ["data:image/png;base64,iVBORw=="]
    assert not [attributes for tag, attributes in page.tags if tag in ("link", "script", "iframe")]
    lines = to_markdown("T", [part]).splitlines()
    assert "| <script>alert(1)</script> \\| x |" in lines
    assert "![p.png](p.png)" in lines
    assert "![p.png](p.png)" not in to_markdown("T", [part], pictures=False)


def test_every_section_reads_from_the_summary() -> None:
    golds, plans = [CHAIN, FORK], [right(CHAIN), wrong()]
    scored = intervals(golds, plans)
    plain = {"n": 2.0, "edge_f1_non_chain": None, "ece": 0.1, "dag_validity": 100.0}
    summary = {
        "rows": 9,
        "loss_first": 2.5,
        "loss_last": 0.25,
        "planners": {"learned": plain, "rules": plain},
        "splits": {"test": plain},
        "intervals": {"planners": {"learned": scored, "rules": scored}, "splits": {"test": scored}},
        "differences": {"rules": differences(golds, plans, plans)},
        "families": families(golds, plans),
        "previous": None,
        "fallback": {"log": [], "test": on_test_rows(golds, plans, plans, 0.6)},
    }
    text = to_markdown("T", sections(summary, [listed(CHAIN, plans[0])], {"loss.png": b"", "plan_1.png": b""}))
    assert "9 rows; training loss 2.500 to 0.250." in text
    assert "| learned | 50.0 (0.0 to 100.0) |" in text
    assert "| rules | +0.0 (+0.0 to +0.0) |" in text
    assert "There is none" in text
    assert "![plan_1.png]" in text
    assert "![comparison.png]" not in text, "only pictures that are there"
    previous = {"checkpoint": "abc", "how": "again", "scores": scored, "differences": summary["differences"]["rules"]}
    with_it = to_markdown("T", sections({**summary, "previous": previous}, [], {}))
    assert "| this one minus previous | +0.0 (+0.0 to +0.0) |" in with_it
