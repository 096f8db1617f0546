from __future__ import annotations

from pathlib import Path

import pytest

from orchestai.config.document import Document, format_key, plain_scalar, read_document
from orchestai.errors import ConfigProblem


def read(tmp_path: Path, text: str | bytes) -> tuple[Document, list[ConfigProblem]]:
    path = tmp_path / "x.yml"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return read_document(path)


def test_values_and_lines(tmp_path: Path) -> None:
    document, problems = read(tmp_path, "# top\na: 1\nb:\n  - x: 1e-4\n  - x: '1e-4'\n")
    assert problems == []
    assert document.data == {"a": 1, "b": [{"x": 0.0001}, {"x": "1e-4"}]}
    assert document.line(("a",)) == 2
    assert document.line(("b", 1, "x")) == 5
    assert document.line(("b", 0, "missing")) == 4  # the nearest thing around it
    assert format_key(("b", 1, "x")) == "b[1].x"


def test_anchors_and_merge_keys(tmp_path: Path) -> None:
    document, problems = read(tmp_path, "base: &base {a: 1, b: 2}\nuse:\n  <<: *base\n  b: 3\n")
    assert problems == []
    assert document.data["use"] == {"a": 1, "b": 3}


def test_an_alias_to_itself_does_not_run_forever(tmp_path: Path) -> None:
    _, problems = read(tmp_path, "a: &a\n  b: *a\n")
    assert [p.message for p in problems] == ["contains itself."]


def test_aliases_that_multiply_are_stopped(tmp_path: Path) -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 9)]
    _, problems = read(tmp_path, "\n".join(lines))
    assert [p.message for p in problems] == ["has more than 100,000 values."]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "a: !!python/object/apply:os.system ['true']\n",
            "has the tag 'tag:yaml.org,2002:python/object/apply:os.system'",
        ),
        ("a: !custom x\n", "is not a value of YAML"),
        ("a: 2026-13-45\n", "is not a value of YAML"),
        ("a: .inf\n", "must be a finite number, got .inf."),
        ("a: .nan\n", "must be a finite number"),
        ("a: 1e999\n", "must be a finite number"),
        ("- a\n- b\n", "must be a mapping"),
        ("just text\n", "must be a mapping"),
        ("? [a, b]\n: 1\n", "has a key that is not text"),
        ("a: 1\n--- \nb: 2\n", "expected a single document"),
        (b"a: \xff\n", "is not UTF-8: byte 3 is 0xff."),
        ("a: \x00\n", "control characters are not allowed"),
        ("a: {{ env_var('X') }}\n", "key"),
    ],
)
def test_what_is_no_configuration(tmp_path: Path, text: str | bytes, message: str) -> None:
    _, problems = read(tmp_path, text)
    assert problems
    assert message in problems[0].message
    assert problems[0].remedy


def test_an_empty_file_is_an_empty_mapping(tmp_path: Path) -> None:
    document, problems = read(tmp_path, "# nothing\n")
    assert (document.data, problems) == ({}, [])


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", None),
        ("7", 7),
        ("0.5", 0.5),
        ("1e-4", 1e-4),
        ("true", True),
        ("null", None),
        ("a: b", "a: b"),
        (".inf", ".inf"),
        ("x", "x"),
    ],
)
def test_plain_scalars_follow_yaml(text: str, value: object) -> None:
    assert plain_scalar(text) == value
    assert type(plain_scalar(text)) is type(value)
