"""Hooks with a real etcd, real control loops and a real runner, whose containers are in memory."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from registrator.agent.runner import Runner
from registrator.config import EtcdAccess
from registrator.model.hook import FEATURE, Hook, Hooks, Result
from registrator.model.names import NodeName
from registrator.model.node import Node
from registrator.model.service import Update
from registrator.registry import schema
from registrator.registry.etcd import EtcdStore, open_store
from registrator.registry.store import Lease
from registrator.registry.trust import Trust
from tests.fakes.engine import FakeOneOffs
from tests.integration.registrator.fleet import PATIENT_S, Fleet, fleet

USUAL = Update(parallelism=0, monitor_s=0.5, deadline_s=60.0)
MIGRATE = Hooks(Hook(("./migrate",), timeout_s=60.0))
N2, RUN = NodeName("n2"), "web.2.pre-deploy.1"


class Migrating:
    """A fleet whose node n2, and no other, can run hooks. `agent` is what runs them there."""

    def __init__(self, here: Fleet, store: EtcdStore, folder: Path) -> None:
        self.here, self.store, self.folder = here, store, folder
        self.engine = FakeOneOffs()
        self.agent: asyncio.Task[None] | None = None
        self.lease: Lease | None = None

    async def join(self) -> None:
        """The agent of n2 begins."""
        self.lease = await self.store.lease(30)
        await self.store.commit([schema.put(Node(N2, ("worker",), features=(FEATURE,)), self.lease.id)])
        runner = Runner(self.store, self.engine, self.engine, N2, Trust(self.folder / "trust"))
        self.agent = asyncio.create_task(runner.run())

    async def leave(self) -> None:
        """It is lost, with its lease. Its containers run on."""
        assert self.agent is not None and not self.agent.done() and self.lease is not None
        self.agent.cancel()
        await asyncio.wait([self.agent])
        await self.lease.close(revoke=True)

    async def until(self, state: str) -> Result:
        def there() -> bool:
            found = self.here.world.results.get(RUN)
            return found is not None and found.state == state

        await self.here.until(there, PATIENT_S, f"{RUN} is {state}")
        return self.here.world.results[RUN]

    @property
    def starts(self) -> list[str]:
        return [call for call in self.engine.calls if call.startswith("start ")]


@pytest.fixture
async def made(tmp_path: Path) -> AsyncIterator[Migrating]:
    """Release 1 serves, and has no hooks."""
    async with fleet(tmp_path) as here, open_store(EtcdAccess((here.etcd.endpoint,))) as store:
        await here.deploy(1, 3, USUAL)
        await here.until_ended(1)
        migrating = Migrating(here, store, tmp_path)
        await migrating.join()
        yield migrating
        await migrating.leave()


async def test_the_next_leader_goes_on_and_it_runs_once_also_while_etcd_is_away(made: Migrating) -> None:
    here = made.here
    before = set(here.instances(1))
    async with here.load(200.0):
        await here.deploy(2, 3, USUAL, MIGRATE)
        await made.until("running")
        here.control("c2")
        here.kill("c1")
        await here.until(lambda: here.world.leader == "c2", PATIENT_S, "another one leads")
        assert here.rollout.state == "preparing"
        assert set(here.instances(1)) == before and not here.instances(2)
        await asyncio.to_thread(here.etcd.kill)
        made.engine.end(RUN, 0)
        await asyncio.sleep(0.3)
        await asyncio.to_thread(here.etcd.start)
        await made.until("passed")
        await here.until_ended(2)
    assert here.rollout.state == "done"
    assert here.rollout.prepared == (2,)
    assert made.starts == [f"start {RUN}"]
    assert here.sent > 300
    assert here.failures == []


async def test_one_whose_node_is_lost_fails_the_release_and_is_stopped_when_it_comes_back(made: Migrating) -> None:
    here = made.here
    before = set(here.instances(1))
    await here.deploy(2, 3, USUAL, MIGRATE)
    await made.until("running")
    await made.leave()
    await here.until_ended(2)
    assert here.rollout.state == "rolled-back"
    assert "n2 was lost while it ran: what became of it is not known" in here.rollout.reason
    assert set(here.instances(1)) == before
    await made.join()
    stopped = await made.until("failed")
    assert stopped.reason.startswith("n2 was lost while it ran")
    assert made.engine.calls == [f"start {RUN}", f"signal {RUN} "]
