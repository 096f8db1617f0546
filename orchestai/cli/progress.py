"""Progress bars, all alike."""

from __future__ import annotations

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from orchestai.cli.console import err


def progress_bar(*, shown: bool = True) -> Progress:
    """Return a progress display on standard error; silent where nobody watches, or where it is not to be `shown`."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[note]}"),
        console=err,
        disable=not (shown and err.is_terminal),
    )
