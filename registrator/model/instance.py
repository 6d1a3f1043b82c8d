"""An instance: one running copy, and the order to run it."""

from __future__ import annotations

from dataclasses import dataclass, field

from registrator.model.names import InstanceName, NodeName, ReleaseNumber, ServiceName

USUAL_WEIGHT = 100  # with it, one percent of another release's is a whole number

# `state` is one of:
# starting: being pulled, created or not yet healthy for the first time
# running: was healthy once; `health` says whether it is now
# draining: gets no new requests, finishes those it has
# stopping: told to stop, in its grace period
# exited: its process ended; the agent starts it again after a back-off
# failed: cannot be started, or never became healthy


@dataclass(frozen=True)
class Instance:
    """`/hecd/instances/<service>/<instance>`, written by the agent of its node under the agent's lease.

    Release 0 is none: a container that somebody else runs and the announcer of its host only tells of.
    """

    instance: InstanceName
    service: ServiceName
    release: ReleaseNumber
    node: NodeName
    endpoints: dict[str, str] = field(default_factory=dict)  # target port -> "ip:port"
    state: str = "starting"
    health: str = "unknown"
    weight: int = USUAL_WEIGHT
    check_path: str = ""  # where its release answers health checks over HTTP, "" if nowhere known
    restarts: int = 0
    reason: str = ""  # why it is not running well; one line
    log_tail: tuple[str, ...] = ()  # the last lines of a failed one
    changed_at: float = 0.0  # seconds since the epoch
    tags: tuple[str, ...] = ()  # of announced ones: SERVICE_TAGS
    attributes: dict[str, str] = field(default_factory=dict)  # of announced ones: what else SERVICE_* says

    @property
    def foreign(self) -> bool:
        """Whether somebody else runs it, so that nothing can be ordered of it."""
        return self.release == 0

    @property
    def serving(self) -> bool:
        """Whether the load balancers should send it new requests."""
        return self.state == "running" and self.health == "healthy"

    @property
    def broken(self) -> bool:
        """Whether it counts as a failure of its release."""
        return self.state in ("failed", "exited") or (self.state == "running" and self.health == "unhealthy")

    @property
    def failing(self) -> bool:
        """Whether it is broken, or is started again after it was and does not serve yet."""
        leaving = self.state in ("draining", "stopping")
        return self.broken or (self.restarts > 0 and not self.serving and not leaving)

    @property
    def trouble(self) -> str:
        """What is wrong with a failing one, and how often it has been so."""
        times = f", {self.restarts} times by now" if self.restarts > 1 else ""
        return (self.reason or f"it is {self.state}, {self.health}") + times


@dataclass(frozen=True)
class Assignment:
    """`/hecd/assignments/<node>/<instance>`: what a node must run; `drain` tells it to finish.

    Written by the leader; the agent takes one with `drain` away when nothing of the instance is left.
    """

    instance: InstanceName
    service: ServiceName
    release: ReleaseNumber
    node: NodeName
    drain: bool = False
    drain_timeout_s: float = 10.0
    reason: str = ""
