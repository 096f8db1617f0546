"""The dashboard and the alerts ask only for what the code exports."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import CollectorRegistry
from prometheus_client.metrics import MetricWrapperBase

from orchestai.routing.anomaly.watch import AnomalyReading
from orchestai.service.metrics import ServiceMetrics
from orchestai.telemetry.metrics import Metrics
from orchestai.telemetry.pulled import PulledCollector
from orchestai.telemetry.reasons import _codes
from orchestai.telemetry.sources import LimiterReading, QueueReading, Sources
from orchestai.workers.breaker import BreakerSnapshot, BreakerState
from tests.telemetry.promql import read

ROOT = Path(__file__).parents[2]
DASHBOARD = json.loads((ROOT / "deploy/grafana/orchestai.json").read_text())
ALERTS = yaml.safe_load((ROOT / "deploy/prometheus/alerts.yml").read_text())
HOW_TO = (ROOT / "docs/how-to/metrics.md").read_text()
ADDED_BY_PROMETHEUS = {"job", "instance"}


def exported() -> dict[str, set[str]]:
    """Return every name that can be queried, with its labels; derived from the objects that export."""
    sources = Sources(
        breakers=lambda: [BreakerSnapshot("w", BreakerState.OPEN, 5, 1.0, 1)],
        limits=lambda: [LimiterReading("w", 1, 1)],
        reflex=lambda: {"hit": 1, "blocked.injection": 1, "pii.EMAIL": 1, "stored": 1},
        queues=lambda: [QueueReading("a", "ready", 1)],
        events_dropped=lambda: {"s": 1},
        anomalies=lambda: [AnomalyReading("w", 1.2, 1, True)],
    )
    metrics = Metrics(sources)
    names: dict[str, set[str]] = {"up": set()}
    for family in metrics.registry.collect():
        for sample in family.samples:
            names.setdefault(sample.name, set()).update(sample.labels)
    of_service = vars(ServiceMetrics(CollectorRegistry()))
    for metric in (*vars(metrics).values(), *of_service.values()):  # those that have no sample before the first event
        if isinstance(metric, MetricWrapperBase):
            for family in metric.describe():
                suffixes = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count"), "gauge": ("",)}
                for suffix in suffixes[family.type]:
                    extra = {"le"} if suffix == "_bucket" else set()
                    names.setdefault(family.name + suffix, set()).update({*metric._labelnames, *extra})
    return names


EXPORTED = exported()


def queries() -> Iterator[tuple[str, str]]:
    for panel in DASHBOARD["panels"]:
        for target in panel.get("targets", ()):
            yield f"panel {panel['title']}", target["expr"]
    for variable in DASHBOARD["templating"]["list"]:
        if variable["type"] == "query":
            yield f"variable {variable['name']}", variable["definition"].replace(", job)", ")")
    for rule in rules():
        yield f"alert {rule['alert']}", rule["expr"]


def rules() -> Iterator[dict[str, Any]]:
    for group in ALERTS["groups"]:
        yield from group["rules"]


@pytest.mark.parametrize(("where", "expr"), list(queries()))
def test_only_metrics_and_labels_that_exist(where: str, expr: str) -> None:
    expression = read(expr)
    assert expression.selectors, where
    labels: set[str] = set(ADDED_BY_PROMETHEUS)
    for selector in expression.selectors:
        assert selector.metric in EXPORTED, f"{where}: nobody exports {selector.metric}"
        unknown = selector.labels - EXPORTED[selector.metric] - ADDED_BY_PROMETHEUS
        assert not unknown, f"{where}: {selector.metric} has no label {unknown}"
        labels |= EXPORTED[selector.metric]
    assert expression.grouped_by <= labels, where


def test_every_metric_of_ours_is_on_the_dashboard() -> None:
    asked = {selector.metric for where, expr in queries() if "alert" not in where for selector in read(expr).selectors}
    families = {re.sub(r"_(bucket|sum|count)$", "", name) for name in EXPORTED if not name.endswith("_created")}
    shown = {re.sub(r"_(bucket|sum|count)$", "", name) for name in asked}
    assert {name for name in families if name.startswith("orchestai_")} <= shown


def test_rates_are_of_counters_and_nothing_else() -> None:
    """`rate` of a gauge, or a bare counter in an alert, is the commonest mistake."""
    for where, expr in queries():
        for call, name in re.findall(r"\b(rate|increase|deriv)\(([a-z_]+)", expr):
            is_counter = name.endswith(("_total", "_bucket", "_sum", "_count"))
            assert is_counter is (call != "deriv"), f"{where}: {call}({name})"
        for name in re.findall(r"(?<!\w)(orchestai_\w+_(?:total|bucket|sum|count))", expr):
            assert re.search(rf"(rate|increase)\({name}", expr), f"{where}: {name} only grows"


def test_values_of_labels_are_values_that_the_code_writes() -> None:
    written = {
        "status": {
            "500",
            "502",
            "504",
            "succeeded",
            "not_accepted",
            "failed",
            "error",
            "cancelled",
            "waiting",
            "done",
            "skipped",
        },
        "state": {"open", "half_open", "closed", "running", "waiting", "ready", "leased", "dead"},
        "reason": {"injection", "schema", "learned_unsure", "llm_failed", "llm_too_slow", "other"},
        "kind": {"hit", "near_hit", "blocked", "passthrough"},
        "code": set(_codes()),
        "planner": {"learned", "llm", "rules", "corpus", "given", "none"},
        "job": {"orchestai", "$job"},
    }
    for where, expr in queries():
        for label, values in re.findall(r"(\w+)\s*=~?\s*[\"']([^\"']*)[\"']", expr):
            assert set(values.split("|")) <= written[label], f"{where}: {label}={values}"


def test_the_dashboard_can_be_laid_out() -> None:
    panels = DASHBOARD["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        assert max(x for x, _ in cells) < 24, panel["title"]
        taken |= cells
        if panel["type"] != "row":
            assert panel["datasource"]["uid"] == "${datasource}", "no dashboard of somebody's own data source"
            assert panel["fieldConfig"]["defaults"]["unit"]
            references = [target["refId"] for target in panel["targets"]]
            assert len(set(references)) == len(references)


def test_alerts_are_complete() -> None:
    names = [rule["alert"] for rule in rules()]
    assert len(set(names)) == len(names)
    for rule in rules():
        assert set(rule) <= {"alert", "expr", "for", "labels", "annotations"}
        assert rule["labels"]["severity"] in ("warning", "critical")
        assert re.fullmatch(r"\d+[smh]", rule.get("for", "1m"))
        assert re.search(r"[<>]=?|==", rule["expr"]), "an alert compares with something"
        used = set(re.findall(r"\$labels\.(\w+)", rule["annotations"]["summary"]))
        grouped = read(rule["expr"]).grouped_by
        kept = grouped or ADDED_BY_PROMETHEUS
        assert used <= kept, f"{rule['alert']}: {used - kept} is aggregated away"
        assert f"### {rule['alert']}\n" in HOW_TO, f"what to do about {rule['alert']} is not written down"


def test_every_metric_is_written_down() -> None:
    for name in EXPORTED:
        if name.startswith("orchestai_") and not name.endswith(("_created", "_sum", "_count")):
            assert f"`{name.removesuffix('_bucket')}`" in HOW_TO, name


def test_what_pulls_tells_its_names_without_asking() -> None:
    def fails() -> Any:
        raise AssertionError("asked")

    names = {family.name for family in PulledCollector(Sources(breakers=fails)).describe()}
    assert "orchestai_breaker_state" in names


@pytest.mark.parametrize(
    "expr", ["sum(rate(a_total[5m])", "frobnicate(a)", "rate(a_total[5 minutes])", "a{b='c'", "a ? b", "rate + 1"]
)
def test_the_reader_of_expressions_finds_mistakes(expr: str) -> None:
    with pytest.raises(ValueError, match=r"in ['\"]"):
        read(expr)


def test_the_reader_of_expressions_finds_names() -> None:
    expression = read('sum by (x, le) (rate(a_total{x=~"b|c", y!="1"}[5m])) / 2e3 > time() - d')
    assert [(s.metric, s.labels) for s in expression.selectors] == [("a_total", {"x", "y"}), ("d", set())]
    assert expression.grouped_by == {"x", "le"}
