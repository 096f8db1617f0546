"""`models` and `prompts`: versions, who serves, and what is on its way."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import typer
from rich.table import Table

from orchestai.app.promotion import CandidateReport, canary_step, compare_prompts, release_candidate
from orchestai.cli.console import JsonOption, ProjectOption, TargetOption, open_project, out, plain, print_json
from orchestai.registry import ModelVersion, RegistryState, open_registry
from orchestai.registry.records import MODEL, prompt_subject
from orchestai.registry.release import ReleaseStep
from orchestai.registry.release import promote as make_champion
from orchestai.registry.release import rollback as roll_back

_models = typer.Typer(help="Versions of the learned parts: which serves, and which takes over.", no_args_is_help=True)
_prompts = typer.Typer(help="Versions of prompts.", no_args_is_help=True)

EXIT_FAILED = 1


def register(app: typer.Typer) -> None:
    """Add the commands."""
    _models.command("list")(list_versions)
    _models.command("show")(show)
    _models.command("promote")(promote)
    _models.command("rollback")(rollback)
    _models.command("canary")(canary)
    app.add_typer(_models, name="models")
    _prompts.command("ab")(compare)
    app.add_typer(_prompts, name="prompts")


def list_versions(as_json: bool = JsonOption, project_dir: Path = ProjectOption, target: str = TargetOption) -> None:
    """List all versions, and bring what is served up to date with the registry."""
    registry = open_registry(open_project(project_dir, target))
    versions, state = registry.versions(), registry.state()
    if versions:
        registry.sync()
    if as_json:
        print_json({"versions": [_fields(found) for found in versions], "state": state.model_dump(mode="json")})
        return
    table = Table("version", "role", "created", "parts", "content", "data")
    for found in versions:
        data = ", ".join(digest[:8] for digest in found.data_hash.values() if digest)
        created = f"{found.created:%Y-%m-%d %H:%M}"
        table.add_row(found.version, _role(found, state), created, ", ".join(found.parts), found.digest[:12], data)
    out.print(table)
    _show_releases(state)


def show(
    version: str = typer.Argument("champion", help="Number or alias."),
    as_json: bool = JsonOption,
    project_dir: Path = ProjectOption,
    target: str = TargetOption,
) -> None:
    """Show a version with its lineage."""
    registry = open_registry(open_project(project_dir, target))
    found, state = registry.get(version), registry.state()
    if as_json:
        print_json({**_fields(found), "role": _role(found, state)})
        return
    for name, value in {"role": _role(found, state), **_fields(found)}.items():
        out.print(plain(f"{name:>12}  {value}"), soft_wrap=True)


def promote(
    version: str = typer.Argument("challenger", help="Number or alias."),
    force: bool = typer.Option(False, "--force", help="Whatever the gates say."),
    as_json: bool = JsonOption,
    project_dir: Path = ProjectOption,
    target: str = TargetOption,
) -> None:
    """Make a version the champion at once, if the gates are met; a release that goes on ends."""
    project = open_project(project_dir, target)
    registry = open_registry(project)
    number = registry.get(version).version
    if not force and registry.state().aliases.champion != number and version != "challenger":
        report = release_candidate(project, version=number, start=False)
        if report.action == "refused":
            _show_report(report, as_json)
            raise typer.Exit(EXIT_FAILED)
    state = make_champion(registry, number, why="promoted by hand", now=datetime.now(UTC))
    _show_state(state, as_json)


def rollback(
    prompt: str = typer.Option(None, "--prompt", help="Task type whose prompt is to go back, instead of the model."),
    why: str = typer.Option("rolled back by hand", "--why", help="Kept beside the release."),
    as_json: bool = JsonOption,
    project_dir: Path = ProjectOption,
    target: str = TargetOption,
) -> None:
    """End a release; without one, bring the former champion back. Services follow within seconds."""
    registry = open_registry(open_project(project_dir, target))
    subject = prompt_subject(prompt) if prompt is not None else MODEL
    _show_state(roll_back(registry, subject, why=why, now=datetime.now(UTC)), as_json)


def canary(
    start: bool = typer.Option(False, "--start", help="Register what was trained, judge it, and begin its release."),
    version: str = typer.Option(None, "--version", help="With --start: a version that is registered already."),
    as_json: bool = JsonOption,
    project_dir: Path = ProjectOption,
    target: str = TargetOption,
) -> None:
    """Look at what is being released and take the step that follows; may be repeated at any time."""
    project = open_project(project_dir, target)
    if start:
        report = release_candidate(project, version=version)
        _show_report(report, as_json)
        if report.action == "refused":
            raise typer.Exit(EXIT_FAILED)
        return
    _show_steps(canary_step(project), as_json)


def compare(
    challenger: str = typer.Argument(None, help="Version that is to take over, as in summarization@2."),
    as_json: bool = JsonOption,
    project_dir: Path = ProjectOption,
    target: str = TargetOption,
) -> None:
    """Compare a version of a prompt with the one in use; without one, take the next step of what is compared."""
    project = open_project(project_dir, target)
    if challenger is not None:
        _show_state(compare_prompts(project, challenger), as_json)
        return
    _show_steps([found for found in canary_step(project) if found.subject != MODEL], as_json)


def _role(version: ModelVersion, state: RegistryState) -> str:
    return ", ".join(name for name, number in state.aliases if number == version.version)


def _fields(version: ModelVersion) -> dict[str, Any]:
    return version.model_dump(mode="json")


def _show_state(state: RegistryState, as_json: bool) -> None:
    if as_json:
        print_json(state.model_dump(mode="json"))
        return
    roles = "  ".join(f"{name} {number}" for name, number in state.aliases if number is not None)
    out.print(plain(roles or "Nothing is registered."))
    _show_releases(state)


def _show_releases(state: RegistryState) -> None:
    for release in state.releases.values():
        share = f"{100 * release.share:g} %"
        line = f"{release.subject}: {release.champion} -> {release.challenger}, {release.phase} at {share}"
        out.print(plain(line), soft_wrap=True)
    for kind, label in state.prompts.items():
        out.print(plain(f"prompt of {kind}: {label}"), soft_wrap=True)


def _show_report(report: CandidateReport, as_json: bool) -> None:
    if as_json:
        print_json(report.model_dump(mode="json"))
        return
    if report.gates is not None:
        table = Table("gate", "observed", "allowed", "")
        for result in report.gates.results:
            mark = "[green]met[/]" if result.passed else "[red]not met[/]"
            table.add_row(result.gate, plain(result.observed), plain(result.allowed), mark)
        out.print(table)
    out.print(plain(f"Version {report.version.version}: {report.action}. {report.why}"), soft_wrap=True)


def _show_steps(steps: list[ReleaseStep], as_json: bool) -> None:
    if as_json:
        print_json([found.model_dump(mode="json") for found in steps])
        return
    if not steps:
        out.print("Nothing is being released.")
    for found in steps:
        out.print(plain(f"{found.subject}: {found.action}. {found.why}"), soft_wrap=True)
        if found.verdict is not None and found.verdict.metrics:
            table = Table("metric", "champion", "challenger", "difference", "evidence for harm")
            for metric in found.verdict.metrics:
                interval = f"{metric.difference:+.3f} ({metric.low:+.3f} to {metric.high:+.3f})"
                evidence = f"{metric.evidence:.3g} of {metric.threshold:.3g}"
                table.add_row(metric.name, f"{metric.champion:.3f}", f"{metric.challenger:.3f}", interval, evidence)
            out.print(table)
    if steps:
        _show_releases(steps[-1].state)
