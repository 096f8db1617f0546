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
from orchestai.planner.hints import FEATURES
from orchestai.planner.model import PlannerNetwork
from orchestai.planner.new_types import judge_by_text
from orchestai.planner.quick_graph import QuickGraph
from orchestai.planner.quick_math import Array, gelu, layer_norm, log_softmax, product, sigmoid, softmax, softplus
from orchestai.planner.shapes import TypeTables

_HALF = np.float32(0.5)


class _Folded(NamedTuple):
    """What a catalog and the weights make together. D is the width of contexts, L of the LSTM, P of sub-tasks."""

    tokens: Tensor  # (H, 4 * D) keys and values of the evidence, keys and values of the decomposer
    tokens_bias: Tensor  # (4 * D,)
    queries: Tensor  # (heads, K, d), scaled
    outputs: Tensor  # (K, 2, D), scaled
    presence_bias: Tensor  # (K, 2)
    hints: Tensor  # (features, 2)
    pooled: Tensor  # (D, H), scaled
    gates_pooled: Tensor  # (D, 4 * L)
    gates_bias: Tensor  # (4 * L,)
    gates_start: Tensor  # (4 * L,)
    gates_hidden: Tensor  # (L, 4 * L)
    kinds: Tensor  # (K, 4 * L + P + L + D + 1) what a type's name gives: to gates and sub-task, matching, its bias
    contexts: Tensor  # (D, 4 * L + P) what a type's context gives to gates and sub-task
    subtask_step: Tensor  # (L + D, P)
    ask: Tensor  # (D, L + 1) scaled; the last column is the bias
    stop: Tensor  # (P, 64)


