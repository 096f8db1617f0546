"""The report's own arithmetic and writing; what it measures is tested in `orchestai.evaluation`."""

from pathlib import Path

from orchestai.app.report import Phase1Report, describe_plan, markdown
from orchestai.contracts import PlanExample

CHAIN = PlanExample(id="c", instruction="c", task_types=("a", "b"), dependencies=((), (0,)))
FORK = PlanExample(id="f", instruction="f", task_types=("a", "b", "c"), dependencies=((), (0,), (0,)))


def test_a_plan_reads_as_one_line() -> None:
    assert describe_plan(FORK) == "a; b(0); c(0)"
    assert describe_plan(None) == "no plan"


def test_the_markdown_holds_scores_examples_and_pictures() -> None:
    scores = {"n": 2.0, "node_f1": 81.25, "edge_f1_non_chain": None, "dag_validity": 100.0}
    report = Phase1Report(
        folder=Path("reports"),
        summary={
            "rows": 9,
            "loss_first": 2.5,
            "loss_last": 0.25,
            "planners": {"learned": scores},
            "splits": {"test": scores},
        },
        examples=[{"instruction": "a | b", "gold": "x", "predicted": "y", "exact": "no"}],
        pictures={"loss.png": b""},
    )

    lines = markdown(report).splitlines()

    assert "| planner | n | node f1 | edge f1 non chain | dag validity |" in lines
    assert "| learned | 2 | 81.25 |  | 100 |" in lines
    assert "| a \\| b | x | y | no |" in lines
    assert "![loss.png](loss.png)" in lines
    assert "9 rows; training loss 2.500 to 0.250. Scores in percent." in lines
