"""What Dagster may use: pools on one machine, requests and limits on Kubernetes."""

from __future__ import annotations

import re
from datetime import date
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema, model_validator

from orchestai.contracts.base import Record

GPU = "nvidia.com/gpu"


def _to_text(value: Any) -> Any:
    """`nvidia.com/gpu: 1` and `cpu: 0.5` are numbers in YAML; Kubernetes wants text."""
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


_QUANTITY = r"^[0-9]+(\.[0-9]+)?(m|k|M|G|T|P|Ki|Mi|Gi|Ti|Pi)?$"

Quantity = Annotated[
    str,
    BeforeValidator(_to_text),
    Field(pattern=_QUANTITY),
    WithJsonSchema({"anyOf": [{"type": "string", "pattern": _QUANTITY}, {"type": "number", "minimum": 0}]}),
]
"""An amount as Kubernetes writes it: `500m`, `2`, `4Gi`."""

StepKind = Literal["cpu", "gpu"]

_CRON_FIELD = r"[0-9*/,\-A-Za-z]+"


def _check_cron(cron: str) -> str:
    """Look at the form only; Dagster, which the library does not import, looks at the values."""
    if not re.fullmatch(rf"{_CRON_FIELD}( {_CRON_FIELD}){{4}}", cron):
        raise ValueError(f"must be a cron line of five fields, got {cron!r}. Example: '0 2 * * *', every day at 02:00.")
    return cron


Cron = Annotated[str, AfterValidator(_check_cron)]


class StepConfig(Record):
    """Resources of one step.

    Attributes:
        pool: Dagster pool that limits how many such steps run at a time.
        tags: Further Dagster tags.
        requests: What Kubernetes reserves for the step's container.
        limits: What Kubernetes lets it use; a GPU is asked for here (`nvidia.com/gpu: 1`).
    """

    pool: str = Field(min_length=1)
    tags: dict[str, str] = Field(default_factory=dict)
    requests: dict[str, Quantity] = Field(default_factory=dict)
    limits: dict[str, Quantity] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _check_gpu(self) -> Self:
        requested, allowed = self.requests.get(GPU), self.limits.get(GPU)
        if requested is not None and requested != allowed:
            raise ValueError(
                f"Kubernetes wants the same {GPU} in `requests` and `limits`, got {requested} and {allowed}. "
                "Set it in `limits` only."
            )
        return self

    @property
    def k8s_config(self) -> dict[str, Any]:
        """Value of the tag `dagster-k8s/config`."""
        resources = {
            name: dict(value) for name, value in (("requests", self.requests), ("limits", self.limits)) if value
        }
        return {"container_config": {"resources": resources}}


def _default_steps() -> dict[StepKind, StepConfig]:
    return {"cpu": StepConfig(pool="cpu"), "gpu": StepConfig(pool="gpu", limits={GPU: "1"})}


class DagsterConfig(Record):
    """How Dagster runs the assets and the live workflows.

    Attributes:
        start_date: First day of the partitions of the execution logs; older log files are not ingested.
        executor: Where steps run: in the process of the run, or each in a process or in a pod of its own.
        nightly_retraining: When to train anew, as a cron line in UTC.
        gpu_workers: Workers that compute on the GPU of the step: their sub-tasks run in GPU steps.
        pools: Steps that may run at a time, by pool.
        steps: Resources of a CPU step and of a GPU step.
    """

    start_date: date = date(2026, 1, 1)
    executor: Literal["in_process", "multiprocess", "k8s"] = "in_process"
    nightly_retraining: Cron = "0 2 * * *"
    gpu_workers: tuple[str, ...] = ()
    pools: dict[str, Annotated[int, Field(ge=1)]] = Field(default_factory=lambda: {"cpu": 4, "gpu": 1})
    steps: dict[StepKind, StepConfig] = Field(default_factory=_default_steps)

    @model_validator(mode="after")
    def _check_steps(self) -> Self:
        missing = [kind for kind in ("cpu", "gpu") if kind not in self.steps]
        if missing:
            raise ValueError(f"`steps` must say what a {missing[0]} step may use. Add `{missing[0]}: {{pool: ...}}`.")
        return self
