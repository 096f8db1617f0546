"""From distributions to one plan: beam search over sequences, then the plan of highest expected agreement."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from orchestai.contracts.base import Record
from orchestai.planner.agreement import Compared, PlanShape, compare
from orchestai.planner.decomposer import START, LSTMState, Memory, TaskDecomposer

KEPT_TYPES = 24
"""Types of a catalog that the search considers for one instruction."""

_NEGLIGIBLE = 3.0
"""Nats below the best finished sequence at which an open one no longer counts: 5 % of its weight."""


class DecodingConfig(Record):
    """How to decode; all but the widths is tuned on validation data.

    Attributes:
        beam: Hypotheses kept a step.
        candidates: Sequences whose graphs are built and compared.
        presence_weight: Weight of the evidence over the whole set of types beside the LSTM's sequence.
        transition_weight: Weight of the prior of type pairs that follow each other.
        temperature: Above 1 the candidates count more equally in the expectation.
        edge_threshold: Probability above which a pair becomes an edge.
        text_weight: Weight of what text says of types that were never trained: above 1 they are chosen more freely.
    """

    beam: int = 6
    candidates: int = 6
    presence_weight: float = 0.0
    transition_weight: float = 0.0
    temperature: float = 1.0
    edge_threshold: float = 0.5
    text_weight: float = 1.0


class Candidate(NamedTuple):
    """A finished sequence."""

    types: tuple[int, ...]
    sequence: float  # log-probability by the LSTM, stops included
    presence: float  # log-odds of exactly this multiset by the evidence, up to a constant
    transition: float  # log-prior of the pairs in sequence
    subtasks: Tensor | None = None  # (S, subtask size) embeddings, where a network made them

    def score(self, config: DecodingConfig) -> float:
        """Combined log-score."""
        return self.sequence + config.presence_weight * self.presence + config.transition_weight * self.transition


class Proposal(NamedTuple):
    """What one network proposes for one instruction: finished sequences, and [S][S] edge probabilities of each."""

    candidates: list[Candidate]
    edges: list[list[list[float]]]  # [candidate][parent][child]


Finished = tuple[float, tuple[int, ...], int]


class DecodedPlan(NamedTuple):
    """The chosen plan and what is known of it."""

    shape: PlanShape
    probability: float  # of sequence and edges, uncalibrated


def beam_search(
    decomposer: TaskDecomposer, memory: Memory, transitions: Tensor, config: DecodingConfig
) -> list[list[Candidate]]:
    """Return the best finished sequences of each instruction, best first.

    Args:
        decomposer: The network; in evaluation mode.
        memory: One row an instruction; narrowed, if the catalog is large.
        transitions: [K + 1, K] log-prior of the next type in the catalog; the last row is for the start.
        config: Widths and weights.
    """
    batch, kinds = memory.evidence.presence.shape[:2]
    width = config.beam
    rows = memory.repeat(width)
    device = memory.pooled.device
    scores = torch.full((batch, width), -math.inf, device=device)
    scores[:, 0] = 0.0
    emitted = torch.zeros(batch * width, 1, kinds, device=device)
    previous = torch.full((batch * width, 1), START, device=device)
    sequences = torch.zeros(batch, width, 0, dtype=torch.long, device=device)
    # Of each finished sequence: score, types, and the row of its embeddings in the history of its step.
    finished: list[list[Finished]] = [[] for _ in range(batch)]
    history: list[Tensor] = []  # of each step, (B * W, steps so far, subtask size)
    over: set[int] = set()
    offset = (torch.arange(batch, device=device) * width)[:, None]
    state: LSTMState | None = None
    starts = memory.kinds.new_full((batch, 1), len(transitions) - 1)
    prior = transitions[torch.cat([memory.kinds, starts], dim=1)[:, :, None], memory.kinds[:, None, :]]  # (B, K + 1, K)
    guide = (config.transition_weight * prior).repeat_interleave(width, dim=0)  # (B * W, K + 1, K)
    places = torch.arange(batch * width, device=device)
    ones = torch.ones(batch * width, 1, 1, device=device)
    bonus = torch.zeros(batch, width, device=device)  # transitions so far: guide the search, not the LSTM's score
    for _ in range(decomposer.max_subtasks):
        hidden, state = decomposer.advance(rows, previous, state)
        attended = decomposer.attend(rows, hidden)
        log_probs = decomposer.score(rows, hidden, attended, previous, emitted)[:, 0].view(batch, width, kinds)
        steps = guide[places, torch.where(previous == START, kinds, previous)[:, 0]].view(batch, width, kinds)
        total = scores[..., None] + log_probs  # (B, W, K)
        guided = total + bonus[..., None] + steps
        _, flat = guided.flatten(1).topk(min(width, width * kinds), dim=-1)
        if flat.shape[1] < width:
            flat = functional.pad(flat, (0, width - flat.shape[1]), value=int(flat[0, -1]))
        chosen, source = flat % kinds, flat // kinds  # (B, W)
        scores = total.flatten(1).gather(1, flat)
        bonus = (bonus[..., None] + steps).flatten(1).gather(1, flat)
        pick = (source + offset).flatten()
        previous = chosen.reshape(-1, 1)
        emitted = emitted[pick].scatter_add(2, previous[..., None], ones)
        state = (state[0][:, pick].contiguous(), state[1][:, pick].contiguous())
        subtasks = decomposer.embed(rows, hidden[pick], attended[pick], previous)
        history.append(torch.cat([history[-1][pick], subtasks], dim=1) if history else subtasks)
        stops = decomposer.stop_logits(rows, subtasks, emitted)[:, 0].view(batch, width)
        sequences = torch.cat([sequences.gather(1, source[..., None].expand_as(sequences)), chosen[..., None]], -1)
        ended = (scores + functional.logsigmoid(stops)).tolist()
        scores = scores + functional.logsigmoid(-stops)
        best_open = (scores + bonus.clamp(min=0)).amax(dim=1).tolist()
        for index, (row, named) in enumerate(zip(ended, sequences.tolist(), strict=True)):
            if index in over:  # company in the batch must not change a plan
                continue
            places_of = range(index * width, (index + 1) * width)
            finished[index].extend(
                (s, tuple(t), at) for s, t, at in zip(row, named, places_of, strict=True) if s > -math.inf
            )
            if settled(finished[index], best_open[index], config.candidates):
                over.add(index)
        if len(over) == batch:
            break
    presence, priors, names = memory.evidence.presence.tolist(), prior.tolist(), memory.kinds.tolist()
    ranked = []
    for index, found in enumerate(finished):
        unique: dict[tuple[int, ...], tuple[float, int]] = {}
        for score, types, at in found:
            unique[types] = max((score, at), unique.get(types, (-math.inf, 0)))
        candidates = [
            Candidate(
                types=tuple(names[index][kind] for kind in types),
                sequence=score,
                presence=presence_score(types, presence[index]),
                transition=transition_score(types, priors[index]),
                subtasks=history[len(types) - 1][at],
            )
            for types, (score, at) in unique.items()
        ]
        candidates.sort(key=lambda candidate: -candidate.score(config))
        ranked.append(candidates[: config.candidates])
    return ranked


def choose(proposals: Sequence[Proposal], config: DecodingConfig) -> DecodedPlan:
    """Return the plan of highest expected agreement with all candidates (minimum Bayes risk).

    Kumar & Byrne 2004 eq. 2, over the candidates of all networks, each network's weighted by their
    combined scores; with node F1 among the terms this is expected-F1 decoding of set and length. Equal
    sequences of several networks become one, with the mean of their edge probabilities.

    Args:
        proposals: One a network, at least one.
        config: Weights.
    """
    weights, edges = _merge(proposals, config)
    plans = {types: Compared(PlanShape(types, _parents(edges[types], config.edge_threshold))) for types in weights}
    voters = [(weight, plans[types]) for types, weight in weights.items() if weight > 0.01]
    expected = {
        types: sum(voice * compare(plans[types], voter) for voice, voter in voters)
        for types, weight in weights.items()
        if weight > 0.001
    }
    best = max(expected, key=lambda types: (expected[types], weights[types]))
    shape = plans[best].plan
    return DecodedPlan(shape=shape, probability=weights[best] * _edges_probability(edges[best], shape))


def _merge(
    proposals: Sequence[Proposal], config: DecodingConfig
) -> tuple[dict[tuple[int, ...], float], dict[tuple[int, ...], list[list[float]]]]:
    """Posterior and edge probabilities of each distinct sequence, averaged over the networks."""
    weights: dict[tuple[int, ...], float] = {}
    sums: dict[tuple[int, ...], list[list[float]]] = {}
    for candidates, edges in proposals:
        scores = [candidate.score(config) / config.temperature for candidate in candidates]
        top = max(scores)
        total = sum(math.exp(score - top) for score in scores) * len(proposals)
        for candidate, score, probs in zip(candidates, scores, edges, strict=True):
            weight = math.exp(score - top) / total + 1e-12
            size = len(candidate.types)
            so_far = sums.setdefault(candidate.types, [[0.0] * size for _ in range(size)])
            weights[candidate.types] = weights.get(candidate.types, 0.0) + weight
            for parent in range(size):
                for child in range(size):
                    so_far[parent][child] += weight * probs[parent][child]
    means = {types: [[p / weights[types] for p in row] for row in rows] for types, rows in sums.items()}
    return weights, means


def settled(found: list[Finished], best_open: float, wanted: int) -> bool:
    """Sort what is finished, and say whether nothing open can matter.

    Scores only fall, so what is open will not enter the candidates, or not count.
    """
    found.sort(reverse=True)
    full = len(found) >= wanted and best_open <= found[wanted - 1][0]
    return full or best_open <= found[0][0] - _NEGLIGIBLE


def presence_score(types: tuple[int, ...], presence: list[list[float]]) -> float:
    """Log-odds of exactly this multiset by the presence logits [K][2], up to a constant."""
    total = 0.0
    for kind in set(types):
        first, again = presence[kind]
        total += first - _softplus(again)
        total += again * min(types.count(kind) - 1, 1)
    return total


def transition_score(types: tuple[int, ...], prior: list[list[float]]) -> float:
    """Log-prior [K + 1][K] of the pairs in sequence; the last row is for the start."""
    return sum(prior[previous][kind] for previous, kind in zip((-1, *types), types, strict=False))


def _parents(probs: list[list[float]], threshold: float) -> tuple[tuple[int, ...], ...]:
    return tuple(tuple(p for p in range(child) if probs[p][child] > threshold) for child in range(len(probs)))


def _edges_probability(probs: list[list[float]], plan: PlanShape) -> float:
    product = 1.0
    for child, parents in enumerate(plan.parents):
        for parent in range(child):
            product *= probs[parent][child] if parent in parents else 1.0 - probs[parent][child]
    return product


def _softplus(value: float) -> float:
    return max(value, 0.0) + math.log1p(math.exp(-abs(value)))
