"""The loop of the leader: what it decides again when, and that no order is too large for etcd."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest

from registrator.control import rollout
from registrator.control.actions import Action
from registrator.control.backup import Backup
from registrator.control.grounds import Observer
from registrator.control.loop import Control
from registrator.control.placement import Board
from registrator.control.view import ServiceView
from registrator.model.hold import Hold
from registrator.model.hook import Result, Run
from registrator.model.instance import Assignment, Instance
from registrator.model.names import InstanceName, NodeName, ReleaseNumber, ServiceName
from registrator.model.node import Edge, Node, ServerReport
from registrator.model.placement import Availability
from registrator.model.release import Release, Settings
from registrator.model.rollout import Rollout
from registrator.model.service import Port, Service, Traffic, Update
from registrator.model.steering import Steering
from registrator.registry import schema
from registrator.registry.store import Guard, Write
from registrator.registry.trust import Trust
from registrator.registry.world import Reader, World
from tests.fakes.becoming import becomes
from tests.fakes.store import FakeStore

WEB, API, ONE = ServiceName("web"), ServiceName("api"), ReleaseNumber(1)
UPDATE = Update(parallelism=0, monitor_s=0.0, delay_s=0.0)


def world(store: FakeStore) -> World:
    return Reader().read(store.snapshot())


async def wanted(store: FakeStore, name: ServiceName, replicas: int) -> None:
    service = Service(name, ONE, replicas, UPDATE, Traffic((Port(8000 + len(name), 80),)))
    await store.commit([schema.put(service), schema.put(Release(name, ONE, Settings("i")))])


@asynccontextmanager
async def leading(store: FakeStore, folder: Path) -> AsyncIterator[None]:
    task = asyncio.create_task(Control(store, "one", Trust(folder / "trust"), Backup(folder / "orders")).run())
    try:
        yield
        assert not task.done(), task.exception()
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def run_all(store: FakeStore) -> None:
    """What agents say of all that is assigned."""
    for a in world(store).assignments.values():
        said = Instance(a.instance, a.service, a.release, a.node, {"80": "10.0.0.1:80"}, "running", "healthy")
        await store.commit([schema.put(said)])


async def test_more_steps_than_etcd_takes_at_once_are_made_all_the_same(tmp_path: Path) -> None:
    store = FakeStore()
    await store.commit([schema.put(Node(NodeName(f"n{n}"))) for n in range(3)])
    await wanted(store, WEB, 300)
    async with leading(store, tmp_path):
        await becomes(lambda: len(world(store).assignments) == 300)
        await run_all(store)
        await becomes(lambda: world(store).rollouts[WEB].state == "done")
    assert world(store).rollouts[WEB].next_number == 301


async def test_a_number_is_not_given_twice_where_only_the_first_steps_were_written(tmp_path: Path) -> None:
    class Breaking(FakeStore):
        """Fails once, at the second transaction of many steps."""

        broken = 0

        async def commit(self, writes: Sequence[Write], guards: Sequence[Guard] = ()) -> int:
            if self.broken == 0 and len(self._assigned()) > 50:
                self.broken, self.away = 1, True
            try:
                return await super().commit(writes, guards)
            finally:
                self.away = False

        def _assigned(self) -> list[str]:
            return list(self.snapshot().rooms.get("assignments", {}))

    store = Breaking()
    await store.commit([schema.put(Node(NodeName(f"n{n}"))) for n in range(3)])
    await wanted(store, WEB, 150)
    async with leading(store, tmp_path):
        await becomes(lambda: store.broken == 1)
        await becomes(lambda: len(world(store).assignments) == 150)
    names = [a.instance for a in world(store).assignments.values()]
    assert len(set(names)) == 150


async def test_only_services_of_which_something_changed_are_decided_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []
    decide = rollout.decide

    def counted(view: ServiceView, board: Board, now: float, since: float = 0.0) -> list[Action]:
        seen.append(view.service.service)
        return decide(view, board, now, since)

    monkeypatch.setattr(rollout, "decide", counted)
    store = FakeStore()
    edge = Edge(
        NodeName("n1"), 1, {b: {f"{b[:3]}.1": ServerReport("UP", 100, 0, "L7OK")} for b in ("web.80", "api.80")}
    )
    await store.commit([schema.put(Node(NodeName("n1"))), schema.put(edge)])
    await wanted(store, WEB, 1)
    await wanted(store, API, 1)

    async def after(change: schema.Record, *wanted: str) -> set[str]:
        """For which services it is decided once `change` is there: those that are `wanted`, and maybe others."""
        await asyncio.sleep(0.1)
        seen.clear()
        await store.commit([schema.put(change)])
        await becomes(lambda: set(wanted) <= set(seen))
        await asyncio.sleep(0.1)
        return set(seen)

    def done(name: ServiceName) -> Callable[[], bool]:
        return lambda: name in world(store).rollouts and world(store).rollouts[name].state == "done"

    async with leading(store, tmp_path):
        await becomes(lambda: len(world(store).assignments) == 2)
        await run_all(store)
        await becomes(done(WEB))
        await becomes(done(API))
        web = next(world(store).of_service(WEB))
        assert await after(replace(web, weight=7), "web") == {"web"}
        assert await after(Service(API, ONE, 2, UPDATE), "api") == {"api"}
        busy = {b: {n: replace(r, sessions=9) for n, r in s.items()} for b, s in edge.servers.items()}
        assert await after(replace(edge, servers=busy)) == set(), "how busy they are decides nothing"
        down = {**busy, "web.80": {"web.1": ServerReport("DOWN", 100, 0, "L4CON")}}
        assert await after(replace(edge, servers=down), "web") == {"web"}
        assert await after(Node(NodeName("n2")), "web", "api") == {"web", "api"}


@pytest.mark.parametrize("stall_s", [0.0, 0.4])
async def test_orders_are_kept_though_not_at_each_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stall_s: float
) -> None:
    """A disk that stalls does not keep the next ones out for long."""
    monkeypatch.setattr("registrator.control.backup.os.fsync", lambda _: time.sleep(stall_s))
    store, backup = FakeStore(), Backup(tmp_path / "orders")
    await wanted(store, WEB, 1)
    reader = Reader()
    assert backup.save(reader.read(store.snapshot()), 100.0) > 1000
    await wanted(store, API, 1)
    wait_s = backup.save(reader.read(store.snapshot()), 100.0)
    assert 0 < wait_s < 10 and len(backup.load()) == 2
    assert backup.save(reader.read(store.snapshot()), 100.0 + wait_s) > 1000
    assert {put.key for put in backup.load()} == set(store.snapshot().entries)


SERVED = Service(WEB, ONE, 1, UPDATE, Traffic((Port(8003, 80),)))
SAID = Instance(InstanceName("web.1"), WEB, ONE, NodeName("n1"), state="running", health="healthy")
GROUNDS: dict[str, Any] = {
    "nodes": {NodeName("n1"): Node(NodeName("n1"))},
    "services": {WEB: replace(SERVED, replicas=2)},
    "releases": {(WEB, ONE): Release(WEB, ONE, Settings("i"))},
    "assignments": {(NodeName("n1"), SAID.instance): Assignment(SAID.instance, WEB, ONE, NodeName("n1"))},
    "instances": {SAID.instance: SAID},
    "edges": {NodeName("n1"): Edge(NodeName("n1"), 1, {"web.80": {"web.1": ServerReport("UP", 100)}})},
    "rollouts": {WEB: Rollout(WEB, ONE, ONE)},
    "availability": {NodeName("n1"): Availability(NodeName("n1"), "drained")},
    "steering": {WEB: Steering(WEB, ONE, "pause", 1.0)},
    "holds": {(WEB, "operator"): Hold(WEB, "operator", "wait", 1.0)},
    "runs": {"web.1.pre-deploy.1": Run("web.1.pre-deploy.1", WEB, ONE, "pre-deploy", NodeName("n1"))},
    "results": {"web.1.pre-deploy.1": Result("web.1.pre-deploy.1", WEB, ONE, "pre-deploy", NodeName("n1"))},
}
NO_GROUNDS = {
    *("epoch", "revision", "cluster_id", "revisions", "leases", "faults", "leader", "ledger"),  # of the store itself
    *("claims", "locks", "audit", "history", "demotions"),  # no decision looks at them
    "servers",  # of which edges are made whole
}


@pytest.mark.parametrize("name", [f.name for f in fields(World) if f.name not in NO_GROUNDS])
def test_whatever_a_decision_looks_at_is_among_its_grounds(name: str) -> None:
    """A new kind of record has to be put into grounds.py, or to be named here as one that decides nothing."""
    before = World(services={WEB: SERVED})
    after = replace(before, **{name: GROUNDS[name]})

    def grounds(world: World) -> object:
        observer = Observer()
        observer.look(world)
        return observer.grounds(world, world.services[WEB], frozenset(), 0.0)

    assert grounds(before) == grounds(replace(before, revision=9))
    assert grounds(before) != grounds(after)
