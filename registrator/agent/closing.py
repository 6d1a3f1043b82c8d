"""Which connections are to be closed now where an instance drains, so that their clients don't all come back at once.

Pure. It is about those that end with nobody's answer: WebSockets and TCP. Requests have until the deadline.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator, Mapping

from registrator.model.instance import Instance
from registrator.model.node import ServerReport
from registrator.registry.world import World

Place = tuple[str, str]  # backend, server

_DONE_BY = 0.9  # of the window: what is left at the deadline is cut with the container


def spreading(
    world: World, servers: Mapping[str, Mapping[str, ServerReport]], now: float
) -> Iterator[tuple[Place, float]]:
    """The servers whose connections are being closed, and how much of their window is over (0 to 1).

    `now` is seconds since the epoch.
    """
    for instance in world.instances.values():
        share = _over(world, instance, now)
        if share > 0.0:
            for backend, found in servers.items():
                report = found.get(instance.instance)
                if report is not None and report.sessions > 0:
                    yield (backend, instance.instance), share


def due(connections: Iterable[str], share: float) -> list[str]:
    """Those whose moment has come: each has its own in the window, by its name."""
    return [name for name in connections if zlib.crc32(name.encode()) / 2**32 * _DONE_BY <= share]


def _over(world: World, instance: Instance, now: float) -> float:
    service = world.services.get(instance.service)
    if service is None or instance.state != "draining" or not service.traffic.drain_spread_s:
        return 0.0
    window_s = service.traffic.drain_spread_s
    begins = instance.changed_at + service.traffic.drain_timeout_s - window_s
    return (now - begins) / window_s
