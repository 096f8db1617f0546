"""The result as one page without scripts, fonts or pictures from elsewhere, readable in a minute."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from orchestai.validation.result import ValidationResult

_COLOURS = {"ok": "#2e7d32", "warn": "#ef6c00", "critical": "#c62828", "not_measurable": "#9e9e9e"}
_MEANINGS = {
    "approved": "fit for training",
    "warn": "fit for training, but look at what is low",
    "rejected": "not fit for training",
}
_VERDICTS = {"approved": "#2e7d32", "warn": "#ef6c00", "rejected": "#c62828"}
_SHOWN = 50
_OPEN = 10
_STRIP = 60
_STYLE = """
body{font:15px/1.5 system-ui,sans-serif;max-width:62rem;margin:2rem auto;padding:0 1rem;color:#222}
h1{margin-bottom:.2rem}h1 span{color:#fff;padding:.1em .5em;border-radius:.3em}h2{margin:2rem 0 .5rem;font-size:1.15rem}
table{border-collapse:collapse;width:100%}td,th{text-align:left;padding:.25rem .6rem;border-bottom:1px solid #ddd;
vertical-align:top}th{font-weight:600;color:#666;font-size:.85rem}td.n{text-align:right;white-space:nowrap}
.big{display:flex;gap:.8rem;flex-wrap:wrap;margin:1rem 0}.big div{font-size:1.7rem;background:#f6f6f6;
border-left:.3rem solid #bbb;padding:.3rem .9rem;border-radius:.2rem}.big small{display:block;font-size:.8rem;
color:#666}.quiet{color:#666}summary{cursor:pointer;color:#1565c0;padding:.4rem 0}.mark{display:inline-block;
min-width:5.2em;white-space:nowrap;color:#fff;text-align:center;border-radius:.2em;font-size:.8rem;padding:.05em .4em}
@media print{details>*{display:block}}
"""


def to_html(result: ValidationResult) -> str:
    """Return the page; everything that comes from the table is escaped."""
    colour = _VERDICTS[result.verdict]
    parts = [
        "<!doctype html><html lang='en'><meta charset='utf-8'><title>Dataset validation</title>",
        f"<style>{_STYLE}</style>",
        f"<h1><span style='background:{colour}'>{result.verdict}</span> {_MEANINGS[result.verdict]}</h1>",
        f"<p>{escape(result.reason)}.</p><div class='big'>",
        *_figures(result),
        "</div>",
        f"<p class='quiet'>{escape(_compared(result))}</p>",
        _section("Stages that failed", _failures(result)),
        _section("What to do", _recommendations(result)),
        _section("Eight dimensions of collapse", _dimensions(result)),
        _section("Rows to look at", _rows(result)),
        _section("Values to look at", _cells(result)),
        _section("Notes", _notes(result)),
        _section("How it was measured", _measured(result)),
        "</html>",
    ]
    return "\n".join(part for part in parts if part)


def _figures(result: ValidationResult) -> list[str]:
    found = result.localization
    figures = [
        ("collapse score, 100 is healthy", _number(result.collapse_score), _VERDICTS[result.verdict]),
        ("diversity score", _number(result.diversity_score), "#bbb"),
        ("collapse score after all fixes", _number(result.projected_score), "#bbb"),
        ("same decision in redraws", f"{result.confidence:.0f} %", "#bbb"),
        ("rows to look at", "unknown" if found is None else f"{found.total:,} of {result.rows:,}", "#bbb"),
    ]
    return [
        f"<div style='border-color:{colour}'>{escape(value)}<small>{name}</small></div>"
        for name, value, colour in figures
    ]


def _compared(result: ValidationResult) -> str:
    beside = {
        "given": "compared with the reference given",
        "blocks": "the later half of the rows, compared with the earlier half",
        "none": "without a reference: most dimensions are not measurable",
    }[result.reference]
    label = f", label {result.label!r}" if result.label is not None else ""
    return f"{result.rows:,} rows, {result.columns:,} columns{label}; {beside}."


def _failures(result: ValidationResult) -> str:
    rows = [(escape(error.stage), escape(error.kind), escape(error.message)) for error in result.errors]
    return _table(("stage", "error", "message"), rows)


def _section(title: str, body: str) -> str:
    return f"<h2>{title}</h2>{body}" if body else ""


def _number(value: float | None) -> str:
    return "not measurable" if value is None else f"{value:.1f}"


def _bar(share: float, colour: str) -> str:
    width = 160 * min(max(share, 0.0), 1.0)
    return (
        "<svg width='160' height='12' role='img'><rect width='160' height='12' fill='#eee'/>"
        f"<rect width='{width:.1f}' height='12' fill='{colour}'/></svg>"
    )


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    if not rows:
        return ""
    cells = "".join(f"<th>{name}</th>" for name in head)
    body = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in rows)
    return f"<table><tr>{cells}</tr>{body}</table>"


def _dimensions(result: ValidationResult) -> str:
    """Return the dimensions, the worst first, those that could not be measured last."""
    order = sorted(result.dimensions.items(), key=lambda item: (item[1].score is None, item[1].score or 0.0))
    rows = [
        (
            _mark(found.status),
            escape(name.replace("_", " ")),
            _bar((found.score or 0) / 100, _COLOURS[found.status]),
            _number(found.score) if found.score is not None else "",
            escape(found.reason),
        )
        for name, found in order
    ]
    readings = [
        (escape(name.replace("_", " ")), escape(r.name), f"{r.value:.4g}", f"{r.q95:.4g}", f"{r.worst:.4g}")
        for name, found in order
        for r in found.readings
    ]
    head = ("statistic of", "name", "here", "healthy below", "destroyed")
    return _table(("", "dimension", "", "score", "why"), rows) + _folded("All statistics", _table(head, readings))


def _mark(status: str) -> str:
    return f"<span class='mark' style='background:{_COLOURS[status]}'>{status.replace('_', ' ')}</span>"


def _folded(title: str, body: str) -> str:
    return f"<details><summary>{title}</summary>{body}</details>" if body else ""


def _recommendations(result: ValidationResult) -> str:
    rows = [
        (
            fix.priority,
            f"<b>{escape(fix.title)}</b><br>{escape(fix.detail)}",
            f"{fix.rows:,}",
            f"+{fix.estimated_impact:.1f}" if fix.measured else "not measured",
            f"${fix.cost_usd:,.2f}",
        )
        for fix in result.recommendations
    ]
    return _table(("priority", "fix", "rows", "points", "cost"), rows)


def _rows(result: ValidationResult) -> str:
    found = result.localization
    if found is None or not found.problematic_indices:
        return ""
    listed = list(zip(found.problematic_indices, found.scores, found.reasons, strict=True))[:_SHOWN]
    rows = [(str(row), _bar(score, "#c62828"), escape(", ".join(reasons))) for row, score, reasons in listed]
    counts = ", ".join(f"{name} {count:,}" for name, count in found.counts.items() if count)
    text = f"<p>{found.total:,} rows, severity {found.severity}. Named by: {escape(counts)}. Where they lie:</p>"
    head = ("row", "strength", "named by")
    more = _folded(f"The next {len(rows) - _OPEN}", _table(head, rows[_OPEN:])) if len(rows) > _OPEN else ""
    return text + _strip(found.problematic_indices, result.rows) + _table(head, rows[:_OPEN]) + more


def _strip(rows: Sequence[int], total: int) -> str:
    """Draw how dense the rows are from the first row (left) to the last (right)."""
    first = 0 if not rows or max(rows) < total else max(rows) + 1 - total  # the later half of a table
    counts = [0] * _STRIP
    for row in rows:
        counts[min(max(row - first, 0) * _STRIP // max(total, 1), _STRIP - 1)] += 1
    top = max(counts) or 1
    boxes = "".join(
        f"<rect x='{12 * place}' y='{40 - 38 * count / top:.1f}' width='11' height='{38 * count / top:.1f}' "
        "fill='#c62828'/>"
        for place, count in enumerate(counts)
        if count
    )
    return (
        f"<svg width='100%' viewBox='0 0 {12 * _STRIP} 42' role='img'><rect width='{12 * _STRIP}' height='42' "
        f"fill='#f6f6f6'/>{boxes}</svg>"
    )


def _cells(result: ValidationResult) -> str:
    found = result.localization
    if found is None:
        return ""
    rows = [
        (str(cell.row), escape(cell.column), escape(cell.value), escape(cell.expected or ""), escape(cell.reason))
        for cell in found.cells[:_SHOWN]
    ]
    head = ("row", "column", "value", "expected", "why")
    more = _folded(f"The next {len(rows) - _OPEN}", _table(head, rows[_OPEN:])) if len(rows) > _OPEN else ""
    return _table(head, rows[:_OPEN]) + more


def _measured(result: ValidationResult) -> str:
    longest = max(result.stage_seconds.values(), default=0.0) or 1.0
    stages = [
        (escape(name), _bar(value / longest, "#1565c0"), f"{value:.2f} s")
        for name, value in result.stage_seconds.items()
    ]
    gpu = "none" if result.gpu_utilization_avg is None else f"{result.gpu_utilization_avg:.0f} %"
    facts = (
        f"{result.total_time_seconds:.1f} s, {result.cpu_seconds:.1f} CPU seconds, "
        f"{result.rows_per_second:,.0f} rows/s, {result.peak_memory_bytes / 2**20:,.0f} MiB at most, GPU {gpu}."
    )
    cascade = ""
    if (found := result.cascade) is not None:
        models = " + ".join(str(count) for count in found.models_per_tier.values())
        cascade = (
            f" {models} models with {found.parameters:,} parameters predicted {found.target!r} right in "
            f"{100 * found.accuracy:.1f} % of {found.rows:,} rows that they had not seen ({100 * found.baseline:.1f} % "
            "by the commonest value)."
        )
    return f"<p>{facts}{escape(cascade)}</p>{_folded('Time by stage', _table(('stage', '', ''), stages))}"


def _notes(result: ValidationResult) -> str:
    return f"<ul>{''.join(f'<li>{escape(note)}</li>' for note in result.warnings)}</ul>" if result.warnings else ""
