"""StepStructure: given a goal and its steps in free text, who waits for whom."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from pydantic import ValidationError
from torch import Tensor

from orchestai.checkpoint.store import load_checkpoint
from orchestai.contracts import Subtask, WorkflowGraph
from orchestai.contracts.base import Record
from orchestai.embeddings.protocol import TextEncoder
from orchestai.errors import CheckpointError, InputError
from orchestai.planner.structure_decoding import decode_structure
from orchestai.planner.structure_features import NODE_FEATURES, PAIR_FEATURES, StepFeatures, step_features
from orchestai.planner.structure_network import StepBatch, StructureConfig, StructureEnsemble
from orchestai.planner.structure_prior import Edges, Floats, GraphPrior, Shapes

CHECKPOINT_KIND = "structure"


class StructureSetup(Record):
    """What a checkpoint of a StepStructure holds beside its weights.

    Attributes:
        network: Sizes.
        encoder: Name of the encoder.
        encoder_identity: Hash of what decides its vectors.
        shapes: By number of steps: training graphs and how often they occurred.
    """

    network: StructureConfig
    encoder: str
    encoder_identity: str
    shapes: dict[int, tuple[tuple[Edges, int], ...]]


class EncodedSteps(NamedTuple):
    """One plan as the network sees it."""

    goal: Tensor  # (H,)
    steps: Tensor  # (n, H)
    features: StepFeatures


class StepGraph(NamedTuple):
    """The predicted structure of n steps.

    Attributes:
        dependencies: Parents of each step.
        edge_probs: [n, n], row = parent: raw probabilities, before decoding.
    """

    dependencies: tuple[tuple[int, ...], ...]
    edge_probs: Floats

    @property
    def edges(self) -> Edges:
        """Pairs (parent, child), sorted."""
        return tuple(sorted((p, child) for child, parents in enumerate(self.dependencies) for p in parents))


class StepStructure:
    """Predicts the edges between given steps.

    The order of the steps counts: people write steps roughly in the order in which they do them, and the
    network has learned how far to trust that. Steps in an arbitrary order get a poorer graph.

    Args:
        ensemble: Trained networks.
        encoder: The encoder that they were trained with.
        shapes: By number of steps: training graphs and their counts.
        model_version: Which checkpoint it is.
    """

    def __init__(
        self,
        ensemble: StructureEnsemble,
        encoder: TextEncoder,
        shapes: Shapes,
        model_version: str = "unsaved",
    ) -> None:
        self._ensemble = ensemble.eval()
        self._encoder = encoder
        self._prior = GraphPrior(shapes)
        self.model_version = model_version

    @classmethod
    def load(cls, checkpoint: Path, *, encoder: TextEncoder) -> StepStructure:
        """Load a checkpoint that `orchestai.training.structure` wrote.

        Raises:
            CheckpointError: It is damaged, of another kind, or was trained with another encoder.
        """
        loaded = load_checkpoint(checkpoint)
        if loaded.manifest.kind != CHECKPOINT_KIND:
            raise CheckpointError(
                f"The checkpoint {checkpoint} is of kind {loaded.manifest.kind!r}, not {CHECKPOINT_KIND!r}.",
                remedy="Name a folder that the structure training wrote.",
            )
        try:
            setup = StructureSetup.model_validate(loaded.config)
            ensemble = StructureEnsemble(setup.network)
            ensemble.load_state_dict(loaded.tensors)
        except (ValidationError, RuntimeError) as error:
            raise CheckpointError(
                f"The checkpoint {checkpoint} does not fit this version: {str(error).splitlines()[0]}",
                remedy="Train it anew.",
            ) from error
        if setup.encoder_identity != encoder.identity:
            raise CheckpointError(
                f"The checkpoint {checkpoint} was trained with the encoder {setup.encoder!r}, not {encoder.name!r}.",
                remedy="Load the encoder that it was trained with.",
            )
        shapes = {size: dict(found) for size, found in setup.shapes.items()}
        return cls(ensemble, encoder, shapes, loaded.manifest.digest)

    def predict(self, goal: str, steps: Sequence[str]) -> StepGraph:
        """Return who waits for whom; acyclic, and without edges that a longer path implies.

        Args:
            goal: What the steps are for.
            steps: 1 to `max_subtasks` texts, in the order in which they were written down.

        Raises:
            InputError: There is no step, one is empty, or there are too many.
        """
        most = self._ensemble.config.max_subtasks
        if not 1 <= len(steps) <= most:
            raise InputError(f"A plan must have 1 to {most} steps, got {len(steps)}.")
        for place, step in enumerate(steps):
            if not step.strip():
                raise InputError(f"steps[{place}] is empty.", remedy="Say in words what is to be done.")
        batch = make_step_batch([encode_steps(goal, steps, self._encoder)])
        with torch.inference_mode():
            probs = self._ensemble.edge_probs(batch)[0].double().numpy()
        edges = decode_structure(probs, self._prior)
        parents = tuple(tuple(p for p, c in edges if c == child) for child in range(len(steps)))
        return StepGraph(dependencies=parents, edge_probs=probs)

    def complete(self, goal: str, nodes: Sequence[Subtask]) -> WorkflowGraph:
        """Put edges between sub-tasks that somebody described without saying who waits for whom.

        Args:
            goal: The instruction.
            nodes: The sub-tasks; the name of the type stands in where there is no description.

        Raises:
            InputError: There is no sub-task, or there are too many.
        """
        texts = [node.description.strip() or node.task_type.replace("_", " ") for node in nodes]
        return WorkflowGraph(nodes=tuple(nodes), dependencies=self.predict(goal, texts).dependencies)


def encode_steps(goal: str, steps: Sequence[str], encoder: TextEncoder) -> EncodedSteps:
    """Embed the texts of one plan and compute its features."""
    embeddings = encoder.encode([goal, *steps])  # (1 + n, H)
    features = step_features(goal, steps, embeddings[0], embeddings[1:])
    return EncodedSteps(torch.from_numpy(embeddings[0]), torch.from_numpy(embeddings[1:]), features)


def make_step_batch(plans: Sequence[EncodedSteps]) -> StepBatch:
    """Pad plans to the longest."""
    size = max(len(plan.steps) for plan in plans)
    hidden = plans[0].goal.shape[0]
    batch = StepBatch(
        goals=torch.stack([plan.goal for plan in plans]),
        steps=torch.zeros(len(plans), size, hidden),
        nodes=torch.zeros(len(plans), size, NODE_FEATURES),
        pairs=torch.zeros(len(plans), size, size, PAIR_FEATURES),
        mask=torch.zeros(len(plans), size, dtype=torch.bool),
    )
    for row, plan in enumerate(plans):
        count = len(plan.steps)
        batch.steps[row, :count] = plan.steps
        batch.nodes[row, :count] = torch.from_numpy(plan.features.nodes)
        batch.pairs[row, :count, :count] = torch.from_numpy(np.ascontiguousarray(plan.features.pairs))
        batch.mask[row, :count] = True
    return batch
