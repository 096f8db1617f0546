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
from scipy.special import expit
from torch import Tensor, nn
from torch.nn import functional

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
from orchestai.planner.quick_math import Array, gelu, layer_norm, product
from orchestai.planner.shapes import TypeTables

_HALF = np.float32(0.5)
_ZERO = np.float32(0)

Indices = npt.NDArray[np.intp]


class _Folded(NamedTuple):
    """What a catalog and the weights make together. D is the width of contexts, L of the LSTM, P of sub-tasks.

    Values of the evidence have two more columns a head: the first is 1 and gives the sum of what a type's attention
    adds up, the second is for the tokens' places.
    """

    tokens: Tensor  # (H, 4 * D + 2 * heads) keys of the evidence, keys and values of the decomposer, widened values
    tokens_bias: Tensor  # (4 * D + 2 * heads,)
    queries: Tensor  # (heads, d, K), scaled
    outputs: Array  # (2, D, K), scaled, times the weight of the norm of contexts
    presence_bias: Tensor  # (K, 2)
    hints: Tensor  # (features, 2)
    pooled: Tensor  # (D, H), scaled
    gates_pooled: Tensor  # (D, 4 * L)
    gates_bias: Tensor  # (4 * L,)
    gates_start: Array  # (1, 4 * L)
    gates_hidden: Tensor  # (L, 4 * L)
    kinds: Tensor  # (K, 4 * L + P + L + D + 1) what a type's name gives: to gates and sub-task, matching, its bias
    contexts: Tensor  # (D, 4 * L + P) what a type's context, normed but not weighed, gives to gates and sub-task
    subtask_step: Tensor  # (L + D, P)
    ask: Tensor  # (D, L + 1) scaled; the last column is the bias
    stop: Tensor  # (P, 64)


