"""Which planner serves an instruction: the champion's or a challenger's, changed while the process runs.

What is to be served is read from the pointer file, about once a second, in a thread of its own. A new version is
loaded there and then put in place at once: an instruction sees the old planners or the new ones. Planners of before
live as long as somebody plans with them. If the registry cannot be asked, or a version cannot be loaded, what is
served stays.
"""

from __future__ import annotations

import fcntl
import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from orchestai.app.plans import KnownPlans
from orchestai.config import Project
from orchestai.contracts import ExecutionResult, Instruction, Plan, ServedArm, ServedBy
from orchestai.errors import OrchestAIError
from orchestai.planner.planner import HybridPlanner
from orchestai.registry.assign import side_of, unit_of
from orchestai.registry.pointer import PointedVersion, ServingPointer, pointer_file, read_pointer, registry_state
from orchestai.registry.records import MODEL

_log = logging.getLogger(__name__)

_REMOTE_EVERY = 3
"""Looks at the pointer file between two questions to a registry that other machines change too."""


@dataclass(frozen=True)
class Lane:
    """What one version plans with.

    Attributes:
        planner: Makes plans.
        plans: Plans of it that were good before.
        version: The version; None where the checkpoint folder is served.
    """

    planner: HybridPlanner
    plans: KnownPlans
    version: PointedVersion | None = None


@dataclass(frozen=True)
class Ticket:
    """Who serves one instruction.

    Attributes:
        lane: What plans.
        served: What the log says of it; None where nothing is registered.
        pointer: What was to be served at that moment.
    """

    lane: Lane
    served: ServedBy | None = None
    pointer: ServingPointer | None = None


@dataclass(frozen=True)
class _Served:
    """Everything that is served at one moment, replaced as a whole."""

    pointer: ServingPointer | None
    champion: Lane
    lanes: Mapping[str, Lane]  # by digest

    def lane(self, number: str) -> Lane | None:
        found = self.pointer.version(number) if self.pointer is not None else None
        return self.lanes.get(found.digest) if found is not None else None


