"""YAML with line numbers: what a file says, and on which line it says it."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from orchestai.errors import ConfigProblem

KeyPath = tuple[str | int, ...]

MAX_NODES = 100_000
"""Aliases of aliases unfold without end; no honest file comes near this."""

_COLLECTIONS = ("tag:yaml.org,2002:map", "tag:yaml.org,2002:seq")
_MERGE = "tag:yaml.org,2002:merge"
_EXPONENT = re.compile(r"[-+]?[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+")
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass
class Document:
    """One YAML file.

    Attributes:
        path: The file.
        name: The file as messages name it.
        data: Its content; null if it could not be read.
        lines: Line of each key and each list item, counted from 1.
        rendered: Text that a Jinja value became, by key, before YAML's rules made it a number or the like.
        unresolved: Keys whose variables are not set; allowed in targets that are not in use.
    """

    path: Path
    name: str
    data: Any = None
    lines: dict[KeyPath, int] = field(default_factory=dict)
    rendered: dict[KeyPath, str] = field(default_factory=dict)
    unresolved: set[KeyPath] = field(default_factory=set)

    def line(self, key: KeyPath) -> int | None:
        """Return the line of `key`, or of the nearest thing around it."""
        while key and key not in self.lines:
            key = key[:-1]
        return self.lines.get(key)

    def problem(self, key: KeyPath, message: str, remedy: str | None = None) -> ConfigProblem:
        """Return a problem at `key`."""
        return ConfigProblem(file=self.name, line=self.line(key), key=format_key(key), message=message, remedy=remedy)


def format_key(key: KeyPath) -> str:
    """Write a path as people do: `workers[2].price`."""
    text = ""
    for part in key:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text or "(file)"


def read_document(path: Path) -> tuple[Document, list[ConfigProblem]]:
    """Read one file; what is wrong with its YAML comes back as problems."""
    document = Document(path, _display_name(path))
    try:
        root = yaml.compose(path.read_text(encoding="utf-8-sig"), Loader=_LOADER)
    except OSError as error:
        remedy = "Check its permissions." if isinstance(error, PermissionError) else "Check the path."
        return document, [document.problem((), f"cannot be read: {error.strerror}.", remedy)]
    except UnicodeDecodeError as error:
        message = f"is not UTF-8: byte {error.start} is {error.object[error.start]:#04x}."
        return document, [document.problem((), message, "Save it as UTF-8.")]
    except yaml.YAMLError as error:
        return document, [_syntax_problem(document, error)]
    if root is None:
        document.data = {}
        return document, []
    reader = _Reader(document)
    document.data = reader.read(root, ())
    if not reader.problems and not isinstance(document.data, dict):
        reader.problems.append(document.problem((), "must be a mapping of keys to values.", "Write `key: value`."))
    return document, reader.problems


def plain_scalar(text: str) -> Any:
    """Return what YAML makes of `text` when it stands without quotes; infinity and NaN stay text."""
    if _EXPONENT.fullmatch(text):
        # YAML 1.1 wants a dot in `1.0e-4`; everybody writes 1e-4.
        value: Any = float(text)
    else:
        tag = yaml.resolver.Resolver().resolve(yaml.ScalarNode, text, (True, False))  # type: ignore[no-untyped-call]
        try:
            value = _construct(yaml.ScalarNode(tag, text))
        except (ValueError, yaml.YAMLError):
            return text  # such as the date 2026-13-45
    return text if _is_endless(value) else value


def _construct(node: yaml.Node) -> Any:
    return yaml.constructor.SafeConstructor().construct_object(node)


def _is_endless(value: Any) -> bool:
    return isinstance(value, float) and not math.isfinite(value)


class _Reader:
    """Turns nodes into values, and remembers lines."""

    def __init__(self, document: Document) -> None:
        self.document = document
        self.problems: list[ConfigProblem] = []
        self.open: set[int] = set()
        self.count = 0

    def read(self, node: yaml.Node, key: KeyPath) -> Any:
        self.count += 1
        if self.count > MAX_NODES:
            if self.count == MAX_NODES + 1:
                self._report(node, key, f"has more than {MAX_NODES:,} values.", "Use fewer aliases (`*name`).")
            return None
        if id(node) in self.open:
            self._report(node, key, "contains itself.", "Remove the alias (`*name`) that leads back here.")
            return None
        self.document.lines.setdefault(key, node.start_mark.line + 1)
        self.open.add(id(node))
        try:
            if node.tag not in _COLLECTIONS and not isinstance(node, yaml.ScalarNode):
                self._report(node, key, f"has the tag {node.tag!r}.", "Use plain mappings and lists, without tags.")
                return None
            if isinstance(node, yaml.MappingNode):
                return self._read_mapping(node, key)
            if isinstance(node, yaml.SequenceNode):
                return self._read_sequence(node, key)
            return self._read_scalar(node, key)
        finally:
            self.open.discard(id(node))

    def _read_scalar(self, node: yaml.Node, key: KeyPath) -> Any:
        text = str(node.value)
        # The C loader says '' for a scalar without quotes, the other one None.
        is_plain = isinstance(node, yaml.ScalarNode) and not node.style
        try:
            if node.tag == "tag:yaml.org,2002:str":
                value = float(text) if is_plain and _EXPONENT.fullmatch(text) else text
            else:
                value = _construct(node)
        except (ValueError, yaml.YAMLError):
            self._report(node, key, f"{text!r} is not a value of YAML.", "Put text in quotes; use no tags.")
            return None
        if _is_endless(value):
            self._report(node, key, f"must be a finite number, got {text}.", "Leave the key out or use null.")
            return None
        return value

    def _read_sequence(self, node: yaml.SequenceNode, key: KeyPath) -> list[Any]:
        return [self.read(item, (*key, index)) for index, item in enumerate(node.value)]

    def _read_mapping(self, node: yaml.MappingNode, key: KeyPath) -> dict[str, Any]:
        values: dict[str, Any] = {}
        merged: list[yaml.Node] = []
        for key_node, value_node in node.value:
            if key_node.tag == _MERGE:
                merged.extend(value_node.value if isinstance(value_node, yaml.SequenceNode) else [value_node])
                continue
            if not isinstance(key_node, yaml.ScalarNode):
                self._report(key_node, key, "has a key that is not text.", "Use plain text as keys.")
                continue
            name = str(key_node.value)
            child = (*key, name)
            if name in values:
                first = self.document.lines[child]
                self._report(key_node, child, f"is there twice; the first is on line {first}.", "Keep one.")
                continue
            self.document.lines[child] = key_node.start_mark.line + 1
            values[name] = self.read(value_node, child)
        for source in merged:
            inherited = self.read(source, key)
            if isinstance(inherited, dict):
                values = {**inherited, **values}
        return values

    def _report(self, node: yaml.Node, key: KeyPath, message: str, remedy: str) -> None:
        self.problems.append(
            ConfigProblem(self.document.name, node.start_mark.line + 1, format_key(key), message, remedy)
        )


def _syntax_problem(document: Document, error: yaml.YAMLError) -> ConfigProblem:
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    what = getattr(error, "problem", None) or getattr(error, "reason", None) or str(error)
    context = getattr(error, "context", None)
    place = f" (column {mark.column + 1})" if mark else ""
    return ConfigProblem(
        file=document.name,
        line=mark.line + 1 if mark else None,
        key="(YAML)",
        message=f"{what}{f', {context}' if context else ''}{place}.",
        remedy="Check the indentation, and put text that holds `: `, `#`, `{` or `%` in quotes.",
    )


def _display_name(path: Path) -> str:
    try:
        return str(path.absolute().relative_to(Path.cwd()))
    except ValueError:
        return str(path)
