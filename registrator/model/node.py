"""A node: a host with an agent; and an edge: a node with a load balancer."""

from __future__ import annotations

from dataclasses import dataclass, field

from registrator.model.certificate import Certificate
from registrator.model.names import NodeName
from registrator.model.usage import Usage

ROLES = ("worker", "edge", "etcd", "control")


@dataclass(frozen=True)
class Capacity:
    """What a node has; `instances` is how many it takes at most."""

    cpus: float = 0.0
    memory_bytes: int = 0
    instances: int = 250


@dataclass(frozen=True)
class Vtep:
    """The node's tunnel end: its address in the underlay, its MAC, what it shares with all others, and its public key
    where tunnels are encrypted."""

    address: str
    mac: str
    vni: int
    port: int
    key: str = ""


@dataclass(frozen=True)
class Node:
    """`/hecd/nodes/<node>`, written by its agent under its one lease."""

    node: NodeName
    roles: tuple[str, ...] = ("worker", "edge", "control")
    address: str = "127.0.0.1"
    subnet: str = ""
    capacity: Capacity = field(default_factory=Capacity)
    joined_at: float = 0.0  # seconds since the epoch
    version: str = ""
    labels: dict[str, str] = field(default_factory=dict)
    vtep: Vtep | None = None  # None: its containers are reached from itself only
    features: tuple[str, ...] = ()  # what its agent can do that older ones can't


@dataclass(frozen=True)
class ServerReport:
    """What one load balancer says of one server: HAProxy's state word, weight, open sessions, last check's result."""

    state: str
    weight: int = 0
    sessions: int = 0
    check: str = ""  # HAProxy's word: L7OK, L4CON (no way there), L4TOUT (no answer), L7STS (a bad status), …

    @property
    def open(self) -> bool:
        """Whether it is sent new requests. A server of weight 0 gets none, though HAProxy calls it UP."""
        return self.state.startswith(("UP", "no check")) and self.weight > 0

    @property
    def mute(self) -> bool:
        """Whether requests wait there for an answer, and its checks reach nobody."""
        return not self.open and self.sessions > 0 and self.check in ("L4CON", "L4TOUT", "L7TOUT")


@dataclass(frozen=True)
class Edge:
    """`/hecd/edges/<node>`: what this load balancer has really applied. Backend -> server -> report."""

    node: NodeName
    applied_revision: int = 0
    servers: dict[str, dict[str, ServerReport]] = field(default_factory=dict)
    reloads: int = 0
    error: str | None = None
    doubt: str | None = None  # why the load balancer keeps servers that etcd no longer names
    usage: dict[str, dict[str, Usage]] = field(default_factory=dict)  # backend -> release -> what it answered
    counted_since: float = 0.0  # seconds since the epoch: the totals in `usage` began then; 0: nobody counts
    uncounted: int = 0  # answers since the last reload that the load balancer told of faster than they were read
    certificates: tuple[Certificate, ...] = ()  # that it serves, or should
    at: float = 0.0  # seconds since the epoch


@dataclass(frozen=True)
class EdgePart:
    """`/hecd/servers/<node>/<backend>`: what a large edge says of one backend, beside its own record."""

    node: NodeName
    backend: str
    servers: dict[str, ServerReport] = field(default_factory=dict)
    usage: dict[str, Usage] = field(default_factory=dict)
