"""TaskDecomposer: an LSTM that names one sub-task after another."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from orchestai.planner.dropout import Dropout
from orchestai.planner.evidence import TypeEmbedding, pack_tokens, unpack_tokens
from orchestai.planner.shapes import Decomposition, EncodedInstructions, Evidence

START = -1
"""Stands for 'nothing yet' where a previous type is asked for."""

LSTMState = tuple[Tensor, Tensor]  # each (1, N, hidden)


class Memory(NamedTuple):
    """All that a step reads, one row a hypothesis."""

    pooled: Tensor  # (N, D)
    keys: Tensor  # (N, T, D)
    values: Tensor  # (N, T, D)
    mask: Tensor  # (N, T)
    names: Tensor  # (N, K, D) embeddings of the types, or (1, K, D) where all rows have the same
    links: Tensor  # (N, K, K) 1 where the second type can follow the first
    kinds: Tensor  # (N, K) which types of the catalog these are
    rest: Tensor  # (N, 1) occurrences expected of types that were left out
    evidence: Evidence  # (N, K, ...)

    def repeat(self, times: int) -> Memory:
        """Give every row to `times` hypotheses."""

        def grow(tensor: Tensor) -> Tensor:
            if len(tensor) == 1:
                return tensor.expand(times, *tensor.shape[1:])
            return tensor.repeat_interleave(times, dim=0)

        return Memory(
            pooled=grow(self.pooled),
            keys=grow(self.keys),
            values=grow(self.values),
            mask=grow(self.mask),
            names=self.names if len(self.names) == 1 else grow(self.names),
            links=grow(self.links),
            kinds=grow(self.kinds),
            rest=grow(self.rest),
            evidence=Evidence(*(grow(part) for part in self.evidence)),
        )

    def narrow(self, most: int) -> Memory:
        """Keep the `most` types of each row that are likeliest to occur: a plan needs few of a large catalog."""
        first = self.evidence.presence[..., 0]  # (N, K)
        if first.shape[1] <= most:
            return self
        kept = first.topk(most, dim=-1).indices.sort(dim=-1).values  # (N, M)

        def take(table: Tensor) -> Tensor:
            return _pick(table, kept)

        return self._replace(
            names=take(self.names.expand(len(kept), -1, -1)),
            links=take(take(self.links).transpose(1, 2)).transpose(1, 2),
            kinds=self.kinds.gather(1, kept),
            rest=self.rest + (first.sigmoid().sum(dim=-1) - first.gather(1, kept).sigmoid().sum(dim=-1))[:, None],
            evidence=Evidence(
                presence=take(self.evidence.presence),
                contexts=take(self.evidence.contexts),
                positions=self.evidence.positions.gather(1, kept),
            ),
        )


class TaskDecomposer(nn.Module):
    """Sequential decomposition: LSTM (Hochreiter & Schmidhuber 1997) with attention over the tokens.

    The score of type k at a step is a sum: how well the step's state matches the type's embedding, what
    the evidence says of k (its first or its repeated occurrence, whichever is due), and a small network
    over order features. Softmax over k; the stop probability is
    read from the sub-task's embedding after its type is known.

    Args:
        hidden_size: Width H of the encoder.
        size: Width D of the type embeddings and contexts.
        lstm_size: Width of the LSTM.
        subtask_size: Width of a sub-task embedding.
        trained: Number of trained types.
        max_subtasks: The most sub-tasks.
        dropout: Share of activations dropped.
    """

    def __init__(
        self,
        *,
        hidden_size: int,
        size: int,
        lstm_size: int,
        subtask_size: int,
        trained: int,
        max_subtasks: int,
        dropout: float,
    ) -> None:
        super().__init__()
        self.max_subtasks = max_subtasks
        self.names = TypeEmbedding(hidden_size, size, trained)
        self.start = nn.Parameter(torch.zeros(2 * size))
        self.pooled = nn.Linear(hidden_size, size)
        self.keys = nn.Linear(hidden_size, size)
        self.values = nn.Linear(hidden_size, size)
        self.lstm = nn.LSTM(3 * size, lstm_size, batch_first=True)
        self.ask = nn.Linear(lstm_size, size)
        self.match = nn.Linear(lstm_size + size, size)
        self.order = nn.Sequential(nn.Linear(6, 16), nn.GELU(), nn.Linear(16, 1))
        self.gate = nn.Parameter(torch.tensor(1.0))
        self.subtask = nn.Linear(lstm_size + 3 * size, subtask_size)
        self.subtask_norm = nn.LayerNorm(subtask_size)
        self.complexity = nn.Linear(subtask_size, 1)
        self.stop = nn.Sequential(nn.Linear(subtask_size + 3, 64), nn.GELU(), nn.Linear(64, 1))
        self.child = nn.Linear(subtask_size, size)
        self.parent = nn.Linear(subtask_size, size)
        self.dropout = Dropout(dropout)

    def remember(self, encoded: EncodedInstructions, names: Tensor, links: Tensor, evidence: Evidence) -> Memory:
        """Prepare what all steps read; `names` [K, D] and `links` [K, K] are the catalog's."""
        batch, kinds = evidence.presence.shape[:2]
        packed = pack_tokens(encoded, self.dropout, self.keys, self.values)
        keys, values = unpack_tokens(packed, encoded.mask).chunk(2, dim=-1)  # (B, T, D) each
        scale = encoded.embeddings.shape[-1] ** 0.5
        return Memory(
            pooled=self.pooled(self.dropout(encoded.embeddings * scale)),
            keys=keys,
            values=values,
            mask=encoded.mask,
            names=names[None],
            links=links.expand(batch, -1, -1),
            kinds=torch.arange(kinds, device=names.device).expand(batch, -1),
            rest=names.new_zeros(batch, 1),
            evidence=evidence,
        )

    def advance(self, memory: Memory, previous: Tensor, state: LSTMState | None = None) -> tuple[Tensor, LSTMState]:
        """Feed the types chosen before each step ([N, S], START where none); return states [N, S, L]."""
        rows = previous.clamp(min=0)
        named = _pick(memory.names, rows)  # (N, S, D)
        context = _pick(memory.evidence.contexts, rows)  # (N, S, D)
        inputs = torch.where((previous == START)[..., None], self.start, torch.cat([named, context], dim=-1))
        pooled = memory.pooled[:, None, :].expand(-1, previous.shape[1], -1)
        joined = self.dropout(torch.cat([inputs, pooled], dim=-1))
        if joined.device.type == "cpu":
            hidden, state = self._walk(joined, state)
        else:
            hidden, state = self.lstm(joined, state)
        return self.dropout(hidden), state

    def _walk(self, inputs: Tensor, state: LSTMState | None) -> tuple[Tensor, LSTMState]:
        """The LSTM, written out: on a CPU torch's own packs its weights anew on every call, 5 times the work."""
        input_weight, hidden_weight, input_bias, hidden_bias = self.lstm.all_weights[0]
        given = functional.linear(inputs, input_weight, input_bias + hidden_bias)  # (N, S, 4 * L)
        if state is None:
            hidden = cell = inputs.new_zeros(len(inputs), self.lstm.hidden_size)
        else:
            hidden, cell = state[0][0], state[1][0]
        steps = []
        for gates in given.unbind(dim=1):
            take, keep, new, show = (gates + functional.linear(hidden, hidden_weight)).chunk(4, dim=-1)  # (N, L) each
            cell = keep.sigmoid() * cell + take.sigmoid() * new.tanh()
            hidden = show.sigmoid() * cell.tanh()
            steps.append(hidden)
        return torch.stack(steps, dim=1), (hidden[None], cell[None])

    def attend(self, memory: Memory, hidden: Tensor) -> Tensor:
        """Read the tokens from each step's state: [N, S, L] -> [N, S, D]."""
        scores = self.ask(hidden) @ memory.keys.transpose(1, 2) / memory.keys.shape[-1] ** 0.5  # (N, S, T)
        return scores.masked_fill(~memory.mask[:, None, :], -1e4).softmax(dim=-1) @ memory.values

    def score(self, memory: Memory, hidden: Tensor, attended: Tensor, previous: Tensor, emitted: Tensor) -> Tensor:
        """Log-probabilities of the types [N, S, K]; `emitted` [N, S, K] counts each type so far."""
        wanted = self.match(torch.cat([hidden, attended], dim=-1)) / memory.names.shape[-1] ** 0.5
        matched = _compare(wanted, memory.names)  # (N, S, K)
        due = due_presence(memory.evidence, emitted)
        here = memory.evidence.positions[:, None, :].expand_as(due)
        before = _pick(memory.evidence.positions[..., None], previous.clamp(min=0))  # (N, S, 1)
        before = torch.where((previous == START)[..., None], 0.0, before)
        linked = _pick(memory.links, previous.clamp(min=0))  # (N, S, K)
        linked = torch.where((previous == START)[..., None], 0.0, linked)
        features = [due / 4, here, here - before, emitted.clamp(max=2.0), _rank(due, here), linked]
        ordered = self.order(torch.stack(features, dim=-1)).squeeze(-1)
        return functional.log_softmax(matched + self.gate * due + ordered, dim=-1)

    def embed(self, memory: Memory, hidden: Tensor, attended: Tensor, chosen: Tensor) -> Tensor:
        """Sub-task embeddings [N, S, subtask size] of the chosen types [N, S]."""
        named = _pick(memory.names, chosen)
        context = _pick(memory.evidence.contexts, chosen)
        joined = self.subtask(torch.cat([hidden, attended, named, context], dim=-1))
        return self.dropout(functional.gelu(self.subtask_norm(joined)))

    def stop_logits(self, memory: Memory, subtasks: Tensor, emitted_after: Tensor) -> Tensor:
        """Logits [N, S] of 'this was the last one'; `emitted_after` counts this step as well."""
        due = due_presence(memory.evidence, emitted_after)  # (N, S, K)
        done = emitted_after.sum(dim=-1)
        features = torch.stack([due.sigmoid().sum(dim=-1) + memory.rest, due.amax(dim=-1) / 4, done / 4], dim=-1)
        return self.stop(torch.cat([subtasks, features], dim=-1)).squeeze(-1)

    def dependency_probs(self, subtasks: Tensor) -> Tensor:
        """Probabilities [N, S, max sub-tasks] that column j is a parent of row s; zero unless j < s."""
        size = subtasks.shape[1]
        logits = self.child(subtasks) @ self.parent(subtasks).transpose(1, 2) / self.child.out_features**0.5
        earlier = torch.ones(size, size, dtype=torch.bool, device=subtasks.device).tril(-1)
        probs = logits.sigmoid() * earlier
        return functional.pad(probs, (0, self.max_subtasks - size))

    def forward(self, memory: Memory, chosen: Tensor) -> tuple[Decomposition, Tensor]:
        """Decompose along given types (teacher forcing, or a decoded sequence).

        Args:
            memory: From `remember`.
            chosen: [N, S] types; any valid type where padded.

        Returns:
            The documented outputs, and the stop logits [N, S].
        """
        previous = torch.cat([torch.full_like(chosen[:, :1], START), chosen[:, :-1]], dim=1)
        once = functional.one_hot(chosen, memory.names.shape[1]).to(memory.pooled.dtype)  # (N, S, K)
        after = once.cumsum(dim=1)
        hidden, _ = self.advance(memory, previous)
        attended = self.attend(memory, hidden)
        log_probs = self.score(memory, hidden, attended, previous, after - once)
        subtasks = self.embed(memory, hidden, attended, chosen)
        stops = self.stop_logits(memory, subtasks, after)
        decomposition = Decomposition(
            subtask_embeddings=subtasks,
            task_types=log_probs,
            dependencies=self.dependency_probs(subtasks),
            complexities=self.complexity(subtasks).sigmoid(),
            stop_probs=stops.sigmoid()[..., None],
        )
        return decomposition, stops


