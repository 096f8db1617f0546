"""The result as one page without scripts, fonts or pictures from elsewhere, readable in a minute."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from orchestai.validation.result import ValidationResult

_COLOURS = {"ok": "#2e7d32", "warn": "#ef6c00", "critical": "#c62828", "not_measurable": "#9e9e9e"}
_VERDICTS = {"approved": "#2e7d32", "warn": "#ef6c00", "rejected": "#c62828"}
_SHOWN = 50
_STYLE = """
body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#222}
h1 span{color:#fff;padding:.1em .5em;border-radius:.3em}table{border-collapse:collapse;width:100%}
td,th{text-align:left;padding:.25rem .6rem;border-bottom:1px solid #ddd;vertical-align:top}
.big{display:flex;gap:2rem;flex-wrap:wrap}.big div{font-size:2rem}.big small{display:block;font-size:.8rem;color:#666}
"""


def to_html(result: ValidationResult) -> str:
    """Return the page; everything that comes from the table is escaped."""
    colour = _VERDICTS[result.verdict]
    figures = {
        "collapse score": _number(result.collapse_score),
        "diversity score": _number(result.diversity_score),
        "after all fixes": _number(result.projected_score),
        "confidence": f"{result.confidence:.0f} %",
        "rows": f"{result.rows:,}",
        "seconds": f"{result.total_time_seconds:.1f}",
    }
    parts = [
        "<!doctype html><html lang='en'><meta charset='utf-8'><title>Dataset validation</title>",
        f"<style>{_STYLE}</style>",
        f"<h1><span style='background:{colour}'>{result.verdict}</span> for training</h1>",
        f"<p>{escape(result.reason)}</p><div class='big'>",
        *(f"<div>{escape(value)}<small>{name}</small></div>" for name, value in figures.items()),
        "</div>",
        _section("Eight dimensions of collapse", _dimensions(result)),
        _section("What to do", _recommendations(result)),
        _section("Rows to look at", _rows(result)),
        _section("Values to look at", _cells(result)),
        _section("Time by stage", _bars(result.stage_seconds)),
        _section("Notes", _notes(result)),
        "</html>",
    ]
    return "\n".join(part for part in parts if part)


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
    rows = [
        (
            escape(name.replace("_", " ")),
            _bar((found.score or 0) / 100, _COLOURS[found.status]),
            _number(found.score),
            escape(found.reason),
        )
        for name, found in result.dimensions.items()
    ]
    return _table(("dimension", "", "score", "why"), rows)


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
    listed = zip(found.problematic_indices, found.scores, found.reasons, strict=True)
    rows = [
        (str(row), _bar(score, "#c62828"), escape(", ".join(reasons))) for row, score, reasons in list(listed)[:_SHOWN]
    ]
    text = f"<p>{found.total:,} rows, severity {found.severity}; the first {len(rows)}:</p>"
    return text + _table(("row", "strength", "named by"), rows)


def _cells(result: ValidationResult) -> str:
    found = result.localization
    if found is None:
        return ""
    rows = [
        (str(cell.row), escape(cell.column), escape(cell.value), escape(cell.expected or ""), escape(cell.reason))
        for cell in found.cells[:_SHOWN]
    ]
    return _table(("row", "column", "value", "expected", "why"), rows)


def _bars(seconds: dict[str, float]) -> str:
    longest = max(seconds.values(), default=0.0) or 1.0
    rows = [(escape(name), _bar(value / longest, "#1565c0"), f"{value:.2f} s") for name, value in seconds.items()]
    return _table(("stage", "", ""), rows)


def _notes(result: ValidationResult) -> str:
    notes = [*result.warnings, *(f"Stage {error.stage} failed: {error.message}" for error in result.errors)]
    return f"<ul>{''.join(f'<li>{escape(note)}</li>' for note in notes)}</ul>" if notes else ""
