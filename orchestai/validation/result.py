"""What the six-stage gate says about a table. A rejection is a result, not an exception."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from orchestai.contracts.base import Record
from orchestai.logs.files import write_file

Verdict = Literal["approved", "warn", "rejected"]
Severity = Literal["none", "low", "medium", "high"]


class Reading(Record):
    """One statistic against its calibration.

    Attributes:
        name: What is measured.
        value: What the table shows.
        q95: What 95 of 100 healthy draws stay below.
        worst: What a destroyed table shows.
        effect: `(value - q95) / (worst - q95)`, between 0 and 1.
        noise: Standard deviation over healthy draws.
    """

    name: str
    value: float
    q95: float
    worst: float
    effect: float
    noise: float = 0.0


class DimensionScore(Record):
    """One of the eight dimensions.

    Attributes:
        score: `100 (1 - e)^2` with `e` the largest effect of its readings; None if it cannot be measured.
        status: `ok`, `warn`, `critical` or `not_measurable`.
        reason: Why it is not measurable, or which reading decided.
        readings: The statistics behind it.
    """

    score: float | None
    status: Literal["ok", "warn", "critical", "not_measurable"]
    reason: str
    readings: tuple[Reading, ...] = ()
    detail: dict[str, Any] = Field(default_factory=dict)


class DiversityScores(Record):
    """Diversity from 0 to 100; each part is None where it cannot be measured."""

    overall_score: float | None
    semantic_diversity: float | None
    statistical_diversity: float | None
    structural_diversity: float | None
    detail: dict[str, Any] = Field(default_factory=dict)


class CascadeReport(Record):
    """What the eighteen models were and how well they did on rows that they had not seen.

    Attributes:
        models_per_tier: Models in each tier.
        parameters: Parameters of all models together.
        target: Column that was predicted.
        target_kind: Whether the label was `given`, `guessed`, or is `self-supervised`.
        accuracy: Share of rows predicted right, out of fold; the share of the commonest class is `baseline`.
        training_time: Seconds.
    """

    models_per_tier: dict[str, int]
    parameters: int
    target: str
    target_kind: Literal["given", "guessed", "self-supervised"]
    classes: int
    accuracy: float
    baseline: float
    rows: int
    training_time: float


class CellProblem(Record):
    """A value that does not fit.

    Attributes:
        row: Row from 0.
        column: Name of the column.
        value: What stands there, shortened.
        expected: What would fit, if that is known.
        reason: Why it does not fit.
        strength: From 0 to 1.
    """

    row: int
    column: str
    value: str
    expected: str | None
    reason: str
    strength: float


class Localization(Record):
    """Where the problems are.

    Attributes:
        problematic_indices: Rows from 0, the worst first.
        scores: Strength of each, 0 to 1.
        reasons: Locators that named each row.
        severity: By the share of rows concerned.
        top_contributors: The worst rows as `row_42`.
        counts: Rows by locator.
        cells: Single values that do not fit.
        truncated: Whether more rows were found than are listed.
        total: Rows found.
    """

    problematic_indices: tuple[int, ...]
    scores: tuple[float, ...]
    reasons: tuple[tuple[str, ...], ...]
    severity: Severity
    top_contributors: tuple[str, ...]
    counts: dict[str, int]
    cells: tuple[CellProblem, ...]
    truncated: bool
    total: int


class Recommendation(Record):
    """What to do and what it gains.

    Attributes:
        action: Stable name of the fix.
        estimated_impact: Points of the collapse score, by scoring the table again as if it were done.
        projected_score: Collapse score after it.
        rows: Rows concerned.
        cost_usd: By the price list.
        priority: By impact and by whether the decision would change.
        measured: Whether the impact comes from scoring again; otherwise nothing is promised and it is 0.
    """

    title: str
    action: str
    detail: str
    estimated_impact: float
    projected_score: float | None
    rows: int
    cost_usd: float
    priority: Literal["high", "medium", "low"]
    measured: bool


class StageError(Record):
    """A stage that failed; what the other stages found stands."""

    stage: str
    kind: str
    message: str


class ValidationResult(Record):
    """Whether a table is fit to train on, and everything behind it.

    Attributes:
        approved_for_training: The decision. A partial result is never approved.
        verdict: `approved`, `warn` (approved, look at it) or `rejected`.
        collapse_score: Half the mean and half the worst of the measured dimensions, 0 to 100; None if none is.
        diversity_score: 0 to 100.
        confidence: Share of bootstrap redraws with the same decision, in percent.
        reason: One sentence.
        problematic_rows: Rows from 0, the worst first.
        recommendations: By priority.
        projected_score: Collapse score if all measured recommendations are followed.
        dimensions: The eight dimensions by name.
        reference: What it was compared with: `given`, `blocks` (earlier rows) or `none`.
        gpu_utilization_avg: Percent; None without a GPU.
        cpu_utilization_avg: CPU seconds over wall seconds, in percent of one core.
        partial: Whether a stage failed.
        warnings: What the reader should know about the table.
    """

    approved_for_training: bool
    verdict: Verdict
    collapse_score: float | None
    diversity_score: float | None
    confidence: float
    reason: str
    problematic_rows: tuple[int, ...]
    recommendations: tuple[Recommendation, ...]
    projected_score: float | None
    dimensions: dict[str, DimensionScore]
    diversity: DiversityScores | None
    cascade: CascadeReport | None
    localization: Localization | None
    rows: int
    columns: int
    reference: Literal["given", "blocks", "none"]
    label: str | None
    total_time_seconds: float
    cpu_seconds: float
    stage_seconds: dict[str, float]
    rows_per_second: float
    peak_memory_bytes: int
    gpu_utilization_avg: float | None
    cpu_utilization_avg: float
    partial: bool
    errors: tuple[StageError, ...]
    warnings: tuple[str, ...]
    rejected_lines: int
    content_hash: str
    from_cache: bool = False

    @property
    def critical(self) -> tuple[str, ...]:
        """Names of the dimensions that reject on their own."""
        return tuple(name for name, found in self.dimensions.items() if found.status == "critical")

    def save_report(self, path: str | Path) -> None:
        """Write everything as JSON, or as one self-contained page if the name ends in `.html`.

        Raises:
            StorageError: The disk refuses.
        """
        target = Path(path)
        if target.suffix.lower() in (".html", ".htm"):
            from orchestai.validation.html import to_html

            write_file(target, to_html(self).encode())
        else:
            write_file(target, (self.model_dump_json(indent=2) + "\n").encode())
