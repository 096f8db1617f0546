"""The learned router on live plans: expectations, choices, limits and exploration become assignments."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

from orchestai.config import RoutingConfig
from orchestai.contracts import Assignment, Instruction, TaskCatalog, WorkerCatalog, WorkflowGraph, planning_text
from orchestai.routing.assign import MOST_ALTERNATIVES, NOBODY_AWAY, Away, candidates
from orchestai.routing.coldstart import Newcomer
from orchestai.routing.explore import Draw, explore
from orchestai.routing.forecast import NOBODY, Asked, Forecast, forecast
from orchestai.routing.limits import fit_plan, plan_limits
from orchestai.routing.model import RouterModel
from orchestai.routing.router import RoutingDecision, decide, ranking
from orchestai.routing.text import subtask_texts

Mask = npt.NDArray[np.bool_]


class Encoder(Protocol):
    """Turns texts into unit vectors, (N, H)."""

    def encode(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """Return one row a text."""


class PlanRouter:
    """Chooses a worker for every sub-task of a plan.

    Args:
        model: The trained router.
        encoder: The encoder that it was trained with.
        workers: The workers that plans may use; those that the router does not know are judged by their
            descriptions.
        routing: What to prefer, and how much is left to chance.
        version: Identity of the checkpoint.
    """

    def __init__(
        self, model: RouterModel, encoder: Encoder, workers: WorkerCatalog, routing: RoutingConfig, *, version: str
    ) -> None:
        self._model = model
        self._encoder = encoder
        self._workers = tuple(workers.profiles())
        self._routing = routing
        self._price_weight = model.policy.thrifty_weight if routing.prefer == "thrift" else 0.0
        self.version = version
        new = [worker for worker in self._workers if worker.name not in model.workers]
        vectors = encoder.encode([worker.description for worker in new]).astype(np.float64) if new else ()
        self._newcomers = {worker.name: Newcomer(model, vector) for worker, vector in zip(new, vectors, strict=True)}

    def assign(
        self,
        graph: WorkflowGraph,
        instruction: Instruction,
        *,
        tasks: TaskCatalog,
        catalog: WorkerCatalog,
        fallback: Sequence[Assignment],
        execution_id: str | None,
        away: Mapping[str, Away] = NOBODY_AWAY,
    ) -> tuple[Assignment, ...]:
        """Choose one worker for each sub-task.

        Args:
            graph: The sub-tasks.
            instruction: Its budget limits the plan.
            tasks: The task types of the graph.
            catalog: The workers of `__init__`.
            fallback: What the rule says, for sub-tasks of which no candidate has a record.
            execution_id: Seed of what is left to chance; without one nothing is.
            away: Workers that are left alone for now, by name: neither chosen nor drawn.

        Raises:
            InfeasibleError: Nothing keeps to the limits of the budget.
            NoWorkerError: A sub-task needs a call that no worker answers.
            WorkersAwayError: All who could do a sub-task are away.
        """
        texts = subtask_texts(
            planning_text(instruction.text, instruction.inputs), [node.description for node in graph.nodes]
        )
        chars = len(instruction.text) + sum(len(value) for value in instruction.inputs.values())
        asked = [Asked(text, tasks[node.task_type], chars) for text, node in zip(texts, graph.nodes, strict=True)]
        able = self._able(graph, tasks, catalog, away)
        embeddings = self._encoder.encode(texts).astype(np.float64)
        found = forecast(self._model, self._newcomers, asked, embeddings, self._workers, able)
        decisions = decide(self._model, found, asked, self._workers, price_weight=self._price_weight)
        names = [worker.name for worker in self._workers]
        preferred = [
            names.index(decision.worker if decision is not None else fallback[node].worker)
            for node, decision in enumerate(decisions)
        ]
        limits = plan_limits(instruction.budget)
        fitted = fit_plan(
            graph,
            preferred,
            limits,
            success=found.success,
            cost_usd=found.cost_usd if limits.budget_usd is None else found.bound_usd,
            latency_ms=found.latency_ms,
            names=names,
        )
        draws = [Draw(place, {place: 1.0}) for place in fitted.workers]
        if execution_id is not None and self._routing.exploration > 0:
            draws = explore(
                found,
                fitted.workers,
                self._explorable(able, found),
                value=fitted.value,
                limits=limits,
                share=self._routing.exploration,
                margin=self._routing.exploration_margin,
                execution_id=execution_id,
            )
        return tuple(
            self._assignment(node, found, draws[node], fitted.workers[node], decisions[node], fallback[node], preferred)
            for node in range(len(graph))
        )

    def _able(self, graph: WorkflowGraph, tasks: TaskCatalog, catalog: WorkerCatalog, away: Mapping[str, Away]) -> Mask:
        names = [worker.name for worker in self._workers]
        able = np.zeros((len(graph), len(names)), dtype=np.bool_)
        for row, node in enumerate(graph.nodes):
            for worker in candidates(tasks[node.task_type], catalog, self._routing, away):
                able[row, names.index(worker.name)] = True
        return able

    def _explorable(self, able: Mask, found: Forecast) -> Mask:
        """Chance makes no calls with external effects, and none where nothing is known of anybody."""
        harmless = np.array([not worker.external_effects for worker in self._workers])
        return np.asarray(able & harmless & (found.base != NOBODY)[:, None], dtype=np.bool_)

    def _assignment(
        self,
        node: int,
        found: Forecast,
        draw: Draw,
        best: int,
        decision: RoutingDecision | None,
        fallback: Assignment,
        preferred: Sequence[int],
    ) -> Assignment:
        names = [worker.name for worker in self._workers]
        place = draw.chosen
        if decision is None and place == preferred[node]:
            return fallback.model_copy(update={"propensities": {fallback.worker: 1.0}})
        if place != best:
            reason = f"drawn at random from {len(draw.propensities)} workers of like quality, to learn from it"
        elif best != preferred[node] or decision is None:
            reason = (
                f"the best plan within its limits takes it; expected to succeed with {found.success[node, place]:.0%}"
            )
        else:
            reason = decision.reason
        return Assignment(
            worker=names[place],
            reason=reason,
            alternatives=tuple(names[each] for each in ranking(found, node) if each != place)[:MOST_ALTERNATIVES],
            propensity=draw.propensities[place],
            propensities={names[each]: chance for each, chance in draw.propensities.items()},
            estimated_cost_usd=float(found.bound_usd[node, place]),
            estimated_latency_ms=float(found.latency_ms[node, place]),
            predicted_success=float(found.success[node, place]),
            predicted_cost_usd=float(found.cost_usd[node, place]),
        )
