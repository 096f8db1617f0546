"""What text says of types that were never trained is put on the scale of the others."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from orchestai.contracts import TaskCatalog, TaskType
from orchestai.planner.hints import CatalogHints
from orchestai.planner.model import describe_types
from orchestai.planner.new_types import TextScores, judge_by_text
from tests.planner.toys import TASKS, WordEncoder


def test_a_new_type_stands_as_far_out_as_its_text() -> None:
    presence = torch.tensor([[[-1.0, 9.0], [-5.0, 8.0], [-90.0, 7.0], [-3.0, 6.0]]])
    new = torch.tensor([False, False, True, False])
    text = torch.tensor([[0.3, -1.0, 2.0, 0.0]])
    judged = judge_by_text(presence, text, new)
    mean, spread = -3.0, (8 / 3) ** 0.5
    assert judged[0, 2, 0].item() == pytest.approx(mean + 2.0 * spread, abs=1e-5)
    assert torch.equal(judged[:, ~new], presence[:, ~new])
    assert torch.equal(judged[..., 1], presence[..., 1])
    assert torch.equal(judge_by_text(presence[0], text[0], new), judged[0])


def test_one_trained_type_is_no_scale() -> None:
    presence = torch.randn(2, 3, 2)
    new = torch.tensor([True, False, True])
    assert torch.equal(judge_by_text(presence, torch.ones(2, 3), new), presence)


def test_the_type_that_the_text_names_stands_out() -> None:
    encoder = WordEncoder()
    tasks = TaskCatalog(types=(*TASKS.types, TaskType(name="sing_aloud", description="Perform a song.")))
    scores = TextScores(tasks, describe_types(tasks, encoder).descriptions.numpy(), encoder)
    texts = ["sing aloud today", "bake bread", "perform this song"]
    found = scores(encoder.encode(texts), CatalogHints(tasks)(texts)[..., 0])
    assert found.dtype == np.float32
    assert found.argmax(axis=1).tolist() == [3, 1, 3]


def test_texts_that_are_all_the_same_say_nothing() -> None:
    encoder = WordEncoder()
    scores = TextScores(TASKS, np.ones((3, encoder.hidden_size), dtype=np.float32), encoder)
    found = scores(np.zeros((1, encoder.hidden_size), dtype=np.float32), np.zeros((1, 3), dtype=np.float32))
    assert found.tolist() == [[0.0, 0.0, 0.0]]
