"""Shows gates as asset checks: what was observed, and what is allowed."""

from collections.abc import Iterator, Sequence

import dagster as dg

from orchestai.validation.report import Gate
from orchestai_assets.io import records

WARNINGS = "warnings"


def gate_result(gate: str, *, passed: bool, observed: str, allowed: str, warns: bool = False) -> dg.AssetCheckResult:
    """Return the result of a check that is one gate.

    Args:
        gate: What is judged.
        passed: Whether it holds.
        observed: What was found.
        allowed: What would hold.
        warns: A failure is a warning and no error.
    """
    return dg.AssetCheckResult(
        passed=passed,
        severity=dg.AssetCheckSeverity.WARN if warns else dg.AssetCheckSeverity.ERROR,
        metadata={"gate": gate, "observed": observed, "allowed": allowed},
    )


def gate_specs(asset: dg.AssetKey, name: str, description: str) -> list[dg.AssetCheckSpec]:
    """Return a blocking check for the gates that refuse, and another one for those that only warn.

    They are two because automation waits for every blocking check to pass, and a warning must not hold it up.
    """
    return [
        dg.AssetCheckSpec(name, asset=asset, blocking=True, description=description),
        dg.AssetCheckSpec(WARNINGS, asset=asset, description="Gates that do not refuse but are worth a look."),
    ]


def gate_results(asset: dg.AssetKey, name: str, gates: Sequence[Gate]) -> Iterator[dg.AssetCheckResult]:
    """Return the results of the two checks of `gate_specs`."""
    parts = ((name, "error", dg.AssetCheckSeverity.ERROR), (WARNINGS, "warn", dg.AssetCheckSeverity.WARN))
    for check, severity, shown_as in parts:
        mine = [gate for gate in gates if gate.severity == severity]
        broken = [gate for gate in mine if not gate.passed]
        first = broken[0] if broken else None
        yield dg.AssetCheckResult(
            asset_key=asset,
            check_name=check,
            passed=not broken,
            severity=shown_as,
            description=f"{len(broken)} of {len(mine)} gates failed." if broken else f"{len(mine)} gates passed.",
            metadata={
                "gate": first.name if first else "all gates",
                "observed": str(first.observed) if first else "all hold",
                "allowed": first.allowed if first else "all hold",
                "remedy": (first.remedy or "none") if first else "nothing to do",
                "gates": records(gate.model_dump(mode="json") for gate in mine),
            },
        )
