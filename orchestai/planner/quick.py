"""The same search as `propose`, for one instruction: what is multiplied at every step is multiplied once.

A plan of five sub-tasks is a few hundred small products. In torch each costs more to start than to compute, so
everything that depends on the catalog alone is folded into tables when a checkpoint is loaded, everything that
depends on the instruction alone before the first step, and the steps run in numpy. Products of matrices stay in
torch: numpy's library starts threads for them.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from orchestai.planner.decoding import (
    KEPT_TYPES,
    Candidate,
    DecodingConfig,
    Finished,
    Proposal,
    presence_score,
    settled,
    transition_score,
)
from orchestai.planner.model import PlannerNetwork
from orchestai.planner.quick_graph import QuickGraph
from orchestai.planner.quick_math import Array, gelu, layer_norm, product, sigmoid, softmax, softplus
from orchestai.planner.shapes import TypeTables


class _Folded(NamedTuple):
    """What a catalog and the weights make together. D is the width of contexts, L of the LSTM, P of sub-tasks."""

    tokens: Tensor  # (H, 4 * D) keys and values of the evidence, keys and values of the decomposer
    tokens_bias: Tensor  # (4 * D,)
    queries: Tensor  # (heads, K, d), scaled
    outputs: Tensor  # (K, 2, D), scaled
    pooled: Tensor  # (H, D)
    gates: Tensor  # (K, 4 * L) what a type's name gives to the gates
    gates_context: Tensor  # (D, 4 * L)
    gates_pooled: Tensor  # (D, 4 * L)
    gates_start: Tensor  # (4 * L,)
    gates_bias: Tensor  # (4 * L,)
    gates_hidden: Tensor  # (L, 4 * L)
    match: Tensor  # (K, L + D), scaled
    match_bias: Tensor  # (K,)
    subtask: Tensor  # (K, P) what a type's name gives to the sub-task
    subtask_context: Tensor  # (D, P)
    subtask_step: Tensor  # (L + D, P)
    stop: Tensor  # (P, 64)


class _Sheet(NamedTuple):
    """What the steps of one instruction read; M types are left of K."""

    presence: Array  # (M, 2)
    positions: Array  # (M,)
    order: npt.NDArray[np.intp]  # (M,) types by position
    links: Array  # (M + 1, M); the last row is for the start
    prior: Array  # (M + 1, M)
    kinds: list[int]  # (M,) which types of the catalog these are
    rest: float
    ask: Tensor  # (L, T)
    ask_bias: Array  # (T,)
    values: Tensor  # (T, D)
    gates: Array  # (M + 1, 4 * L)
    match: Tensor  # (L + D, M)
    match_bias: Array  # (M,)
    subtask: Array  # (M, P)


class QuickSearch:
    """One network's proposals for one instruction after another.

    Args:
        network: In evaluation mode; its weights must not change afterwards.
        tables: What it makes of the catalog.
        transitions: [K + 1, K] log-prior of the next type; the last row is for the start.
        config: Widths and weights.
    """

    def __init__(
        self, network: PlannerNetwork, tables: TypeTables, transitions: Tensor, config: DecodingConfig
    ) -> None:
        self._network = network
        self._graph = QuickGraph(network)
        self._tables = tables
        self._config = config
        self._transitions = transitions.numpy()
        self._links = tables.links.numpy()
        with torch.inference_mode():
            self._folded = _fold(network, tables)
        decomposer = network.decomposer
        self._order_in, self._order_out = _first_linear(decomposer.order), _last_linear(decomposer.order)
        norm = decomposer.subtask_norm
        self._norm = (norm.weight.detach().numpy(), norm.bias.detach().numpy(), norm.eps)
        weight, self._stop_bias = _first_linear(decomposer.stop)
        self._stop_features = weight[-3:].copy()  # (3, 64)
        self._stop_out = _last_linear(decomposer.stop)
        self._gate = float(decomposer.gate.detach())

    def __call__(self, states: Tensor, embedding: Tensor, hints: Tensor) -> Proposal:
        """Candidates and their edge probabilities.

        Args:
            states: [T, H] of the tokens.
            embedding: [H] pooled.
            hints: [K, features].
        """
        with torch.inference_mode():
            sheet = self._prepare(states, embedding, hints)
            candidates = self._search(sheet)
            return Proposal([one._replace(subtasks=None) for one in candidates], self._graph(candidates))

    def _prepare(self, states: Tensor, embedding: Tensor, hints: Tensor) -> _Sheet:
        f, evidence, decomposer = self._folded, self._network.evidence, self._network.decomposer
        size, heads = evidence.size, evidence.heads
        tokens = torch.addmm(f.tokens_bias, states, f.tokens)  # (T, 4 * D)
        keys, values, own_keys, own_values = tokens.split(size, dim=1)
        split = keys.reshape(-1, heads, size // heads).permute(1, 2, 0)  # (heads, d, T)
        weights = (f.queries @ split).softmax(dim=-1)  # (heads, K, T)
        contexts = weights @ values.reshape(-1, heads, size // heads).transpose(0, 1)  # (heads, K, d)
        contexts = evidence.norm(contexts.transpose(0, 1).flatten(1))  # (K, D)
        presence = (
            (f.outputs * contexts[:, None]).sum(dim=-1)
            + evidence.shared(contexts)
            + self._tables.bias
            + evidence.hints(hints)
        )  # (K, 2)
        first = presence[:, 0]
        likely = first.sigmoid()
        if len(first) > KEPT_TYPES:
            kept = first.topk(KEPT_TYPES).indices.sort().values  # (M,)
            rest = float(likely.sum() - likely[kept].sum())
        else:
            kept, rest = torch.arange(len(first)), 0.0
        length = len(states)
        steps = torch.arange(length, dtype=weights.dtype)
        positions = (weights[:, kept].mean(dim=0) @ steps / length).numpy()  # (M,)
        contexts = contexts[kept]
        pooled = torch.addmv(decomposer.pooled.bias, f.pooled.T, embedding * len(embedding) ** 0.5)  # (D,)
        common = f.gates_bias + pooled @ f.gates_pooled  # (4 * L,)
        gates = torch.cat([f.gates[kept] + contexts @ f.gates_context, f.gates_start[None]]) + common
        kinds = kept.numpy()
        places = np.append(kinds, len(self._transitions) - 1)
        scale = size**0.5
        return _Sheet(
            presence=presence[kept].numpy(),
            positions=positions,
            order=np.argsort(positions, kind="stable"),
            links=np.concatenate([self._links[np.ix_(kinds, kinds)], np.zeros((1, len(kinds)), np.float32)]),
            prior=self._transitions[np.ix_(places, kinds)],
            kinds=kinds.tolist(),
            rest=rest,
            ask=(own_keys @ (decomposer.ask.weight / scale)).T,
            ask_bias=(own_keys @ (decomposer.ask.bias / scale)).numpy(),
            values=own_values,
            gates=gates.numpy(),
            match=f.match[kept].T,
            match_bias=f.match_bias[kept].numpy(),
            subtask=(f.subtask[kept] + contexts @ f.subtask_context).numpy(),
        )

    def _search(self, sheet: _Sheet) -> list[Candidate]:
        """Beam search; see `decoding.beam_search`."""
        config, decomposer = self._config, self._network.decomposer
        most = len(sheet.kinds)
        width = self._folded.gates_hidden.shape[0]
        hidden = np.zeros((1, width), dtype=np.float32)  # one row an open sequence
        cell = np.zeros((1, width), dtype=np.float32)
        previous = np.array([most])
        emitted = np.zeros((1, most), dtype=np.float32)
        scores, bonus = np.zeros(1, dtype=np.float32), np.zeros(1, dtype=np.float32)
        sequences: list[tuple[int, ...]] = [()]
        parts: list[tuple[Array, ...]] = [()]
        finished: list[Finished] = []
        found: dict[tuple[int, ...], tuple[float, tuple[Array, ...]]] = {}
        for step in range(decomposer.max_subtasks):
            hidden, cell = self._advance(sheet, previous, hidden, cell, first=step == 0)
            attention = softmax(product(hidden, sheet.ask) + sheet.ask_bias)  # (N, T)
            read = np.concatenate([hidden, product(attention, sheet.values)], axis=1)  # (N, L + D)
            total = scores[:, None] + self._score(sheet, read, previous, emitted)  # (N, M)
            steps = config.transition_weight * sheet.prior[previous]
            guided = (total + bonus[:, None] + steps).ravel()
            flat = np.argsort(-guided, kind="stable")[: config.beam]
            source, chosen = flat // most, flat % most
            scores = total.ravel()[flat]
            bonus = (bonus[:, None] + steps).ravel()[flat]
            emitted = emitted[source]
            emitted[np.arange(len(flat)), chosen] += 1
            hidden, cell, previous = hidden[source], cell[source], chosen
            subtasks = self._embed(sheet, read[source], chosen)
            stops = self._stop(sheet, subtasks, emitted)
            sequences = [(*sequences[s], c) for s, c in zip(source.tolist(), chosen.tolist(), strict=True)]
            parts = [(*parts[s], row) for s, row in zip(source.tolist(), subtasks, strict=True)]
            ended = scores - softplus(-stops)
            scores = scores - softplus(stops)
            for score, types, rows in zip(ended.tolist(), sequences, parts, strict=True):
                finished.append((score, types, 0))
                found[types] = (score, rows)
            if settled(finished, float((scores + np.maximum(bonus, 0)).max()), config.candidates):
                break
        presence, prior = sheet.presence.tolist(), sheet.prior.tolist()
        candidates = [
            Candidate(
                types=tuple(sheet.kinds[kind] for kind in types),
                sequence=score,
                presence=presence_score(types, presence),
                transition=transition_score(types, prior),
                subtasks=torch.from_numpy(np.stack(rows)),
            )
            for types, (score, rows) in found.items()
        ]
        candidates.sort(key=lambda candidate: -candidate.score(config))
        return candidates[: config.candidates]

    def _advance(
        self, sheet: _Sheet, previous: npt.NDArray[np.intp], hidden: Array, cell: Array, *, first: bool
    ) -> tuple[Array, Array]:
        gates = sheet.gates[previous]
        if not first:
            gates = gates + product(hidden, self._folded.gates_hidden)
        width = hidden.shape[1]
        take, keep, new, show = (gates[:, at * width : (at + 1) * width] for at in range(4))
        cell = sigmoid(keep) * cell + sigmoid(take) * np.tanh(new)
        return sigmoid(show) * np.tanh(cell), cell

    def _score(self, sheet: _Sheet, read: Array, previous: npt.NDArray[np.intp], emitted: Array) -> Array:
        due = _due(sheet.presence, emitted)  # (N, M)
        here = np.broadcast_to(sheet.positions, due.shape)
        before = np.append(sheet.positions, np.float32(0))[previous][:, None]
        likely = sigmoid(due[:, sheet.order])
        rank = np.empty_like(due)
        rank[:, sheet.order] = np.cumsum(likely, axis=1) - likely
        features = np.stack([due / 4, here, here - before, np.minimum(emitted, 2), rank, sheet.links[previous]], -1)
        weight, bias = self._order_in
        ordered = gelu(features.reshape(-1, 6) @ weight + bias) @ self._order_out[0] + self._order_out[1]
        matched = product(read, sheet.match) + sheet.match_bias
        logits = matched + self._gate * due + ordered.reshape(due.shape)
        top = logits.max(axis=1, keepdims=True)
        return np.asarray(logits - top - np.log(np.exp(logits - top).sum(axis=1, keepdims=True)))

    def _embed(self, sheet: _Sheet, read: Array, chosen: npt.NDArray[np.intp]) -> Array:
        joined = product(read, self._folded.subtask_step) + sheet.subtask[chosen]  # (N, P)
        return gelu(layer_norm(joined, *self._norm))

    def _stop(self, sheet: _Sheet, subtasks: Array, emitted: Array) -> Array:
        due = _due(sheet.presence, emitted)
        features = np.stack(
            [sigmoid(due).sum(axis=1) + sheet.rest, due.max(axis=1) / 4, emitted.sum(axis=1) / 4], axis=1
        ).astype(np.float32)
        inner = product(subtasks, self._folded.stop) + features @ self._stop_features + self._stop_bias
        return np.asarray(gelu(inner) @ self._stop_out[0] + self._stop_out[1])


def _fold(network: PlannerNetwork, tables: TypeTables) -> _Folded:
    evidence, decomposer = network.evidence, network.decomposer
    size = evidence.size
    input_weight, hidden_weight, input_bias, hidden_bias = decomposer.lstm.all_weights[0]
    named, context, pooled = input_weight.split(size, dim=1)  # (4 * L, D) each
    width = decomposer.lstm.hidden_size
    step_weight = decomposer.subtask.weight  # (P, L + 3 * D)
    parts = (evidence.keys, evidence.values, decomposer.keys, decomposer.values)
    scale = size**0.5
    return _Folded(
        tokens=torch.cat([part.weight for part in parts]).T.contiguous(),
        tokens_bias=torch.cat([part.bias for part in parts]),
        queries=tables.queries.view(len(tables.queries), evidence.heads, -1).transpose(0, 1).contiguous()
        / (size // evidence.heads) ** 0.5,
        outputs=(tables.outputs.view(-1, 2, size) / scale).contiguous(),
        pooled=decomposer.pooled.weight.T.contiguous(),
        gates=tables.names @ named.T,
        gates_context=context.T.contiguous(),
        gates_pooled=pooled.T.contiguous(),
        gates_start=decomposer.start @ torch.cat([named, context], dim=1).T,
        gates_bias=input_bias + hidden_bias,
        gates_hidden=hidden_weight.T.contiguous(),
        match=tables.names @ decomposer.match.weight / scale,
        match_bias=tables.names @ decomposer.match.bias / scale,
        subtask=tables.names @ step_weight[:, width + size : width + 2 * size].T + decomposer.subtask.bias,
        subtask_context=step_weight[:, width + 2 * size :].T.contiguous(),
        subtask_step=step_weight[:, : width + size].T.contiguous(),
        stop=torch.from_numpy(_first_linear(decomposer.stop)[0][:-3]),
    )


def _first_linear(block: nn.Sequential) -> tuple[Array, Array]:
    """Weights (in, out) and bias of the first layer."""
    layer = next(part for part in block if isinstance(part, nn.Linear))
    return layer.weight.detach().numpy().T.copy(), layer.bias.detach().numpy()


def _last_linear(block: nn.Sequential) -> tuple[Array, float]:
    """Weights (in,) and bias of a last layer with one output."""
    layer = [part for part in block if isinstance(part, nn.Linear)][-1]
    return layer.weight.detach().numpy()[0], float(layer.bias.detach())


def _due(presence: Array, emitted: Array) -> Array:
    """See `decomposer.due_presence`."""
    again = presence[:, 1] - 2 * np.maximum(emitted - 1, 0)
    return np.where(emitted == 0, presence[:, 0], again)
