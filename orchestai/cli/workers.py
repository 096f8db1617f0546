"""`workers`: who there is, and which models an endpoint or the Hugging Face Hub offers beside them."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import typer
import yaml
from pydantic import SecretStr
from rich.table import Table

from orchestai.cli.console import (
    JsonOption,
    ProjectOption,
    TargetOption,
    dollars,
    err,
    milliseconds,
    open_project,
    out,
    plain,
    print_json,
)
from orchestai.config import Project
from orchestai.contracts import WorkerProfile
from orchestai.errors import InputError, StorageError
from orchestai.workers.discovered import DiscoveredModel, Discovery
from orchestai.workers.discovery import HUB_URL, discover_endpoint, discover_hub
from orchestai.workers.model_facts import ModelFacts, facts_of_workers, read_model_facts


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(help="Who does the work, and who else could.", no_args_is_help=True)
    group.command("list")(list_workers)
    group.command()(discover)
    app.add_typer(group, name="workers")


def list_workers(as_json: bool = JsonOption, project_dir: Path = ProjectOption, target: str = TargetOption) -> None:
    """Show the workers of the project with prices, speed and capabilities."""
    profiles = open_project(project_dir, target).workers.profiles()
    if as_json:
        print_json([profile.model_dump(mode="json", exclude_defaults=True) for profile in profiles])
    else:
        out.print(_table([(profile, "simulated" if profile.simulated else "") for profile in profiles]))


def discover(
    base_url: str = typer.Argument(None, help="An endpoint in the OpenAI format, `/v1` included."),
    hub: bool = typer.Option(False, "--hub", help="Ask the Hugging Face Hub instead of an endpoint."),
    search: str = typer.Option(None, "--search", help="Hub: part of the name."),
    author: str = typer.Option(None, "--author", help="Hub: user or organisation."),
    pipeline: str = typer.Option("text-generation", "--pipeline", help="Hub: what a model does."),
    hub_url: str = typer.Option(HUB_URL, "--hub-url", help="The Hub, or a mirror of it."),
    api_key_env: str = typer.Option(None, "--api-key-env", help="Variable that holds the key (Hub: HF_TOKEN)."),
    facts: Path = typer.Option(None, "--facts", help="YAML file with prices and capabilities (see the how-to)."),
    prefix: str = typer.Option(None, "--prefix", help="What the workers' names begin with."),
    limit: int = typer.Option(100, "--limit", min=1, help="The most models to take."),
    write: Path = typer.Option(None, "--write", help="Write the workers to this YAML file; it must not exist."),
    as_json: bool = JsonOption,
    project_dir: Path = ProjectOption,
    target: str = TargetOption,
) -> None:
    """List the models of an endpoint or of the Hub as workers, with what nobody says of them."""
    if hub == (base_url is not None):
        raise InputError("Exactly one of BASE_URL and --hub is needed.", remedy="orchestai workers discover --help")
    project = open_project(project_dir, target)
    known = (*(read_model_facts(facts) if facts is not None else ()), *facts_of_workers(project.workers))
    if hub:
        key_env = api_key_env or "HF_TOKEN"
        work = discover_hub(
            search=search,
            author=author,
            pipeline=pipeline,
            token=_key(project, key_env),
            token_env=key_env,
            facts=known,
            prefix="hf-" if prefix is None else prefix,
            limit=limit,
            hub_url=hub_url,
        )
    else:
        work = _of_endpoint(project, base_url, api_key_env, known, prefix or "", limit)
    found = asyncio.run(work)
    if write is not None:
        _write(write, found)
    _show(found, as_json)


async def _of_endpoint(
    project: Project, base_url: str, key_env: str | None, facts: tuple[ModelFacts, ...], prefix: str, limit: int
) -> Discovery:
    return await discover_endpoint(
        base_url, api_key=_key(project, key_env), api_key_env=key_env, facts=facts, prefix=prefix, limit=limit
    )


def _key(project: Project, name: str | None) -> SecretStr | None:
    value = project.settings.env(name) if name is not None else None
    return SecretStr(value) if value else None


def _show(found: Discovery, as_json: bool) -> None:
    if as_json:
        models = [
            {"worker": _declared(model.profile), "unknown": model.unknown, "notes": model.notes}
            for model in found.models
        ]
        print_json({"models": models, "skipped": found.skipped, "complete": found.complete})
        return
    out.print(_table([(model.profile, _doubts(model)) for model in found.models]))
    for reason in found.skipped:
        err.print(plain(f"left out: {reason}", "dim"), soft_wrap=True)
    if not found.complete:
        err.print("There are more: --limit takes more of them.")


def _table(rows: list[tuple[WorkerProfile, str]]) -> Table:
    table = Table(box=None, pad_edge=False)
    for heading in ("worker", "calls", "$ / M tokens in", "out", "latency", "notes"):
        table.add_column(heading, overflow="fold")
    for profile, note in rows:
        table.add_row(
            plain(profile.name),
            ", ".join(profile.modalities),
            dollars(profile.input_usd_per_mtok),
            dollars(profile.output_usd_per_mtok),
            milliseconds(profile.typical_latency_ms),
            plain(note, "dim"),
        )
    return table


def _doubts(model: DiscoveredModel) -> str:
    return f"unknown: {', '.join(model.unknown)}" if model.unknown else ""


def _declared(profile: WorkerProfile) -> dict[str, Any]:
    return profile.model_dump(mode="json", exclude_defaults=True)


def _write(path: Path, found: Discovery) -> None:
    if not found.models:
        raise InputError("No usable model was found, so there is nothing to write.")
    content = {"workers": [_declared(model.profile) for model in found.models]}
    try:
        with path.open("x", encoding="utf-8") as file:
            yaml.safe_dump(content, file, sort_keys=False, allow_unicode=True)
    except FileExistsError as error:
        raise InputError(f"{path} exists already.", remedy="Give another name; nothing was written.") from error
    except OSError as error:
        raise StorageError(f"{path} cannot be written: {error.strerror}.", path=str(path)) from error
    err.print(f"Wrote {len(found.models)} workers to {path}.", soft_wrap=True)
