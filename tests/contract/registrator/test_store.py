"""What every store promises: run on the fake and on a real etcd."""

from __future__ import annotations

import asyncio

import pytest

from registrator.errors import Conflict, LeaseLost
from registrator.registry.store import Absent, Created, Delete, Guard, Put, Snapshot, Store, Unchanged


async def at(store: Store, revision: int) -> Snapshot:
    """The first snapshot that has `revision`."""
    async with asyncio.timeout(30.0):
        while (snapshot := store.snapshot()).revision < revision:
            await store.changed(snapshot.mark)
    return snapshot


async def test_what_is_committed_is_seen_with_its_revisions(store: Store) -> None:
    first = await store.commit([Put("/hecd/a", b"1"), Put("/hecd/b", b"2")])
    second = await store.commit([Put("/hecd/a", b"3"), Delete("/hecd/b"), Delete("/hecd/none")])
    entries = (await at(store, second)).entries
    assert {k: raw.value for k, raw in entries.items()} == {"/hecd/a": b"3"}
    assert (entries["/hecd/a"].created, entries["/hecd/a"].revision) == (first, second)


async def test_a_snapshot_does_not_change_under_its_reader(store: Store) -> None:
    before = await at(store, await store.commit([Put("/hecd/a", b"1")]))
    await at(store, await store.commit([Put("/hecd/a", b"2")]))
    assert before.entries["/hecd/a"].value == b"1"


async def test_all_or_nothing(store: Store) -> None:
    revision = await store.commit([Put("/hecd/a", b"1")])
    for guard in (Absent("/hecd/a"), Unchanged("/hecd/a", revision + 1), Created("/hecd/a", revision + 1),
                  Unchanged("/hecd/none", 1), Created("/hecd/none", 1)):  # fmt: skip
        with pytest.raises(Conflict):
            await store.commit([Put("/hecd/a", b"2"), Put("/hecd/c", b"x")], [Absent("/hecd/z"), guard])
    good: list[Guard] = [Unchanged("/hecd/a", revision), Created("/hecd/a", revision), Absent("/hecd/z")]
    entries = (await at(store, await store.commit([Put("/hecd/a", b"2")], good))).entries
    assert entries["/hecd/a"].value == b"2"
    assert "/hecd/c" not in entries


async def test_changed_rings_for_the_newer_and_only_then(store: Store) -> None:
    mark = (await at(store, await store.commit([Put("/hecd/a", b"1")]))).mark
    waiting = asyncio.create_task(store.changed(mark))
    await asyncio.sleep(0.05)
    assert not waiting.done()
    await store.commit([Put("/hecd/a", b"2")])
    await asyncio.wait_for(waiting, 30.0)
    await asyncio.wait_for(store.changed(mark), 30.0)


async def test_changed_of_a_room_rings_for_what_happens_there_and_for_nothing_else(store: Store) -> None:
    first = await at(store, await store.commit([Put("/hecd/a/1", b"1"), Put("/hecd/b/1", b"1")]))
    waiting = asyncio.create_task(store.changed(first.mark, ("a", "none")))
    second = await at(store, await store.commit([Put("/hecd/b/1", b"2"), Put("/hecd/c/1", b"1")]))
    await asyncio.sleep(0.05)
    assert not waiting.done()
    assert second.rooms["a"] is first.rooms["a"]
    third = await at(store, await store.commit([Delete("/hecd/a/1")]))
    await asyncio.wait_for(waiting, 30.0)
    await asyncio.wait_for(store.changed(first.mark, ("a",)), 30.0)  # as it did, though not last
    assert third.get("/hecd/a/1") is None
    assert third.get("/hecd/b/1") == third.only(["b"]).entries["/hecd/b/1"] == second.rooms["b"]["/hecd/b/1"]
    assert not third.only(["a", "none"]).entries


async def test_keys_of_a_revoked_lease_vanish(store: Store) -> None:
    lease = await store.lease(15)
    revision = await store.commit([Put("/hecd/a", b"1", lease.id)])
    assert (await at(store, revision)).entries["/hecd/a"].lease == lease.id
    mark = store.snapshot().mark
    await lease.close(revoke=True)
    await asyncio.wait_for(store.changed(mark), 30.0)
    assert "/hecd/a" not in store.snapshot().entries


async def test_a_lease_is_resumed_if_it_lives_and_replaced_if_not(store: Store) -> None:
    lease = await store.lease(15)
    await lease.close(revoke=False)
    again = await store.lease(15, resume=lease.id)
    assert again.id == lease.id
    await again.close(revoke=True)
    other = await store.lease(15, resume=lease.id)
    assert other.id != lease.id
    await other.close(revoke=True)


async def test_writing_under_a_lease_that_is_gone_says_so(store: Store) -> None:
    with pytest.raises(LeaseLost):
        await store.commit([Put("/hecd/a", b"1", 12345)])
