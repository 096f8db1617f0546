"""Images and recordings on their way into a request: found, measured, recognised by their first bytes."""

from __future__ import annotations

import base64
import binascii
from pathlib import Path
from typing import NamedTuple

from orchestai.errors import WorkerRequestError

MAX_IMAGE_BYTES = 20 * 2**20
MAX_AUDIO_BYTES = 25 * 2**20


class Media(NamedTuple):
    """A file ready to be sent."""

    name: str
    mime: str
    content: bytes

    @property
    def data_url(self) -> str:
        """The file as a `data:` URL."""
        return f"data:{self.mime};base64,{base64.b64encode(self.content).decode('ascii')}"


def load_image(source: str, *, worker: str) -> Media:
    """Read an image from a path or a data URL.

    Raises:
        WorkerRequestError: It is missing, too big, or not PNG, JPEG, GIF or WebP.
    """
    return _load(source, "image", MAX_IMAGE_BYTES, worker)


def load_audio(source: str, *, worker: str) -> Media:
    """Read a recording from a path or a data URL.

    Raises:
        WorkerRequestError: It is missing, too big, or not WAV, MP3, FLAC, Ogg, MP4/M4A or WebM.
    """
    return _load(source, "audio", MAX_AUDIO_BYTES, worker)


_KNOWN = {
    "image": "PNG, JPEG, GIF or WebP",
    "audio": "WAV, MP3, FLAC, Ogg, M4A or WebM",
}
_SUFFIXES = {
    "image/png": "png",
    "image/jpeg": "jpg",
    "image/gif": "gif",
    "image/webp": "webp",
    "audio/wav": "wav",
    "audio/mpeg": "mp3",
    "audio/flac": "flac",
    "audio/ogg": "ogg",
    "audio/mp4": "m4a",
    "audio/webm": "webm",
}


def _load(source: str, kind: str, limit: int, worker: str) -> Media:
    if source.startswith("data:"):
        content = _decode_data_url(source, kind, worker)
        name = None
    else:
        content = _read_file(source, kind, limit, worker)
        name = Path(source).name
    if len(content) > limit:
        raise _too_big(kind, len(content), limit, worker)
    mime = sniff(content)
    if mime is None or not mime.startswith(f"{kind}/"):
        what = f"is {mime}" if mime else "has an unknown format"
        raise WorkerRequestError(
            f"The {kind} {_short(source)!r} {what}, which is not one of {_KNOWN[kind]}.",
            worker=worker,
            remedy=f"Convert it, or name another file as the input `{kind}`.",
        )
    return Media(name or f"{kind}.{_SUFFIXES[mime]}", mime, content)


def _read_file(source: str, kind: str, limit: int, worker: str) -> bytes:
    path = Path(source)
    try:
        if not path.is_file():
            found = "is a directory" if path.is_dir() else "does not exist"
            raise WorkerRequestError(
                f"The {kind} file {_short(source)!r} {found}.",
                worker=worker,
                remedy="Give the path of an existing file, or a data URL.",
            )
        size = path.stat().st_size
        if size > limit:
            raise _too_big(kind, size, limit, worker)
        return path.read_bytes()
    except (OSError, ValueError) as error:
        raise WorkerRequestError(
            f"The {kind} file {_short(source)!r} cannot be read ({type(error).__name__}).",
            worker=worker,
            remedy="Check its path and permissions.",
        ) from error


def _decode_data_url(source: str, kind: str, worker: str) -> bytes:
    header, comma, body = source.partition(",")
    try:
        if not comma or not header.endswith(";base64"):
            raise ValueError("no base64 part")
        return base64.b64decode(body, validate=True)
    except (ValueError, binascii.Error) as error:
        raise WorkerRequestError(
            f"The data URL of the {kind} cannot be decoded ({error}).",
            worker=worker,
            remedy=f"Use the form data:{kind}/...;base64,....",
        ) from error


def sniff(content: bytes) -> str | None:
    """Return the MIME type that the first bytes show; a file's name proves nothing."""
    if content[:4] == b"RIFF":
        return {b"WAVE": "audio/wav", b"WEBP": "image/webp"}.get(content[8:12])
    for prefix, mime in (
        (b"\x89PNG\r\n\x1a\n", "image/png"),
        (b"\xff\xd8\xff", "image/jpeg"),
        (b"GIF87a", "image/gif"),
        (b"GIF89a", "image/gif"),
        (b"fLaC", "audio/flac"),
        (b"OggS", "audio/ogg"),
        (b"ID3", "audio/mpeg"),
        (b"\x1a\x45\xdf\xa3", "audio/webm"),
    ):
        if content.startswith(prefix):
            return mime
    if content[4:8] == b"ftyp":
        return "audio/mp4"
    if len(content) > 1 and content[0] == 0xFF and content[1] & 0xE6 == 0xE2:
        return "audio/mpeg"  # a bare MPEG layer III frame
    return None


def _too_big(kind: str, size: int, limit: int, worker: str) -> WorkerRequestError:
    return WorkerRequestError(
        f"The {kind} has {size:,} bytes; {limit:,} are allowed.",
        worker=worker,
        remedy="Send a smaller file.",
    )


def _short(source: str) -> str:
    return source if len(source) <= 120 else f"{source[:117]}..."
