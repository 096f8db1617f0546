"""The one place where errors of the libraries that read files become ours."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from orchestai.errors import DataError, OrchestAIError
from orchestai.validation.load.limits import Limits


@contextmanager
def reading(what: str, limits: Limits) -> Iterator[None]:
    """Translate whatever a reader raises: crafted bytes make libraries raise nearly anything.

    Raises:
        DataError: The file is damaged, or takes more memory than allowed.
    """
    try:
        yield
    except OrchestAIError:
        raise
    except MemoryError as error:
        raise DataError(
            f"Reading {what} needs more memory than allowed (`max_bytes` = {limits.max_bytes:,}).",
            remedy="The file may be a bomb; raise `max_bytes` only if you trust it.",
        ) from error
    except RecursionError as error:
        raise DataError(
            f"{what} is nested too deeply; the limit is {limits.max_depth} levels.", remedy="Flatten the data."
        ) from error
    except Exception as error:
        text = " ".join(str(error).split())[:300]
        raise DataError(
            f"{what} is damaged or truncated: {text or type(error).__name__}.",
            remedy="Write the file again, and copy it whole.",
        ) from error
