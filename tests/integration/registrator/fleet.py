"""A fleet without containers: etcd, two load balancers and their reports, control; instances are web servers."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from registrator.agent.drivers.answers import AnswerLog
from registrator.agent.drivers.haproxy import HaproxyBalancer
from registrator.agent.edge import EdgeReporter
from registrator.config import EtcdAccess
from registrator.model.hook import Hooks
from registrator.model.instance import Assignment, Instance
from registrator.model.ledger import Ledger
from registrator.model.names import InstanceName, NodeName, ReleaseNumber, ServiceName
from registrator.model.node import Node
from registrator.model.release import Release, Settings
from registrator.model.rollout import ENDED, Rollout
from registrator.model.service import Check, Port, Service, Traffic, Update
from registrator.model.traffic import Sticky
from registrator.registry import schema
from registrator.registry.acknowledgement import released
from registrator.registry.etcd import EtcdStore, open_store
from registrator.registry.store import Lease
from registrator.registry.world import Reader, World
from tests.fakes.etcd_server import EtcdServer
from tests.fakes.ports import free_port
from tests.integration.confd_py.parts import SOON_S, Confd, Haproxy, Web, within

WEB = ServiceName("web")
N1 = NodeName("n1")
TARGET = 80
PATIENT_S = 60.0  # where no time is promised: machines stand still


class Edge:
    """A load balancer and its confd-py, on an address of its own."""

    def __init__(self, folder: Path, name: str, address: str, etcd: str) -> None:
        folder.mkdir(parents=True)
        self.name, self.address = NodeName(name), address
        self.haproxy = _Bound(folder, address)
        self.confd = Confd(folder, self.haproxy, etcd)

    def start(self) -> None:
        self.confd.start()
        within(SOON_S, "the first file", self.haproxy.config.exists)
        self.haproxy.start()

    def stop(self) -> None:
        self.confd.stop()
        self.haproxy.stop()


class _Bound(Haproxy):
    """HAProxy whose frontends listen on one address."""

    def __init__(self, folder: Path, address: str) -> None:
        super().__init__(folder)
        self._address = address

    @property
    def environ(self) -> dict[str, str]:
        return {**super().environ, "HECD_HAPROXY_BIND": self._address}


@dataclass
class Fleet:
    """The parts, and what an operator does with them."""

    folder: Path
    store: EtcdStore
    lease: Lease
    etcd: EtcdServer
    edges: list[Edge]
    web: Web
    port: int
    sticky: Sticky | None = None
    behave: Callable[[Assignment], None] = lambda _: None  # called for each instance before it serves
    startable: Callable[[Assignment], bool] = lambda _: True  # one that is not yet is asked about again
    controls: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    reports: list[dict[str, Any]] = field(default_factory=list)
    _reader: Reader = field(default_factory=Reader)
    _done: int = 0  # revision of the last thing that its hands did

    @property
    def world(self) -> World:
        return self._reader.read(self.store.snapshot())

    @property
    def rollout(self) -> Rollout:
        return self.world.rollouts[WEB]

    async def deploy(self, release: int, replicas: int, update: Update, hooks: Hooks | None = None) -> None:
        patient = Check("/health", 0.2, 2.0, fall=5)  # all instances are one process, which may stand still
        traffic = Traffic((Port(self.port, TARGET),), drain_timeout_s=3.0, check=patient, sticky=self.sticky)
        records: list[schema.Record] = [
            Release(WEB, ReleaseNumber(release), Settings("image", target_ports=(TARGET,)), hooks=hooks or Hooks()),
            Service(WEB, ReleaseNumber(release), replicas, update, traffic),
            Ledger(time.time()),
        ]
        await self.store.commit([schema.put(record) for record in records])

    async def want(self, release: int) -> None:
        """What `hecd rollback` writes."""
        service = self.world.services[WEB]
        await self.store.commit([schema.put(replace(service, release=ReleaseNumber(release)))])

    def control(self, name: str) -> None:
        """Start a control loop."""
        environment = {**os.environ, "HECD_ETCD": self.etcd.endpoint, "HECD_ROOT": str(self.folder / name)}
        environment |= {"HECD_NODE": name, "HECD_LEASE_TTL": "4", "HECD_NODE_LOST_AFTER": "5"}
        with (self.folder / f"{name}.log").open("ab") as log:
            argv = [sys.executable, "-m", "registrator", "control"]
            self.controls[name] = subprocess.Popen(
                argv, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )

    def kill(self, name: str) -> None:
        """kill -9 a control loop."""
        process = self.controls.pop(name)
        process.kill()
        process.wait()

    async def until(self, good: Callable[[], object], within_s: float, what: str) -> None:
        end = time.monotonic() + within_s
        while time.monotonic() < end:
            if good():
                return
            await asyncio.sleep(0.02)
        raise AssertionError(f"not within {within_s:g} s: {what}; {self.world.rollouts.get(WEB)}")

    async def until_ended(self, release: int, within_s: float = PATIENT_S) -> None:
        def ended() -> bool:
            rollout = self.world.rollouts.get(WEB)
            return rollout is not None and rollout.release == release and rollout.state in ENDED

        await self.until(ended, within_s, f"release {release} has ended")

    @asynccontextmanager
    async def load(self, rate: float) -> AsyncIterator[None]:
        """Requests over kept connections through both load balancers, `rate` a second together."""
        argv = [sys.executable, "-m", "registrator.demo.load", "--port", str(self.port), "--kept", "16"]
        argv += ["--kept-rate", str(rate / len(self.edges)), "--fresh-rate", "0", "--seconds", "120"]
        running = [
            await asyncio.create_subprocess_exec(*argv, "--address", edge.address, stdout=subprocess.PIPE)
            for edge in self.edges
        ]
        try:
            await asyncio.sleep(0.3)
            yield
        finally:
            for process in running:
                process.terminate()
            self.reports = [json.loads((await p.communicate())[0].splitlines()[-1]) for p in running]

    @property
    def sent(self) -> int:
        return sum(report["sent"] for report in self.reports)

    @property
    def failures(self) -> list[dict[str, Any]]:
        return [failure for report in self.reports for failure in report["failures"]]

    @property
    def hits(self) -> Counter[str]:
        """Requests that each instance got so far."""
        return Counter(self.web.hits)

    async def hands(self) -> None:
        """What agents do with assignments."""
        while True:
            snapshot = self.store.snapshot()
            world = self._reader.read(snapshot)
            if world.revision >= self._done:  # an older one lacks what was done already
                for order in world.assignments.values():
                    await self._follow(world, order)
            await self.store.changed(snapshot.mark)

    async def _follow(self, world: World, order: Assignment) -> None:
        known = world.instances.get(order.instance)
        if known is None and not order.drain and self.startable(order):
            self.behave(order)
            address = await asyncio.to_thread(self.web.open, str(order.instance))
            endpoints = {str(TARGET): address}
            record = Instance(
                order.instance, WEB, order.release, N1, endpoints, "running", "healthy", check_path="/health"
            )
            self._done = await self.store.commit([schema.put(record, self.lease.id)])
        elif known is not None and order.drain and known.state == "running":
            self._done = await self.store.commit([schema.put(replace(known, state="draining"), self.lease.id)])
        elif known is not None and order.drain and self._let_go(world, known):
            self._done = await self.store.commit([schema.delete(known), schema.delete(order)])
            await asyncio.to_thread(self.web.close, str(order.instance))

    @staticmethod
    def _let_go(world: World, known: Instance) -> bool:
        return released(known, world.revisions[schema.key_of(known)], world.edges.values())

    def instances(self, release: int) -> list[InstanceName]:
        return [i.instance for i in self.world.instances.values() if i.release == release]


@asynccontextmanager
async def fleet(folder: Path) -> AsyncIterator[Fleet]:
    """Two load balancers and one control loop, `c1`; all is ended afterwards."""
    etcd = EtcdServer(folder / "etcd")
    edges: list[Edge] = []
    web = Web()
    async with contextlib.AsyncExitStack() as stack:
        stack.callback(web.stop)
        etcd.start()
        stack.callback(etcd.kill)
        for name, address in (("e1", "127.0.0.1"), ("e2", "127.0.0.2")):
            edge = Edge(folder / name, name, address, etcd.endpoint)
            stack.callback(edge.stop)
            await asyncio.to_thread(edge.start)
            edges.append(edge)
        store = await stack.enter_async_context(open_store(EtcdAccess((etcd.endpoint,))))
        lease = await store.lease(30)
        made = Fleet(folder, store, lease, etcd, edges, web, free_port())
        await store.commit([schema.put(Node(N1, ("worker",)), lease.id)])
        tasks = [asyncio.create_task(made.hands()), *(asyncio.create_task(_report(made, e, lease)) for e in edges)]
        made.control("c1")
        try:
            yield made
        finally:
            for name in list(made.controls):
                made.kill(name)
            for task in tasks:
                task.cancel()
            results = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(isinstance(result, asyncio.CancelledError) for result in results), results


async def _report(made: Fleet, edge: Edge, lease: Lease) -> None:
    run = edge.haproxy.run
    balancer = HaproxyBalancer(run / "admin.sock", Path(f"{edge.haproxy.config}.applied"))
    await EdgeReporter(made.store, balancer, AnswerLog(run / "log.sock"), edge.name).run(lambda: lease)
