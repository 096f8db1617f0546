"""Shows the gates of a validation as one asset check."""

from collections.abc import Sequence

import dagster as dg

from orchestai.validation.report import Gate
from orchestai_assets.io import records


def gates_result(gates: Sequence[Gate]) -> dg.AssetCheckResult:
    """Return a check that fails as an error for a gate that refuses, and as a warning for one that only warns."""
    broken = [gate for gate in gates if not gate.passed]
    refusing = [gate for gate in broken if gate.severity == "error"]
    first = next(iter(refusing or broken), None)
    return dg.AssetCheckResult(
        passed=not broken,
        severity=dg.AssetCheckSeverity.WARN if broken and not refusing else dg.AssetCheckSeverity.ERROR,
        description=f"{len(broken)} of {len(gates)} gates failed." if broken else f"{len(gates)} gates passed.",
        metadata={
            "gate": first.name if first else "all gates",
            "observed": str(first.observed) if first else "all hold",
            "allowed": first.allowed if first else "all hold",
            "remedy": (first.remedy or "none") if first else "nothing to do",
            "gates": records(gate.model_dump(mode="json") for gate in gates),
        },
    )
