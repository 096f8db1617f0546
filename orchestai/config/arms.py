"""`arms/default.yml`: what confines code, what makes one arm better than another, and how often work is repaired."""

from __future__ import annotations

from pathlib import Path
from typing import Self

from pydantic import Field, model_validator

from orchestai.contracts.base import Record


class SandboxConfig(Record):
    """What a program in the sandbox may use.

    Attributes:
        wall_s: Seconds until everything that the program started is killed.
        cpu_s: Seconds of processor time a process.
        memory_mb: Mebibytes of memory, for each process and for all together.
        processes: Processes and threads at a time.
        file_mb: Mebibytes of one file.
        work_mb: Mebibytes of the work folder, which lies in memory.
        work_files: Files and folders in the work folder.
        output_kb: Kibibytes of standard output, and as many of standard error.
        bubblewrap: The `bwrap` program; null looks in /usr/local/bin, /usr/bin and /bin.
    """

    wall_s: float = Field(default=10.0, gt=0, le=3600)
    cpu_s: int = Field(default=10, ge=1, le=3600)
    memory_mb: int = Field(default=512, ge=64)
    processes: int = Field(default=16, ge=1, le=512)
    file_mb: int = Field(default=16, ge=1)
    work_mb: int = Field(default=64, ge=1)
    work_files: int = Field(default=4096, ge=16)
    output_kb: int = Field(default=256, ge=1)
    bubblewrap: Path | None = None


class ScoringConfig(Record):
    """What an arm's score is made of; the weights need not add up to 1.

    Attributes:
        success: Weight of the success rate.
        cost: Weight of a low price.
        latency: Weight of a short answer time.
        load: Weight of free capacity.
        cost_scale_usd: Price that counts as half good.
        latency_scale_ms: Answer time that counts as half good.
        prior_success: Success rate of an arm that nobody has tried.
        prior_calls: How many calls that assumption is worth.
    """

    success: float = Field(default=0.5, ge=0)
    cost: float = Field(default=0.2, ge=0)
    latency: float = Field(default=0.2, ge=0)
    load: float = Field(default=0.1, ge=0)
    cost_scale_usd: float = Field(default=0.001, gt=0)
    latency_scale_ms: float = Field(default=1000.0, gt=0)
    prior_success: float = Field(default=0.8, ge=0, le=1)
    prior_calls: float = Field(default=5.0, gt=0)

    @model_validator(mode="after")
    def _check_weights(self) -> Self:
        if self.success + self.cost + self.latency + self.load <= 0:
            raise ValueError("at least one of `success`, `cost`, `latency` and `load` must be > 0, got 0 for all.")
        return self


class RetrieverConfig(Record):
    """How documents are cut and how many passages come back.

    Attributes:
        passages: Passages of one answer.
        passage_words: Words of one passage.
        overlap_words: Words that two neighbouring passages share.
    """

    passages: int = Field(default=4, ge=1)
    passage_words: int = Field(default=120, ge=8)
    overlap_words: int = Field(default=20, ge=0)

    @model_validator(mode="after")
    def _check_overlap(self) -> Self:
        if self.overlap_words >= self.passage_words:
            raise ValueError(
                f"`overlap_words` must be < `passage_words`, got {self.overlap_words} >= {self.passage_words}."
            )
        return self


class ArmsConfig(Record):
    """Arms: workers with a role.

    Attributes:
        sandbox: What a program in the sandbox may use.
        scoring: What an arm's score is made of.
        retriever: How documents are cut and how many passages come back.
        coder_repairs: Times that a coder may mend a program that failed.
        judge_repairs: Times that an answer may be mended that the judge refused.
        judge_threshold: Score from which on a judge's acceptance counts.
    """

    sandbox: SandboxConfig = SandboxConfig()
    scoring: ScoringConfig = ScoringConfig()
    retriever: RetrieverConfig = RetrieverConfig()
    coder_repairs: int = Field(default=2, ge=0, le=10)
    judge_repairs: int = Field(default=2, ge=0, le=10)
    judge_threshold: float = Field(default=0.5, ge=0, le=1)
