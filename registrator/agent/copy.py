"""A copy: what the agent knows of one instance on its node, whatever etcd says."""

from __future__ import annotations

from dataclasses import dataclass, field

from registrator.health.verdict import Health
from registrator.model.names import InstanceName
from registrator.model.release import Release

# absent ──start──> starting ──started──> up ──drain──> draining ──stop──> stopping ──exit──> down ──remove──> (gone)
#                      └─error─> down <──its end is read── ending <──exit── up


@dataclass(frozen=True)
class Copy:
    """Local facts of one instance. Times are monotonic seconds."""

    instance: InstanceName
    release: Release
    phase: str  # "starting" | "up" | "draining" | "stopping" | "ending" | "down"
    since: float
    address: str = ""
    health: Health = field(default_factory=Health)
    was_healthy: bool = False
    restarts: int = 0
    retry_at: float = 0.0
    adopted: bool = False  # it ran before this agent did; nothing is said of it before the first probe
    stopped: bool = False  # its stop signal was sent: its end is no failure
    killed: bool = False  # SIGKILL was sent after the grace period
    reason: str = ""
    log_tail: tuple[str, ...] = ()
