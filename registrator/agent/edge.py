"""An edge's word: what its load balancer has applied, as soon as it changes; its figures, once a second where they are
few (see report.py)."""

from __future__ import annotations

import asyncio
import functools
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from registrator.agent.closing import due, spreading
from registrator.agent.ports import Answers, Balancer, BalancerReport
from registrator.agent.releases import Releases
from registrator.agent.report import CALM_S, EdgeRecord, Trial
from registrator.agent.usage import Counts
from registrator.errors import HecdError
from registrator.model.names import NodeName
from registrator.model.node import Edge, ServerReport
from registrator.model.rollout import JUDGED
from registrator.registry.rooms import Rooms
from registrator.registry.store import Lease, Store
from registrator.registry.world import World

log = logging.getLogger(__name__)

CLOSE_S = 0.02  # between looks while a server is being drained or admitted
CLOSED_EVERY_S = 0.25
WATCHED_S = 0.1  # between looks while a release is judged


@dataclass
class EdgeReporter:
    """Reads the balancer and writes /hecd/edges/<node> under the agent's lease."""

    store: Store
    balancer: Balancer
    answers: Answers
    node: NodeName
    _bell: asyncio.Event = field(default_factory=asyncio.Event)
    _record: EdgeRecord = field(init=False)
    _rooms: Rooms = field(init=False)
    _world: World = field(default_factory=World)
    _read_at: float = 0.0  # time.monotonic()
    _closed_at: float = 0.0  # time.monotonic()
    _releases: Releases = field(default_factory=Releases)

    def __post_init__(self) -> None:
        self._record = EdgeRecord(self.store, self.node)
        self._rooms = Rooms(self.store, "services", "instances", "rollouts", "servers")

    async def run(self, lease_of: Callable[[], Lease | None]) -> None:
        """Report until cancelled. `lease_of` gives the agent's lease of the moment."""
        loop = asyncio.get_running_loop()
        stop = self.balancer.watch(functools.partial(self._ring, loop))
        counts = self._begin()
        try:
            while True:
                self._bell.clear()
                report = await asyncio.to_thread(self.balancer.read)
                self._look(report)
                edge = self._edge(report, counts)
                if (lease := lease_of()) is not None:
                    await self._say(edge, lease)
                await self._give_up(report)
                await self._close_some(report)
                await self._wait(CLOSE_S if _unsettled(report) else WATCHED_S if judged(self._world) else CALM_S)
        finally:
            self.answers.close()
            stop()

    def _begin(self) -> Counts | None:
        """The counting of answers; None where they can't be heard."""
        try:
            self.answers.open()
        except OSError as err:
            log.warning("no figures of what is answered: HAProxy's log can't be heard reason=%s", err)
            return None
        return Counts(time.time())

    def _look(self, report: BalancerReport) -> None:
        """Read the world again: not at each look, as it is not free with thousands of instances."""
        if (now := time.monotonic()) - self._read_at < WATCHED_S:
            return
        self._read_at = now
        before, self._world = self._world, self._rooms.read()
        if self._world.instances is not before.instances:
            self._releases.learn(self._world, (name for servers in report.servers.values() for name in servers))

    def _edge(self, report: BalancerReport, counts: Counts | None) -> Edge:
        edge = Edge(
            self.node,
            report.applied_revision,
            report.servers,
            report.reloads,
            report.error,
            report.doubt,
            uncounted=report.uncounted,
            certificates=report.certificates,
        )
        if counts is None:
            return edge
        now = time.time()
        counts.add(self.answers.take(), self._releases.of, now)
        usage = counts.usage(report.servers, report.queues, self._releases.of, now)
        return replace(edge, usage=usage, counted_since=counts.since)

    async def _give_up(self, report: BalancerReport) -> None:
        """End what waits for the answer of a host that died: no packet tells a connection that its other end did."""
        if not any(r.mute for servers in report.servers.values() for r in servers.values()) or not self.store.connected:
            return
        for backend, server in dead(report.servers, self._rooms.read()):
            log.warning("requests given up server=%s/%s reason=neither it nor its agent answers", backend, server)
            await asyncio.to_thread(self.balancer.end_sessions, backend, server)

    async def _close_some(self, report: BalancerReport) -> None:
        """Long connections of instances that drain, each at its time."""
        if (now := time.monotonic()) - self._closed_at < CLOSED_EVERY_S:
            return
        self._closed_at = now
        for (backend, server), share in spreading(self._world, report.servers, time.time()):
            open_there = await asyncio.to_thread(self.balancer.connections, backend, server)
            if closed := await asyncio.to_thread(self.balancer.close_tunnels, due(open_there, share)):
                log.info("connections closed server=%s/%s count=%d reason=it drains", backend, server, closed)

    def _ring(self, loop: asyncio.AbstractEventLoop) -> None:
        loop.call_soon_threadsafe(self._bell.set)

    async def _say(self, edge: Edge, lease: Lease) -> None:
        try:
            await self._record.say(edge, lease.id, time.time(), judged(self._world), self._world)
        except HecdError as err:
            log.warning("edge report not written reason=%s", err)

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


def judged(world: World) -> frozenset[Trial]:
    """The releases that are judged by what they answer: each of their failures is told at once."""
    return frozenset((r.service, str(r.release)) for r in world.rollouts.values() if r.trial and r.state in JUDGED)
