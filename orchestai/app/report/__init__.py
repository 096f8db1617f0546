"""The report on Phase 1: measured once, written as JSON, Markdown and one HTML page, shown by Dagster."""

from __future__ import annotations

from orchestai.app.report.examples import describe_plan
from orchestai.app.report.make import PAGE_FILE, REPORT_FILE, Phase1Report, make_report, markdown

__all__ = ["PAGE_FILE", "REPORT_FILE", "Phase1Report", "describe_plan", "make_report", "markdown"]