class ServedModels:
    """The planners that serve, by version.

    Args:
        project: Says where the pointer file is, and what to do without one.
        build: Builds the planner of a project whose checkpoints are those of a version.
        follow: Whether to follow the pointer file; else the checkpoint folder is served.

    Attributes:
        on_change: Told the identity of all that is served whenever it changes.

    Raises:
        CheckpointError: Nothing is registered, and the checkpoint that is there cannot be used.
    """

    def __init__(
        self,
        project: Project,
        build: Callable[[Project], HybridPlanner],
        *,
        follow: bool = True,
    ) -> None:
        self._project = project
        self._build = build
        # A checkpoint that the configuration names is served, whatever is registered.
        self._follow = follow and project.registry.enabled and project.planner.checkpoint is None
        self.on_change: Callable[[str], None] | None = None
        self._labels = frozenset(prompt.label for prompt in project.prompts)
        self._seen: tuple[int, int] | None = None
        self._failed: dict[str, str] = {}
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()
        self._served = self._first()

    @property
    def planner(self) -> HybridPlanner:
        """The champion's planner."""
        return self._served.champion.planner

    @property
    def identity(self) -> str:
        """Everything that an answer depends on here: versions and prompts."""
        served = self._served
        if served.pointer is None:
            return served.champion.planner.model_version or "rules"
        parts = [*sorted(served.lanes), *sorted(served.pointer.prompts.items())]
        parts += [(each.subject, each.challenger) for _, each in sorted(served.pointer.releases.items())]
        return repr(parts)

    @property
    def version(self) -> str | None:
        """The champion's version; None where the checkpoint folder is served."""
        found = self._served.champion.version
        return found.version if found is not None else None

    @property
    def pointer(self) -> ServingPointer | None:
        """What is to be served, as far as it was put in place."""
        return self._served.pointer

    def ticket(self, instruction: Instruction) -> Ticket:
        """Return who serves an instruction."""
        served = self._served
        pointer = served.pointer
        if pointer is None:
            return Ticket(served.champion)
        unit = unit_of(instruction)
        lane = served.champion
        arms: tuple[ServedArm, ...] = ()
        release = pointer.releases.get(MODEL)
        if release is not None:
            arm = side_of(release, unit)
            found = served.lane(arm.version)
            if found is not None:  # else it cannot be loaded here: the champion serves, and nothing is counted
                lane, arms = found, (arm,)
        canary = any(each.arm == "challenger" for each in arms)
        version = lane.version
        by = ServedBy(
            version=version.version if version else None,
            digest=version.digest if version else None,
            canary=canary,
            unit=unit,
            arms=arms,
        )
        return Ticket(lane, by, pointer)

    def sign(self, plan: Plan, ticket: Ticket) -> Plan:
        """Return the plan with who made it, and with the prompts that it is to be run with."""
        served, pointer = ticket.served, ticket.pointer
        if served is None or pointer is None:
            return plan.model_copy(update={"serving": None}) if plan.serving is not None else plan
        types = {node.task_type for node in plan.graph.nodes}
        prompts = {kind: label for kind, label in pointer.prompts.items() if kind in types and label in self._labels}
        arms: list[ServedArm] = list(served.arms)
        for release in pointer.releases.values():
            if release.task_type is None or release.task_type not in types:
                continue
            arm = side_of(release, served.unit)
            if arm.version in self._labels:  # else this process has a configuration without it
                prompts[release.task_type] = arm.version
                arms.append(arm)
        return plan.model_copy(update={"serving": served.model_copy(update={"arms": tuple(arms), "prompts": prompts})})

    def keep(self, instruction: Instruction, plan: Plan, result: ExecutionResult) -> None:
        """Keep a plan that was good, for the version that made it."""
        served = self._served
        digest = plan.serving.digest if plan.serving is not None else None
        lane = served.lanes.get(digest) if digest is not None else served.champion
        if lane is not None:
            lane.plans.keep(instruction, plan, result)

    def start(self) -> None:
        """Follow the pointer file from now on."""
        if self._follow and self._thread is None:
            self._thread = threading.Thread(target=self._watch, name="orchestai-registry", daemon=True)
            self._thread.start()

    def close(self) -> None:
        """Follow it no longer; what was handed out goes on."""
        self._ended.set()
        thread, self._thread = self._thread, None
        if thread is not None:
            thread.join(timeout=30)

    def refresh(self) -> bool:
        """Look at the pointer file now; say whether something else is served than before."""
        with self._lock:
            seen = _facts(pointer_file(self._project))
            if seen is None or seen == self._seen:
                return False
            try:
                pointer = read_pointer(self._project)
            except OrchestAIError as error:
                self._complain("pointer", error)
                self._seen = seen
                return False
            if pointer is None:
                return False
            changed = self._put_in_place(pointer)
            self._seen = seen
            return changed

    def _first(self) -> _Served:
        pointer = None
        if self._follow:
            self._seen = _facts(pointer_file(self._project))
            try:
                pointer = read_pointer(self._project)
            except OrchestAIError as error:
                self._complain("pointer", error)
        if pointer is not None:
            served = self._load(pointer, {})
            if served is not None:
                return served
        return _Served(None, self._folder(), {})

    def _put_in_place(self, pointer: ServingPointer) -> bool:
        served = self._load(pointer, self._served.lanes)
        if served is None:
            return False
        self._served = served
        if self.on_change is not None:
            self.on_change(self.identity)
        version = served.champion.version
        _log.info("serving version %s, state %s", version.version if version else "-", pointer.revision)
        return True

    def _load(self, pointer: ServingPointer, known: Mapping[str, Lane]) -> _Served | None:
        """Return what is to be served; None if the champion cannot be loaded: then what is served stays."""
        lanes: dict[str, Lane] = {}
        for version in (pointer.champion, pointer.challenger, pointer.holdback):
            if version is None or version.digest in lanes:
                continue
            lane = known.get(version.digest)
            if lane is None:
                try:
                    planner = self._build(project_of(self._project, version.folder))
                except OrchestAIError as error:
                    self._complain(version.version, error)
                    continue
                if planner.model_version is None:
                    self._complain(version.version, f"{version.folder} holds no planner")
                    continue
                lane = Lane(planner, KnownPlans(version.digest), version)
            lanes[version.digest] = lane
        if pointer.champion is None:
            return _Served(pointer, self._folder(), lanes)
        champion = lanes.get(pointer.champion.digest)
        return _Served(pointer, champion, lanes) if champion is not None else None

    def _folder(self) -> Lane:
        planner = self._build(self._project)
        return Lane(planner, KnownPlans(planner.model_version or "rules"))

    def _complain(self, what: str, error: object) -> None:
        if self._failed.get(what) != str(error):
            self._failed[what] = str(error)
            _log.error("%s cannot be served, what is served stays: %s", what, error)

    def _watch(self) -> None:
        looks = 0
        while not self._ended.wait(self._project.registry.poll_s):
            looks += 1
            try:
                if (self._is_remote() and looks % _REMOTE_EVERY == 0) or _left_behind(self._project):
                    self._ask()
                self.refresh()
            except Exception as error:  # nothing here may end the following for good
                self._complain("registry", error)

    def _is_remote(self) -> bool:
        uri = self._project.registry.uri
        return uri is not None and not uri.startswith("sqlite:///")

    def _ask(self) -> None:
        from orchestai.registry.store import open_registry

        try:
            open_registry(self._project).sync()
        except OrchestAIError as error:
            self._complain("registry", error)


def project_of(project: Project, folder: Path) -> Project:
    """Return the project with the checkpoints of a version in the place of its own."""
    return project.model_copy(update={"paths": project.paths.model_copy(update={"checkpoints": folder})})


def _left_behind(project: Project) -> bool:
    """Say whether somebody died between a change of the registry and the pointer file."""
    folder = registry_state(project)
    if not (folder / "changing").exists():
        return False
    try:
        with (folder / "lock").open("r+") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, FileNotFoundError):
        return False  # it is being changed right now
    return True


def _facts(path: Path) -> tuple[int, int] | None:
    try:
        stat = path.stat()
    except OSError:
        return None
    return (stat.st_ino, stat.st_mtime_ns)
