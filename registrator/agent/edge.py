"""An edge's word: what its load balancer has applied, in one key, as soon as it changes and at most so often."""

from __future__ import annotations

import asyncio
import functools
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from registrator.agent.ports import Balancer, BalancerReport
from registrator.errors import HecdError
from registrator.model.names import NodeName
from registrator.model.node import Edge, ServerReport
from registrator.registry import schema
from registrator.registry.store import Lease, Store
from registrator.registry.world import Reader, World

log = logging.getLogger(__name__)

CALM_S = 1.0  # between looks at usage figures
CLOSE_S = 0.02  # between looks while a server is being drained or admitted


@dataclass
class EdgeReporter:
    """Reads the balancer and writes /hecd/edges/<node> under the agent's lease."""

    store: Store
    balancer: Balancer
    node: NodeName
    _bell: asyncio.Event = field(default_factory=asyncio.Event)
    _said: Edge | None = None
    _lease: int = 0
    _reader: Reader = field(default_factory=Reader)

    async def run(self, lease_of: Callable[[], Lease | None]) -> None:
        """Report until cancelled. `lease_of` gives the agent's lease of the moment."""
        loop = asyncio.get_running_loop()
        stop = self.balancer.watch(functools.partial(self._ring, loop))
        try:
            while True:
                self._bell.clear()
                report = await asyncio.to_thread(self.balancer.read)
                if (lease := lease_of()) is not None:
                    await self._say(report, lease)
                await self._give_up(report)
                await self._wait(CLOSE_S if _unsettled(report) else CALM_S)
        finally:
            stop()

    async def _give_up(self, report: BalancerReport) -> None:
        """End what waits for the answer of a host that died: no packet tells a connection that its other end did."""
        if not any(r.mute for servers in report.servers.values() for r in servers.values()) or not self.store.connected:
            return
        for backend, server in dead(report.servers, self._reader.read(self.store.snapshot())):
            log.warning("requests given up server=%s/%s reason=neither it nor its agent answers", backend, server)
            await asyncio.to_thread(self.balancer.end_sessions, backend, server)

    def _ring(self, loop: asyncio.AbstractEventLoop) -> None:
        loop.call_soon_threadsafe(self._bell.set)

    async def _say(self, report: BalancerReport, lease: Lease) -> None:
        edge = Edge(self.node, **{name: getattr(report, name) for name in BalancerReport.__dataclass_fields__})
        now = time.time()
        if lease.id == self._lease and self._said is not None and not _news(self._said, edge, now):
            return
        edge = replace(edge, at=now)
        try:
            await self.store.commit([schema.put(edge, lease.id)])
        except HecdError as err:
            log.warning("edge report not written reason=%s", err)
            return
        self._said, self._lease = edge, lease.id

    async def _wait(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._bell.wait()
        except TimeoutError:
            return  # time for another look


def dead(servers: Mapping[str, Mapping[str, ServerReport]], world: World) -> list[tuple[str, str]]:
    """The servers, as (backend, name), that are mute, and of which no agent says anything any more either.

    One that only its agent left goes on serving; one that is only mute may be busy."""
    return [
        (backend, name)
        for backend, found in servers.items()
        for name, report in found.items()
        if report.mute and name not in world.instances
    ]


def _unsettled(report: BalancerReport) -> bool:
    """Whether a server is on its way in or out, so that the next change is awaited by somebody."""
    named = ((name, report) for servers in report.servers.values() for name, report in servers.items())
    return any(not server.open and not name.startswith("hecd-") for name, server in named)


def _news(said: Edge, edge: Edge, now: float) -> bool:
    """Whether `edge` says something that cannot wait, or the usage figures are due."""
    urgent = (_states(said), said.applied_revision, said.error, said.doubt, said.reloads)
    if urgent != (_states(edge), edge.applied_revision, edge.error, edge.doubt, edge.reloads):
        return True
    return now - said.at >= CALM_S and (said.usage, said.servers) != (edge.usage, edge.servers)


def _states(edge: Edge) -> dict[str, dict[str, tuple[str, int, bool]]]:
    """Of each server what others wait for: its state, its weight, and while it drains whether it is idle."""
    return {
        backend: {name: (r.state, r.weight, r.open or r.sessions == 0) for name, r in servers.items()}
        for backend, servers in edge.servers.items()
    }
