"""What a file is, by its content; a name is never believed."""

from __future__ import annotations

import csv
import json
import re

from orchestai.errors import DataError
from orchestai.validation.load.encoding import detect_encoding, open_text
from orchestai.validation.load.limits import Options
from orchestai.validation.load.scan import Scan
from orchestai.validation.load.snapshot import PreadFile

FORMATS = ("csv", "tsv", "parquet", "json", "jsonl", "hdf5", "arrow", "arrow_stream", "excel")
TEXT = ("csv", "tsv", "json", "jsonl")
_NAMES = {
    "csv": "csv", "txt": "csv", "tsv": "tsv", "tab": "tsv", "parquet": "parquet", "pq": "parquet", "json": "json",
    "jsonl": "jsonl", "ndjson": "jsonl", "h5": "hdf5", "hdf5": "hdf5", "hdf": "hdf5", "arrow": "arrow",
    "feather": "arrow", "ipc": "arrow", "arrows": "arrow_stream", "xlsx": "excel", "xlsm": "excel",
}  # fmt: skip
# Where a magic number is made of letters, what follows keeps it apart from a header that begins like it.
_MAGIC = (
    (re.compile(rb"PAR1([\x00-\x08\x0b\x0c\x0e-\x1f]|$)"), "parquet"),
    (re.compile(rb"ARROW1(\x00|$)"), "arrow"),
    (re.compile(rb"\x89HDF\r\n\x1a\n"), "hdf5"),
    (re.compile(rb"PK\x03\x04"), "excel"),
    (re.compile(rb"\xff\xff\xff\xff"), "arrow_stream"),
)
_PICKLE = "a pickle, which runs code when it is read"
_REFUSED = (
    (re.compile(rb"\x80[\x02-\x05]"), _PICKLE),
    # Pickles of protocol 0 are text, and would be a harmless table of one column.
    (
        re.compile(rb"[\(\[\]\}]*c[A-Za-z_][\w.]*\n[A-Za-z_]\w*\n(p\d+\n|\((S['\"]|[VIF]\S*\n|[lt]p?\d*\n|c\w))"),
        _PICKLE,
    ),
    (re.compile(rb"\([lds]p?\d*\n|\(i[A-Za-z_][\w.]*\n"), _PICKLE),
    (re.compile(rb"\x93NUMPY"), "a NumPy array, which may hold pickles"),
    (re.compile(rb"\xd0\xcf\x11\xe0"), "an old Office document (.xls) or an encrypted one"),
    (re.compile(rb"PARE[^\w,;|\t \r\n]"), "an encrypted Parquet file"),
    (re.compile(rb"SQLite format 3\0"), "an SQLite database"),
    (re.compile(rb"ORC[^\x00]*\x00"), "an ORC file"),
    (re.compile(rb"Obj\x01"), "an Avro file"),
    (re.compile(rb"FEA1\x00"), "a Feather file of version 1"),
    (re.compile(rb"\xfd7zXZ\0|\x04\"M\x18|7z\xbc\xaf"), "compressed in a way that is not read"),
    (re.compile(rb"%PDF-"), "a PDF document"),
    (re.compile(rb"\x89PNG|\xff\xd8\xff|GIF8|RIFF....WEBP", re.DOTALL), "an image"),
    (re.compile(rb"\x7fELF|MZ\x90|#!"), "a program"),
    (re.compile(rb"(\xef\xbb\xbf)?\s*<(\?xml|!doctype|html|[a-z]+[ >])", re.IGNORECASE), "an XML or web page"),
)
_REMEDY = "Save the table as Parquet, CSV or JSONL."
DELIMITERS = ",\t;|"


def format_of_name(name: str) -> str | None:
    """Return the format that a file's name promises, the suffixes of compressions left aside."""
    parts = name.lower().split(".")[1:]
    while parts and parts[-1] in ("gz", "gzip", "bz2", "zst", "zstd", "zip"):
        parts.pop()
    return _NAMES.get(parts[-1]) if parts else None


def find_format(file: PreadFile, options: Options, scan: Scan) -> str:
    """Return what the file is; for text the encoding and the delimiter go to `scan.detail`.

    Raises:
        DataError: It is something else than a table, a pickle, or not what the caller says.
    """
    asked = options.format
    if asked is not None and asked not in FORMATS:
        raise DataError(f"There is no format {asked!r}.", remedy=f"Use one of {', '.join(FORMATS)}.")
    head = file.head()
    found = next((name for magic, name in _MAGIC if magic.match(head)), None)
    # HDF5 may stand behind a block of the user's of 512, 1,024, ... bytes.
    if found is None and any(head[at : at + 8] == b"\x89HDF\r\n\x1a\n" for at in (512, 1024, 2048, 4096)):
        found = "hdf5"
    if found is None:
        for pattern, what in _REFUSED:
            if pattern.match(head):
                raise DataError(f"The file is {what}; it is refused.", remedy=_REMEDY)
        encoding = detect_encoding(file, options.encoding, scan.notes)
        scan.detail["encoding"] = [encoding.name, encoding.mark, encoding.quotes]
        with open_text(file, encoding) as text:
            sample = text.read(256 * 1024)
        if not sample.strip():
            raise DataError("The file holds nothing but white space.", remedy="Write at least a header and a row.")
        found = asked if asked in TEXT else _text_format(sample, options.hint)
        if found in ("csv", "tsv"):
            scan.detail["delimiter"] = options.delimiter or ("\t" if asked == "tsv" else _delimiter(sample))
            found = "tsv" if scan.detail["delimiter"] == "\t" else "csv"
    if asked is not None and asked != found and {asked, found} not in ({"csv", "tsv"}, {"arrow", "arrow_stream"}):
        raise DataError(f"The file was said to be {asked}, but its content is {found}.", remedy="Leave `format` out.")
    return found


def _text_format(sample: str, hint: str | None) -> str:
    """Return csv, json or jsonl; one line of JSON is both, and then the name decides."""
    start = sample.lstrip()
    if start[0] not in "[{":
        return "csv"
    lines = [line for line in start.split("\n") if line.strip()]
    try:
        json.loads(lines[0])
    except (ValueError, RecursionError):
        # A damaged first line of JSONL is likelier than a document when the next lines stand for themselves.
        if start[0] == "{" and any(_is_object(line) for line in lines[1 : 100 if hint == "jsonl" else 4]):
            return "jsonl"
        return "json" if _looks_like_json(start) else "csv"
    return "jsonl" if len(lines) > 1 or hint == "jsonl" else "json"


def _is_object(line: str) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except (ValueError, RecursionError):
        return False


def _looks_like_json(start: str) -> bool:
    """Say whether a text in brackets goes on like JSON: `[note],value` is a line of CSV."""
    return bool(re.match(r"[\[{]\s*([\[{\"\]}\d]|-\d|true|false|null|$|NaN|-?Infinity)", start))


def _delimiter(sample: str) -> str:
    """Return the character that splits the first lines into the same number of fields, at least two."""
    best, best_score = ",", 0.0
    lines = sample.splitlines(keepends=True)[:200]
    if len(lines) > 1:
        lines = lines[:-1] if len(sample) >= 256 * 1024 else lines
    for delimiter in DELIMITERS:
        try:
            widths = [len(row) for row in csv.reader(lines, delimiter=delimiter) if row]
        except csv.Error:
            continue
        if not widths or widths[0] < 2:
            continue
        same = sum(width == widths[0] for width in widths) / len(widths)
        score = same * (1 + widths[0] / 1000)
        if score > best_score:
            best, best_score = delimiter, score
    return best
