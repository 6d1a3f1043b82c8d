"""How the load balancers serve a service: `traffic` of its record."""

from __future__ import annotations

from dataclasses import dataclass, field

STATS_PORT = 8404  # where each HAProxy tells its statistics, if nobody has chosen another port


@dataclass(frozen=True)
class Port:
    """A port clients connect to on every edge, and the instances' port behind it."""

    published: int
    target: int
    mode: str = "http"  # | "tcp"
    hostnames: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()  # prefixes of whole segments: /api serves /api and /api/x, not /apix; (): all
    strip_path: bool = False  # instances see what follows the prefix


@dataclass(frozen=True)
class Check:
    """The load balancer's own check of an instance; `path` None is a TCP connect."""

    path: str | None = None
    interval_s: float = 1.0
    timeout_s: float = 1.0
    rise: int = 1
    fall: int = 2


@dataclass(frozen=True)
class Tls:
    """The published port that speaks TLS; `redirect`: the service's other ports send clients there."""

    port: int = 443
    redirect: bool = True
    hsts_s: float = 0.0  # 0: browsers are told nothing


@dataclass(frozen=True)
class Sticky:
    """A client stays with its instance, by a cookie, while that one takes requests. 0: as long as the browser runs."""

    cookie: str
    max_idle_s: float = 0.0
    max_life_s: float = 0.0


@dataclass(frozen=True)
class Retries:
    """How often a request is tried again, and after which answers besides none at all; those only if it is a read."""

    attempts: int = 3
    on: tuple[str, ...] = ()


@dataclass(frozen=True)
class Timeouts:
    """To reach an instance; for its answer to begin or go on; in the queue; of a silent WebSocket or TCP connection;
    of a client's connection between two requests, where the longest of the services that share a port counts."""

    connect_s: float = 2.0
    response_s: float = 60.0
    queue_s: float = 10.0
    tunnel_s: float = 3600.0
    idle_s: float = 10.0


@dataclass(frozen=True)
class Limits:
    """0: none."""

    connections: int = 0  # to an instance, on each load balancer; further requests queue
    requests: int = 0  # of one client address, in each `per_s`
    per_s: float = 0.0
    body_bytes: int = 0


@dataclass(frozen=True)
class Outliers:
    """An instance whose `errors` last answers failed gets no requests for about `for_s`, then its checks decide."""

    errors: int = 10
    for_s: float = 30.0


@dataclass(frozen=True)
class Traffic:
    """All of it."""

    ports: tuple[Port, ...] = ()
    balance: str = "roundrobin"
    drain_timeout_s: float = 10.0
    check: Check = field(default_factory=Check)
    tls: Tls | None = None
    sticky: Sticky | None = None
    retries: Retries = field(default_factory=Retries)
    timeouts: Timeouts = field(default_factory=Timeouts)
    limits: Limits = field(default_factory=Limits)
    slow_start_s: float = 0.0
    outliers: Outliers | None = None
    drain_spread_s: float = 0.0  # the last part of a drain, in which WebSockets and TCP connections are closed singly
