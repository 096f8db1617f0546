"""Public data sets and the starter corpus become catalogs, plans and outcomes that the trainers read."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from orchestai.importers.asynchow import import_asynchow, read_step_plans
    from orchestai.importers.kinds import IMPORTERS, import_dataset
    from orchestai.importers.llmperf import import_llmperf
    from orchestai.importers.llmrouter import import_llmrouter
    from orchestai.importers.plans import read_outcomes, read_plans
    from orchestai.importers.sink import ImportReport
    from orchestai.importers.starter import StarterRecord, read_starter
    from orchestai.importers.ultratool import import_ultratool
    from orchestai.importers.zeroeval import import_zeroeval

_HOME = {
    "IMPORTERS": "kinds",
    "ImportReport": "sink",
    "StarterRecord": "starter",
    "import_asynchow": "asynchow",
    "import_dataset": "kinds",
    "import_llmperf": "llmperf",
    "import_llmrouter": "llmrouter",
    "import_ultratool": "ultratool",
    "import_zeroeval": "zeroeval",
    "read_outcomes": "plans",
    "read_plans": "plans",
    "read_starter": "starter",
    "read_step_plans": "asynchow",
}

__all__ = [
    "IMPORTERS",
    "ImportReport",
    "StarterRecord",
    "import_asynchow",
    "import_dataset",
    "import_llmperf",
    "import_llmrouter",
    "import_ultratool",
    "import_zeroeval",
    "read_outcomes",
    "read_plans",
    "read_starter",
    "read_step_plans",
]


def __getattr__(name: str) -> Any:
    """Load a member on first use: reading the starter corpus must not load pyarrow (PEP 562)."""
    if name in _HOME:
        return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
