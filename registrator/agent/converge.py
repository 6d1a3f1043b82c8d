"""What to do with one instance now. Pure: (order, copy, load balancers' word, now) -> one action or none.

Absence is never an order: a copy without an assignment goes on running. Only an assignment that says `drain` ends it.
"""

from __future__ import annotations

from dataclasses import dataclass

from registrator.agent.copy import Copy
from registrator.model.instance import Assignment
from registrator.model.names import InstanceName
from registrator.model.release import Release

FIRST_BACKOFF_S = 0.5
LONGEST_BACKOFF_S = 30.0


@dataclass(frozen=True)
class Start:
    """Create and start it, or start it again under its old address."""

    instance: InstanceName
    release: Release
    reason: str


@dataclass(frozen=True)
class BeginDrain:
    """Announce that it gets no new requests."""

    instance: InstanceName
    reason: str


@dataclass(frozen=True)
class Stop:
    """Announce that it stops, and send the stop signal."""

    instance: InstanceName
    reason: str


@dataclass(frozen=True)
class Kill:
    """Its grace period is over."""

    instance: InstanceName
    reason: str


@dataclass(frozen=True)
class Remove:
    """Delete the container, then its record."""

    instance: InstanceName
    reason: str


Action = Start | BeginDrain | Stop | Kill | Remove


def decide(
    order: Assignment | None, copy: Copy | None, release: Release | None, *, released: bool, now: float
) -> Action | None:
    """The next action for one instance.

    `release` is what the order asks for, None while unknown. `released` tells that no load balancer sends the
    instance requests any more. `now` is monotonic seconds.
    """
    if order is not None and order.drain:
        return _finish(order, copy, released, now)
    if copy is None:
        if order is None or release is None:
            return None
        return Start(order.instance, release, order.reason or "it is assigned to this node")
    if copy.phase == "down" and now >= copy.retry_at:
        return Start(copy.instance, copy.release, f"again, after: {copy.reason}")
    if copy.phase == "stopping":
        return _overdue(copy, now)
    return None


def _finish(order: Assignment, copy: Copy | None, released: bool, now: float) -> Action | None:
    name = order.instance
    if copy is None:
        return None
    match copy.phase:
        case "down":
            return Remove(name, order.reason)
        case "up" if copy.was_healthy:
            return BeginDrain(name, order.reason)
        case "up":
            return Stop(name, f"{order.reason}; it never served")
        case "draining" if released:
            return Stop(name, "its last request is answered")
        case "draining" if now - copy.since >= order.drain_timeout_s:
            return Stop(name, f"still busy after {order.drain_timeout_s:g} s")
        case "stopping":
            return _overdue(copy, now)
    return None


def _overdue(copy: Copy, now: float) -> Action | None:
    grace_s = copy.release.settings.stop_grace_s
    if not copy.killed and now - copy.since >= grace_s:
        return Kill(copy.instance, f"still alive {grace_s:g} s after its stop signal")
    return None


def started(before: Copy | None, name: InstanceName, release: Release, now: float) -> Copy:
    """The copy of a run that begins. Why the one `before` ended is told until this one serves."""
    if before is None:
        return Copy(name, release, "starting", now)
    told = before.reason, before.log_tail
    return Copy(name, release, "starting", now, restarts=before.restarts, reason=told[0], log_tail=told[1])


def wake_at(order: Assignment | None, copy: Copy | None) -> float | None:
    """Monotonic time at which `decide` may answer differently though nothing happened; None: never."""
    if copy is None:
        return None
    if copy.phase == "down":
        return copy.retry_at
    if copy.phase == "stopping" and not copy.killed:
        return copy.since + copy.release.settings.stop_grace_s
    if copy.phase == "draining" and order is not None:
        return copy.since + order.drain_timeout_s
    return None


def backoff_s(restarts: int) -> float:
    """Seconds to wait before start number `restarts`: none the first time, then doubling."""
    return 0.0 if restarts <= 1 else min(FIRST_BACKOFF_S * 2.0 ** (restarts - 2), LONGEST_BACKOFF_S)
