"""Builds the workers of a catalog that are made of others."""

from __future__ import annotations

from collections.abc import Callable

from orchestai.arms.coder import CoderArm
from orchestai.arms.executor import ExecutorArm
from orchestai.arms.retriever import RetrieverArm
from orchestai.arms.sandbox import Sandbox
from orchestai.arms.swarm import Swarm
from orchestai.config import ArmsConfig
from orchestai.contracts import Worker, WorkerProfile
from orchestai.errors import InputError
from orchestai.workers.limited import LimitedWorker

_PROGRAMS_AT_A_TIME = 2


def build_arm(profile: WorkerProfile, config: ArmsConfig, find: Callable[[str], Worker]) -> Worker:
    """Build the arm that a profile describes.

    Args:
        profile: Its entry in the catalog.
        config: Limits of the sandbox, and how often a program is mended.
        find: Gives its members by name.

    Raises:
        InputError: The profile describes no arm, or its settings do not fit each other.
    """
    spec = profile.arm
    if spec is None:
        raise InputError(f"Worker {profile.name!r} is no arm.", remedy="Give it an `arm` section.")
    sandbox = Sandbox(config.sandbox, worker=profile.name)
    match spec.role:
        case "executor":
            programs = profile.max_concurrency or _PROGRAMS_AT_A_TIME
            return LimitedWorker(ExecutorArm(sandbox, name=profile.name), programs)
        case "coder":
            return CoderArm(find(spec.members[0]), sandbox=sandbox, repairs=config.coder_repairs, name=profile.name)
        case "retriever":
            return RetrieverArm({}, config=config.retriever, name=profile.name)
        case "swarm":
            return Swarm(
                [find(member) for member in spec.members],
                method=spec.method,
                quorum=spec.quorum,
                deadline_s=spec.deadline_s,
                name=profile.name,
            )
