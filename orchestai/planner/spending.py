"""What planning with a language model costs, and whether the instruction's budget has it."""

from __future__ import annotations

from dataclasses import dataclass

from orchestai.contracts import Budget, WorkerOutput, WorkerProfile, WorkerRequest, worst_case
from orchestai.errors import BudgetExceededError


@dataclass
class Spending:
    """Dollars and tokens spent on one plan; the execution's budget begins with them.

    Attributes:
        budget: The instruction's.
        usd: Spent so far.
        tokens: Read and written so far.
    """

    budget: Budget
    usd: float = 0.0
    tokens: int = 0

    def check(self, profile: WorkerProfile, request: WorkerRequest) -> None:
        """Refuse a call whose worst case is more than is left.

        Raises:
            BudgetExceededError: It is.
        """
        usd, tokens = worst_case(profile, request)
        if self.budget.usd is not None and usd > self.budget.usd - self.usd + 1e-12:
            raise BudgetExceededError(usd, max(self.budget.usd - self.usd, 0.0))
        if self.budget.tokens is not None and tokens > self.budget.tokens - self.tokens:
            raise BudgetExceededError.of_tokens(tokens, max(self.budget.tokens - self.tokens, 0))

    def answered(self, output: WorkerOutput) -> None:
        """Count a call by what its answer says it took."""
        self.usd += output.cost
        self.tokens += int(output.metadata.get("input_tokens") or 0) + int(output.metadata.get("output_tokens") or 0)

    def garbled(self, profile: WorkerProfile, request: WorkerRequest) -> None:
        """Count a call whose answer came without its numbers as the worst case: it was made and is billed."""
        usd, tokens = worst_case(profile, request)
        self.usd += usd
        self.tokens += tokens
