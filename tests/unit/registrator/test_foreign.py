"""What somebody else runs and only announces: served, but ordered by nobody."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from registrator.agent.announcer import Announcer
from registrator.agent.loop import Agent
from registrator.control.backup import Backup
from registrator.control.loop import Control
from registrator.errors import HecdError
from registrator.model.instance import Instance
from registrator.model.names import InstanceName, NodeName, ReleaseNumber, ServiceName
from registrator.model.node import Node
from registrator.model.release import Settings
from registrator.model.service import Port, Project, ServiceSpec, Traffic
from registrator.orders import follow, give
from registrator.orders.plan import plan
from registrator.registry import schema
from registrator.registry.trust import Trust
from registrator.registry.world import Reader, World
from tests.fakes.becoming import becomes
from tests.fakes.engine import FakeEngine, FakeProber
from tests.fakes.store import FakeStore

WEB, N1 = ServiceName("web"), NodeName("n1")
TRAFFIC = Traffic((Port(80, 8080),))
ANNOUNCED = Instance(
    InstanceName("web.n1-0123456789ab"), WEB, ReleaseNumber(0), N1, {"8080": "10.0.0.1:80"}, "running", "healthy"
)


async def store_with_announced() -> FakeStore:
    store = FakeStore()
    await store.commit([schema.put(ANNOUNCED)])
    return store


def world(store: FakeStore) -> World:
    return Reader().read(store.snapshot())


async def test_serving_it_needs_no_release_and_no_replicas() -> None:
    store = await store_with_announced()
    await give.serve(store, world(store), WEB, TRAFFIC, now=1.0, who="me")
    await give.serve(store, world(store), WEB, TRAFFIC, now=2.0, who="me")  # and again
    service = world(store).services[WEB]
    assert (service.release, service.replicas, service.traffic) == (0, 0, TRAFFIC)
    standing = follow.standing(world(store), WEB)
    assert standing is not None and standing.line() == "web announced: 1/1 serving"


async def test_ports_of_others_and_services_of_hecd_are_not_taken() -> None:
    store = await store_with_announced()
    deployed = plan(
        Project("p", (ServiceSpec(ServiceName("shop"), Settings("i"), traffic=TRAFFIC),)),
        world(store), {"i": "sha256:1"}, now=1.0, who="me",
    )  # fmt: skip
    await give.deploy(store, deployed, now=1.0, who="me")
    with pytest.raises(HecdError, match="ports clash"):
        await give.serve(store, world(store), WEB, TRAFFIC, now=1.0, who="me")
    with pytest.raises(HecdError, match="was deployed"):
        await give.serve(store, world(store), ServiceName("shop"), TRAFFIC, now=1.0, who="me")


async def test_it_can_be_forgotten_while_its_containers_run_and_not_be_scaled() -> None:
    store = await store_with_announced()
    await give.serve(store, world(store), WEB, TRAFFIC, now=1.0, who="me")
    with pytest.raises(HecdError, match="not run by HECD"):
        await give.scale(store, world(store), {WEB: 3}, now=1.0, who="me")
    await give.retire(store, world(store), WEB, now=1.0, who="me")
    await give.forget(store, world(store), WEB)
    assert not world(store).services and ANNOUNCED.instance in world(store).instances


async def test_a_deploy_under_the_same_name_takes_the_service_over() -> None:
    store = await store_with_announced()
    await give.serve(store, world(store), WEB, TRAFFIC, now=1.0, who="me")
    project = Project("p", (ServiceSpec(WEB, Settings("i"), 2, traffic=TRAFFIC),))
    await give.deploy(store, plan(project, world(store), {"i": "sha256:1"}, now=2.0, who="me"), now=2.0, who="me")
    assert (world(store).services[WEB].release, world(store).services[WEB].replicas) == (1, 2)
    assert list(world(store).of_service(WEB)) == []


async def test_control_gives_no_orders_for_it(tmp_path: Path) -> None:
    store = await store_with_announced()
    await give.serve(store, world(store), WEB, TRAFFIC, now=1.0, who="me")
    await store.commit([schema.put(Node(N1))])
    project = Project("p", (ServiceSpec(ServiceName("shop"), Settings("i"), 1),))
    await give.deploy(store, plan(project, world(store), {"i": "sha256:1"}, now=1.0, who="me"), now=1.0, who="me")
    control = Control(store, "c", Trust(tmp_path / "trust"), Backup(tmp_path / "orders"))
    task = asyncio.create_task(control.run())
    await becomes(lambda: any(s == "shop" for s in world(store).rollouts))  # it leads
    task.cancel()
    await asyncio.wait([task])
    assert WEB not in world(store).rollouts
    assert all(a.service != WEB for a in world(store).assignments.values())


async def test_the_agent_of_the_same_node_leaves_it_alone(tmp_path: Path) -> None:
    store = await store_with_announced()
    own = Instance(InstanceName("web.7"), WEB, ReleaseNumber(1), N1, state="running", health="healthy")
    await store.commit([schema.put(own)])  # left by an earlier agent
    voice = Announcer(store, Node(N1), tmp_path / "lease", 10)
    agent = Agent(store, FakeEngine(), FakeProber(), voice, Trust(tmp_path / "trust"))
    task = asyncio.create_task(agent.run())
    await becomes(lambda: own.instance not in world(store).instances)
    task.cancel()
    await asyncio.wait([task])
    assert world(store).instances == {ANNOUNCED.instance: ANNOUNCED}
