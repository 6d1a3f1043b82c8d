"""Agents and load balancers that are but their words in etcd: what they write is what real ones write.

Each agent has a lease of its own, kept alive, and its node record under it. An assignment becomes an instance record,
`starting` and then `running`; one that drains becomes `draining` and goes. An edge reports every server of every
backend, as soon as one changes; with `traffic`, sessions and figures change each second besides.
"""

from __future__ import annotations

import asyncio
import random
import signal
import time
from collections.abc import Coroutine
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from typing import Any

import etcdkit
from registrator.agent.edge import CLOSE_S
from registrator.agent.report import CALM_S, EdgeRecord
from registrator.config import EtcdAccess
from registrator.model.instance import Assignment, Instance
from registrator.model.names import InstanceName, NodeName, ServiceName, backend_name
from registrator.model.node import Capacity, Edge, Node, ServerReport
from registrator.model.usage import Figures, Usage
from registrator.registry import schema
from registrator.registry.codec import decode
from registrator.registry.etcd import open_store
from registrator.registry.store import Store
from registrator.registry.world import Reader

PORT = 8080
TTL_S = 10


@dataclass
class Agents:
    """All agents of the fleet over one connection."""

    client: etcdkit.Client
    delay_s: float
    leases: dict[str, etcdkit.Lease] = field(default_factory=dict)
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    async def join(self, number: int, stack: AsyncExitStack) -> None:
        """One agent's lease and node record."""
        node = Node(
            NodeName(f"n{number}"), ("worker",), f"10.{number >> 8}.{number & 255}.1", capacity=Capacity(16.0, 64 << 30)
        )
        self.leases[node.node] = lease = await stack.enter_async_context(etcdkit.Lease(self.client, TTL_S))
        await self.client.put(schema.key_of(node), schema.put(node).value, lease.id, repeatable=True)

    def heed(self, changes: list[etcdkit.Change]) -> None:
        """Converge on changed assignments."""
        for change in changes:
            if change.new is not None:
                order = decode(Assignment, change.new.value)
                task = asyncio.create_task(self._stop(order) if order.drain else self._start(order))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)

    async def _start(self, order: Assignment) -> None:
        await self._say(order, "starting", "unknown")
        await asyncio.sleep(self.delay_s)
        await self._say(order, "running", "healthy")

    async def _stop(self, order: Assignment) -> None:
        await self._say(order, "draining", "healthy")
        await asyncio.sleep(self.delay_s)
        await self.client.delete(f"{schema.ROOT}instances/{order.service}/{order.instance}")
        await self.client.delete(schema.key_of(order))

    async def _say(self, order: Assignment, state: str, health: str) -> None:
        number = order.node.removeprefix("n")
        where = {str(PORT): f"10.87.{int(number) & 255}.{int(order.instance.rpartition('.')[2]) & 255}:{PORT}"}
        said = Instance(order.instance, order.service, order.release, order.node, where, state, health)
        lease = self.leases[order.node].id
        put = schema.put(said, lease)
        await self.client.put(put.key, put.value, lease, repeatable=True)


@dataclass
class SimulatedEdge:
    """One load balancer that takes in at once whatever etcd says."""

    client: etcdkit.Client
    mirror: etcdkit.Mirror
    node: NodeName
    traffic: bool
    lease: int = 0
    _servers: dict[str, dict[str, ServerReport]] = field(default_factory=dict)
    _revision: int = 0
    _sent: int = 0
    _moved: asyncio.Event = field(default_factory=asyncio.Event)

    def heed(self, changes: list[etcdkit.Change]) -> None:
        """Take in changed instances."""
        for change in changes:
            service, name = change.key.split("/")[-2:]
            servers = self._servers.setdefault(backend_name(service, PORT), {})
            if change.new is None:
                servers.pop(name, None)
                continue
            said = decode(Instance, change.new.value)
            if said.state in ("running", "draining"):
                servers[name] = ServerReport("UP" if said.serving else "DRAIN", said.weight, 0, "L7OK")
        self._moved.set()

    async def run(self, store: Store) -> None:
        """Report until cancelled."""
        record, reader = EdgeRecord(store, self.node), Reader()
        async with etcdkit.Lease(self.client, TTL_S) as lease:
            node = Node(self.node, ("edge",))
            await self.client.put(schema.key_of(node), schema.put(node).value, lease.id, repeatable=True)
            due = time.monotonic()
            while True:
                self._moved.clear()
                await record.say(self._edge(), lease.id, time.time(), (), reader.read(store.snapshot()))
                with suppress(TimeoutError):
                    async with asyncio.timeout(due - time.monotonic() if self.traffic else None):
                        await self._moved.wait()
                if time.monotonic() >= due:
                    due = time.monotonic() + CALM_S
                    self._serve()
                await asyncio.sleep(CLOSE_S)

    def _edge(self) -> Edge:
        servers = {backend: dict(found) for backend, found in self._servers.items()}
        usage = self._usage() if self.traffic else {}
        return Edge(self.node, self.mirror.snapshot().revision, servers, usage=usage, counted_since=1.0)

    def _serve(self) -> None:
        """A second of requests: every third server has other sessions than it had."""
        self._sent += 1
        for servers in self._servers.values():
            for name, was in servers.items():
                if random.random() < 1 / 3:
                    servers[name] = ServerReport(was.state, was.weight, random.randrange(4), was.check)

    def _usage(self) -> dict[str, dict[str, Usage]]:
        figures = Figures(1000 * self._sent, 0, 0, {str(n): 100 * self._sent + n for n in (*range(8), 8, 10, 12, 14)})
        return {backend: {"1": Usage(figures, 100.0, 0.0, 1.0, 5.0, 0, 0, 9)} for backend in self._servers}


def run_agents(endpoint: str, count: int, delay_s: float) -> None:
    """The process of all agents."""
    _until_told(_agents(endpoint, count, delay_s))


def run_edge(endpoint: str, name: str, traffic: bool) -> None:
    """The process of one edge."""
    _until_told(_edge(endpoint, name, traffic))


async def _agents(endpoint: str, count: int, delay_s: float) -> None:
    async with etcdkit.Client([endpoint]) as client, AsyncExitStack() as stack:
        agents = Agents(client, delay_s)
        for first in range(0, count, 50):
            await asyncio.gather(*(agents.join(n, stack) for n in range(first, min(first + 50, count))))
        mirror = etcdkit.Mirror(client, f"{schema.ROOT}assignments/")
        mirror.listen(agents.heed)
        async with mirror:
            await asyncio.Event().wait()


async def _edge(endpoint: str, name: str, traffic: bool) -> None:
    async with etcdkit.Client([endpoint]) as client:
        mirror = etcdkit.Mirror(client, f"{schema.ROOT}instances/")
        edge = SimulatedEdge(client, mirror, NodeName(name), traffic)
        mirror.listen(edge.heed)
        # Of what others read it needs its own parts only.
        async with mirror, open_store(EtcdAccess((endpoint,)), prefix=f"{schema.ROOT}servers/{name}/") as store:
            await mirror.ready()
            await edge.run(store)


def _until_told(work: Coroutine[Any, Any, None]) -> None:
    """Run until SIGTERM. What stands under leases is left to etcd, which goes with it all."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    asyncio.run(work)


def service_name(number: int) -> ServiceName:
    return ServiceName(f"s{number}")


def service_of(name: InstanceName) -> ServiceName:
    return ServiceName(name.rpartition(".")[0])
