"""The shell of the control loop against a store in memory: what a leader must not do twice."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from pathlib import Path

from registrator.control.actions import OrderRun
from registrator.control.backup import Backup
from registrator.control.loop import Control
from registrator.model.hook import FEATURE, Hook, Hooks, Run
from registrator.model.names import NodeName, ReleaseNumber, ServiceName
from registrator.model.node import Node
from registrator.model.release import Release, Settings
from registrator.model.service import Service
from registrator.registry import schema
from registrator.registry.election import campaign
from registrator.registry.store import Snapshot
from registrator.registry.trust import Trust
from registrator.registry.world import Reader, World
from tests.fakes.becoming import becomes
from tests.fakes.store import FakeStore

WEB, N1 = ServiceName("web"), NodeName("n1")


class Behind(FakeStore):
    """A store whose copy is not up to date: it has nothing after `until`."""

    def __init__(self) -> None:
        super().__init__()
        self.until: Snapshot | None = None

    def snapshot(self) -> Snapshot:
        return super().snapshot() if self.until is None else self.until

    @property
    def truth(self) -> World:
        return Reader().read(super().snapshot())


async def wanted(store: FakeStore) -> None:
    """A release with a hook, and a node for it."""
    release = Release(WEB, ReleaseNumber(1), Settings("i"), hooks=Hooks(Hook(("./migrate",))))
    records = (Node(N1, features=(FEATURE,)), release, Service(WEB, ReleaseNumber(1)))
    await store.commit([schema.put(record) for record in records])


def control(store: FakeStore, folder: Path, name: str) -> Control:
    return Control(store, name, Trust(folder / f"{name}.trust"), Backup(folder / name))


async def test_a_new_leader_decides_nothing_before_it_has_seen_what_the_last_one_wrote(tmp_path: Path) -> None:
    store = Behind()
    await wanted(store)
    store.until = FakeStore.snapshot(store)  # what the first leader writes does not reach the second one yet
    run = Run("web.9.pre-deploy.1", WEB, ReleaseNumber(9), "pre_deploy", NodeName("n9"), ordered_at=1.0)
    await store.commit([schema.put(run)])
    task = asyncio.create_task(control(store, tmp_path, "c2").run())
    await becomes(lambda: store.truth.leader == "c2")
    await asyncio.sleep(0.1)
    assert (store.truth.rollouts, store.truth.runs) == ({}, {run.run: run}), "nothing was decided"
    store.until = None
    await store.commit([schema.put(Node(NodeName("n2")))])
    await becomes(lambda: WEB in store.truth.rollouts)
    assert store.truth.rollouts[WEB].state == "preparing"
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


async def test_a_place_that_an_outage_kept_from_us_is_asked_for_again_though_nothing_changes() -> None:
    store = FakeStore()
    lease = await store.lease(10)
    store.away = True
    waiting = asyncio.create_task(campaign(store, "c1", lease))
    await asyncio.sleep(0.05)
    store.away = False
    await asyncio.wait_for(waiting, 20.0)


async def test_an_order_to_run_is_never_written_over_another_one(tmp_path: Path) -> None:
    store = FakeStore()
    leadership = await campaign(store, "c1", await store.lease(10))
    run = Run("web.1.pre-deploy.1", WEB, ReleaseNumber(1), "pre_deploy", N1, ordered_at=1.0)
    other = Run("web.1.pre-deploy.1", WEB, ReleaseNumber(1), "pre_deploy", NodeName("n2"), ordered_at=2.0)
    leader = control(store, tmp_path, "c1")
    await leader._act([OrderRun(run, "")], leadership)
    await leader._act([OrderRun(other, "")], leadership)
    assert Reader().read(store.snapshot()).runs[run.run] == run
