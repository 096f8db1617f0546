"""HDF5 through h5py alone: what leads out of the file, or declares more than the file can hold, is refused."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from orchestai.errors import DataError
from orchestai.validation.load.hdf5columns import Part, parts_of, read_part
from orchestai.validation.load.limits import Limits, Options
from orchestai.validation.load.scan import Scan
from orchestai.validation.load.snapshot import PreadFile

if TYPE_CHECKING:
    import pyarrow as pa

MAX_OBJECTS = 200_000
_DISTRUST = "Don't trust this file; copy the data into it, and save it again."


def open_hdf5(file: PreadFile) -> Any:
    """Open the file for reading.

    Raises:
        DataError: h5py is not installed.
    """
    try:
        import h5py
    except ImportError as error:
        raise DataError("HDF5 needs the package h5py, which is not installed.", remedy="pip install h5py") from error
    return h5py.File(file, "r")


def scan_hdf5(file: PreadFile, options: Options, scan: Scan) -> None:
    """First pass: which datasets make the table, checked before a byte of them is read.

    Raises:
        DataError: External links or storage, a virtual dataset, pickled objects, or a shape beyond the limits.
    """
    import pyarrow as pa

    with open_hdf5(file) as root:
        found = _datasets(root, options.limits, scan)
        for dataset in found.values():
            _check(dataset, file.size, options.limits)
        chosen = _choose(found, options, scan)
        parts = [part for name in chosen for part in parts_of(name, found[name])]
        scan.rows = int(found[chosen[0]].shape[0])
        options.limits.check_shape(scan.rows, len(parts), "The HDF5 file")
        fields = []
        for part in parts:
            declared = options.wanted(part.name)
            fields.append(pa.field(part.name, part.kind if declared is None else declared))
        scan.schema = pa.schema(fields)
        scan.detail["datasets"] = chosen
        scan.detail["row_bytes"] = max(1, sum(_row_bytes(found[name]) for name in chosen))


def stream_hdf5(file: PreadFile, options: Options, scan: Scan, rows: int) -> Iterator[pa.RecordBatch]:
    """Second pass: the datasets side by side, some rows at a time."""
    import pyarrow as pa

    schema = scan.schema
    assert schema is not None
    with open_hdf5(file) as root:
        parts: list[tuple[Any, list[Part]]] = []
        for name in scan.detail["datasets"]:
            _check(root[name], file.size, options.limits)
            parts.append((root[name], parts_of(name, root[name])))
        for start in range(0, scan.rows, rows):
            stop = min(scan.rows, start + rows)
            arrays: list[pa.Array] = []
            for dataset, wanted in parts:
                block = dataset[start:stop]
                arrays.extend(read_part(block, part) for part in wanted)
            arrays = [array.cast(field.type) for array, field in zip(arrays, schema, strict=True)]
            yield pa.RecordBatch.from_arrays(arrays, schema=schema)


def _datasets(root: Any, limits: Limits, scan: Scan) -> dict[str, Any]:
    """Walk the hard links; each object once, since links may form circles.

    Raises:
        DataError: An external link, or more objects than anybody has.
    """
    import h5py

    found: dict[str, Any] = {}
    seen: set[Any] = set()
    waiting: list[tuple[str, Any, int]] = [("", root, 0)]
    while waiting:
        prefix, group, depth = waiting.pop()
        if depth > limits.max_depth:
            raise DataError(f"Groups are nested more than {limits.max_depth} levels deep.", remedy="Flatten the file.")
        for name in group:
            path = f"{prefix}/{name}"
            link = group.get(name, getlink=True)
            if isinstance(link, h5py.ExternalLink):
                raise DataError(f"{path} is a link to another file ({link.filename!r}).", remedy=_DISTRUST)
            if isinstance(link, h5py.SoftLink):
                scan.note(f"{path} is a soft link, and left out")
                continue
            item = group[name]
            key = h5py.h5o.get_info(item.id).addr
            if key in seen:
                continue
            seen.add(key)
            if len(seen) > MAX_OBJECTS:
                raise DataError(f"The file has more than {MAX_OBJECTS:,} objects.", remedy="Use fewer datasets.")
            if isinstance(item, h5py.Group):
                waiting.append((path, item, depth + 1))
            elif isinstance(item, h5py.Dataset):
                found[path] = item
    return found


def _check(dataset: Any, file_size: int, limits: Limits) -> None:
    """Refuse a dataset that leads out of the file, holds objects, or declares what it cannot hold.

    Raises:
        DataError: Any of these.
    """
    name = dataset.name
    if dataset.is_virtual:
        raise DataError(f"{name} is a virtual dataset, made of other files.", remedy=_DISTRUST)
    if dataset.id.get_create_plist().get_external_count():
        raise DataError(f"{name} has its data stored in another file.", remedy=_DISTRUST)
    if "PSEUDOATOM" in dataset.attrs or (dataset.dtype.kind == "V" and dataset.dtype.hasobject and _odd(dataset)):
        raise DataError(
            f"{name} holds pickled Python objects, which run code when they are read; they are refused.",
            remedy="Store plain numbers and texts.",
        )
    if dataset.shape is None:
        return
    limits.check_shape(dataset.shape[0] if dataset.shape else 0, 1, name)
    size = dataset.size * dataset.dtype.itemsize
    stored = dataset.id.get_storage_size()
    # An array declared and never written takes no room; one that compresses better than any real data is a bomb.
    if size > limits.max_bytes and stored < size // 10_000:
        raise DataError(
            f"{name} declares {size:,} bytes and stores {stored:,}.",
            remedy="It may be a bomb; raise `max_bytes` only if you trust it.",
        )
    if dataset.chunks is not None:
        chunk = dataset.dtype.itemsize
        for edge in dataset.chunks:
            chunk *= edge
        limits.check_bytes(chunk, f"A chunk of {name}")
    elif stored > file_size:
        raise DataError(f"{name} declares {stored:,} bytes in a file of {file_size:,}.", remedy=_DISTRUST)
    if len(dataset.shape) > 0:
        limits.check_bytes(_row_bytes(dataset), f"A row of {name}")


def _odd(dataset: Any) -> bool:
    """Say whether a compound type has object fields that are no text."""
    import h5py

    fields = dataset.dtype.fields or {}
    return any(kind.hasobject and h5py.check_string_dtype(kind) is None for kind, *_ in fields.values())


def _row_bytes(dataset: Any) -> int:
    size = int(dataset.dtype.itemsize)
    for edge in dataset.shape[1:]:
        size *= int(edge)
    return size


def _choose(found: dict[str, Any], options: Options, scan: Scan) -> list[str]:
    """Return the datasets that stand side by side: the one asked for, the one compound, or all of one length."""
    if options.dataset is not None:
        path = "/" + options.dataset.strip("/")
        if path not in found:
            raise DataError(
                f"There is no dataset {path!r}.", remedy=f"There are: {', '.join(sorted(found)[:20]) or 'none'}."
            )
        if len(found[path].shape or ()) not in (1, 2):
            raise DataError(f"{path} is no table: its shape is {found[path].shape}.", remedy="Use 1 or 2 dimensions.")
        return [path]
    usable = {name: item for name, item in found.items() if item.shape and len(item.shape) <= 2}
    compound = {name: item for name, item in usable.items() if item.dtype.names}
    usable = compound or usable
    if not usable:
        raise DataError("The HDF5 file has no dataset of one or two dimensions.", remedy="Store columns or a matrix.")
    lengths: dict[int, int] = {}
    for item in usable.values():
        lengths[item.shape[0]] = lengths.get(item.shape[0], 0) + 1
    length = max(lengths, key=lambda rows: (lengths[rows], rows))
    chosen = [name for name, item in usable.items() if item.shape[0] == length]
    if compound:
        chosen = chosen[:1]
    left = sorted(set(found) - set(chosen))
    if left:
        scan.note(f"{len(left)} other datasets are left out ({', '.join(left[:5])}); name one with `dataset=`")
    return chosen
