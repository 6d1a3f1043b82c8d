"""One leads at a time, and what it writes is fenced: on the fake and on a real etcd."""

from __future__ import annotations

import asyncio

import pytest

from registrator.errors import Conflict
from registrator.model.demotion import Demotion
from registrator.model.names import NodeName
from registrator.registry import schema
from registrator.registry.election import campaign
from registrator.registry.store import Put, Store


async def test_the_next_one_leads_when_the_first_resigns(store: Store) -> None:
    one, two = await store.lease(30), await store.lease(30)
    first = await campaign(store, "one", one)
    waiting = asyncio.create_task(campaign(store, "two", two))
    await asyncio.sleep(0.1)
    assert not waiting.done()
    await first.resign(store)
    second = await asyncio.wait_for(waiting, 30.0)
    with pytest.raises(Conflict):
        await store.commit([Put("/hecd/written", b"by one")], [first.guard])
    await store.commit([Put("/hecd/written", b"by two")], [second.guard])
    for lease in (one, two):
        await lease.close(revoke=True)


async def test_the_next_one_leads_when_the_lease_of_the_first_ends(store: Store) -> None:
    one, two = await store.lease(30), await store.lease(30)
    first = await campaign(store, "one", one)
    waiting = asyncio.create_task(campaign(store, "two", two))
    await asyncio.sleep(0.05)
    await one.close(revoke=True)
    await asyncio.wait_for(waiting, 30.0)
    with pytest.raises(Conflict):
        await first.resign(store)  # it is not its place any more
    assert store.snapshot().entries[schema.LEADER].value == b"two"
    await two.close(revoke=True)


async def test_whoever_leads_already_is_told_so(store: Store) -> None:
    one = await store.lease(30)
    assert await campaign(store, "one", one) == await campaign(store, "one", one)
    await one.close(revoke=True)


async def test_a_node_that_is_demoted_leaves_it_to_others_until_it_is_promoted(store: Store) -> None:
    one, two = await store.lease(30), await store.lease(30)
    demotion = Demotion(NodeName("one"))
    await store.commit([schema.put(demotion)])
    waiting = asyncio.create_task(campaign(store, "one", one))
    await asyncio.sleep(0.1)
    second = await asyncio.wait_for(campaign(store, "two", two), 30.0)
    await second.resign(store)
    await asyncio.sleep(0.1)
    assert not waiting.done()
    await store.commit([schema.delete(demotion)])
    await asyncio.wait_for(waiting, 30.0)
    for lease in (one, two):
        await lease.close(revoke=True)