class _Sheet(NamedTuple):
    """What the steps of one instruction read; M types are left of K, in the order of their positions."""

    presence: Array  # (M, 2)
    prior: Array  # (M + 1, M); the last row is for the start
    kinds: list[int]  # (M,) which types of the catalog these are
    ask: Tensor  # (L, T)
    ask_bias: Tensor  # (T,)
    values: Tensor  # (T, D)
    gates: Array  # (M + 1, 4 * L)
    match: Tensor  # (L + D, M)
    match_bias: Tensor  # (M,)
    order: Array  # (M + 1, M * 16) what the type before and position give to the network over order
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
        decomposer, evidence = network.decomposer, network.evidence
        self._size, self._heads, self._eps = evidence.size, evidence.heads, evidence.norm.eps
        kept = min(len(tables.links), KEPT_TYPES)
        weight, self._order_bias = _first_linear(decomposer.order)
        here = np.eye(kept, dtype=np.float32)
        earlier = np.triu(np.ones_like(here), 1)
        # (3 * M, M * 16): what due, likely and emitted types give to the network over order
        mixed = np.concatenate([np.kron(here, weight[0] / 4), np.kron(earlier, weight[4]), np.kron(here, weight[3])])
        self._order_state = torch.from_numpy(mixed)
        # for: position, position of the type before, linked
        self._order_fixed = np.stack([weight[1] + weight[2], -weight[2], weight[5]])
        self._order_out = _last_linear(decomposer.order)[0]  # its bias is the same for all types
        norm = decomposer.subtask_norm
        self._norm = (norm.weight.detach(), norm.bias.detach(), norm.eps)
        weight, bias = _first_linear(decomposer.stop)
        self._stop_likely, self._stop_due = weight[-3], weight[-2] / 4
        counted = np.arange(1, decomposer.max_subtasks + 1, dtype=np.float32)[:, None] / 4
        self._stop_counted = counted * weight[-1] + bias  # (steps, 64)
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
            candidates, subtasks = self._search(sheet)
            return Proposal(candidates, self._graph(subtasks))

    def _prepare(self, states: Tensor, embedding: Tensor, hints: Tensor) -> _Sheet:
        f, size = self._folded, self._size
        tokens = torch.addmm(f.tokens_bias, states, f.tokens)  # (T, 4 * D + 2 * heads)
        own_keys, own_values = tokens[:, size : 2 * size], tokens[:, 2 * size : 3 * size]
        found, places = self._attend(tokens[:, :size], tokens[:, 3 * size :])  # (D, K), (K,)
        found -= np.add.reduce(found, axis=0) / size
        deviation = np.sqrt(np.einsum("dk,dk->k", found, found) / size + self._eps)
        presence = torch.addmm(f.presence_bias, hints[:, :FEATURES], f.hints)  # (K, 2)
        presence += torch.from_numpy(np.einsum("odk,dk->ko", f.outputs, found) / deviation[:, None])
        if hints.shape[1] > FEATURES:
            presence = judge_by_text(presence, hints[:, FEATURES], self._tables.new)
        first = presence[:, 0].numpy()
        kept = np.argpartition(first, -KEPT_TYPES)[-KEPT_TYPES:] if len(first) > KEPT_TYPES else np.arange(len(first))
        kept = kept[np.argsort(places[kept])]  # (M,)
        narrow = 4 * f.gates_hidden.shape[0]
        both = narrow + f.subtask_step.shape[1]
        rows = f.kinds.index_select(0, torch.from_numpy(kept))  # (M, ..)
        contexts = torch.from_numpy(found[:, kept] / deviation[kept])  # (D, M)
        given = torch.addmm(rows[:, :both], contexts.T, f.contexts).numpy()  # (M, 4 * L + P)
        gates = np.concatenate([given[:, :narrow], f.gates_start])
        gates += torch.addmm(f.gates_bias, (f.pooled @ embedding)[None], f.gates_pooled).numpy()
        asked = own_keys @ f.ask  # (T, L + 1)
        rest = 0.0
        if len(first) > len(kept):
            rest = float(np.add.reduce(expit(first)) - np.add.reduce(expit(first[kept])))
        sources = np.append(kept, len(self._transitions) - 1)[:, None]
        before = np.append(places[kept], np.float32(0))
        here, previous, linked = self._order_fixed
        order = self._links[sources, kept][..., None] * linked  # (M + 1, M, 16)
        order += before[:, None, None] * previous
        order += before[:-1, None] * here + self._order_bias
        return _Sheet(
            presence=presence.numpy()[kept],
            prior=self._transitions[sources, kept],
            kinds=kept.tolist(),
            ask=asked[:, :-1].T,
            ask_bias=asked[:, -1],
            values=own_values,
            gates=gates,
            match=rows[:, both:-1].T,
            match_bias=rows[:, -1],
            order=order.reshape(len(before), -1),
            stop=self._stop_counted + np.float32(rest) * self._stop_likely,
            subtask=given[:, narrow:],
        )

    def _attend(self, keys: Tensor, values: Tensor) -> tuple[Array, Array]:
        """What each type reads in the tokens [D, K], and where, from 0 to 1 [K]; see `TypeEvidence`.

        Args:
            keys: [T, D].
            values: [T, D + 2 * heads]; the last column of each head is written to.
        """
        length, heads = len(keys), self._heads
        values = values.view(length, heads, -1)  # (T, heads, d + 2)
        values.numpy()[..., -1] = np.arange(length, dtype=np.float32)[:, None] / length
        scores = torch.bmm(keys.view(length, heads, -1).transpose(0, 1), self._folded.queries)  # (heads, T, K)
        scores -= scores.amax(dim=1, keepdim=True)
        sums = torch.bmm(values.permute(1, 2, 0), scores.exp_()).numpy()  # (heads, d + 2, K)
        sums /= sums[:, -2, None].copy()
        return sums[:, :-2].reshape(-1, sums.shape[-1]), np.add.reduce(sums[:, -1]) / heads

    def _search(self, sheet: _Sheet) -> tuple[list[Candidate], list[Array]]:
        """Beam search, see `decoding.beam_search`; the embeddings [S, P] of each candidate's sub-tasks come with it."""
        config = self._config
        most = len(sheet.kinds)
        hidden = np.zeros((1, self._folded.gates_hidden.shape[0]), dtype=np.float32)  # one row an open sequence
        cell = np.zeros_like(hidden)
        source, previous = np.array([0]), np.array([most])  # of each open sequence, the row before and the last type
        due, again = sheet.presence.T
        # Of each type, logit and probability that it is due, how often it came (2 stands for more), and the logit after
        # it came once more.
        state = np.concatenate([due, expit(due), np.zeros_like(due), again])[None]  # (N, 4 * M)
        scores = bonus = np.zeros(1, dtype=np.float32)
        guide = config.transition_weight * sheet.prior if config.transition_weight else None
        sequences: list[tuple[int, ...]] = [()]
        embedded: list[Array] = []  # of each step, (N, steps so far, P)
        finished: list[Finished] = []
        found: dict[tuple[int, ...], tuple[float, Array]] = {}
        for step in range(len(sheet.stop)):
            hidden, cell = self._advance(sheet, previous, hidden, cell, source, first=step == 0)
            read = self._read(sheet, hidden)  # (N, L + D)
            total = self._score(sheet, read, previous, state)  # (N, M)
            total += scores[:, None]
            guided = total
            if guide is not None:
                steps = guide[previous] + bonus[:, None]
                guided = total + steps
            width = min(config.beam, guided.size)
            flat = np.argpartition(guided.ravel(), -width)[-width:]
            source, previous = np.divmod(flat, most)
            scores = total.ravel()[flat]
            if guide is not None:
                bonus = steps.ravel()[flat]
            state = _emit(state[source], previous)
            subtasks = self._embed(sheet, read, source, previous)  # (N, P)
            stops = self._stop(sheet.stop[step], subtasks, state)
            whole = subtasks[:, None]
            embedded.append(np.concatenate([embedded[-1][source], whole], axis=1) if embedded else whole)
            sequences = [(*sequences[s], c) for s, c in zip(source.tolist(), previous.tolist(), strict=True)]
            going = np.logaddexp(_ZERO, stops)
            ended = scores + stops - going
            scores = scores - going
            for score, types, rows in zip(ended.tolist(), sequences, embedded[-1], strict=True):
                finished.append((score, types, 0))
                found[types] = (score, rows)
            if settled(finished, float(np.maximum.reduce(scores + np.maximum(bonus, 0))), config.candidates):
                break
        presence, prior = sheet.presence.tolist(), sheet.prior.tolist()
        candidates = [
            Candidate(types, score, presence_score(types, presence), transition_score(types, prior))
            for types, (score, _) in found.items()
        ]
        candidates.sort(key=lambda candidate: -candidate.score(config))
        best = candidates[: config.candidates]
        named = [one._replace(types=tuple(sheet.kinds[kind] for kind in one.types)) for one in best]
        return named, [found[one.types][1] for one in best]

    def _advance(
        self, sheet: _Sheet, previous: Indices, hidden: Array, cell: Array, source: Indices, *, first: bool
    ) -> tuple[Array, Array]:
        gates = sheet.gates[previous]  # (N, 4 * L)
        if not first:
            gates += product(hidden, self._folded.gates_hidden)[source]
        width = hidden.shape[1]
        np.tanh(gates, gates)
        parts = gates[:, : 3 * width]  # take, keep, show: sigmoids, of half their values
        parts *= _HALF
        parts += _HALF
        cell = cell[source]
        cell *= parts[:, width : 2 * width]
        cell += parts[:, :width] * gates[:, 3 * width :]
        return np.tanh(cell) * parts[:, 2 * width :], cell

    def _read(self, sheet: _Sheet, hidden: Array) -> Tensor:
        known = torch.from_numpy(hidden)
        shares = torch.addmm(sheet.ask_bias, known, sheet.ask).softmax(dim=1)  # (N, T)
        return torch.cat([known, shares @ sheet.values], dim=1)

    def _score(self, sheet: _Sheet, read: Tensor, previous: Indices, state: Array) -> Array:
        size = (len(state), len(sheet.kinds))
        order = torch.from_numpy(sheet.order[previous])
        inner = (
            torch.addmm(order, torch.from_numpy(state[:, : 3 * size[1]]), self._order_state).numpy().reshape(*size, -1)
        )
        logits = gelu(inner) @ self._order_out  # (N, M)
        logits += self._gate * state[:, : size[1]]
        logits += torch.addmm(sheet.match_bias, read, sheet.match).numpy()
        return torch.from_numpy(logits).log_softmax(dim=1).numpy()

    def _embed(self, sheet: _Sheet, read: Tensor, source: Indices, chosen: Indices) -> Array:
        joined = torch.mm(read, self._folded.subtask_step).numpy()[source]  # (N, P)
        joined += sheet.subtask[chosen]
        return gelu(layer_norm(joined, *self._norm))

    def _stop(self, constant: Array, subtasks: Array, state: Array) -> Array:
        most = state.shape[1] // 4
        inner = product(subtasks, self._folded.stop)
        inner += constant
        inner += np.add.reduce(state[:, most : 2 * most], axis=1, keepdims=True) * self._stop_likely
        inner += np.maximum.reduce(state[:, :most], axis=1, keepdims=True) * self._stop_due
        weight, bias = self._stop_out
        return np.asarray(gelu(inner) @ weight + bias)


