"""Tools that no training plan has: how many of them a planner finds by their description alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from orchestai.contracts import PlanExample, PlanPredictor, TaskCatalog
from orchestai.embeddings.protocol import TextEncoder
from orchestai.evaluation.evaluate import answers, measure


def without(tasks: TaskCatalog, held: frozenset[str], *, keep_types: bool = False) -> TaskCatalog:
    """Return the catalog without the held-out tools, or with them but without their links: text is all they have."""
    return TaskCatalog(
        types=tuple(kind for kind in tasks.types if keep_types or kind.name not in held),
        links=tuple(pair for pair in tasks.links if not held.intersection(pair)),
    )


def tool_results(
    learned: PlanPredictor,
    encoder: TextEncoder,
    test: Sequence[PlanExample],
    tasks: TaskCatalog,
    held: frozenset[str],
) -> dict[str, Any]:
    """Measure on plans that need a held-out tool.

    Args:
        learned: A planner that was trained without the held-out tools and now plans with all of them.
        encoder: For the comparison.
        test: The plans.
        tasks: All tools.
        held: Names of the held-out tools.

    Returns:
        `recall` and `zero_shot_cosine`: percent of the held-out tools in the gold plans that are found, by the
        planner and by the tools nearest to the instruction. The latter is told the size of the gold plan.
    """
    found = answers(learned, test)
    whole = measure(test, found, tasks)
    planned = [plan.task_types if plan is not None else () for plan in found]
    return {
        "tools": len(held),
        "n": len(test),
        "recall": recall(test, planned, held),
        "zero_shot_cosine": recall(test, nearest(encoder, test, tasks), held),
        **{key: whole[key] for key in ("node_f1", "link_f1", "exact")},
    }


def price(
    learned: PlanPredictor, alone: PlanPredictor, plans: Sequence[PlanExample], tasks: TaskCatalog
) -> dict[str, float]:
    """What described tools cost where none of them is needed.

    Args:
        learned: Plans with the held-out tools beside the trained ones.
        alone: The same planner with the trained tools only.
        plans: Plans without held-out tools. The planner was stopped on them: only differences say something.
        tasks: All tools.

    Returns:
        `n`, and by how many points node F1, link F1 and exact plans are lower with the held-out tools in the catalog.
    """
    with_them, without_them = (measure(plans, answers(planner, plans), tasks) for planner in (learned, alone))
    return {"n": len(plans), **{key: without_them[key] - with_them[key] for key in ("node_f1", "link_f1", "exact")}}


def recall(golds: Sequence[PlanExample], plans: Sequence[Sequence[str]], held: frozenset[str]) -> float:
    """Percent of the occurrences of held-out tools in the gold plans that the plans have too."""
    wanted = hits = 0
    for gold, plan in zip(golds, plans, strict=True):
        have = Counter(plan)
        for name, count in Counter(gold.task_types).items():
            if name in held:
                wanted += count
                hits += min(count, have[name])
    return 100.0 * hits / wanted if wanted else 0.0


def nearest(encoder: TextEncoder, golds: Sequence[PlanExample], tasks: TaskCatalog) -> list[tuple[str, ...]]:
    """As many tools as the gold plan has, those whose descriptions are nearest to the instruction."""
    described = encoder.encode([f"{kind.name.replace('_', ' ')}: {kind.description}" for kind in tasks.types])
    texts = np.concatenate(
        [encoder.encode([g.instruction for g in golds[at : at + 64]]) for at in range(0, len(golds), 64)]
    )
    order = np.argsort(-(texts @ described.T), axis=1, kind="stable")  # (N, K)
    return [
        tuple(tasks.names[kind] for kind in row[: len(gold.task_types)]) for row, gold in zip(order, golds, strict=True)
    ]
