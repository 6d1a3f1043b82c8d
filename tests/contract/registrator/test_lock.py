"""One deployer at a time, and what it writes is fenced: on the fake and on a real etcd."""

from __future__ import annotations

import asyncio

import pytest

from registrator.errors import Conflict, HecdError, Locked
from registrator.model.lock import Lock
from registrator.model.names import ServiceName
from registrator.registry.lock import held, lock
from registrator.registry.store import Delete, Put, Store

WEB, API = ServiceName("web"), ServiceName("api")


async def test_who_comes_second_is_told_who_has_it_since_when_and_what_to_do(store: Store) -> None:
    async with held(store, [WEB], "ann@ops", "deploys", ttl_s=20, now=100.0) as mine:
        await mine.snapshot()
        with pytest.raises(Locked, match="web is locked by ann@ops for 12 s: deploys") as caught:
            async with held(store, [WEB], "bob@ops", "deploys", ttl_s=20, now=112.0):
                raise AssertionError("two have it")
        assert "hecd rollout abort web" in caught.value.hint
    async with held(store, [WEB], "bob@ops", "deploys", ttl_s=20, now=113.0) as mine:
        await store.commit([Put("/hecd/written", b"1")], mine.guards)


async def test_several_are_had_all_or_none(store: Store) -> None:
    async with held(store, [API], "ann@ops", "", ttl_s=20, now=1.0) as mine:
        await mine.snapshot()
        with pytest.raises(Locked, match="api is locked"):
            async with held(store, [API, WEB], "bob@ops", "", ttl_s=20, now=1.0):
                raise AssertionError("two have it")
        async with held(store, [WEB], "bob@ops", "", ttl_s=20, now=1.0):
            pass


async def test_of_many_at_once_one_has_it_at_a_time(store: Store) -> None:
    inside = most = refused = 0

    async def deployer(n: int) -> None:
        nonlocal inside, most, refused
        try:
            async with held(store, [WEB, API], f"{n}@ops", "", ttl_s=20, now=1.0):
                inside, most = inside + 1, max(most, inside + 1)
                await asyncio.sleep(0.02)
                inside -= 1
        except Locked:
            refused += 1

    await asyncio.gather(*(deployer(n) for n in range(8)))
    assert most == 1
    assert refused < 8


async def test_a_lock_that_was_taken_away_is_noticed_before_anything_is_written(store: Store) -> None:
    async with held(store, [WEB], "ann@ops", "", ttl_s=20, now=1.0) as mine:
        await mine.check()
        await store.commit([Delete("/hecd/locks/web")])
        async with held(store, [WEB], "bob@ops", "", ttl_s=20, now=1.0):  # its key is there again, and another one
            revision = (await mine.snapshot()).revision
            with pytest.raises(Conflict):
                await store.commit([Put("/hecd/written", b"1")], mine.guards)
            with pytest.raises(HecdError, match="the lock was lost; nothing was changed"):
                await mine.check()
    assert revision
    assert "/hecd/written" not in store.snapshot().entries


async def test_the_lock_of_a_deployer_that_died_ends_with_its_lease(store: Store) -> None:
    entered = asyncio.Event()

    async def deployer() -> None:
        async with held(store, [WEB], "ann@ops", "", ttl_s=20, now=1.0) as mine:
            entry = (await mine.snapshot()).entries["/hecd/locks/web"]
            assert entry.lease != 0
            entered.set()
            await asyncio.sleep(60.0)

    task = asyncio.create_task(deployer())
    await asyncio.wait_for(entered.wait(), 30.0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    async with held(store, [WEB], "bob@ops", "", ttl_s=20, now=1.0):
        pass


async def test_a_lasting_lock_holds_for_all_until_it_is_taken_away(store: Store) -> None:
    await lock(store, Lock(WEB, "ann@ops", 100.0, "moving the database"))
    async with asyncio.timeout(30.0):
        while "/hecd/locks/web" not in (snapshot := store.snapshot()).entries:
            await store.changed(snapshot.mark)
    assert snapshot.entries["/hecd/locks/web"].lease == 0
    with pytest.raises(Locked, match="by ann@ops for 60 s: moving the database") as caught:
        await lock(store, Lock(WEB, "ann@ops", 160.0))
    assert "hecd unlock web" in caught.value.hint
