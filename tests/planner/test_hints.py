from __future__ import annotations

import numpy as np
import pytest

from orchestai.contracts import Modality, TaskCatalog, TaskType
from orchestai.planner.hints import CatalogHints, fit_hints, ridge_scores, stems

CATALOG = TaskCatalog(
    types=(
        TaskType(name="translation", description="Render text in another language", keywords=("to French",)),
        TaskType(name="look", description="Say what a picture shows", modality=Modality.VISION),
        TaskType(name="listen", description="Write down speech", modality=Modality.AUDIO),
    )
)


def test_overlap_prefers_the_type_whose_words_are_repeated() -> None:
    scores = CatalogHints(CATALOG)(["Please translate it into another language", "nothing of the kind"])
    assert scores.shape == (2, 3, 3)
    assert scores[0, 0, 0] > scores[0, 1, 0]
    assert scores[1, 0, 0] < 0.1


def test_keywords_count_as_they_stand() -> None:
    scores = CatalogHints(CATALOG)(["Now TO FRENCH with it", "to the French"])
    assert scores[:, 0, 1].tolist() == [1.0, 0.0]


def test_attached_inputs_speak_for_and_against_a_modality() -> None:
    texts = ["What is it?\n[image]", "What is it?\n[audio] [text]", "What is [image] here?", "No inputs"]
    scores = CatalogHints(CATALOG)(texts)[..., 2]
    assert scores.tolist() == [[0, 1, -1], [0, -1, 1], [0, 0, 0], [0, 0, 0]]


def test_stems_bring_forms_of_a_word_together() -> None:
    assert stems("the translation") == stems("to translate it") == ["transl"]


def test_cross_fitted_scores_never_saw_their_group() -> None:
    texts = [f"red fish {i}" for i in range(10)] + [f"blue bird {i}" for i in range(10)]
    rng = np.random.default_rng(0)
    embeddings = rng.normal(size=(20, 4)).astype(np.float32) * 1e-6
    presence = np.zeros((20, 2), dtype=np.float32)
    presence[:10, 0] = presence[10:, 1] = 1
    one_group, honest = fit_hints(texts, embeddings, presence, ["same"] * 20)
    assert honest == pytest.approx(np.full((20, 2), 0.5))  # nothing but the mean is left to learn from
    weights, crossed = fit_hints(texts, embeddings, presence, [str(i) for i in range(20)])
    assert (crossed.argmax(axis=1) == presence.argmax(axis=1)).all()
    unseen = ridge_scores(weights, ["red fish and more", "some blue bird"], embeddings[:2])
    assert unseen.argmax(axis=1).tolist() == [0, 1]
    assert one_group.mean.tolist() == [0.5, 0.5]
