"""LearnedPlanner: a checkpoint, an encoder and a catalog become a predictor of plans."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Self

import numpy as np
import torch
from pydantic import ValidationError
from torch import Tensor

from orchestai.checkpoint import LoadedCheckpoint, load_checkpoint
from orchestai.contracts import (
    Instruction,
    PlanPrediction,
    Subtask,
    TaskCatalog,
    WorkerCatalog,
    WorkflowGraph,
    planning_text,
)
from orchestai.contracts.base import Record
from orchestai.embeddings import TextEncoder, load_encoder
from orchestai.embeddings.threads import torch_on_free_cores
from orchestai.embeddings.transformer import TransformerEncoder
from orchestai.errors import CheckpointError
from orchestai.planner.calibration import Calibration
from orchestai.planner.decoding import KEPT_TYPES, DecodedPlan, DecodingConfig, Proposal, beam_search, choose
from orchestai.planner.encoder import InstructionEncoder
from orchestai.planner.hints import FEATURES, CatalogHints, HintWeights, ridge_scores
from orchestai.planner.model import (
    NetworkConfig,
    PlannerEnsemble,
    PlannerNetwork,
    describe_types,
    describe_workers,
    map_transitions,
)
from orchestai.planner.new_types import TextScores
from orchestai.planner.quick import QuickSearch
from orchestai.planner.shapes import DescribedTypes, DescribedWorkers, EncodedInstructions, PlannerOutputs, TypeTables

if TYPE_CHECKING:
    from orchestai.planner.planner import LearnedProposal

_log = logging.getLogger(__name__)
_CHUNK = 16
_UNTRIED = 1e-9

HINT_PREFIX = "hints."
ENCODER_PREFIX = "encoder."
TRANSITIONS = "transitions"


class PlannerSetup(Record):
    """`config.json` of a planner's checkpoint.

    Attributes:
        network: Sizes.
        encoder: Name of the encoder.
        encoder_identity: Hash of the encoder; vectors of another one mean nothing to these weights.
        tasks: The catalog that it was trained on.
        workers: The workers that it was trained on.
        decoding: How to decode.
        calibration: From the decoder's probability to confidence.
        reinforced: Workers that Phase 2 has tried. Where there are any, the first network alone chooses, for it is the
            one that went on learning, and workers that it has not tried stand behind those that it has.
    """

    network: NetworkConfig
    encoder: str
    encoder_identity: str
    tasks: TaskCatalog
    workers: WorkerCatalog
    decoding: DecodingConfig = DecodingConfig()
    calibration: Calibration = Calibration()
    reinforced: tuple[str, ...] = ()


class FullPrediction(NamedTuple):
    """A prediction with everything behind it."""

    prediction: PlanPrediction
    outputs: PlannerOutputs  # B = 1, along the chosen types, by the first network
    worker_probabilities: list[list[float]]  # [S][W]
    proposals: list[Proposal]  # one a network


class LearnedPlanner:
    """Predicts plans with a trained network.

    Args:
        ensemble: The networks, with their weights.
        hints: The ridge, fitted on the training data.
        transitions: Log-prior of type pairs, for the trained catalog.
        setup: What the checkpoint says.
        encoder: Reads the instructions, tuned as the network was trained with it.
        describer: Reads the descriptions: the encoder before it was tuned. None means that it was not.
        tasks: Catalog to plan with; None means the trained one.
        workers: Workers to choose from; None means the trained ones.
        model_version: Identity of the checkpoint.

    Raises:
        CheckpointError: Not one task type of the catalog was trained.
    """

    def __init__(
        self,
        ensemble: PlannerEnsemble,
        hints: HintWeights,
        transitions: Tensor,
        setup: PlannerSetup,
        *,
        encoder: TextEncoder,
        describer: TextEncoder | None = None,
        tasks: TaskCatalog | None = None,
        workers: WorkerCatalog | None = None,
        model_version: str = "unsaved",
    ) -> None:
        self.setup = setup
        self.tasks = tasks if tasks is not None else setup.tasks
        self.workers = workers or setup.workers
        self.ensemble = ensemble.eval()
        for network in ensemble.networks():
            network.graph.threshold = setup.decoding.edge_threshold
        self._version = model_version
        self._encoder = InstructionEncoder(encoder)
        self._hints = hints
        self._described = CatalogHints(self.tasks)
        self._types = describe_types(self.tasks, describer or encoder, setup.tasks)
        with torch.inference_mode():
            self._tables = [network.tables(self._types) for network in self.ensemble.networks()]
        self._workers = describe_workers(self.workers, self.tasks, describer or encoder)
        self._trust = torch.tensor(
            [1.0 if name in setup.reinforced or not setup.reinforced else _UNTRIED for name in self.workers.names]
        )
        self._transitions = map_transitions(transitions, self._types.rows)
        self._quick: list[QuickSearch] | None = None
        trained = len(setup.tasks)
        rows = self._types.rows.tolist()
        self._trained = self._types.rows.numpy() < trained
        self.untrained = tuple(name for name, row in zip(self.tasks.names, rows, strict=True) if row == trained)
        if len(self.untrained) == len(self.tasks):
            raise CheckpointError(
                f"The checkpoint was trained with another catalog: of its {trained} task types "
                f"({', '.join(setup.tasks.names[:3])}, ..) this one has none ({', '.join(self.tasks.names[:3])}, ..).",
                remedy="Train a planner for this catalog, or plan with the catalog of the checkpoint.",
            )
        self._texts: TextScores | None = None
        if self.untrained:
            self._texts = TextScores(self.tasks, self._types.descriptions.numpy(), describer or encoder)
            _log.warning(
                "%d of %d task types were not trained (or are described otherwise now) and are "
                "judged by their descriptions alone, which the confidence of a plan does not account for: %s",
                len(self.untrained),
                len(self.tasks),
                ", ".join(self.untrained[:10]),
            )

    @classmethod
    def load(
        cls,
        checkpoint_dir: Path,
        *,
        encoder: TextEncoder | None = None,
        tasks: TaskCatalog | None = None,
        workers: WorkerCatalog | None = None,
    ) -> Self:
        """Load a Phase 1 checkpoint.

        Args:
            checkpoint_dir: Its folder.
            encoder: Text encoder; None loads the one that the checkpoint names.
            tasks: Task types to plan with; types that were not trained are judged by their
                descriptions. None means the trained catalog.
            workers: Workers to choose from; None means the trained ones.

        Raises:
            CheckpointError: It is missing, garbled, or made with another encoder or for another catalog.
        """
        loaded = load_checkpoint(checkpoint_dir)
        setup, ensemble, hints, transitions, layers = _restore(loaded, checkpoint_dir)
        encoder = encoder or load_encoder(setup.encoder)
        if encoder.identity != setup.encoder_identity:
            raise CheckpointError(
                f"The checkpoint {checkpoint_dir} was trained with the encoder {setup.encoder!r} "
                f"({setup.encoder_identity[:12]}), but {encoder.name!r} ({encoder.identity[:12]}) is given.",
                remedy="Use the same encoder, or train anew with this one.",
            )
        return cls(
            ensemble,
            hints,
            transitions,
            setup,
            encoder=_tuned(encoder, layers),
            describer=encoder,
            tasks=tasks,
            workers=workers,
            model_version=loaded.manifest.digest[:12],
        )

    @property
    def model_version(self) -> str:
        """Which checkpoint this is."""
        return self._version

    def predict(self, instructions: Sequence[str]) -> list[PlanPrediction]:
        """Return one plan an instruction, in order."""
        predictions: list[PlanPrediction] = []
        for start in range(0, len(instructions), _CHUNK):
            texts = list(instructions[start : start + _CHUNK])
            predictions.extend(self._name(decoded) for decoded, _ in self._decode(texts))
        return predictions

    def predict_full(self, instruction: str) -> FullPrediction:
        """Return the plan of one instruction with the outputs of every part."""
        with torch_on_free_cores(), torch.inference_mode():
            encoded, hints = self._read([instruction])
            ((decoded, proposals),) = self._search(encoded, hints)
            chosen = torch.tensor([decoded.shape.types])
            mask = torch.ones_like(chosen, dtype=torch.bool)
            runs = [
                network(encoded, self._types, self._workers, hints, chosen, mask)[0]
                for network in self.ensemble.networks()
            ]
        voices = runs[:1] if self.setup.reinforced else runs
        preferences = torch.stack([run.selection.action_probs for run in voices]).mean(dim=0) * self._trust
        return FullPrediction(
            prediction=self._name(decoded),
            outputs=runs[0],
            worker_probabilities=preferences.tolist(),
            proposals=proposals,
        )

    def propose(self, instruction: Instruction) -> LearnedProposal:
        """Return graph, confidence and worker preferences, as the composed planner asks for them."""
        from orchestai.planner.planner import LearnedProposal

        full = self.predict_full(planning_text(instruction.text, instruction.inputs))
        complexities = full.outputs.decomposition.complexities[0, :, 0].tolist()
        nodes = tuple(
            Subtask(task_type=name, complexity=complexity)
            for name, complexity in zip(full.prediction.task_types, complexities, strict=True)
        )
        return LearnedProposal(
            graph=WorkflowGraph(nodes=nodes, dependencies=full.prediction.dependencies),
            confidence=full.prediction.confidence,
            worker_probabilities=full.worker_probabilities,
        )

    @property
    def described_workers(self) -> DescribedWorkers:
        """The workers as the network sees them."""
        return self._workers

    def selector_states(self, texts: Sequence[str], types: Sequence[Sequence[str]]) -> list[Tensor]:
        """Return what the selector sees of the sub-tasks of given plans: one [S, H + node] an instruction.

        Args:
            texts: Instructions.
            types: Names of the task types of their sub-tasks, parents first.
        """
        states: list[Tensor] = []
        for start in range(0, len(texts), _CHUNK):
            plans = [[self.tasks.index(name) for name in plan] for plan in types[start : start + _CHUNK]]
            longest = max(map(len, plans))
            chosen = torch.tensor([plan + [0] * (longest - len(plan)) for plan in plans])
            mask = torch.tensor([[place < len(plan) for place in range(longest)] for plan in plans])
            with torch.inference_mode():
                encoded, hints = self._read(list(texts[start : start + _CHUNK]))
                network = self.ensemble.leader
                outputs, _ = network(encoded, self._types, self._workers, hints, chosen, mask)
                wide = network.states(encoded.embeddings, outputs.graph).view(len(plans), longest, -1)
            states.extend(row[: len(plan)].clone() for row, plan in zip(wide, plans, strict=True))
        return states

    def _read(self, texts: list[str]) -> tuple[EncodedInstructions, Tensor]:
        encoded = self._encoder.encode(texts)
        scores = ridge_scores(self._hints, texts, encoded.embeddings.numpy())  # (B, K trained)
        catalog = self._described(texts)
        hints = np.zeros((len(texts), len(self.tasks), FEATURES), dtype=np.float32)
        hints[..., 1:] = catalog
        hints[:, self._trained, 0] = scores[:, self._types.rows.numpy()[self._trained]]
        if self._texts is not None:
            text = self._texts(encoded.embeddings.numpy(), catalog[..., 0])  # (B, K)
            hints = np.concatenate([hints, self.setup.decoding.text_weight * text[..., None]], axis=-1)
        return encoded, torch.from_numpy(hints)

    def _decode(self, texts: list[str]) -> list[tuple[DecodedPlan, list[Proposal]]]:
        with torch_on_free_cores(), torch.inference_mode():
            return self._search(*self._read(texts))

    def _search(self, encoded: EncodedInstructions, hints: Tensor) -> list[tuple[DecodedPlan, list[Proposal]]]:
        decoding = self.setup.decoding
        if len(encoded.states) == 1:
            proposals = [one(encoded.states[0], encoded.embeddings[0], hints[0]) for one in self._searches()]
            return [(choose(proposals, decoding), proposals)]
        found = search(self.ensemble, encoded, self._types, hints, self._transitions, decoding, self._tables)
        return [(choose(proposals, decoding), proposals) for proposals in found]

    def _searches(self) -> list[QuickSearch]:
        if self._quick is None:
            networks = zip(self.ensemble.networks(), self._tables, strict=True)
            self._quick = [QuickSearch(*pair, self._transitions, self.setup.decoding) for pair in networks]
        return self._quick

    def _name(self, decoded: DecodedPlan) -> PlanPrediction:
        return PlanPrediction(
            task_types=tuple(self.tasks.names[kind] for kind in decoded.shape.types),
            dependencies=decoded.shape.parents,
            confidence=self.setup.calibration(decoded.probability),
        )


def search(
    ensemble: PlannerEnsemble,
    encoded: EncodedInstructions,
    types: DescribedTypes,
    hints: Tensor,
    transitions: Tensor,
    config: DecodingConfig,
    tables: Sequence[TypeTables] | None = None,
) -> list[list[Proposal]]:
    """What every network of the ensemble proposes for each instruction: [B][members].

    `tables` are what each network makes of the catalog, where that is known already.
    """
    found = [
        propose(one, encoded, one.tables(types) if tables is None else tables[place], hints, transitions, config)
        for place, one in enumerate(ensemble.networks())
    ]
    return [list(proposals) for proposals in zip(*found, strict=True)]


def propose(
    network: PlannerNetwork,
    encoded: EncodedInstructions,
    tables: TypeTables,
    hints: Tensor,
    transitions: Tensor,
    config: DecodingConfig,
) -> list[Proposal]:
    """One network's candidate sequences and their edge probabilities for each instruction."""
    _, memory = network.look(encoded, tables, hints)
    memory = memory.narrow(KEPT_TYPES)
    found = beam_search(network.decomposer, memory, transitions, config)
    width = max(len(candidates) for candidates in found)
    length = max(len(candidate.types) for candidates in found for candidate in candidates)
    subtasks = hints.new_zeros(len(found) * width, length, network.config.subtask_size)
    mask = torch.zeros(len(found) * width, length, dtype=torch.bool, device=hints.device)
    for row, candidates in enumerate(found):
        for column, candidate in enumerate(candidates):
            if candidate.subtasks is not None:
                subtasks[row * width + column, : len(candidate.types)] = candidate.subtasks
            mask[row * width + column, : len(candidate.types)] = True
    graph = network.graph(subtasks, network.decomposer.dependency_probs(subtasks), mask)
    probs = graph.edge_probs.float().view(len(found), width, length, length).tolist()
    return [
        # The embeddings have served: thousands of proposals are kept while the decoding is tuned.
        Proposal([one._replace(subtasks=None) for one in candidates], rows[: len(candidates)])
        for candidates, rows in zip(found, probs, strict=True)
    ]


