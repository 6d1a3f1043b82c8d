"""What load balancers answer right now, as lines of a table: each release of each service, on each edge and in sum."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

from registrator.model.names import service_of
from registrator.model.node import Edge
from registrator.model.usage import REST, Usage, together
from registrator.registry.world import World

ALL = "all"


@dataclass(frozen=True)
class Line:
    """One release behind one edge, or behind all. Figures as in model.usage; `share` is a percentage."""

    service: str
    port: str
    release: str  # "-" for what is of none
    state: str  # of the rollout, where it is about this release
    edge: str
    servers: int  # that get new requests
    rate: float
    share: float
    failed_rate: float
    p50_ms: float
    p99_ms: float
    queue: int
    queue_max: int
    sessions: int
    requests: int
    http_5xx: int
    errors: int


def lines(world: World, services: Collection[str] = ()) -> list[Line]:
    """Of all services or those named; the sum over the edges comes before them where there are several."""
    edges = [world.edges[name] for name in sorted(world.edges)]
    releases = {str(name): str(i.release) for name, i in world.instances.items()}
    backends = sorted({backend for edge in edges for backend in edge.usage})
    return [
        line
        for backend in backends
        if not services or service_of(backend) in services
        for release in sorted({r for edge in edges for r in edge.usage.get(backend, {})}, key=int)
        for line in _of_release(world, edges, backend, release, releases)
    ]


def troubles(world: World) -> Iterator[str]:
    """Why a figure is missing, or not to be relied on."""
    for node in sorted(world.nodes):
        if "edge" in world.nodes[node].roles and node not in world.edges:
            yield f"load balancer on {node}: its agent does not report"
    for name in sorted(world.edges):
        edge = world.edges[name]
        if edge.error:
            yield f"load balancer on {name}: {edge.error}"
        elif not edge.counted_since:
            yield f"load balancer on {name}: gives no figures"
        elif edge.uncounted:
            yield f"load balancer on {name}: {edge.uncounted} answers came too fast to be counted"


def _of_release(
    world: World, edges: list[Edge], backend: str, release: str, releases: Mapping[str, str]
) -> Iterator[Line]:
    found = {e.node: e.usage[backend][release] for e in edges if release in e.usage.get(backend, {})}
    servers = {name: _open(world.edges[name], backend, release, releases) for name in found}
    if release == REST and not any(servers.values()) and not any(u.total.requests or u.queue for u in found.values()):
        return
    if len(edges) > 1:
        every = sum(u.rate for e in edges for u in e.usage.get(backend, {}).values())
        yield _line(world, backend, release, ALL, max(servers.values()), together(found.values()), every)
    for name, usage in found.items():
        every = sum(u.rate for u in world.edges[name].usage[backend].values())
        yield _line(world, backend, release, str(name), servers[name], usage, every)


def _open(edge: Edge, backend: str, release: str, releases: Mapping[str, str]) -> int:
    return sum(r.open and releases.get(n, REST) == release for n, r in edge.servers.get(backend, {}).items())


def _line(world: World, backend: str, release: str, edge: str, servers: int, usage: Usage, every: float) -> Line:
    service, _, port = backend.rpartition(".")
    rollout = next((r for name, r in world.rollouts.items() if name == service), None)
    return Line(
        service=service,
        port=port,
        release="-" if release == REST else release,
        state=rollout.state if rollout is not None and str(rollout.release) == release else "",
        edge=edge,
        servers=servers,
        rate=round(usage.rate, 1),
        share=round(100 * usage.rate / every, 1) if every else 0.0,
        failed_rate=round(usage.failed_rate, 1),
        p50_ms=usage.p50_ms,
        p99_ms=usage.p99_ms,
        queue=usage.queue,
        queue_max=usage.queue_max,
        sessions=usage.sessions,
        requests=usage.total.requests,
        http_5xx=usage.total.http_5xx,
        errors=usage.total.errors,
    )
