"""The records in which the agent says of its copies what they are. Pure."""

from __future__ import annotations

from registrator.agent.copy import Copy
from registrator.model.instance import Instance
from registrator.model.names import NodeName


def of_copy(copy: Copy, node: NodeName, *, changed_at: float) -> Instance:
    """The instance record of `copy`. `changed_at` is seconds since the epoch of its last change of state."""
    settings = copy.release.settings
    return Instance(
        instance=copy.instance,
        service=copy.release.service,
        release=copy.release.number,
        node=node,
        endpoints={str(port): f"{copy.address}:{port}" for port in settings.target_ports} if copy.address else {},
        state=state(copy),
        health=copy.health.verdict,
        check_path=settings.healthcheck.path if settings.healthcheck.kind == "http" else "",
        restarts=copy.restarts,
        reason=_reason(copy),
        log_tail=() if _well(copy) else copy.log_tail,
        changed_at=changed_at,
    )


def state(copy: Copy) -> str:
    """The public state of a copy: see registrator/model/instance.py for the words."""
    if copy.stopped:
        return "stopping"
    if copy.phase in ("up", "ending"):  # how it ended is said when it is known: others judge by the reason
        if copy.was_healthy:
            return "running"
        return "failed" if copy.health.verdict == "unhealthy" else "starting"
    if copy.phase == "down":
        return "exited" if copy.was_healthy else "failed"
    return copy.phase


def _reason(copy: Copy) -> str:
    if copy.phase == "up" and copy.health.verdict == "unhealthy":
        never = "" if copy.was_healthy else "never became healthy: "
        return f"{never}{copy.health.detail}"
    return "" if _well(copy) else copy.reason


def _well(copy: Copy) -> bool:
    """Whether it has got over whatever its run before ended with."""
    return copy.phase == "up" and copy.was_healthy
