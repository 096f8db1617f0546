from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from orchestai.embeddings import load_encoder
from orchestai.embeddings.loading import packaged_minilm, verify_weights
from orchestai.embeddings.protocol import TokenStates, pad, pool
from orchestai.errors import CheckpointError

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "read", "the", "letter", "and", "answer", "it"]


@pytest.fixture(scope="module")
def tiny_bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import torch
    from transformers import BertConfig, BertModel, BertTokenizer

    folder = tmp_path_factory.mktemp("bert")
    (folder / "vocab.txt").write_text("\n".join(WORDS), encoding="utf-8")
    BertTokenizer(str(folder / "vocab.txt")).save_pretrained(folder)
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    config = BertConfig(vocab_size=len(WORDS), max_position_embeddings=32, **sizes)
    BertModel(config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def tiny_t5(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast, T5Config, T5Model

    folder = tmp_path_factory.mktemp("t5")
    raw = Tokenizer(models.WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="[UNK]"))
    raw.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(tokenizer_object=raw, pad_token="[PAD]", unk_token="[UNK]").save_pretrained(folder)
    torch.manual_seed(0)
    config = T5Config(vocab_size=len(WORDS), d_model=12, d_kv=6, d_ff=16, num_layers=1, num_heads=2)
    T5Model(config).save_pretrained(folder)
    return folder


def test_bert_gives_pooled_vectors_of_unit_length_and_token_states(tiny_bert: Path) -> None:
    encoder = load_encoder(str(tiny_bert))
    pooled = encoder.encode(["read the letter", "answer it"])
    tokens = encoder.encode_tokens(["read the letter", "answer it"])
    assert encoder.hidden_size == 16
    assert pooled.shape == (2, 16)
    assert np.linalg.norm(pooled, axis=1) == pytest.approx([1, 1], abs=1e-5)
    assert tokens.states.shape == (2, 5, 16)  # [CLS] read the letter [SEP]
    assert tokens.mask.sum(axis=1).tolist() == [5, 4]


def test_t5_uses_its_encoder_half(tiny_t5: Path) -> None:
    encoder = load_encoder(str(tiny_t5))
    assert encoder.hidden_size == 12
    assert encoder.encode_tokens(["read the letter"]).states.shape == (1, 3, 12)


@pytest.mark.parametrize("model", ["tiny_bert", "tiny_t5"])
def test_company_in_a_batch_does_not_change_a_text(model: str, request: pytest.FixtureRequest) -> None:
    encoder = load_encoder(str(request.getfixturevalue(model)))
    alone = encoder.encode(["answer it"])
    together = encoder.encode(["read the letter and answer it", "answer it"])[1:]
    assert together == pytest.approx(alone, abs=2e-3)


def test_a_long_text_keeps_its_head_and_its_tail(tiny_bert: Path) -> None:
    encoder = load_encoder(str(tiny_bert))  # 32 positions
    middle = "the " * 100
    states = encoder.encode_tokens([f"read {middle} answer"]).states
    assert states.shape[1] == 32
    other_tail = encoder.encode_tokens([f"read {middle} letter"]).states
    assert not np.allclose(states[0, -2], other_tail[0, -2], atol=1e-3)


def test_no_text_gives_an_empty_result(tiny_bert: Path) -> None:
    encoder = load_encoder(str(tiny_bert))
    assert encoder.encode([]).shape == (0, 16)


def test_the_cache_gives_the_same_vectors_and_survives_garbage(tiny_bert: Path, tmp_path: Path) -> None:
    plain = load_encoder(str(tiny_bert)).encode_tokens(["read the letter"])
    encoder = load_encoder(str(tiny_bert), cache_dir=tmp_path)
    encoder.encode_tokens(["read the letter"])
    (entry,) = tmp_path.rglob("*.npy")
    # Proof that the second answer comes from the file: it says something else there.
    np.save(entry, np.ones((2, 16), dtype=np.float16))
    assert encoder.encode_tokens(["read the letter"]).states.tolist() == np.ones((1, 2, 16)).tolist()
    torn = entry.read_bytes()[:-2]
    for garbage in (b"", b"not an array", np.zeros(3).tobytes(), torn):
        entry.write_bytes(garbage)
        assert encoder.encode_tokens(["read the letter"]).states == pytest.approx(plain.states)
    for value in (np.nan, -np.inf):
        np.save(entry, np.full((2, 16), value, dtype=np.float16))
        assert encoder.encode_tokens(["read the letter"]).states == pytest.approx(plain.states)
    assert list(tmp_path.rglob("*.tmp")) == []


def test_two_encoders_never_share_a_cache_entry(tiny_bert: Path, tiny_t5: Path, tmp_path: Path) -> None:
    load_encoder(str(tiny_bert), cache_dir=tmp_path).encode(["read"])
    assert load_encoder(str(tiny_t5), cache_dir=tmp_path).encode(["read"]).shape == (1, 12)
    assert len(list(tmp_path.rglob("*.npy"))) == 2


def test_the_packaged_encoder_knows_what_is_alike() -> None:
    encoder = load_encoder("minilm")
    assert encoder.hidden_size == 384
    vectors = encoder.encode(["Translate this letter", "Put the letter into Spanish", "Bake a cake"])
    assert vectors[0] @ vectors[1] > vectors[0] @ vectors[2] + 0.2


def test_weights_that_are_not_the_pinned_ones_are_refused(tmp_path: Path) -> None:
    weights = packaged_minilm() / "model.safetensors"
    changed = tmp_path / "model.safetensors"
    changed.write_bytes(weights.read_bytes()[:-1] + b"\0")
    with pytest.raises(CheckpointError, match="sha256"):
        verify_weights(changed, "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db")


def test_an_unknown_encoder_is_refused_with_a_remedy(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"cannot be loaded.*minilm"):
        load_encoder(str(tmp_path))


def test_pooling_is_the_mean_of_the_real_tokens() -> None:
    tokens = pad([np.array([[3.0, 0.0], [0.0, 4.0]], dtype=np.float16), np.array([[0.0, 2.0]], np.float16)], 2)
    # Means are (1.5, 2) and (0, 2): lengths 2.5 and 2.
    assert pool(tokens) == pytest.approx(np.array([[0.6, 0.8], [0.0, 1.0]]))
    assert pool(TokenStates(np.zeros((1, 1, 2), np.float32), np.zeros((1, 1), bool))).tolist() == [[0.0, 0.0]]