class _Sheet(NamedTuple):
    """What the steps of one instruction read; M types are left of K, in the order of their positions."""

    presence: Array  # (M, 2)
    places: Array  # (M + 1,) positions; the last is for the start
    links: Array  # (M + 1, M); the last row is for the start
    prior: Array  # (M + 1, M)
    kinds: list[int]  # (M,) which types of the catalog these are
    ask: Tensor  # (L, T)
    ask_bias: Array  # (T,)
    values: Tensor  # (T, D)
    gates: Array  # (M + 1, 4 * L)
    match: Tensor  # (L + D, M)
    match_bias: Array  # (M,)
    order: Array  # (M, 16) what position alone gives to the network over order
    stop: Array  # (steps, 64) what the number of steps alone gives to the stop
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
        self._links = np.concatenate([tables.links.numpy(), np.zeros((1, len(tables.links)), np.float32)])
        with torch.inference_mode():
            self._folded = _fold(network, tables)
        decomposer = network.decomposer
        weight, self._order_bias = _first_linear(
            decomposer.order
        )  # due / 4, here, here - before, emitted, rank, linked
        self._order_here = weight[1] + weight[2]
        self._order_in = np.stack([weight[0] / 4, weight[4], weight[3], weight[5], -weight[2]])
        self._order_out = _last_linear(decomposer.order)[0]  # its bias is the same for all types
        norm = decomposer.subtask_norm
        self._norm = (norm.weight.detach().numpy(), norm.bias.detach().numpy(), norm.eps)
        weight, self._stop_bias = _first_linear(decomposer.stop)
        self._stop_features = weight[-3:].copy()  # (3, 64) for: sum of what is due, its maximum / 4, steps / 4
        self._stop_out = _last_linear(decomposer.stop)
        self._gate = np.float32(decomposer.gate.detach())

    def __call__(self, states: Tensor, embedding: Tensor, hints: Tensor) -> Proposal:
        """Candidates and their edge probabilities.

        Args:
            states: [T, H] of the tokens.
            embedding: [H] pooled.
            hints: [K, features], or one more where the catalog has new types, as `PlannerNetwork.look` takes them.
        """
        with torch.inference_mode():
            sheet = self._prepare(states, embedding, hints)
            candidates = self._search(sheet)
            return Proposal([one._replace(subtasks=None) for one in candidates], self._graph(candidates))

    def _prepare(self, states: Tensor, embedding: Tensor, hints: Tensor) -> _Sheet:
        f, evidence = self._folded, self._network.evidence
        size, heads = evidence.size, evidence.heads
        tokens = torch.addmm(f.tokens_bias, states, f.tokens)  # (T, 4 * D)
        keys, values, own_keys, own_values = tokens.split(size, dim=1)
        split = keys.reshape(-1, heads, size // heads).permute(1, 2, 0)  # (heads, d, T)
        weights = (f.queries @ split).softmax(dim=-1)  # (heads, K, T)
        read = weights @ values.reshape(-1, heads, size // heads).transpose(0, 1)  # (heads, K, d)
        contexts = evidence.norm(read.transpose(0, 1).flatten(1))  # (K, D)
        hinted = torch.addmm(f.presence_bias, hints[:, :FEATURES], f.hints)
        presence = (f.outputs * contexts[:, None]).sum(dim=-1) + hinted  # (K, 2)
        if hints.shape[1] > FEATURES:
            presence = judge_by_text(presence, hints[:, FEATURES], self._tables.new)
        first = presence[:, 0]
        kept = first.topk(KEPT_TYPES).indices if len(first) > KEPT_TYPES else torch.arange(len(first))
        length = len(states)
        steps = torch.arange(length, dtype=weights.dtype) / (length * heads)
        positions = (weights[:, kept] @ steps).sum(dim=0)  # (M,)
        by_place = positions.argsort()
        kept = kept[by_place]
        narrow = 4 * f.gates_hidden.shape[0]
        both = narrow + f.subtask_step.shape[1]
        rows = f.kinds[kept]  # (M, ..)
        given = torch.addmm(rows[:, :both], contexts[kept], f.contexts).numpy()  # (M, 4 * L + P)
        common = f.gates_bias + (self._network.decomposer.pooled.bias + f.pooled @ embedding) @ f.gates_pooled
        gates = np.concatenate([given[:, :narrow], f.gates_start.numpy()[None]])
        gates += common.numpy()
        asked = own_keys @ f.ask  # (T, L + 1)
        kinds = kept.numpy()
        rest = 0.0
        if len(first) > len(kinds):
            likely = first.sigmoid()
            rest = float(likely.sum() - likely[kept].sum())
        sources = np.append(kinds, len(self._transitions) - 1)[:, None]
        places = np.append(positions[by_place].numpy(), np.float32(0))
        counted = np.arange(1, self._network.decomposer.max_subtasks + 1, dtype=np.float32)[:, None] / 4
        return _Sheet(
            presence=presence[kept].numpy(),
            places=places,
            links=self._links[sources, kinds],
            prior=self._transitions[sources, kinds],
            kinds=kinds.tolist(),
            ask=asked[:, :-1].T,
            ask_bias=asked[:, -1].numpy(),
            values=own_values,
            gates=gates,
            match=rows[:, both:-1].T,
            match_bias=rows[:, -1].numpy(),
            order=places[:-1, None] * self._order_here + self._order_bias,
            stop=counted * self._stop_features[2] + (self._stop_bias + np.float32(rest) * self._stop_features[0]),
            subtask=given[:, narrow:],
        )

    def _search(self, sheet: _Sheet) -> list[Candidate]:
        """Beam search; see `decoding.beam_search`."""
        config = self._config
        most = len(sheet.kinds)
        width = self._folded.gates_hidden.shape[0]
        hidden = cell = np.zeros((1, width), dtype=np.float32)  # one row an open sequence
        previous = np.array([most])
        emitted = np.zeros((1, most), dtype=np.float32)
        due = sheet.presence[:, 0][None]  # (N, M)
        likely = sigmoid(due)
        scores = bonus = np.zeros(1, dtype=np.float32)
        guide = config.transition_weight * sheet.prior if config.transition_weight else None
        sequences: list[tuple[int, ...]] = [()]
        embedded: list[Array] = []  # of each step, (N, steps so far, P)
        finished: list[Finished] = []
        found: dict[tuple[int, ...], tuple[float, Array]] = {}
        for step in range(len(sheet.stop)):
            hidden, cell = self._advance(sheet, previous, hidden, cell, first=step == 0)
            attention = product(hidden, sheet.ask)  # (N, T)
            attention += sheet.ask_bias
            read = np.concatenate([hidden, product(softmax(attention), sheet.values)], axis=1)  # (N, L + D)
            total = self._score(sheet, read, previous, emitted, due, likely)  # (N, M)
            total += scores[:, None]
            guided = total
            if guide is not None:
                steps = guide[previous] + bonus[:, None]
                guided = total + steps
            flat = np.argsort(-guided.ravel(), kind="stable")[: config.beam]
            source, chosen = np.divmod(flat, most)
            scores = total.ravel()[flat]
            bonus = steps.ravel()[flat] if guide is not None else np.zeros_like(scores)
            places = np.arange(len(flat))
            emitted, due, likely = emitted[source], due[source], likely[source]
            emitted[places, chosen] += 1
            again = sheet.presence[chosen, 1] - 2 * (emitted[places, chosen] - 1)  # see `decomposer.due_presence`
            due[places, chosen] = again
            likely[places, chosen] = sigmoid(again)
            hidden, cell, previous = hidden[source], cell[source], chosen
            subtasks = self._embed(sheet, read[source], chosen)  # (N, P)
            stops = self._stop(sheet.stop[step], subtasks, due, likely)
            whole = subtasks[:, None]
            embedded.append(np.concatenate([embedded[-1][source], whole], axis=1) if embedded else whole)
            sequences = [(*sequences[s], c) for s, c in zip(source.tolist(), chosen.tolist(), strict=True)]
            going = softplus(stops)
            ended = scores + stops - going
            scores = scores - going
            for score, types, rows in zip(ended.tolist(), sequences, embedded[-1], strict=True):
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
                subtasks=torch.from_numpy(rows),
            )
            for types, (score, rows) in found.items()
        ]
        candidates.sort(key=lambda candidate: -candidate.score(config))
        return candidates[: config.candidates]

    def _advance(
        self, sheet: _Sheet, previous: npt.NDArray[np.intp], hidden: Array, cell: Array, *, first: bool
    ) -> tuple[Array, Array]:
        gates = sheet.gates[previous]  # (N, 4 * L)
        if not first:
            gates += product(hidden, self._folded.gates_hidden)
        width = hidden.shape[1]
        np.tanh(gates, gates)
        parts = gates[:, : 3 * width]  # take, keep, show: sigmoids, of half their values
        parts *= _HALF
        parts += _HALF
        cell = parts[:, width : 2 * width] * cell
        cell += parts[:, :width] * gates[:, 3 * width :]
        return np.tanh(cell) * parts[:, 2 * width :], cell

    def _score(
        self, sheet: _Sheet, read: Array, previous: npt.NDArray[np.intp], emitted: Array, due: Array, likely: Array
    ) -> Array:
        features = np.empty((*due.shape, len(self._order_in)), dtype=np.float32)
        features[..., 0] = due
        np.cumsum(likely, axis=1, out=features[..., 1])
        features[..., 1] -= likely
        np.minimum(emitted, 2, out=features[..., 2])
        features[..., 3] = sheet.links[previous]
        features[..., 4] = sheet.places[previous][:, None]
        inner = (features.reshape(-1, len(self._order_in)) @ self._order_in).reshape(*due.shape, -1)
        inner += sheet.order
        logits = gelu(inner) @ self._order_out  # (N, M)
        logits += product(read, sheet.match)
        logits += sheet.match_bias
        logits += self._gate * due
        return log_softmax(logits)

    def _embed(self, sheet: _Sheet, read: Array, chosen: npt.NDArray[np.intp]) -> Array:
        joined = product(read, self._folded.subtask_step)  # (N, P)
        joined += sheet.subtask[chosen]
        return gelu(layer_norm(joined, *self._norm))

    def _stop(self, constant: Array, subtasks: Array, due: Array, likely: Array) -> Array:
        inner = product(subtasks, self._folded.stop)
        inner += constant
        inner += np.add.reduce(likely, axis=1, keepdims=True) * self._stop_features[0]
        inner += np.maximum.reduce(due, axis=1, keepdims=True) * (self._stop_features[1] / 4)
        return np.asarray(gelu(inner) @ self._stop_out[0] + np.float32(self._stop_out[1]))


