"""What is wrong with the certificates of load balancers, or soon will be. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from registrator.model.node import Edge
from registrator.model.service import Service
from registrator.registry.world import World

_SOON_S = 14 * 86400.0


def troubles(world: World, now: float) -> Iterator[str]:
    """A line for each; `now` is seconds since the epoch."""
    for edge in (world.edges[name] for name in sorted(world.edges)):
        for found in edge.certificates:
            if found.fault:
                yield f"load balancer on {edge.node}: certificate {found.file}: {found.fault}"
            elif found.ends_at and found.ends_at - now < _SOON_S:
                left = f"expires in {(found.ends_at - now) / 86400:.0f} days" if found.ends_at > now else "has expired"
                yield f"load balancer on {edge.node}: certificate {found.file} {left}: put a new one in its place"
        for service in world.services.values():
            yield from _missing(service, edge)


def _missing(service: Service, edge: Edge) -> Iterator[str]:
    tls = service.traffic.tls
    if tls is None:
        return
    served = [found for found in edge.certificates if found.names]
    hostnames = {name for port in service.traffic.ports if port.published == tls.port for name in port.hostnames}
    told = f"{service.service}: load balancer on {edge.node} has no certificate"
    hint = "put one into its directory of certificates"
    if not hostnames and not served:
        yield f"{told}: {hint}"
    for hostname in sorted(hostnames):
        if not any(found.covers(hostname) for found in served):
            yield f"{told} for {hostname}: {hint}"
