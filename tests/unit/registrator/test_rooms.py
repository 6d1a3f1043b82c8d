"""Who reads some rooms of the registry sees these, whole and new, and is left alone by what happens elsewhere."""

from __future__ import annotations

import asyncio

from registrator.model.claim import Claim
from registrator.model.names import NodeName
from registrator.model.node import Node
from registrator.registry import schema
from registrator.registry.rooms import Rooms
from tests.fakes.store import FakeStore

N1, N2 = NodeName("n1"), NodeName("n2")


async def test_only_its_rooms_are_read_and_wake() -> None:
    store = FakeStore()
    await store.commit([schema.put(Node(N1)), schema.put(Claim("10.87.0.0/24", N1))])
    rooms = Rooms(store, "nodes")
    world = rooms.read()
    assert (list(world.nodes), dict(world.claims)) == ([N1], {})
    waiting = asyncio.create_task(rooms.changed())
    await store.commit([schema.put(Claim("10.87.1.0/24", N2))])
    await asyncio.sleep(0.02)
    assert not waiting.done()
    assert rooms.read().nodes is world.nodes
    await store.commit([schema.put(Node(N2))])
    await asyncio.wait_for(waiting, 20.0)
    assert list(rooms.read().nodes) == [N1, N2]


async def test_a_store_that_lost_its_memory_wakes_whoever_reads_whatever() -> None:
    store = FakeStore()
    await store.commit([schema.put(Node(N1))])
    rooms = Rooms(store, "claims")
    before = rooms.read()
    waiting = asyncio.create_task(rooms.changed())
    await asyncio.sleep(0)
    store.wipe()
    await asyncio.wait_for(waiting, 20.0)
    assert rooms.read().cluster_id != before.cluster_id
