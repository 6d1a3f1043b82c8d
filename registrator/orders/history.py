"""The releases of a service with what became of each, newest first. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from registrator.model.names import ReleaseNumber, ServiceName
from registrator.model.rollout import ENDED
from registrator.orders import hooks
from registrator.registry.world import World


@dataclass(frozen=True)
class Entry:
    """One release. `serves`: it is what requests go to, or will. `outcome` is that of the last attempt at it."""

    release: ReleaseNumber
    serves: bool
    served: bool  # before, if not now: what `rollback` goes back to by itself
    outcome: str  # a state of model.outcome or, of one under way, of model.rollout; "waiting": nothing was done yet
    reason: str
    image: str
    digest: str
    by: str
    at: float  # when it was made, seconds since the epoch
    ended_at: float


def history(world: World, name: ServiceName) -> list[Entry]:
    """The kept releases of `name`."""
    numbers = sorted((n for s, n in world.releases if s == name), reverse=True)
    serves = _serves(world, name)
    return [_entry(world, name, number, serves) for number in numbers]


def _serves(world: World, name: ServiceName) -> ReleaseNumber | None:
    """The release that is wanted; while nothing of it has ever served, the one beside it that does."""
    if (rollout := world.rollouts.get(name)) is None:
        return None
    ready = {i.release for i in world.of_service(name) if i.serving}
    return rollout.target if rollout.target in {*rollout.proven, *ready} or not ready else max(ready)


def _entry(world: World, name: ServiceName, number: ReleaseNumber, serves: ReleaseNumber | None) -> Entry:
    release = world.releases[name, number]
    rollout = world.rollouts.get(name)
    outcome = world.history.get((name, number))
    state, reason = (outcome.state, outcome.reason) if outcome else ("waiting", "")
    if rollout is not None and rollout.release == number and rollout.state not in ENDED:
        state, reason = rollout.state, hooks.under_way(world, rollout) or rollout.reason
    elif outcome is None and rollout is not None and number in rollout.proven:
        state = "done"  # it ended before there was a history
    return Entry(
        number,
        number == serves,
        number != serves and rollout is not None and number in rollout.proven,
        state,
        reason,
        release.settings.image,
        release.settings.digest,
        release.created_by,
        release.created_at,
        outcome.ended_at if outcome else 0.0,
    )