def _emit(state: Array, chosen: Indices) -> Array:
    """Count a type in each row of the search's state [N, 4 * M], in place; see `decomposer.due_presence`."""
    most = state.shape[1] // 4
    flat = state.reshape(-1)
    place = np.arange(0, len(flat), 4 * most) + chosen
    due = flat[place + 3 * most]
    flat[place] = due
    flat[place + most] = expit(due)
    flat[place + 2 * most] = np.minimum(flat[place + 2 * most] + 1, 2)
    flat[place + 3 * most] = due - 2
    return state


def _fold(network: PlannerNetwork, tables: TypeTables) -> _Folded:
    evidence, decomposer = network.evidence, network.decomposer
    size, heads = evidence.size, evidence.heads
    input_weight, hidden_weight, input_bias, hidden_bias = map(_gates, decomposer.lstm.all_weights[0])
    named, context, pooled = input_weight.split(size, dim=1)  # (4 * L, D) each
    width = decomposer.lstm.hidden_size
    step_weight = decomposer.subtask.weight  # (P, L + 3 * D)
    values = evidence.values
    widened = functional.pad(values.weight.view(heads, size // heads, -1), (0, 0, 0, 2)).flatten(0, 1)
    widened_bias = functional.pad(functional.pad(values.bias.view(heads, -1), (0, 1), value=1.0), (0, 1)).flatten()
    keys = (evidence.keys, decomposer.keys, decomposer.values)
    scale = size**0.5
    names, norm = tables.names, evidence.norm
    outputs = tables.outputs.view(-1, 2, size) / scale + evidence.shared.weight  # (K, 2, D)
    contexts = torch.cat([context, step_weight[:, width + 2 * size :]])  # (4 * L + P, D)
    kinds = torch.cat([names @ named.T, names @ step_weight[:, width + size : width + 2 * size].T], dim=1)
    return _Folded(
        tokens=torch.cat([*(part.weight for part in keys), widened]).T.contiguous(),
        tokens_bias=torch.cat([*(part.bias for part in keys), widened_bias]),
        queries=tables.queries.view(len(tables.queries), heads, -1).permute(1, 2, 0).contiguous()
        / (size // heads) ** 0.5,
        outputs=(outputs * norm.weight).permute(1, 2, 0).contiguous().numpy(),
        presence_bias=tables.bias + evidence.shared.bias + evidence.hints.bias + outputs @ norm.bias,
        hints=evidence.hints.weight.T.contiguous(),
        pooled=decomposer.pooled.weight * decomposer.pooled.in_features**0.5,
        gates_pooled=pooled.T.contiguous(),
        gates_bias=input_bias + hidden_bias + pooled @ decomposer.pooled.bias,
        gates_start=(decomposer.start @ torch.cat([named, context], dim=1).T)[None].numpy(),
        gates_hidden=hidden_weight.T.contiguous(),
        kinds=torch.cat(
            [
                kinds + contexts @ norm.bias + functional.pad(decomposer.subtask.bias, (4 * width, 0)),
                names @ decomposer.match.weight / scale,
                (names @ decomposer.match.bias / scale)[:, None],
            ],
            dim=1,
        ),
        contexts=(contexts * norm.weight).T.contiguous(),
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


def _last_linear(block: nn.Sequential) -> tuple[Array, np.float32]:
    """Weights (in,) and bias of a last layer with one output."""
    layer = [part for part in block if isinstance(part, nn.Linear)][-1]
    return layer.weight.detach().numpy()[0], np.float32(layer.bias.detach())
