"""Answers for the time in which every worker of a sub-task is down: the last good one, or the configured one."""

from __future__ import annotations

import hashlib
from collections import Counter, OrderedDict

from orchestai.contracts import WorkerOutput, WorkerRequest


class StandIns:
    """Keeps the last good answer to each request.

    Args:
        size: Answers kept; the one not used for longest goes first. 0 keeps none.
        default: Answer where none is kept; null means that there is none.
    """

    def __init__(self, size: int, default: str | None) -> None:
        self._size = size
        self._default = default
        self._answers: OrderedDict[bytes, tuple[str, object]] = OrderedDict()
        self._tenants: Counter[str] = Counter()

    def keep(self, tenant: str, request: WorkerRequest, output: WorkerOutput) -> None:
        """Remember a good answer."""
        if self._size:
            key = _key(tenant, request)
            if key not in self._answers:
                self._tenants[tenant] += 1
            self._answers[key] = (tenant, output.content)
            self._answers.move_to_end(key)
            if len(self._answers) > self._size:
                _, (whose, _) = self._answers.popitem(last=False)
                self._tenants[whose] -= 1
                self._tenants += Counter()  # drops those of whom nothing is left

    def may_have(self, tenant: str) -> bool:
        """Say whether there is an answer for some request of the tenant."""
        return self._default is not None or tenant in self._tenants

    def find(self, tenant: str, request: WorkerRequest) -> WorkerOutput | None:
        """Return what stands in for the answer, marked as such."""
        key = _key(tenant, request)
        if key in self._answers:
            return WorkerOutput(content=self._answers[key][1], metadata={"stand_in": "cached"})
        if self._default is not None:
            return WorkerOutput(content=self._default, metadata={"stand_in": "default"})
        return None


def _key(tenant: str, request: WorkerRequest) -> bytes:
    # One tenant's answer is never another's; the hash spares us keeping the prompts.
    digest = hashlib.blake2b(digest_size=16)
    for part in (tenant, request.task_type, request.system, request.prompt, repr(sorted(request.inputs.items()))):
        digest.update(part.encode("utf-8", "surrogatepass"))
        digest.update(b"\0")
    return digest.digest()
