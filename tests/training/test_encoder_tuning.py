from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from orchestai.checkpoint import load_checkpoint
from orchestai.config import Phase1Config, PlannerConfig
from orchestai.embeddings import load_encoder
from orchestai.embeddings.transformer import TransformerEncoder
from orchestai.errors import CheckpointError
from orchestai.planner.learned import ENCODER_PREFIX, LearnedPlanner
from orchestai.training import phase1
from orchestai.training.encoder_layers import pass_layers
from orchestai.training.encoder_tuning import can_tune
from orchestai.training.phase1 import train
from tests.planner.toys import TASKS, WORKERS, WordEncoder, toy_examples

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "paint", "bake", "look", "then", "and", "please", "now", "today", "soon"]
CONFIG = Phase1Config(epochs=2, patience=5, seed=3, encoder_layers=1, encoder_epochs=3, encoder_learning_rate=1e-3)
PLANNER = PlannerConfig(subtask_size=32, node_size=16)


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> TransformerEncoder:
    from transformers import BertConfig, BertModel, BertTokenizer

    folder = tmp_path_factory.mktemp("bert")
    (folder / "vocab.txt").write_text("\n".join(WORDS), encoding="utf-8")
    BertTokenizer(str(folder / "vocab.txt")).save_pretrained(folder)
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 16}
    BertModel(BertConfig(vocab_size=len(WORDS), max_position_embeddings=32, **sizes)).save_pretrained(folder)
    loaded = load_encoder(str(folder))
    assert isinstance(loaded, TransformerEncoder)
    return loaded


def fit(encoder: Any, out: Path, **more: Any) -> phase1.TrainResult:
    settings = {"config": CONFIG, "planner": PLANNER, **more}
    config = settings.pop("config")
    return train(config, toy_examples(), tasks=TASKS, workers=WORKERS, encoder=encoder, out=out, **settings)


def test_lower_and_upper_layers_together_are_the_encoder(encoder: TransformerEncoder) -> None:
    texts = ["paint then bake", "look"]
    below = encoder.states_below(texts, 1)
    states = torch.zeros(2, len(below[0]), 16)
    mask = torch.zeros(2, len(below[0]), dtype=torch.bool)
    for row, found in enumerate(below):
        states[row, : len(found)] = torch.from_numpy(found)
        mask[row, : len(found)] = True
    with torch.inference_mode():
        whole = pass_layers(encoder.upper_layers(1).eval(), states, mask)
    expected = encoder.encode_tokens(texts)
    assert (expected.mask == mask.numpy()).all()
    assert np.abs(expected.states - (whole * mask[..., None]).numpy()).max() < 2e-3
    assert encoder.depth == 2


def test_written_out_layers_do_what_those_of_the_library_do(encoder: TransformerEncoder) -> None:
    torch.manual_seed(0)
    states = torch.randn(3, 7, 16)
    mask = torch.arange(7) < torch.tensor([[7], [4], [1]])
    own, library = encoder.upper_layers(2).eval(), encoder.upper_layers(2).eval()
    for layer in library:
        layer.__class__ = type("OtherLayer", (type(layer),), {})  # a kind that is not written out
    found, expected = pass_layers(own, states, mask), pass_layers(library, states, mask)
    torch.testing.assert_close(found[mask], expected[mask], atol=1e-5, rtol=1e-4)
    found[mask].square().sum().backward()
    expected[mask].square().sum().backward()
    for ours, theirs in zip(own.parameters(), library.parameters(), strict=True):
        assert ours.grad is not None
        torch.testing.assert_close(ours.grad, theirs.grad, atol=1e-3, rtol=1e-3)


def test_other_weights_make_another_encoder_and_leave_the_first_alone(encoder: TransformerEncoder) -> None:
    before = encoder.encode(["paint"])
    weights = {name: tensor + 0.1 for name, tensor in encoder.upper_layers(1).state_dict().items()}
    other = encoder.with_upper_layers(weights)
    assert other.identity != encoder.identity
    assert np.abs(other.encode(["paint"]) - before).max() > 1e-3
    assert (encoder.encode(["paint"]) == before).all()
    same = encoder.with_upper_layers(encoder.upper_layers(2).state_dict())
    assert same.identity == encoder.identity
    with pytest.raises(CheckpointError, match="do not fit"):
        encoder.with_upper_layers({"0.nothing": torch.zeros(1)})


def test_training_tunes_the_layers_and_the_checkpoint_holds_them(encoder: TransformerEncoder, tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = []
    identity = encoder.identity
    result = fit(encoder, tmp_path / "ck", on_epoch=rows.append)
    first, *_, last = [row for row in rows if row.get("stage") == "encoder"]
    assert last["train_loss"] < first["train_loss"]
    assert encoder.identity == identity
    held = {
        name: t for name, t in load_checkpoint(result.checkpoint).tensors.items() if name.startswith(ENCODER_PREFIX)
    }
    fresh = encoder.upper_layers(1).state_dict()
    assert {name.removeprefix(ENCODER_PREFIX) for name in held} == set(fresh)
    assert any((t.float() - fresh[n.removeprefix(ENCODER_PREFIX)]).abs().max() > 1e-4 for n, t in held.items())
    planner = LearnedPlanner.load(result.checkpoint, encoder=encoder)
    assert planner.predict(["please paint"])[0].task_types
    assert not (tmp_path / "ck.training").exists()


def test_a_checkpoint_with_tuned_layers_refuses_an_encoder_without_any(
    encoder: TransformerEncoder, tmp_path: Path
) -> None:
    result = fit(encoder, tmp_path / "ck", config=CONFIG.model_copy(update={"encoder_epochs": 1, "epochs": 1}))
    stranger = WordEncoder()
    stranger.identity = encoder.identity
    with pytest.raises(CheckpointError, match="has none to replace"):
        LearnedPlanner.load(result.checkpoint, encoder=stranger)


def test_what_cannot_be_tuned_is_left_as_it_is(encoder: TransformerEncoder) -> None:
    assert can_tune(encoder, CONFIG)
    assert not can_tune(WordEncoder(), CONFIG)
    assert not can_tune(encoder, CONFIG.model_copy(update={"encoder_layers": 0}))
    assert not can_tune(encoder, CONFIG.model_copy(update={"encoder_epochs": 0}))


class StopError(Exception):
    """Stands for a kill."""


@pytest.mark.parametrize("after", [2, 4])
def test_a_resumed_training_ends_where_an_uninterrupted_one_does(
    encoder: TransformerEncoder, tmp_path: Path, after: int
) -> None:
    """Stopped within the encoder's epochs (2 of 3), and within those that follow (the fourth is the first of two)."""
    whole = fit(encoder, tmp_path / "whole")
    seen: list[dict[str, Any]] = []

    def stop(row: dict[str, Any]) -> None:
        seen.append(row)
        if len(seen) == after:
            raise StopError

    with pytest.raises(StopError):
        fit(encoder, tmp_path / "broken", on_epoch=stop)
    resumed: list[dict[str, Any]] = []
    result = fit(encoder, tmp_path / "broken", on_epoch=resumed.append)
    assert len(resumed) == 5 - after
    expected, found = load_checkpoint(whole.checkpoint).tensors, load_checkpoint(result.checkpoint).tensors
    assert expected.keys() == found.keys()
    assert all(torch.equal(expected[name], found[name]) for name in expected)
