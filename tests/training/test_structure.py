from __future__ import annotations

import json
import random
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch

from orchestai.contracts import StepPlan
from orchestai.errors import CheckpointError, DataError
from orchestai.planner.structure import StepStructure
from orchestai.training.structure import StructureRecipe, _closed, train_structure

WORDS = ("water", "bread", "paint", "wood", "paper")
QUICK = StructureRecipe(epochs=40, batch_size=16, members=1, size=32, dropout=0.0)


class WordEncoder:
    name = "words"
    identity = "words"
    hidden_size = 64

    def encode(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        out = np.zeros((len(texts), self.hidden_size), dtype=np.float32)
        for row, text in enumerate(texts):
            for word in text.split():
                out[row, zlib.crc32(word.encode()) % self.hidden_size] += 1
        return np.asarray(out / np.maximum(np.linalg.norm(out, axis=1, keepdims=True), 1e-9), dtype=np.float32)

    def encode_tokens(self, texts: Sequence[str]) -> object:
        raise AssertionError("not needed")


def plans(count: int, seed: int) -> list[StepPlan]:
    """Two strands: one gets and uses something, another something else, in mixed order."""
    rng = random.Random(seed)
    found = []
    for i in range(count):
        first, second = rng.sample(WORDS, 2)
        steps = [("get", first), ("use", first), ("get", second), ("use", second)]
        rng.shuffle(steps)
        edges = tuple(
            (p, c)
            for p in range(4)
            for c in range(4)
            if steps[p][1] == steps[c][1] and (steps[p][0], steps[c][0]) == ("get", "use")
        )
        found.append(StepPlan(id=f"{seed}-{i}", goal="do it", steps=tuple(" ".join(s) for s in steps), edges=edges))
    return found


def exact(structure: StepStructure, golds: Sequence[StepPlan]) -> float:
    return sum(set(structure.predict(g.goal, g.steps).edges) == set(g.edges) for g in golds) / len(golds)


def test_learns_words_not_places_and_loads_again(tmp_path: Path) -> None:
    result = train_structure(QUICK, plans(120, 1), encoder=WordEncoder(), out=tmp_path / "m")
    test = plans(30, 2)
    assert exact(result.structure, test) > 0.9
    assert result.history[-1]["train_loss"] < result.history[0]["train_loss"] / 2
    loaded = StepStructure.load(tmp_path / "m", encoder=WordEncoder())
    for gold in test[:5]:
        ours, theirs = (s.predict(gold.goal, gold.steps) for s in (result.structure, loaded))
        assert ours.dependencies == theirs.dependencies
        assert np.array_equal(ours.edge_probs, theirs.edge_probs)
    assert loaded.model_version == result.structure.model_version


def test_equal_seeds_give_equal_networks(tmp_path: Path) -> None:
    recipe = QUICK.model_copy(update={"epochs": 1, "dropout": 0.2})
    data = plans(20, 1)
    twice = [train_structure(recipe, data, encoder=WordEncoder(), out=tmp_path / str(k)) for k in range(2)]
    other = train_structure(recipe.model_copy(update={"seed": 1}), data, encoder=WordEncoder(), out=tmp_path / "other")
    probs = [r.structure.predict("do it", data[0].steps).edge_probs for r in (*twice, other)]
    assert np.array_equal(probs[0], probs[1])
    assert not np.array_equal(probs[0], probs[2])


def test_foreign_checkpoints_are_refused(tmp_path: Path) -> None:
    recipe = QUICK.model_copy(update={"epochs": 1})
    train_structure(recipe, plans(5, 1), encoder=WordEncoder(), out=tmp_path / "m")
    stranger = WordEncoder()
    stranger.identity = "another"
    with pytest.raises(CheckpointError, match="trained with the encoder"):
        StepStructure.load(tmp_path / "m", encoder=stranger)
    manifest = tmp_path / "m" / "manifest.json"
    document = json.loads(manifest.read_text())
    document["kind"] = "phase1"
    manifest.write_text(json.dumps(document))
    with pytest.raises(CheckpointError, match="of kind 'phase1'"):
        StepStructure.load(tmp_path / "m", encoder=WordEncoder())


def test_data_that_teaches_nothing_is_refused(tmp_path: Path) -> None:
    alone = StepPlan(id="a", goal="g", steps=("a",), edges=())
    long = StepPlan(id="l", goal="g", steps=("a",) * 21, edges=())
    with pytest.raises(DataError, match="No plan has two steps"):
        train_structure(QUICK, [alone], encoder=WordEncoder(), out=tmp_path / "m")
    with pytest.raises(DataError, match="'l' has 21 steps"):
        train_structure(QUICK, [long], encoder=WordEncoder(), out=tmp_path / "m")


def test_comes_before_is_the_closure_of_the_edges() -> None:
    chain = torch.diag(torch.ones(5), 1)[None]
    assert torch.equal(_closed(chain), torch.ones(1, 6, 6).triu(1))
