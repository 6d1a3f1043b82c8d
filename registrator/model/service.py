"""A service: what is wanted of it right now."""

from __future__ import annotations

from dataclasses import dataclass, field

from registrator.model.canary import FAILURES, Step
from registrator.model.hook import Hooks
from registrator.model.names import ReleaseNumber, ServiceName
from registrator.model.placement import Placement
from registrator.model.release import Settings
from registrator.model.traffic import Check, Port, Traffic

__all__ = ["Check", "Port", "Project", "Service", "ServiceSpec", "Traffic", "Update"]

MAX_REPLICAS = 10_000


@dataclass(frozen=True)
class Update:
    """How a new release replaces the old one; Compose's deploy.update_config."""

    parallelism: int = 1  # 0: all at once
    delay_s: float = 0.0
    monitor_s: float = 5.0  # how long after the last step a failure still counts
    order: str = "start-first"  # | "stop-first"
    failure_action: str = "rollback"  # | "pause" | "continue"
    max_failure_ratio: float = 0.0
    deadline_s: float = 120.0  # x-hecd.progress_deadline: without any step for so long, the release has failed
    strategy: str = "rolling"  # | "blue-green"
    keep_s: float = 600.0  # blue-green: how long the old instances stay after the switch
    canary: tuple[Step, ...] = ()  # x-hecd.canary: what a new release has to pass before it replaces the old one
    judge: tuple[str, ...] = (FAILURES,)  # x-hecd.judge: what one without a canary is turned back for


@dataclass(frozen=True)
class Service:
    """`/hecd/services/<service>`: the wanted release, how many of it, and how it is served.

    Release 0 is none: only what announcers tell of is served.
    """

    service: ServiceName
    release: ReleaseNumber
    replicas: int = 1
    update: Update = field(default_factory=Update)
    traffic: Traffic = field(default_factory=Traffic)
    placement: Placement = field(default_factory=Placement)
    updated_at: float = 0.0  # seconds since the epoch
    updated_by: str = ""
    retiring: bool = False  # `hecd rm` waits until nothing of it runs any more

    @property
    def foreign(self) -> bool:
        """Whether somebody else runs it, so that nothing can be ordered of it."""
        return self.release == 0


@dataclass(frozen=True)
class ServiceSpec:
    """A service as a compose file describes it, before it has a release number."""

    name: ServiceName
    settings: Settings
    replicas: int = 1
    update: Update = field(default_factory=Update)
    traffic: Traffic = field(default_factory=Traffic)
    placement: Placement = field(default_factory=Placement)
    hooks: Hooks = field(default_factory=Hooks)


@dataclass(frozen=True)
class Project:
    """A whole compose file; `warnings` are lines for the user that stop nothing."""

    name: str
    services: tuple[ServiceSpec, ...]
    warnings: tuple[str, ...] = ()
