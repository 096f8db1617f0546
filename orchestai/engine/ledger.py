"""What an execution may still spend: the worst case is reserved before a call, the truth settled after it."""

from __future__ import annotations

from dataclasses import dataclass

from orchestai.contracts import Budget, WorkerOutput
from orchestai.errors import BudgetExceededError


@dataclass(frozen=True)
class Reservation:
    """Dollars and tokens set aside for one call."""

    usd: float
    tokens: int


class Ledger:
    """Dollars and tokens of one execution. Not thread safe: one event loop owns it.

    Args:
        budget: The limits.
        spent_usd: What was spent before, on planning.
        spent_tokens: Likewise, in tokens.
    """

    def __init__(self, budget: Budget, *, spent_usd: float = 0.0, spent_tokens: int = 0) -> None:
        self._budget = budget
        self.spent_usd = spent_usd
        self.spent_tokens = spent_tokens
        self._reserved_usd = 0.0
        self._reserved_tokens = 0

    def reserve(self, usd: float, tokens: int) -> Reservation:
        """Set aside the worst case of one call.

        Raises:
            BudgetExceededError: More than is left.
        """
        limit = self._budget
        if limit.usd is not None:
            left_usd = limit.usd - self.spent_usd - self._reserved_usd
            if usd > left_usd + 1e-12:
                raise BudgetExceededError(usd, max(left_usd, 0.0))
        if limit.tokens is not None:
            left_tokens = limit.tokens - self.spent_tokens - self._reserved_tokens
            if tokens > left_tokens:
                raise BudgetExceededError.of_tokens(tokens, max(left_tokens, 0))
        self._reserved_usd += usd
        self._reserved_tokens += tokens
        return Reservation(usd, tokens)

    def settle(self, reservation: Reservation, usd: float, tokens: int) -> None:
        """Replace a reservation by what the call really took."""
        self._reserved_usd -= reservation.usd
        self._reserved_tokens -= reservation.tokens
        self.spent_usd += usd
        self.spent_tokens += tokens

    def settle_output(self, reservation: Reservation, output: WorkerOutput | None) -> tuple[int, int]:
        """Settle by what an answer says it took, nothing where there is none; return input and output tokens."""
        if output is None:
            self.settle(reservation, 0.0, 0)
            return 0, 0
        read = int(output.metadata.get("input_tokens") or 0)
        written = int(output.metadata.get("output_tokens") or 0)
        self.settle(reservation, output.cost, read + written)
        return read, written
