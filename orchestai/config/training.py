"""Training: its data, its recipe and what it is rewarded for."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Self

from pydantic import Field, model_validator

from orchestai.contracts.base import Record


class Phase1Config(Record):
    """Supervised training of the planner.

    Attributes:
        batch_size: Instructions a step.
        learning_rate: Peak step size of AdamW.
        epochs: Passes over the data, at most.
        max_steps: Steps after which no further pass begins: large data sets need fewer of them.
        lambda_dag: Weight of the DAG loss beside the cross-entropies.
        patience: Epochs without a better validation loss before training stops.
        seed: Equal seeds give equal weights on the same machine.
        weight_decay: Decay of AdamW.
        dropout: Share of activations dropped in training.
        grad_clip: Largest gradient norm; longer gradients are scaled down.
        device: Where to train; `auto` takes a GPU if there is one.
        encoder_layers: Last layers of the encoder that learn too, before everything else; 0 leaves it as it is.
        encoder_epochs: Passes over the data in which they learn; 0 leaves the encoder as it is.
        encoder_learning_rate: Their peak step size.
    """

    batch_size: int = Field(default=32, ge=1)
    learning_rate: float = Field(default=1e-4, gt=0, le=1)
    epochs: int = Field(default=50, ge=1)
    max_steps: int = Field(default=900, ge=1)
    lambda_dag: float = Field(default=0.3, ge=0)
    patience: int = Field(default=10, ge=1)
    seed: int = Field(default=7, ge=0)
    weight_decay: float = Field(default=0.01, ge=0)
    dropout: float = Field(default=0.1, ge=0, lt=1)
    grad_clip: float = Field(default=1.0, gt=0)
    device: Literal["auto", "cpu", "cuda"] = "auto"
    encoder_layers: int = Field(default=3, ge=0)
    encoder_epochs: int = Field(default=6, ge=0)
    encoder_learning_rate: float = Field(default=1e-4, gt=0, le=1)


class RouterConfig(Record):
    """Training of the router.

    Attributes:
        folds: Members of the ensemble, each trained without one part of the data.
        attention: Whether to train the attention networks; without them families and retrieval decide.
        epochs: Passes over the data of each network.
        batch_size: Sub-tasks a step.
        learning_rate: Peak step size of AdamW.
        dropout: Share of activations dropped in training.
        weight_decay: Decay of AdamW.
        seed: Equal seeds give equal weights on the same machine.
        min_rows: Fewest sub-tasks with outcomes that are worth training on.
        imports: Folders of imports with outcomes to learn from beside the own logs; relative to the home folder.
    """

    folds: int = Field(default=5, ge=2, le=20)
    attention: bool = True
    epochs: int = Field(default=12, ge=1)
    batch_size: int = Field(default=128, ge=1)
    learning_rate: float = Field(default=3e-3, gt=0, le=1)
    dropout: float = Field(default=0.5, ge=0, lt=1)
    weight_decay: float = Field(default=0.01, ge=0)
    seed: int = Field(default=7, ge=0)
    min_rows: int = Field(default=100, ge=20)
    imports: tuple[Path, ...] = ()


class Phase2Config(Record):
    """Reinforcement learning of the choice of workers: PPO.

    Attributes:
        rewards: Name of the reward weights under `rewards/`.
        updates: Rounds of acting and learning, at most.
        workflows: Workflows a round.
        repeats: Episodes of each of them in a round; the advantage `same_workflow` needs two or more.
        epochs: Passes over a round's decisions.
        minibatches: Parts in which a pass takes them.
        learning_rate: Step size of AdamW.
        clip: Farthest that a choice may become likelier or less likely before its gradient stops.
        discount: Gamma: what the reward of a later decision counts for an earlier one.
        trace: Lambda of GAE.
        advantage: `gae` needs the critic only; `same_workflow` compares episodes of one workflow; `counterfactual`
            asks what each other worker would have come to, where the environment knows, and is `gae` where not.
        normalise: Whether the advantages of a round are given mean 0 and deviation 1.
        scale_rewards: Whether rewards are divided by their deviation under the first policy.
        first_entropy: Least mean entropy that the policy of Phase 1 begins with, as a share of that of even chances;
            a surer one is softened, its likeliest choices unchanged.
        entropy: Weight of the entropy bonus in the first round.
        entropy_end: The same in the last round; in between it falls in a line.
        value_weight: Weight of the critic's loss.
        max_kl: A round's learning stops when the policy has moved this far; in nats.
        grad_clip: Largest gradient norm; longer gradients are scaled down.
        weight_decay: Decay of AdamW.
        masking: Whether workers that may not be used are hidden from the policy.
        validate_every: Rounds between two looks at the validation workflows.
        patience: Looks without a better validation reward before training stops.
        seed: Equal seeds give equal weights on the same machine.
        spending_usd: The most dollars that a live environment may spend.
    """

    rewards: str = "balanced"
    updates: int = Field(default=60, ge=1)
    workflows: int = Field(default=512, ge=1)
    repeats: int = Field(default=1, ge=1)
    epochs: int = Field(default=4, ge=1)
    minibatches: int = Field(default=4, ge=1)
    learning_rate: float = Field(default=3e-4, gt=0, le=1)
    clip: float = Field(default=0.2, gt=0, lt=1)
    discount: float = Field(default=1.0, gt=0, le=1)
    trace: float = Field(default=0.95, ge=0, le=1)
    advantage: Literal["gae", "same_workflow", "counterfactual"] = "counterfactual"
    normalise: bool = True
    scale_rewards: bool = True
    first_entropy: float = Field(default=0.5, ge=0, lt=1)
    entropy: float = Field(default=0.01, ge=0)
    entropy_end: float = Field(default=0.0, ge=0)
    value_weight: float = Field(default=0.5, ge=0)
    max_kl: float = Field(default=0.03, gt=0)
    grad_clip: float = Field(default=0.5, gt=0)
    weight_decay: float = Field(default=0.01, ge=0)
    masking: bool = True
    validate_every: int = Field(default=2, ge=1)
    patience: int = Field(default=10, ge=1)
    seed: int = Field(default=7, ge=0)
    spending_usd: float = Field(default=0.0, ge=0)

    @model_validator(mode="after")
    def _check_repeats(self) -> Self:
        if self.advantage == "same_workflow" and self.repeats < 2:
            raise ValueError(f"`advantage: same_workflow` needs `repeats` >= 2, got {self.repeats}.")
        return self


class SplitConfig(Record):
    """Percentages of the groups that go into each split.

    Attributes:
        train: Percentage to learn from.
        validation: Percentage for early stopping and calibration.
        test: Percentage for the report only.
    """

    train: int = Field(default=60, ge=1, le=98)
    validation: int = Field(default=20, ge=1, le=98)
    test: int = Field(default=20, ge=1, le=98)

    @model_validator(mode="after")
    def _check_sum(self) -> Self:
        total = self.train + self.validation + self.test
        if total != 100:
            raise ValueError(f"train + validation + test must be 100, got {total}.")
        return self


class SyntheticConfig(Record):
    """Instructions made by a grammar, beside the real ones of the training split.

    Attributes:
        rows: How many; 0 means none. Catalogs without the default task types never get any.
        seed: Of all draws: equal seeds make equal instructions.
    """

    rows: int = Field(default=0, ge=0, le=100_000)
    seed: int = Field(default=11, ge=0)


class TrainingDataConfig(Record):
    """The data to train on.

    Attributes:
        split: How the examples are divided.
        min_rows: Fewest examples that are worth training on.
        synthetic: What is added to the training split.
    """

    split: SplitConfig = SplitConfig()
    min_rows: int = Field(default=50, ge=3)
    synthetic: SyntheticConfig = SyntheticConfig()


class TrainingConfig(TrainingDataConfig):
    """All of `training/`.

    Attributes:
        phase1: Supervised training of the planner.
        phase2: Reinforcement learning of the choice of workers.
        router: Training of the router.
    """

    phase1: Phase1Config = Phase1Config()
    phase2: Phase2Config = Phase2Config()
    router: RouterConfig = RouterConfig()


class RewardConfig(Record):
    """Weights of the reward of one execution: the sum of weight times measured value.

    Attributes:
        success: For an accepted answer.
        cost: For each dollar spent; negative, because it is a penalty.
        latency_ms: For each millisecond taken; negative, because it is a penalty.
        successful_tasks: For each sub-task that completed.
        description: When to use these weights.
    """

    success: float = Field(default=10.0, ge=0)
    cost: float = Field(default=-0.1, le=0)
    latency_ms: float = Field(default=-0.01, le=0)
    successful_tasks: float = Field(default=0.1, ge=0)
    description: str = ""

    def reward(self, *, success: bool, cost_usd: float, latency_ms: float, successful_tasks: int) -> float:
        """Return the reward of one execution."""
        return (
            self.success * success
            + self.cost * cost_usd
            + self.latency_ms * latency_ms
            + self.successful_tasks * successful_tasks
        )
