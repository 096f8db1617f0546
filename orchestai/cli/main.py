"""The way in: collects the commands and turns errors into messages and exit codes."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import click
import typer

from orchestai.cli import (
    config,
    data,
    doctor,
    durable,
    feedback,
    init,
    learn,
    logs,
    models,
    run,
    serve,
    service,
    structure,
    tune,
    validation,
    workers,
)
from orchestai.cli.console import err, print_error
from orchestai.errors import ApprovalNeededError, InputError, OrchestAIError, RefusedError

EXIT_FAILED = 1
EXIT_BAD_INPUT = 2
EXIT_REFUSED = 3
EXIT_WAITING = 4
EXIT_INTERRUPTED = 130

app = typer.Typer(
    name="orchestai",
    help="One instruction in plain language becomes a graph of sub-tasks, each done by the cheapest model "
    "that does it well.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
_MODULES = (
    init,
    serve,
    service,
    run,
    durable,
    feedback,
    data,
    validation,
    learn,
    tune,
    structure,
    logs,
    models,
    workers,
    config,
    doctor,
)
for module in _MODULES:
    module.register(app)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line; exit code 0 done, 1 failed, 2 bad input, 3 refused, 4 waits, 130 interrupted."""
    try:
        code = app(list(arguments) if arguments is not None else None, standalone_mode=False)
    except click.exceptions.Exit as stop:
        code = stop.exit_code
    except (click.Abort, KeyboardInterrupt):
        code = EXIT_INTERRUPTED
    except click.ClickException as error:
        error.show()
        code = EXIT_BAD_INPUT
    except OrchestAIError as error:
        print_error(error.code, error)
        code = EXIT_BAD_INPUT if isinstance(error, InputError) else EXIT_FAILED
        code = EXIT_WAITING if isinstance(error, ApprovalNeededError) else code
        code = EXIT_REFUSED if isinstance(error, RefusedError) else code
    except BrokenPipeError:
        sys.stderr.close()  # the reader (`| head`) has gone; nothing more can be said
        code = EXIT_FAILED
    if code == EXIT_INTERRUPTED:  # typer makes an exit code of an interrupt, and says nothing
        err.print("Interrupted.")
    sys.exit(code if isinstance(code, int) else 0)


if __name__ == "__main__":
    main()
