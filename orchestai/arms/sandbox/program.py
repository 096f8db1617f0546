"""What goes into the sandbox, and what comes out of it."""

from __future__ import annotations

import re
from typing import Literal

from pydantic import Field, field_validator

from orchestai.arms.sandbox.command import MAIN, Language
from orchestai.contracts.base import Record

_FILE_NAME = re.compile(r"(?!\.{1,2}(/|$))[\w.-]+(/(?!\.{1,2}(/|$))[\w.-]+)*")
_MAX_FILES = 64

Status = Literal["ok", "error", "timeout", "cpu_limit", "memory_limit", "file_limit", "output_limit", "killed"]


class Program(Record):
    """Code to run.

    Attributes:
        language: What it is written in.
        code: The code itself.
        files: Further files by their place below the work folder.
        stdin: What it reads from standard input.
    """

    language: Language = "python"
    code: str = Field(min_length=1)
    files: dict[str, str] = Field(default_factory=dict, max_length=_MAX_FILES)
    stdin: str = ""

    @field_validator("files")
    @classmethod
    def _check_names(cls, files: dict[str, str]) -> dict[str, str]:
        for name in files:
            if _FILE_NAME.fullmatch(name) is None or len(name) > 200 or name in MAIN.values():
                raise ValueError(
                    f"a file's name must be a path below the work folder, of letters, digits and `._-/`, "
                    f"and none of {', '.join(MAIN.values())}; got {name!r}."
                )
        return files


class SandboxResult(Record):
    """What became of a program.

    Attributes:
        status: `ok` for exit code 0, `error` for another; else which limit ended it, or `killed` by a signal.
        exit_code: As a shell gives it: 128 + the signal's number for a program that a signal ended; null where
            a limit ended it from outside.
        stdout: Standard output, as much of it as is allowed.
        stderr: Standard error, likewise.
        truncated: Whether more was written than is allowed.
        duration_ms: From the start of the sandbox to the end of its last process.
    """

    status: Status
    exit_code: int | None = None
    stdout: str = ""
    stderr: str = ""
    truncated: bool = False
    duration_ms: float = 0.0

    @property
    def ok(self) -> bool:
        """Whether the program ended by itself with exit code 0."""
        return self.status == "ok"

    @property
    def problem(self) -> str:
        """What went wrong, in words that a coder can work with; empty if nothing did."""
        if self.ok:
            return ""
        words = {
            "error": f"The program ended with exit code {self.exit_code}.",
            "timeout": "The program did not end within the time allowed.",
            "cpu_limit": "The program used all the processor time allowed.",
            "memory_limit": "The program used more memory than is allowed.",
            "file_limit": "The program made more files than are allowed.",
            "output_limit": "The program printed more than is allowed.",
            "killed": f"The program was ended by signal {(self.exit_code or 128) - 128}.",
        }[self.status]
        tail = self.stderr.strip()[-2000:]
        return f"{words}\n{tail}" if tail else words
