"""`promotion/`: what a new version must prove before it is released, and how it is released."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from orchestai.contracts.base import Record

Metric = Literal["success", "cost", "slow"]


class HeldoutConfig(Record):
    """The rows that a candidate is judged on: a part of the test split, drawn anew for each version.

    Attributes:
        share: Part of the test split; 1 judges every version on the same rows.
        min_rows: Fewest rows that are worth a judgement.
    """

    share: float = Field(default=0.5, gt=0, le=1)
    min_rows: int = Field(default=20, ge=2)


class GatesConfig(Record):
    """What a candidate must prove against the champion, or against the rules where there is none; null asks nothing.

    Attributes:
        quality_lower_bound: Points that the paired 95 % interval of quality may reach down to.
        family_lower_bound: The same for each family of tasks on its own, simultaneously over the families.
        family_min_rows: Rows of a family below which it cannot be judged.
        off_policy_lower_bound: The same for the off-policy interval of success, where it is measurable.
        off_policy_max_width: Points that this interval may span; a wider one is not measurable, unless all of it
            lies below the bound.
        calibration_max_increase: Points by which the calibration error may grow.
        latency_max_ratio: How much longer planning may take (95th percentile).
        latency_max_ms: Longest time of planning (95th percentile), whatever the champion takes.
        cost_max_ratio: How much dearer the planned work may be, by sub-task that is needed.
        dag_validity_min: Percent of plans that must be valid.
    """

    quality_lower_bound: float | None = Field(default=-1.0, le=0)
    family_lower_bound: float | None = Field(default=-5.0, le=0)
    family_min_rows: int = Field(default=8, ge=2)
    off_policy_lower_bound: float | None = Field(default=-1.0, le=0)
    off_policy_max_width: float = Field(default=4.0, gt=0)
    calibration_max_increase: float | None = Field(default=3.0, ge=0)
    latency_max_ratio: float | None = Field(default=1.5, gt=0)
    latency_max_ms: float | None = Field(default=100.0, gt=0)
    cost_max_ratio: float | None = Field(default=1.1, gt=0)
    dag_validity_min: float | None = Field(default=100.0, ge=0, le=100)


class StageConfig(Record):
    """One stage of a canary.

    Attributes:
        share: Part of the instructions that the challenger gets.
        units: Instructions that it must have got in this stage.
        minutes: Shortest time of the stage.
    """

    share: float = Field(gt=0, lt=1)
    units: int = Field(ge=1)
    minutes: float = Field(default=0.0, ge=0)


class HarmConfig(Record):
    """The harm in one metric that a release is watched for, and the error that is allowed in it.

    Attributes:
        size: Harm that must not be missed: a share (0.05 is five points) for success and slow answers, a part of
            the champion's mean for cost.
        alpha: Probability of a false alarm in this metric over the whole life of the release.
    """

    size: float = Field(gt=0, le=1)
    alpha: float = Field(gt=0, lt=0.5)


class CanaryConfig(Record):
    """How a new version takes over.

    Attributes:
        stages: Shares, rising.
        holdback_share: Part of the instructions that the former champion keeps after the decision.
        holdback_units: Instructions that it gets until the release ends.
        reference_units: The champion's first instructions of the release; they fix its p95 latency and mean cost.
        min_units: Instructions of the challenger before anything is decided.
        harms: What is watched. The alphas add up to the probability of a false rollback.
    """

    stages: tuple[StageConfig, ...] = (
        StageConfig(share=0.05, units=400),
        StageConfig(share=0.25, units=800),
        StageConfig(share=0.5, units=800),
    )
    holdback_share: float = Field(default=0.05, ge=0, lt=0.5)
    holdback_units: int = Field(default=200, ge=1)
    reference_units: int = Field(default=100, ge=20)
    min_units: int = Field(default=30, ge=5)
    harms: dict[Metric, HarmConfig] = Field(
        default={
            "success": HarmConfig(size=0.05, alpha=0.015),
            "cost": HarmConfig(size=0.15, alpha=0.005),
            "slow": HarmConfig(size=0.05, alpha=0.005),
        },
        min_length=1,
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        shares = [stage.share for stage in self.stages]
        if not shares or shares != sorted(set(shares)):
            raise ValueError(f"`stages` must have rising shares, got {shares}.")
        total = sum(harm.alpha for harm in self.harms.values())
        if total > 0.1:
            raise ValueError(f"the alphas of `harms` add up to {total:.3f}: more than 0.1 is no protection.")
        return self


class PromotionConfig(Record):
    """How versions are judged and released.

    Attributes:
        description: What these rules are for.
        heldout: Rows that candidates are judged on.
        gates: What they must prove there.
        canary: How they take over.
    """

    description: str = ""
    heldout: HeldoutConfig = HeldoutConfig()
    gates: GatesConfig = GatesConfig()
    canary: CanaryConfig = CanaryConfig()
