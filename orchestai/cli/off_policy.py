"""`evaluate --off-policy`: what other policies would have earned on one's own log."""

from __future__ import annotations

from rich.table import Table

from orchestai.app.off_policy import OffPolicyReport, evaluate_off_policy
from orchestai.cli.console import out, plain, print_json
from orchestai.cli.logs import parse_since
from orchestai.config import Project


def show(project: Project, *, since: str | None, policies: list[str], reward: str, as_json: bool) -> None:
    """Estimate and print; a policy of which the log cannot tell has its reason in the place of a number."""
    moment = parse_since(since) if since else None
    report = evaluate_off_policy(project, since=moment, policies=policies, reward=reward)
    if as_json:
        print_json(report.to_json())
        return
    table = Table("policy", report.reward, "95 %", "executions that tell", box=None)
    for name, found in report.policies.items():
        if found.value is None or found.low is None or found.high is None:
            table.add_row(plain(name), "not measurable", "", f"{found.ess:.0f}")
        else:
            table.add_row(plain(name), f"{found.value:.3f}", f"{found.low:.3f} to {found.high:.3f}", f"{found.ess:.0f}")
    out.print(table)
    for reason, names in _reasons(report).items():
        out.print(plain(f"{', '.join(names)}: {reason}"), soft_wrap=True)
    out.print(plain(_counted(report)), soft_wrap=True)


def _reasons(report: OffPolicyReport) -> dict[str, list[str]]:
    reasons: dict[str, list[str]] = {}
    for name, found in report.policies.items():
        if not found.measurable:
            reasons.setdefault(found.reason, []).append(name)
    return reasons


def _counted(report: OffPolicyReport) -> str:
    earned = f", which earned {report.logged:.3f} themselves" if report.logged is not None else ""
    played = f"; simulated workers took part in {report.simulated}" if report.simulated else ""
    left_out = "".join(f"\nLeft out: {count} executions, {reason}." for reason, count in report.left_out.items())
    return f"{report.executions} executions with drawn workers{earned}{played}.{left_out}"