def _tuned(encoder: TextEncoder, layers: dict[str, Tensor]) -> TextEncoder:
    """The encoder with the layers that were tuned, if any were."""
    if not layers:
        return encoder
    if not isinstance(encoder, TransformerEncoder):
        raise CheckpointError(
            f"The checkpoint holds tuned layers, but the encoder {encoder.name!r} has none to replace.",
            remedy="Use the encoder that the checkpoint was trained with.",
        )
    return encoder.with_upper_layers(layers)


def _restore(
    loaded: LoadedCheckpoint, directory: Path
) -> tuple[PlannerSetup, PlannerEnsemble, HintWeights, Tensor, dict[str, Tensor]]:
    try:
        setup = PlannerSetup.model_validate(loaded.config)
        ensemble = PlannerEnsemble(setup.network)
        tensors = dict(loaded.tensors)
        transitions = tensors.pop(TRANSITIONS)
        hints = HintWeights(**{name: tensors.pop(HINT_PREFIX + name).float().numpy() for name in HintWeights._fields})
        tuned = [name for name in tensors if name.startswith(ENCODER_PREFIX)]
        layers = {name.removeprefix(ENCODER_PREFIX): tensors.pop(name).float() for name in tuned}
        ensemble.load_state_dict(tensors)
    except (ValidationError, KeyError, RuntimeError) as error:
        first = str(error).strip().splitlines()[0]
        raise CheckpointError(
            f"The checkpoint {directory} does not hold a planner of this version: {first}.",
            remedy="Train it anew with this version.",
        ) from error
    return setup, ensemble, hints, transitions, layers
