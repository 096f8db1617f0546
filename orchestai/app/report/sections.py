"""What the report says, in the order in which it is read."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from orchestai.app.report.measure import COMPARED, written
from orchestai.app.report.render import Section

_PLAIN = ("n", "edge_f1_non_chain", "decomposition_accuracy", "dag_validity", "ece", "brier", "ms_per_plan_p50")


def sections(
    summary: Mapping[str, Any], examples: Sequence[Mapping[str, str]], pictures: Collection[str]
) -> list[Section]:
    """Return the sections; `summary` as in `report.json`."""
    training = (
        f"{summary['rows']} rows; training loss {summary['loss_first']:.3f} to {summary['loss_last']:.3f}. Scores in "
        "percent; in brackets 95 % intervals by bootstrap over templates. Decoding and confidence are fitted on the "
        "validation split, so its scores are a little too good."
    )
    found = [
        Section(
            "Planners on the test split",
            training,
            _scores("planner", summary["planners"], summary["intervals"]["planners"]),
            ("comparison.png",),
        ),
        Section(
            "Learned planner minus each baseline",
            "Percentage points on the same test rows; an interval that does not hold 0 is a difference.",
            _differences("baseline", summary["differences"]),
        ),
        Section("Compared with the previous model", *_previous(summary["previous"])),
        Section(
            "The learned planner by split",
            "",
            _scores("split", summary["splits"], summary["intervals"]["splits"]),
            ("loss.png",),
        ),
        Section(
            "By family, test split",
            "Of the templates, the ones that do worst. `writing` is told by the letters: rows carry no language.",
            [
                {"family": row["family"], "member": row["member"], "n": str(row["n"]), **_written(row)}
                for row in summary["families"]
            ],
            ("confusion.png",),
        ),
        Section(
            "Calibration",
            "Confidence is the probability that the plan is exactly right; 15 bins of equal mass on test rows.",
            pictures=("calibration.png",),
        ),
        Section("What the fallback buys: in the log", *_log(summary["fallback"]["log"])),
        Section("What the fallback buys: test rows", *_test(summary["fallback"]["test"]), pictures=("fallback.png",)),
        Section(
            "The worst plans of the test split",
            "Least agreement first; among equals the surest.",
            examples,
            tuple(sorted(name for name in pictures if name.startswith("plan_"))),
        ),
    ]
    return [_present(section, pictures) for section in found]


def _present(section: Section, pictures: Collection[str]) -> Section:
    return Section(section.title, section.text, section.rows, tuple(n for n in section.pictures if n in pictures))


def _scores(
    first: str, plain: Mapping[str, Mapping[str, Any]], ranges: Mapping[str, Mapping[str, Any]]
) -> list[dict[str, str]]:
    present = [name for name in _PLAIN if any(row.get(name) is not None for row in plain.values())]
    return [
        {
            first: name,
            **_written(ranges[name]),
            **{key.replace("_", " "): "" if row.get(key) is None else f"{row[key]:.4g}" for key in present},
        }
        for name, row in plain.items()
    ]


def _differences(first: str, rows: Mapping[str, Mapping[str, Any]]) -> list[dict[str, str]]:
    return [
        {first: name, **{key.replace("_", " "): written(row[key], signed=True) for key in COMPARED}}
        for name, row in rows.items()
    ]


def _written(row: Mapping[str, Any]) -> dict[str, str]:
    return {key.replace("_", " "): written(row[key]) for key in COMPARED}


def _previous(found: Mapping[str, Any] | None) -> tuple[str, list[dict[str, str]]]:
    if found is None:
        return "There is none: this is the first model, or the one before it and its report are gone.", []
    text = f"Checkpoint {str(found['checkpoint'])[:12]}, {found['how']}."
    scores = {"what": "previous", **{key.replace("_", " "): f"{found['scores'][key]['mean']:.1f}" for key in COMPARED}}
    if "differences" not in found:
        return text, [scores]
    gained = {key.replace("_", " "): written(found["differences"][key], signed=True) for key in COMPARED}
    return text, [{"what": "previous", **_written(found["scores"])}, {"what": "this one minus previous", **gained}]


def _log(rows: Sequence[Mapping[str, Any]]) -> tuple[str, list[dict[str, str]]]:
    if not rows:
        return "No logged execution had a learned plan to keep or to give up.", []
    text = (
        "Executions whose answer was accepted. Not a comparison of planners: the learned plan gives way on the harder "
        "instructions."
    )
    return text, [
        {"plan": row["plan"], "executions": str(row["executions"]), "success": written(row["success"])} for row in rows
    ]


def _test(found: Mapping[str, Any]) -> tuple[str, list[dict[str, str]]]:
    text = (
        f"At the configured threshold of {found['threshold']:g}, {found['share_below']:.1f} % of the plans would give "
        "way. They do so to a language model only, which is not asked here; the rules stand for what costs nothing."
    )
    rows = [
        {
            name.replace("_", " "): written(value, signed=name.startswith("difference"))
            if isinstance(value, Mapping)
            else str(value)
            for name, value in row.items()
        }
        for row in found["parts"]
    ]
    return text, rows
