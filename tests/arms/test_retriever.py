from __future__ import annotations

import math

import numpy as np
import pytest

from orchestai.arms.bm25 import BM25, terms
from orchestai.arms.retriever import RetrieverArm, cut
from orchestai.config import RetrieverConfig
from orchestai.contracts import WorkerRequest
from orchestai.embeddings import load_encoder
from orchestai.errors import WorkerRequestError

DOCUMENTS = {
    "returns.md": "Goods may be sent back within 30 days. The buyer pays the postage for returns.",
    "warranty.md": "The warranty covers two years. Batteries are covered for six months.",
    "shipping.md": "Parcels leave the warehouse on working days. Express parcels arrive the next morning.",
}


def test_bm25_by_hand() -> None:
    # Lengths 2 and 4, mean 3; "red" occurs in both, "car" only in the second, twice.
    index = BM25(["red bus", "red car car door"], k1=1.2, b=0.75)
    idf_car = math.log(1 + (2 - 1 + 0.5) / (1 + 0.5))
    norm = 1.2 * (1 - 0.75 + 0.75 * 4 / 3)
    assert index.search("Car", 5) == [(1, pytest.approx(idf_car * 2 * 2.2 / (2 + norm)))]
    assert [i for i, _ in index.search("red", 5)] == [0, 1], "the shorter passage first"
    assert index.search("blue", 5) == []
    assert index.coverage("car", 1) == 1.0
    assert index.coverage("car", 0) == 0.0
    assert 0 < index.coverage("red zebra", 0) < 0.5


def test_terms_fold_case_and_split_scripts_without_spaces() -> None:
    assert terms("Ｇrün-STRASSE_7 東京 v2.0") == ["grün", "strasse", "7", "東", "京", "v2", "0"]


def test_passages_overlap_and_keep_their_place() -> None:
    text = "  " + " ".join(f"w{n}" for n in range(25)) + "\n"
    config = RetrieverConfig(passage_words=10, overlap_words=2)
    passages = list(cut("d", text, config))
    assert [(p.text.split()[0], p.text.split()[-1]) for p in passages] == [("w0", "w9"), ("w8", "w17"), ("w16", "w24")]
    assert all(text[p.start : p.end] == p.text for p in passages)
    assert list(cut("d", " \n", config)) == []


async def test_by_words_without_any_model() -> None:
    passages = await RetrieverArm(DOCUMENTS).retrieve("Who pays the postage for returns?", limit=2)
    assert passages[0].source == "returns.md"
    assert passages[0].score == 1.0
    assert passages[0].similarity is None
    assert passages[0].coverage > 0.6
    assert await RetrieverArm(DOCUMENTS).retrieve("quantum chromodynamics") == ()


@pytest.mark.filterwarnings("ignore:.*:DeprecationWarning")
async def test_by_meaning_with_the_packaged_encoder() -> None:
    arm = RetrieverArm(DOCUMENTS, encoder=load_encoder("minilm"))
    question = "how long is my device protected against defects"
    assert all(p.source != "warranty.md" for p in await RetrieverArm(DOCUMENTS).retrieve(question))
    passages = await arm.retrieve(question, limit=1)
    assert passages[0].source == "warranty.md"
    assert passages[0].similarity is not None
    assert 0.2 < passages[0].similarity <= 1.0
    assert passages[0].lexical is None


class ByLength:
    """An encoder whose vectors a hand can compute: the unit vector of a text's length modulo 4."""

    name = "by-length"
    identity = "by-length"
    hidden_size = 4

    def encode(self, texts):
        return np.eye(4, dtype=np.float32)[[len(text) % 4 for text in texts]]

    def encode_tokens(self, texts):
        raise NotImplementedError


async def test_the_two_rankings_are_fused_by_rank() -> None:
    documents = {"both": "alpha 12", "words": "alpha alpha x", "meaning": "beta"}  # lengths 8, 13, 4
    passages = await RetrieverArm(documents, encoder=ByLength()).retrieve("alphas alpha")  # length 12: like 8 and 4
    ranks = {"words": (1, 3), "both": (2, 1), "meaning": (None, 2)}  # by words, by meaning
    expected = {name: sum(1 / (60 + r) for r in pair if r is not None) / (2 / 61) for name, pair in ranks.items()}
    assert {p.source: p.score for p in passages} == pytest.approx(expected)
    assert [p.source for p in passages] == ["both", "words", "meaning"]


async def test_as_a_worker_with_documents_of_the_request() -> None:
    arm = RetrieverArm({"own": "The moon orbits the earth."})
    inputs = {"text": "The sun is a star.", "text_2": "Mars is red.", "query": "Which planet is red?"}
    output = await arm.run(WorkerRequest(task_type="question_answering", prompt="ignored", inputs=inputs))
    assert output.content.startswith("[1] text_2: Mars is red.")
    assert output.metadata["passages"][0]["source"] == "text_2"
    assert 0 < output.metadata["confidence"] < 1
    assert output.cost == 0.0
    # They belong to that request alone.
    later = await arm.run(WorkerRequest(task_type="question_answering", prompt="Mars red"))
    assert later.content == ""
    assert later.metadata["confidence"] == 0.0


async def test_nothing_to_search_is_refused() -> None:
    with pytest.raises(WorkerRequestError, match="no document"):
        await RetrieverArm().run(WorkerRequest(task_type="question_answering", prompt="x"))
