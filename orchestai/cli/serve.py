"""`up` and `simulate`: the local servers."""

from __future__ import annotations

import threading
from pathlib import Path

import typer

from orchestai.cli.console import ProjectOption, TargetOption, err, open_project, out
from orchestai.endpoint import ensure_running
from orchestai.simulator import serve


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(up)
    app.command()(simulate)


def up(
    detach: bool = typer.Option(False, "--detach", "-d", help="Return at once and leave the model running."),
    stop: bool = typer.Option(False, "--stop", help="Stop what `up --detach` left running."),
    project_dir: Path = ProjectOption,
    target: str = TargetOption,
) -> None:
    """Start the packaged model as an OpenAI-format endpoint on loopback, until Ctrl-C."""
    project = open_project(project_dir, target)
    from orchestai.endpoint import LocalEndpoint

    if stop:
        endpoint = LocalEndpoint(project.endpoint, project.home)
        out.print("Stopped." if endpoint.stop() else "Nothing was running.")
        return
    if project.settings.openai_base_url:
        err.print(
            f"OPENAI_BASE_URL is set: workers use {project.settings.openai_base_url}; "
            "the packaged model is started beside it."
        )
    endpoint = ensure_running(project.endpoint, project.home, owned=not detach)
    out.print(f"[green]✓[/] SmolLM2-135M-Instruct answers at [bold]{endpoint.base_url}[/]", highlight=False)
    out.print(
        f"  curl {endpoint.base_url}/chat/completions -H 'content-type: application/json' "
        '-d \'{"messages": [{"role": "user", "content": "Hello"}]}\'',
        markup=False,
        highlight=False,
        soft_wrap=True,
    )
    if detach:
        out.print("It runs in the background; `orchestai up --stop` ends it.")
        return
    out.print('Ctrl-C stops it. In another terminal: orchestai run "Write a haiku about rivers"')
    try:
        threading.Event().wait()
    finally:
        endpoint.stop()


def simulate(
    port: int = typer.Option(None, "--port", min=0, max=65535, help="Port to listen on; 0 takes a free one."),
    project_dir: Path = ProjectOption,
    target: str = TargetOption,
) -> None:
    """Serve the simulated workers of the catalog in the OpenAI format, until Ctrl-C."""
    project = open_project(project_dir, target)
    config = project.simulator if port is None else project.simulator.model_copy(update={"port": port})
    with serve(project.workers, config) as server:
        names = ", ".join(worker.name for worker in project.workers.profiles() if worker.simulated)
        out.print(f"[magenta]simulated[/] workers at [bold]{server.base_url}[/]: {names}", highlight=False)
        out.print("Ctrl-C stops them.")
        threading.Event().wait()
