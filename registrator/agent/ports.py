"""What the agent needs of the outside: an engine, a prober, a tunnel, and a balancer on nodes that are edges."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Protocol

from registrator.agent.names import Names
from registrator.agent.peers import Peer
from registrator.health.verdict import Probe
from registrator.model.certificate import Certificate
from registrator.model.hook import Run
from registrator.model.names import InstanceName
from registrator.model.node import ServerReport
from registrator.model.release import Healthcheck, Release


@dataclass(frozen=True)
class Seen:
    """A container as the engine sees it; adoption starts from these."""

    instance: InstanceName
    release: Release
    running: bool
    address: str = ""
    started_at: float = 0.0  # seconds since the epoch


@dataclass(frozen=True)
class Ending:
    """How a container ended, in words (`exit code 3`, `out of memory`), and the last lines it wrote."""

    reason: str
    log_tail: tuple[str, ...] = ()
    exit_code: int | None = None  # None: not known


@dataclass(frozen=True)
class SeenRun:
    """The container of a hook, as the engine sees it."""

    run: Run
    release: Release
    running: bool
    started_at: float = 0.0  # seconds since the epoch


class Engine(Protocol):
    """Containers of this node. Calls are short and blocking; the agent makes them in threads. Each raises EngineAway
    while the engine does not answer."""

    def containers(self) -> list[Seen]:
        """Every container that belongs to this node's agent."""

    def start(self, instance: InstanceName, release: Release) -> Seen:
        """Make it and start it; start it again if it exists. Idempotent. Raises EngineFault."""

    def signal(self, instance: InstanceName, signal: str) -> None:
        """Send a signal to its first process ("" is its stop signal); fine if it has ended."""

    def exit_fd(self, instance: InstanceName) -> int | None:
        """A new file descriptor that is readable once the container has ended; None if it does not run."""

    def remove(self, instance: InstanceName) -> None:
        """Delete it and all it held; fine if it is gone."""

    def ending(self, instance: InstanceName) -> Ending:
        """How it ended."""


class OneOffs(Protocol):
    """Containers of hooks on this node: made and started once. They are signalled, watched and removed as instances
    are, by the name of their run. Calls are as those of an engine."""

    def runs(self) -> list[SeenRun]:
        """Every one that is there."""

    def prepare(self, release: Release) -> None:
        """Have what is needed to start it at once. Raises EngineFault."""

    def start_run(self, run: Run, release: Release) -> SeenRun:
        """Make its container and start it. Raises EngineFault."""


class Prober(Protocol):
    """Looks at an instance once."""

    async def probe(self, instance: InstanceName, address: str, check: Healthcheck) -> Probe:
        """Never raises for what the instance does; takes at most the check's timeout. Raises EngineAway where it takes
        the engine to look and that does not answer: nothing is known then."""


class Tunnel(Protocol):
    """The overlay as this node takes part in it. Calls are short and blocking."""

    def peers(self) -> list[Peer]:
        """The nodes it was told of last, also before a reboot."""

    def apply(self, wanted: Iterable[Peer]) -> list[str]:
        """Reach these nodes' containers and no others'. Idempotent; what it changed, in words. Raises EngineFault."""


class Directory(Protocol):
    """The name server that containers of this node ask. Calls are short and blocking."""

    def names(self) -> Names:
        """What it was told last."""

    def serve_names(self, names: Names) -> None:
        """Answer these. Idempotent. Raises EngineFault."""


@dataclass(frozen=True)
class BalancerReport:
    """What the load balancer of this node says: see model.node.Edge for the words."""

    applied_revision: int = 0
    servers: dict[str, dict[str, ServerReport]] = field(default_factory=dict)
    reloads: int = 0
    error: str | None = None
    doubt: str | None = None
    uncounted: int = 0
    queues: dict[str, dict[str, int]] = field(default_factory=dict)  # backend -> server -> requests that wait there
    certificates: tuple[Certificate, ...] = ()


@dataclass(frozen=True)
class Answered:
    """How `count` requests ended alike. `server` is "" where none had them; `ms` None where no time is known."""

    backend: str
    server: str
    count: int
    ms: int | None
    http_5xx: bool = False
    error: bool = False  # broken off by the server without a 5xx
    cut: bool = False  # one of both, and it was not the server that said so: it may be gone


class Answers(Protocol):
    """The load balancer's word on every single request."""

    def open(self) -> None:
        """Hear of what is answered from now on. Raises OSError."""

    def take(self) -> list[Answered]:
        """What was answered since the last call."""

    def close(self) -> None:
        """Hear no more."""


class Balancer(Protocol):
    """The load balancer beside this agent."""

    def read(self) -> BalancerReport:
        """Its present state. Blocking, a few milliseconds."""

    def end_sessions(self, backend: str, server: str) -> None:
        """Wait no longer for what this server was asked: what may be repeated is, elsewhere. Blocking."""

    def connections(self, backend: str, server: str) -> list[str]:
        """Names of all that is open there, requests and WebSockets alike. Blocking."""

    def close_tunnels(self, connections: Iterable[str]) -> int:
        """Close those that are WebSockets or TCP, no requests; how many. Blocking."""

    def watch(self, ring: Callable[[], None]) -> Callable[[], None]:
        """Call `ring`, from any thread, whenever it has applied something; the result ends that."""
