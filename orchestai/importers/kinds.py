"""All kinds of data set that can be imported, by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from orchestai.errors import InputError
from orchestai.importers.asynchow import import_asynchow
from orchestai.importers.llmperf import import_llmperf
from orchestai.importers.llmrouter import import_llmrouter
from orchestai.importers.sink import ImportReport
from orchestai.importers.ultratool import import_ultratool
from orchestai.importers.zeroeval import import_zeroeval

IMPORTERS: Mapping[str, Callable[[Path, Path], ImportReport]] = {
    "ultratool": import_ultratool,
    "asynchow": import_asynchow,
    "zeroeval": import_zeroeval,
    "llmrouter": import_llmrouter,
    "llmperf": import_llmperf,
}


def import_dataset(kind: str, folder: Path, out: Path) -> ImportReport:
    """Import `folder` as a data set of `kind`.

    Raises:
        InputError: There is no such kind.
        DataError: A file is missing or not what it should be.
        StorageError: `out` cannot be written.
    """
    if kind not in IMPORTERS:
        raise InputError(f"Unknown kind of data set {kind!r}.", remedy=f"Known: {', '.join(IMPORTERS)}.")
    return IMPORTERS[kind](folder, out)