def _fold(network: PlannerNetwork, tables: TypeTables) -> _Folded:
    evidence, decomposer = network.evidence, network.decomposer
    size = evidence.size
    input_weight, hidden_weight, input_bias, hidden_bias = map(_gates, decomposer.lstm.all_weights[0])
    named, context, pooled = input_weight.split(size, dim=1)  # (4 * L, D) each
    width = decomposer.lstm.hidden_size
    step_weight = decomposer.subtask.weight  # (P, L + 3 * D)
    parts = (evidence.keys, evidence.values, decomposer.keys, decomposer.values)
    scale = size**0.5
    names = tables.names
    return _Folded(
        tokens=torch.cat([part.weight for part in parts]).T.contiguous(),
        tokens_bias=torch.cat([part.bias for part in parts]),
        queries=tables.queries.view(len(tables.queries), evidence.heads, -1).transpose(0, 1).contiguous()
        / (size // evidence.heads) ** 0.5,
        outputs=(tables.outputs.view(-1, 2, size) / scale + evidence.shared.weight).contiguous(),
        presence_bias=tables.bias + evidence.shared.bias + evidence.hints.bias,
        hints=evidence.hints.weight.T.contiguous(),
        pooled=decomposer.pooled.weight * decomposer.pooled.in_features**0.5,
        gates_pooled=pooled.T.contiguous(),
        gates_bias=input_bias + hidden_bias,
        gates_start=decomposer.start @ torch.cat([named, context], dim=1).T,
        gates_hidden=hidden_weight.T.contiguous(),
        kinds=torch.cat(
            [
                names @ named.T,
                names @ step_weight[:, width + size : width + 2 * size].T + decomposer.subtask.bias,
                names @ decomposer.match.weight / scale,
                (names @ decomposer.match.bias / scale)[:, None],
            ],
            dim=1,
        ),
        contexts=torch.cat([context, step_weight[:, width + 2 * size :]]).T.contiguous(),
        subtask_step=step_weight[:, : width + size].T.contiguous(),
        ask=torch.cat([decomposer.ask.weight, decomposer.ask.bias[:, None]], dim=1) / scale,
        stop=torch.from_numpy(_first_linear(decomposer.stop)[0][:-3]),
    )


def _gates(weight: Tensor) -> Tensor:
    """Rows for take, keep, new, show -> take, keep and show halved, then new: one tanh serves them all."""
    take, keep, new, show = weight.chunk(4)
    return torch.cat([take / 2, keep / 2, show / 2, new])


def _first_linear(block: nn.Sequential) -> tuple[Array, Array]:
    """Weights (in, out) and bias of the first layer."""
    layer = next(part for part in block if isinstance(part, nn.Linear))
    return layer.weight.detach().numpy().T.copy(), layer.bias.detach().numpy()


def _last_linear(block: nn.Sequential) -> tuple[Array, float]:
    """Weights (in,) and bias of a last layer with one output."""
    layer = [part for part in block if isinstance(part, nn.Linear)][-1]
    return layer.weight.detach().numpy()[0], float(layer.bias.detach())
