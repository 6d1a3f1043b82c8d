"""What to do with one run of a hook now. Pure: (order, result, container) -> one action or none.

  (none) ──Begin──> preparing ──image is here, `starting` is written──> starting ──> running ──exit──> passed, failed

`starting` stands in etcd before the container is made. Whoever finds it, and no container that runs or has ended, can't
know whether the command ran: it is never started again.
"""

from __future__ import annotations

from dataclasses import dataclass

from registrator.agent.ports import SeenRun
from registrator.model.hook import Result, Run


@dataclass(frozen=True)
class Begin:
    """Bring its image, and start it."""

    run: Run


@dataclass(frozen=True)
class Watch:
    """Wait for its end; send the stop signal when its time is over, or at once where `stop` says why."""

    run: Run
    stop: str = ""


@dataclass(frozen=True)
class Conclude:
    """Say how it ended: as its container tells, or as `reason` says."""

    run: Run
    reason: str = ""


@dataclass(frozen=True)
class Remove:
    """Take its container away, then its result."""

    run: str


Action = Begin | Watch | Conclude | Remove


def decide(order: Run | None, result: Result | None, seen: SeenRun | None) -> Action | None:
    """The next action for one run. Without an order, what runs goes on to its end; absence is not an order."""
    if order is None:
        return _alone(result, seen)
    if seen is not None and seen.run.ordered_at != order.ordered_at:
        left = "it is left from a service of the same name that was removed"
        return Watch(seen.run, left) if seen.running else Remove(order.run)
    if order.order == "remove":
        if seen is not None and seen.running:
            return Watch(order, order.reason or "it is to be removed")
        return Remove(order.run) if seen is not None or result is not None else None
    if result is not None and result.over:
        return None
    if seen is not None:
        return Watch(order, order.reason if order.order == "stop" else "") if seen.running else Conclude(order)
    if result is not None and result.state != "preparing":
        return Conclude(order, "its agent ended while it started: whether it ran is not known")
    return Conclude(order, f"it did not begin: {order.reason}") if order.order == "stop" else Begin(order)


def _alone(result: Result | None, seen: SeenRun | None) -> Action | None:
    if seen is not None:
        return Watch(seen.run) if seen.running else Remove(seen.run.run)
    return Remove(result.run) if result is not None else None