def due_presence(evidence: Evidence, emitted: Tensor) -> Tensor:
    """Logit [N, S, K] that type k comes (again), given how often it came: first, again, and ever less."""
    first, again = evidence.presence[:, None, :, 0], evidence.presence[:, None, :, 1]
    return torch.where(emitted == 0, first, again - 2.0 * (emitted - 1).clamp(min=0))


def _pick(table: Tensor, rows: Tensor) -> Tensor:
    """Table [N, K, D], rows [N, S] -> [N, S, D]; a table [1, K, D] is that of all rows."""
    if len(table) == 1:
        return functional.embedding(rows, table[0])
    return table.gather(1, rows[..., None].expand(-1, -1, table.shape[-1]))


def _compare(states: Tensor, table: Tensor) -> Tensor:
    """States [N, S, D] with the rows of a table [N, K, D], or of [1, K, D] for all: [N, S, K]."""
    return functional.linear(states, table[0]) if len(table) == 1 else states @ table.transpose(1, 2)


def _rank(due: Tensor, positions: Tensor) -> Tensor:
    """How much that is due is mentioned before each type: [N, S, K], K^2 avoided by a sort.

    Args:
        due: Logits [N, S, K].
        positions: [N, S, K], the same at every step.
    """
    order = positions[:, :1].argsort(dim=-1).expand_as(due)
    sorted_due = due.sigmoid().gather(-1, order)
    earlier = sorted_due.cumsum(dim=-1) - sorted_due
    return torch.zeros_like(due).scatter(-1, order, earlier)
