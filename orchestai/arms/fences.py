"""Code in an answer: the fenced blocks of Markdown."""

from __future__ import annotations

import re
from typing import NamedTuple

from orchestai.arms.sandbox import Language

_FENCE = re.compile(
    r"^[ ]{0,3}(?P<fence>`{3,}|~{3,})[ \t]*(?P<tag>[\w+#.-]*)[^\n]*\n(?P<code>.*?)(?:^[ ]{0,3}(?P=fence)|\Z)",
    re.S | re.M,
)
_LANGUAGES: dict[str, Language] = {
    "python": "python",
    "python3": "python",
    "py": "python",
    "bash": "bash",
    "sh": "bash",
    "shell": "bash",
}


class CodeBlock(NamedTuple):
    """One fenced block; `language` is null where the fence does not say it."""

    language: Language | None
    code: str


def code_blocks(text: str) -> list[CodeBlock]:
    """Return the blocks of a language that can be run, or of none, in order.

    A last block without an end is taken as it is: the run will tell whether it is whole.
    """
    blocks: list[CodeBlock] = []
    for match in _FENCE.finditer(text.replace("\r\n", "\n")):
        tag = match["tag"].lower()
        if match["code"].strip() and (not tag or tag in _LANGUAGES):
            blocks.append(CodeBlock(_LANGUAGES.get(tag), match["code"]))
    return blocks


def fenced(language: Language, code: str) -> str:
    """Return `code` as a block whose fence does not occur in it."""
    longest = max((len(run) for run in re.findall(r"`+", code)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{language}\n{code.rstrip()}\n{fence}"
