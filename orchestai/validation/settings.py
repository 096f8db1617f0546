"""What the six-stage gate may be told: thresholds, sizes, which dimensions are critical."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError, field_validator

from orchestai.contracts.base import Record
from orchestai.errors import ConfigError, ConfigProblem

Dimension = Literal[
    "mode_collapse",
    "spectral_degradation",
    "gradient_pathology",
    "distribution_shift",
    "diversity_loss",
    "memorization",
    "quality_degradation",
    "pattern_repetition",
]
DIMENSIONS: tuple[Dimension, ...] = (
    "mode_collapse",
    "spectral_degradation",
    "gradient_pathology",
    "distribution_shift",
    "diversity_loss",
    "memorization",
    "quality_degradation",
    "pattern_repetition",
)


class PriceList(Record):
    """What a fix costs; a recommendation's cost is the rows it touches times these.

    Attributes:
        review_row_usd: A person looks at one row.
        collect_row_usd: One new row from the source.
        remove_row_usd: One row is filtered out by a program.
        engineer_hour_usd: One hour of somebody who repairs a pipeline.
    """

    review_row_usd: float = Field(0.05, ge=0)
    collect_row_usd: float = Field(0.10, ge=0)
    remove_row_usd: float = Field(0.00001, ge=0)
    engineer_hour_usd: float = Field(90.0, ge=0)


class GateSettings(Record):
    """How the gate measures and decides.

    Attributes:
        collapse_threshold: Smallest collapse score that is approved, 0 to 100.
        diversity_threshold: Smallest diversity score that is approved, 0 to 100.
        critical_threshold: Smallest score of a critical dimension.
        warn_threshold: A dimension below this score warns.
        critical_dimensions: Those that reject on their own.
        count_copies: Whether rows that stand in the reference already count as repetition; switch it off
            where a table is meant to contain the reference, such as a growing log.
        sample_rows: Rows that the costly statistics look at. Row counts, hashes and histograms see all rows.
        null_draws: Healthy draws that calibrate each statistic.
        bootstrap_draws: Redraws of the sample that give the confidence.
        exact_hashes: Distinct rows that are held exactly; beyond it a sample of the hashes is held.
        max_problem_rows: Most rows that are listed.
        chunk_rows: Rows held decoded at a time.
        cascade_rows: Rows that the cascade learns from.
        near_text_rows: Rows whose texts are looked at for near repetition, a sample if there are more; 0 means none.
        embedding_rows: Rows whose texts are embedded for semantic diversity; 0 switches it off.
        embedding_seconds: Longest time for embedding; where it would take longer, it is left out and said so.
        seed: Seed of everything random.
        prices: Price list of the recommendations.
    """

    collapse_threshold: float = Field(65.0, ge=0, le=100)
    diversity_threshold: float = Field(50.0, ge=0, le=100)
    critical_threshold: float = Field(40.0, ge=0, le=100)
    warn_threshold: float = Field(95.0, ge=0, le=100)
    critical_dimensions: tuple[Dimension, ...] = DIMENSIONS
    count_copies: bool = True
    sample_rows: int = Field(8_000, ge=50)
    null_draws: int = Field(200, ge=20)
    bootstrap_draws: int = Field(50, ge=10)
    exact_hashes: int = Field(4_000_000, ge=1_000)
    max_problem_rows: int = Field(10_000, ge=1)
    chunk_rows: int = Field(65_536, ge=1)
    cascade_rows: int = Field(60_000, ge=200)
    near_text_rows: int = Field(50_000, ge=0)
    embedding_rows: int = Field(300, ge=0, le=5_000)
    embedding_seconds: float = Field(30.0, ge=0)
    seed: int = 0
    prices: PriceList = PriceList()

    @field_validator("critical_dimensions")
    @classmethod
    def _each_once(cls, value: tuple[Dimension, ...]) -> tuple[Dimension, ...]:
        return tuple(name for name in DIMENSIONS if name in value)

    @classmethod
    def from_file(cls, path: Path) -> GateSettings:
        """Read settings from YAML.

        Raises:
            ConfigError: The file is missing, is no YAML mapping, or has wrong keys; all are reported.
        """
        import yaml

        try:
            found = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            raise ConfigError([ConfigProblem(str(path), None, "(file)", f"cannot be read: {error}")]) from error
        if not isinstance(found, dict):
            raise ConfigError([ConfigProblem(str(path), None, "(file)", "must be a mapping of settings.")])
        try:
            return cls.model_validate(found)
        except ValidationError as error:
            problems = [
                ConfigProblem(str(path), None, ".".join(map(str, each["loc"])), each["msg"]) for each in error.errors()
            ]
            raise ConfigError(problems) from error
