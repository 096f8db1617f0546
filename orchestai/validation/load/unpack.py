"""Compressed files: unpacked to a nameless file on disk, and never further than the limit."""

from __future__ import annotations

import bz2
import gzip
import os
import re
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import BinaryIO, cast

from orchestai.errors import DataError
from orchestai.validation.load.boundary import reading
from orchestai.validation.load.limits import MIB, Limits
from orchestai.validation.load.snapshot import PreadFile, Snapshot

MAX_LAYERS = 3
MAX_MEMBERS = 10_000
_MAGIC = (
    (re.compile(rb"\x1f\x8b"), "gzip"),
    (re.compile(rb"BZh[1-9](1AY&SY|\x17rE8P\x90|$)"), "bzip2"),
    (re.compile(rb"\x28\xb5\x2f\xfd"), "zstd"),
    (re.compile(rb"PK(\x03\x04|\x05\x06)"), "zip"),
)


def unpack(found: Snapshot, limits: Limits, member: str | None, notes: list[str]) -> Snapshot:
    """Take away every layer of compression; an Excel file, which is a zip, stays as it is.

    Args:
        found: The file as it is on disk.
        limits: How much it may unpack to.
        member: Which file of a zip archive, if it holds several.
        notes: Takes what was done.

    Raises:
        DataError: Damaged, too large, too many layers, or an archive that is unsafe or ambiguous.
    """
    for _ in range(MAX_LAYERS + 1):
        head = found.file().head(16)
        kind = next((kind for magic, kind in _MAGIC if magic.match(head)), None)
        if kind is None:
            return found
        with reading(f"The {kind} file {found.name}", limits):
            name, pieces = found.name, _pieces(found, kind)
            if kind == "zip":
                archive = open_zip(found.file(), limits)
                names = archive.namelist()
                if "[Content_Types].xml" in names and any(entry.startswith("xl/") for entry in names):
                    return found
                name, pieces = _member(archive, member, found.name)
            found = _spill(pieces, name, found.content_hash, limits)
        notes.append(f"unpacked from {kind}: {found.size:,} bytes")
    raise DataError(
        f"{found.name} is compressed more than {MAX_LAYERS} times over.", remedy="Compress a file once at most."
    )


def _spill(pieces: Iterator[bytes], name: str, content_hash: str, limits: Limits) -> Snapshot:
    with tempfile.TemporaryFile() as target:
        size = 0
        for piece in pieces:
            size += len(piece)
            if size > limits.unpacked:
                raise DataError(
                    f"{name} unpacks to more than {limits.unpacked:,} bytes.",
                    remedy="It may be a bomb; raise `max_unpacked_bytes` only if you trust it.",
                )
            target.write(piece)
        target.flush()
        if not size:
            raise DataError(f"{name} unpacks to nothing.", remedy="Write at least a header and a row.")
        return Snapshot(os.dup(target.fileno()), name, content_hash)


def _pieces(found: Snapshot, kind: str) -> Iterator[bytes]:
    import pyarrow as pa

    if kind == "gzip":
        with gzip.GzipFile(fileobj=found.file()) as stream:
            yield from _read(cast(BinaryIO, stream))
    elif kind == "bzip2":
        with bz2.BZ2File(found.file()) as stream:
            yield from _read(cast(BinaryIO, stream))
    else:
        with pa.CompressedInputStream(pa.PythonFile(found.file(), mode="r"), "zstd") as stream:
            yield from _read(stream)


def _read(stream: BinaryIO) -> Iterator[bytes]:
    while block := stream.read(MIB):
        yield block


def open_zip(file: PreadFile, limits: Limits) -> zipfile.ZipFile:
    """Open an archive whose declared sizes, names and number of members are acceptable.

    Raises:
        DataError: Too many or too large members, an encrypted one, or a name that leads out of the archive.
    """
    archive = zipfile.ZipFile(file)
    members = archive.infolist()
    if len(members) > MAX_MEMBERS:
        raise DataError(f"The archive has {len(members):,} members; the limit is {MAX_MEMBERS:,}.")
    total = sum(entry.file_size for entry in members)
    if total > limits.unpacked:
        raise DataError(
            f"The archive declares {total:,} bytes unpacked; the limit is {limits.unpacked:,}.",
            remedy="It may be a bomb; raise `max_unpacked_bytes` only if you trust it.",
        )
    for entry in members:
        path = PurePosixPath(entry.filename.replace("\\", "/"))
        if path.is_absolute() or ".." in path.parts or ":" in path.parts[0:1]:
            raise DataError(
                f"The archive's member {entry.filename!r} leads out of it.", remedy="Don't trust this file."
            )
        if entry.flag_bits & 0x1:
            raise DataError(f"The archive's member {entry.filename!r} is encrypted.", remedy="Decrypt it first.")
        if entry.external_attr >> 28 == 0xA:
            raise DataError(
                f"The archive's member {entry.filename!r} is a symbolic link.", remedy="Pack the file itself."
            )
    return archive


def _member(archive: zipfile.ZipFile, wanted: str | None, name: str) -> tuple[str, Iterator[bytes]]:
    entries = [
        entry
        for entry in archive.infolist()
        if not entry.is_dir()
        and not entry.filename.startswith("__MACOSX/")
        and not entry.filename.endswith(".DS_Store")
    ]
    names = [entry.filename for entry in entries]
    if any(found.endswith(("data.pkl", ".pkl", ".pickle")) for found in names):
        raise DataError(
            f"{name} holds a pickle, which runs code when it is read; it is refused.", remedy="Save it as Parquet."
        )
    if wanted is not None:
        entries = [entry for entry in entries if entry.filename == wanted]
    if len(entries) != 1:
        shown = ", ".join(names[:10]) or "nothing"
        raise DataError(
            f"{name} is an archive that holds {len(names)} files ({shown}); one is read.",
            remedy="Say which with `member=`.",
        )
    entry = entries[0]

    def pieces() -> Iterator[bytes]:
        with archive.open(entry) as stream:
            yield from _read(cast(BinaryIO, stream))

    return PurePosixPath(entry.filename).name, pieces()
