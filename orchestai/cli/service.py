"""`serve` and `token`: the HTTP service and who may call it."""

from __future__ import annotations

import logging
import time
from datetime import UTC, datetime
from pathlib import Path

import typer
from rich.table import Table

from orchestai.cli.console import JsonOption, ProjectOption, TargetOption, err, open_project, out, plain, print_json
from orchestai.config import ALL_SCOPES, Project, Settings, TokenConfig
from orchestai.errors import InputError

_tokens = typer.Typer(help="Who may call the HTTP service.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(serve)
    app.add_typer(_tokens, name="token")


def serve(
    host: str = typer.Option(None, "--host", help="Address to listen on; others than loopback need a token."),
    port: int = typer.Option(None, "--port", min=0, max=65535, help="Port to listen on; 0 takes a free one."),
    mock: bool = typer.Option(False, "--mock", help="Let the simulator play every worker; no network."),
    project_dir: Path = ProjectOption,
    target: str = TargetOption,
) -> None:
    """Serve instructions over HTTP, and to OpenAI clients, until Ctrl-C."""
    project = open_project(project_dir, target)
    changes = {name: value for name, value in (("host", host), ("port", port)) if value is not None}
    project = project.model_copy(update={"service": project.service.model_copy(update=changes)})
    _configure_logging(project.settings)
    from orchestai.service.serving import serve as serve_http

    serve_http(project, mock=mock, on_ready=_announce)


@_tokens.command()
def create(
    name: str = typer.Argument(..., help="What logs and costs are noted under."),
    tenant: str = typer.Option("default", "--tenant", help="Whose executions it sees and starts."),
    scopes: str = typer.Option("run,read", "--scopes", help=f"Of {', '.join(ALL_SCOPES)}, with commas between them."),
    rate: int = typer.Option(None, "--rate", min=1, help="Requests a minute; no limit when not given."),
    budget: float = typer.Option(None, "--budget-usd", min=0, help="Dollars a day (UTC); no limit when not given."),
    project_dir: Path = ProjectOption,
    target: str = TargetOption,
) -> None:
    """Make a token and print it: the only time that it can be seen."""
    from pydantic import ValidationError

    from orchestai.service.tokens import Token, TokenFile, digest_of, new_secret, token_file

    project = open_project(project_dir, target)
    secret = new_secret()
    try:
        token = Token.model_validate(
            {
                "name": name,
                "sha256": digest_of(secret),
                "tenant": tenant,
                "scopes": tuple(scope.strip() for scope in scopes.split(",") if scope.strip()),
                "rate_per_minute": rate,
                "budget_usd_per_day": budget,
                "created": time.time(),
            }
        )
    except ValidationError as error:
        wrong = "; ".join(f"`{item['loc'][0]}`: {item['msg']}" for item in error.errors(include_url=False))
        raise InputError(f"The token is not valid: {wrong}.", remedy="`orchestai token create --help`.") from error
    _check_free(project, name)
    TokenFile(token_file(project)).add(token)
    err.print(f"Token {name!r} for tenant {tenant!r}. Keep it: it is not shown again.", highlight=False)
    typer.echo(secret)


@_tokens.command("list")
def list_tokens(as_json: bool = JsonOption, project_dir: Path = ProjectOption, target: str = TargetOption) -> None:
    """Show who may call; not the tokens, which nobody has."""
    from orchestai.service.tokens import Token, TokenFile, token_file

    project = open_project(project_dir, target)
    known: list[TokenConfig] = [*project.service.tokens, *TokenFile(token_file(project)).read()]
    if as_json:
        print_json([token.model_dump(mode="json", exclude={"sha256"}) for token in known])
        return
    if not known:
        err.print("There is no token: the service answers on loopback only, to everybody on this machine.")
        return
    table = Table("name", "tenant", "scopes", "requests a minute", "$ a day", "made", box=None, header_style="dim")
    for token in known:
        made = f"{datetime.fromtimestamp(token.created, UTC):%Y-%m-%d}" if isinstance(token, Token) else "project.yml"
        limits = (token.rate_per_minute, token.budget_usd_per_day)
        shown = ["-" if limit is None else f"{limit:g}" for limit in limits]
        table.add_row(plain(token.name), plain(token.tenant), ",".join(token.scopes), *shown, made)
    out.print(table)


@_tokens.command()
def revoke(
    name: str = typer.Argument(..., help="Name of the token."),
    project_dir: Path = ProjectOption,
    target: str = TargetOption,
) -> None:
    """Forget a token; running services refuse it within a second."""
    from orchestai.service.tokens import TokenFile, token_file

    project = open_project(project_dir, target)
    if any(token.name == name for token in project.service.tokens):
        raise InputError(f"The token {name!r} stands in project.yml.", remedy="Remove it there.")
    TokenFile(token_file(project)).remove(name)
    err.print(f"Revoked {name!r}.", highlight=False)


def _check_free(project: Project, name: str) -> None:
    if any(token.name == name for token in project.service.tokens):
        raise InputError(f"project.yml has a token called {name!r}.", remedy="Choose another name.")


def _announce(url: str) -> None:
    out.print(f"[green]✓[/] OrchestAI answers at [bold]{url}[/]", highlight=False, soft_wrap=True)
    out.print(
        f"  curl {url}/v1/instructions -H 'content-type: application/json' -d '{{\"text\": \"Name three rivers.\"}}'",
        markup=False,
        highlight=False,
        soft_wrap=True,
    )
    out.print(f"  OpenAI clients: base_url={url}/v1, model=orchestai. Ctrl-C stops it.", markup=False, highlight=False)


def _configure_logging(settings: Settings) -> None:
    from orchestai.service.context import RequestFilter

    handler = logging.StreamHandler()
    handler.addFilter(RequestFilter())
    handler.setFormatter(
        logging.Formatter("%(asctime)s %(levelname)s %(name)s request=%(request_id)s trace=%(trace_id)s %(message)s")
    )
    logging.basicConfig(level=settings.log_level, handlers=[handler], force=True)
