"""How a version takes over: share by share, watched, and back again if it does harm.

Nothing is kept in between: where a release stands follows from the registry and the execution logs alone, and each
step changes the registry by one compare-and-set. So steps may be repeated, run twice at a time, or be killed.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Literal

from orchestai.config import CanaryConfig
from orchestai.contracts.base import Record
from orchestai.errors import InputError, RegistryConflictError
from orchestai.registry.observe import Observation, observe
from orchestai.registry.records import MODEL, Ended, RegistryState, Release
from orchestai.registry.store import ModelRegistry
from orchestai.registry.verdict import Verdict, reach_verdict

Action = Literal["none", "wait", "advance", "promote", "rollback", "finish", "cancelled"]


class ReleaseStep(Record):
    """What was decided on a release.

    Attributes:
        subject: `model`, or `prompt:<task type>`.
        action: `none` (there is no release), `wait`, `advance` (a larger share), `promote` (the challenger is the
            champion now, a rest stays with the former one), `rollback`, `finish`, or `cancelled` (somebody moved the
            aliases by hand).
        why: The reason, in words.
        verdict: What is known; null without a release.
        release: The release after the step; null where it is over.
        state: The registry after the step.
    """

    subject: str
    action: Action
    why: str
    verdict: Verdict | None = None
    release: Release | None = None
    state: RegistryState


def start_release(registry: ModelRegistry, version: str, canary: CanaryConfig, *, now: datetime) -> RegistryState:
    """Let a version take over share by share; the first version of all is the champion at once.

    Starting the release that goes on already changes nothing.

    Raises:
        InputError: There is no such version, it is the champion already, or another release goes on.
        RegistryConflictError: Somebody else changed the registry meanwhile.
        RegistryUnreachableError: MLflow does not answer.
    """
    number = registry.get(version).version
    state = registry.state()
    going_on = state.releases.get(MODEL)
    if going_on is not None:
        if going_on.challenger == number:
            return state
        raise _busy(going_on)
    champion = state.aliases.champion
    if champion is None:
        return registry.change(state, state.update(aliases=state.aliases.model_copy(update={"champion": number})))
    if champion == number:
        raise InputError(f"Version {number} is the champion already.")
    release = _begin(MODEL, champion, number, canary, now)
    aliases = state.aliases.model_copy(update={"challenger": number})
    return registry.change(state, state.update(aliases=aliases, releases={**state.releases, MODEL: release}))


def start_prompt_release(
    registry: ModelRegistry, subject: str, champion: str, challenger: str, canary: CanaryConfig, *, now: datetime
) -> RegistryState:
    """Let a version of a prompt take over share by share.

    Args:
        registry: The registry.
        subject: `prompt:<task type>`.
        champion: The version that is used, as in `summarization@1`.
        challenger: The one that is to take over.
        canary: Shares and harms.
        now: When it begins.

    Raises:
        InputError: Another release of this prompt goes on, or both are the same.
        RegistryConflictError: Somebody else changed the registry meanwhile.
        RegistryUnreachableError: MLflow does not answer.
    """
    if champion == challenger:
        raise InputError(f"{challenger} is used already.")
    state = registry.state()
    going_on = state.releases.get(subject)
    if going_on is not None:
        if going_on.challenger == challenger:
            return state
        raise _busy(going_on)
    release = _begin(subject, champion, challenger, canary, now)
    return registry.change(state, state.update(releases={**state.releases, subject: release}))


def promote(registry: ModelRegistry, version: str = "challenger", *, why: str, now: datetime) -> RegistryState:
    """Make a version the champion at once; a release that goes on ends.

    Raises:
        InputError: There is no such version.
        RegistryConflictError: Somebody else changed the registry meanwhile.
        RegistryUnreachableError: MLflow does not answer.
    """
    state = registry.state()
    number = registry.get(version).version
    if number == state.aliases.champion:
        raise InputError(f"Version {number} is the champion already.")
    aliases = {"champion": number, "previous": state.aliases.champion, "challenger": None}
    new = _without(state, MODEL, "finish", why, now)
    return registry.change(state, new.update(aliases=new.aliases.model_copy(update=aliases)))


def rollback(registry: ModelRegistry, subject: str = MODEL, *, why: str, now: datetime) -> RegistryState:
    """Go back to what was served before: the challenger leaves, or the former champion comes again.

    Raises:
        InputError: There is nothing to go back to.
        RegistryConflictError: Somebody else changed the registry meanwhile.
        RegistryUnreachableError: MLflow does not answer.
    """
    state = registry.state()
    return registry.change(state, _back(state, subject, why, now))


def step(
    registry: ModelRegistry, logs: Path, canary: CanaryConfig, *, subject: str = MODEL, now: datetime
) -> ReleaseStep:
    """Look at a release and carry out what follows, at most one change; may be repeated at any time.

    Args:
        registry: The registry.
        logs: The execution logs.
        canary: Stages and harms.
        subject: Which release.
        now: Time, for stages that last a while.

    Raises:
        RegistryUnreachableError: MLflow does not answer.
        StorageError: A log cannot be read.
    """
    state = registry.state()
    release = state.releases.get(subject)
    if release is None:
        return ReleaseStep(subject=subject, action="none", why="No release goes on.", state=state)
    verdict = None
    if not _holds(state, release):
        action: Action = "cancelled"
        why = "The aliases were changed by hand: what they say holds, and the release is over."
    else:
        observations = observe(logs, release)
        verdict = reach_verdict(observations, canary)
        action, why = decide(release, observations, verdict, canary, now=now)
    try:
        new = registry.change(state, _after(state, release, action, why, canary, now)) if action != "wait" else state
    except RegistryConflictError:
        # Somebody else took the step, or another one: the next look decides on what is there then.
        return ReleaseStep(
            subject=subject, action="none", why="Somebody else changed the registry.", state=registry.state()
        )
    return ReleaseStep(
        subject=subject, action=action, why=why, verdict=verdict, release=new.releases.get(subject), state=new
    )


def decide(
    release: Release, observations: Sequence[Observation], verdict: Verdict, canary: CanaryConfig, *, now: datetime
) -> tuple[Action, str]:
    """Return what follows from what was observed, and why."""
    if verdict.harm:
        shown = "; ".join(_words(verdict, name) for name in verdict.harm)
        return "rollback", f"Harm is proved after {verdict.challenger_units} instructions of the challenger: {shown}."
    here = [each for each in observations if abs(each.share - release.share) < 1e-9]
    if release.phase == "holdback":
        held = sum(not each.challenger for each in here)
        if held < canary.holdback_units:
            return "wait", f"The former champion has had {held} of {canary.holdback_units} held-back instructions."
        return "finish", f"No harm after {held} held-back instructions."
    stage = canary.stages[min(release.stage, len(canary.stages) - 1)]
    had = sum(each.challenger for each in here)
    minutes = (now - release.stage_started).total_seconds() / 60
    at = f"at {100 * release.share:g} %"
    if had < stage.units or minutes < stage.minutes:
        time = f", {minutes:.0f} of {stage.minutes:g} minutes" if stage.minutes else ""
        return "wait", f"The challenger has had {had} of {stage.units} instructions {at}{time}."
    if release.stage + 1 < len(canary.stages):
        share = canary.stages[release.stage + 1].share
        return "advance", f"No harm after {had} instructions {at}: on to {100 * share:g} %."
    return "promote", f"No harm after {verdict.challenger_units} instructions of the challenger in all stages."


def _after(
    state: RegistryState, release: Release, action: Action, why: str, canary: CanaryConfig, now: datetime
) -> RegistryState:
    if action == "rollback":
        return _back(state, release.subject, why, now)
    if action == "finish" or action == "cancelled":
        return _without(state, release.subject, action, why, now)
    if action == "advance":
        stage = release.stage + 1
        changes = {"stage": stage, "share": canary.stages[stage].share, "stage_started": now}
        return state.update(releases={**state.releases, release.subject: release.model_copy(update=changes)})
    return _promoted(state, release, why, canary, now)


def _promoted(state: RegistryState, release: Release, why: str, canary: CanaryConfig, now: datetime) -> RegistryState:
    if canary.holdback_share > 0:
        changes = {"phase": "holdback", "share": 1 - canary.holdback_share, "stage_started": now}
        new = state.update(releases={**state.releases, release.subject: release.model_copy(update=changes)})
    else:
        new = _without(state, release.subject, "finish", why, now)
    if release.task_type is not None:
        return new.update(prompts={**new.prompts, release.task_type: release.challenger})
    aliases = {"champion": release.challenger, "previous": release.champion, "challenger": None}
    return new.update(aliases=new.aliases.model_copy(update=aliases))


def _back(state: RegistryState, subject: str, why: str, now: datetime) -> RegistryState:
    release = state.releases.get(subject)
    if release is None:
        if subject != MODEL or state.aliases.previous is None:
            raise InputError("There is nothing to go back to.", remedy="`orchestai models list` shows all versions.")
        # Nothing is `previous` then: going back once more must not bring back what was given up.
        return state.update(aliases={"champion": state.aliases.previous})
    new = _without(state, subject, "rollback", why, now)
    if release.task_type is not None:
        return new.update(prompts={**new.prompts, release.task_type: release.champion})
    if release.phase == "holdback":
        return new.update(aliases={"champion": release.champion})
    return new.update(aliases=new.aliases.model_copy(update={"challenger": None}))


def _without(
    state: RegistryState,
    subject: str,
    action: Literal["finish", "rollback", "cancelled"],
    why: str,
    now: datetime,
) -> RegistryState:
    release = state.releases.get(subject)
    if release is None:
        return state
    rest = {name: each for name, each in state.releases.items() if name != subject}
    ended = Ended(release=release.id, challenger=release.challenger, action=action, why=why, at=now)
    return state.update(releases=rest, ended={**state.ended, subject: ended})


def _begin(subject: str, champion: str, challenger: str, canary: CanaryConfig, now: datetime) -> Release:
    return Release(
        id=uuid.uuid4().hex[:16],
        subject=subject,
        champion=champion,
        challenger=challenger,
        share=canary.stages[0].share,
        started=now,
        stage_started=now,
    )


def _holds(state: RegistryState, release: Release) -> bool:
    """Whether the aliases are still those that the release set."""
    if release.task_type is not None:
        return True
    aliases = state.aliases
    if release.phase == "holdback":
        return (aliases.champion, aliases.previous) == (release.challenger, release.champion)
    return (aliases.champion, aliases.challenger) == (release.champion, release.challenger)


def _busy(release: Release) -> InputError:
    return InputError(
        f"The release of {release.challenger} goes on ({release.phase}, {100 * release.share:g} %).",
        remedy="Wait for its end, or end it with `orchestai models rollback`.",
    )


def _words(verdict: Verdict, name: str) -> str:
    metric = next(each for each in verdict.metrics if each.name == name)
    return (
        f"{name} {metric.challenger:.3f} against {metric.champion:.3f}, "
        f"evidence {metric.evidence:.3g} of {metric.threshold:.3g}"
    )
