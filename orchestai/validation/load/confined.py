"""The process that reads: it gets one open file and a pipe, and can open, write and start nothing else.

Libraries that parse binary formats are written in C and C++, and a crafted file may crash them or worse. So they run
here: with a limit on memory and CPU time, without the caller's environment, and with no descriptor left to open any
other file with.
"""

from __future__ import annotations

import base64
import importlib.abc
import json
import os
import resource
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from orchestai.errors import DataError
from orchestai.validation.load.limits import Limits, Options
from orchestai.validation.load.reader import BATCH, DONE, ERROR, FRAME, SCAN, scan_file, stream_file
from orchestai.validation.load.scan import Scan
from orchestai.validation.load.snapshot import PreadFile

_HEADROOM = 256 << 20


def options_to_json(options: Options) -> dict[str, Any]:
    """Return the options in plain JSON."""
    import pyarrow as pa

    schema = pa.schema([pa.field(name, kind) for name, kind in options.types.items()])
    types = base64.b64encode(schema.serialize().to_pybytes()).decode()
    plain = {name: getattr(options, name) for name in options.__dataclass_fields__ if name not in ("types", "limits")}
    return {**plain, "limits": asdict(options.limits), "types": types}


def options_from_json(record: dict[str, Any]) -> Options:
    """Undo `options_to_json`."""
    import pyarrow as pa

    schema = pa.ipc.read_schema(pa.py_buffer(base64.b64decode(record.pop("types"))))
    limits, nulls = Limits(**record.pop("limits")), tuple(record.pop("nulls"))
    return Options(**record, nulls=nulls, limits=limits, types={field.name: field.type for field in schema})


def main() -> None:
    """Read the order from standard input, answer in frames on descriptor 1."""
    order = json.load(sys.stdin)
    options = options_from_json(order["options"])
    out = os.dup(1)
    os.dup2(2, 1)  # whatever a library prints must not get between the frames
    _load_libraries(hdf5=_may_be_hdf5(order))
    _confine(options.limits, order["cpu_seconds"])
    import pyarrow as pa

    try:
        file = PreadFile(order["fd"])
        if order["scan"] is None:
            _send(out, SCAN, json.dumps(scan_file(file, options).to_json()).encode())
        else:
            for batch in stream_file(file, options, Scan.from_json(order["scan"]), order["rows"]):
                sink = pa.BufferOutputStream()
                with pa.ipc.new_stream(sink, batch.schema) as writer:
                    writer.write_batch(batch)
                _send(out, BATCH, memoryview(sink.getvalue()))
        _send(out, DONE, b"")
    except DataError as error:
        _send(out, ERROR, json.dumps({"message": error.message, "remedy": error.remedy}).encode())
    except MemoryError:
        _send(
            out,
            ERROR,
            json.dumps({"message": "Reading the file needs more memory than allowed.", "remedy": None}).encode(),
        )
    except BrokenPipeError:
        os._exit(0)  # nobody wants the rest


def _may_be_hdf5(order: dict[str, Any]) -> bool:
    """Say whether h5py, which takes a fifth of a second to import, may be needed."""
    if order["scan"] is not None:
        return bool(order["scan"]["detail"]["format"] == "hdf5")
    return os.pread(order["fd"], 4, 0) not in (b"PAR1", b"ARRO")


def _load_libraries(*, hdf5: bool = True) -> None:
    """Import what readers import lazily: later there is no file to be opened any more."""
    import contextlib
    import encodings.cp437
    import encodings.cp1252
    import encodings.latin_1
    import encodings.utf_16_be
    import encodings.utf_16_le
    import encodings.utf_32_be
    import encodings.utf_32_le  # noqa: F401

    # Arrow would import pandas with its first array of Python objects, and does without where it is missing.
    sys.meta_path.insert(0, _NoPandas())

    import numpy as np
    import pyarrow.compute
    import pyarrow.csv
    import pyarrow.ipc
    import pyarrow.parquet

    # The first arrays made of Python objects and of NumPy arrays import more.
    pyarrow.array([[1.5], None])
    pyarrow.array(np.arange(2))

    with contextlib.suppress(ImportError):
        if hdf5:
            import h5py  # noqa: F401


class _NoPandas(importlib.abc.MetaPathFinder):
    """Says that there is no pandas."""

    def find_spec(self, name: str, path: object, target: object = None) -> None:
        if name == "pandas":
            raise ModuleNotFoundError(f"No module named {name!r}")


def _confine(limits: Limits, cpu_seconds: int) -> None:
    used = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    memory = used + _HEADROOM + limits.max_bytes
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    resource.setrlimit(resource.RLIMIT_CPU, (cpu_seconds, cpu_seconds))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, 0))


def _send(out: int, kind: bytes, content: bytes | memoryview) -> None:
    view = memoryview(content).cast("B")
    for piece in (memoryview(FRAME.pack(kind, len(view))), view):
        while piece:
            piece = piece[os.write(out, piece) :]


if __name__ == "__main__":
    main()
