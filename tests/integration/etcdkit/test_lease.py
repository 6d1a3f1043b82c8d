"""Leases through outages, resumed, revoked and wiped."""

from __future__ import annotations

import asyncio
import time

import pytest

from etcdkit import Client, Lease
from tests.fakes.becoming import becomes
from tests.fakes.etcd_server import EtcdServer

TTL_S = 5


async def test_it_outlives_an_etcd_that_is_away_longer_than_its_ttl(etcd: EtcdServer, client: Client) -> None:
    async with Lease(client, TTL_S) as lease:
        made = await client.put("/k/a", b"1", lease.id)
        etcd.kill()
        await becomes(lambda: time.monotonic() > lease.deadline + 1, within_s=TTL_S + 3)
        await asyncio.to_thread(etcd.start)  # from here on it lives for its TTL: nothing else may wait
        await becomes(lambda: lease.deadline > time.monotonic())
        entry = await client.get("/k/a")
        assert entry is not None and entry.create_revision == made and entry.lease == lease.id


async def test_its_deadline_is_never_later_than_the_truth(etcd: EtcdServer, client: Client) -> None:
    async with Lease(client, TTL_S) as lease:
        await client.put("/k/a", b"1", lease.id)
        assert lease.deadline <= time.monotonic() + TTL_S
        begun = lease.deadline
        await becomes(lambda: lease.deadline > begun)  # it was renewed
        await lease.close(revoke=False)
        looked = 0
        while True:
            entry = await client.get("/k/a")
            if time.monotonic() >= lease.deadline:
                break  # it may have ended before it was answered
            assert entry is not None
            looked += 1
            await asyncio.sleep(0.1)
        assert looked > 0


async def test_gone_is_only_what_etcd_says_is_gone(etcd: EtcdServer, client: Client) -> None:
    async with Lease(client, TTL_S) as revoked, Lease(client, TTL_S) as kept:
        etcd.etcdctl("lease", "revoke", f"{revoked.id:x}")
        await asyncio.wait_for(revoked.lost(), 30.0)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(kept.lost(), TTL_S)
        assert await client.lease_time_to_live(kept.id) is not None


async def test_a_wiped_store_has_lost_it(etcd: EtcdServer, client: Client) -> None:
    async with Lease(client, TTL_S) as lease:
        etcd.kill()
        etcd.wipe()
        etcd.start()
        await asyncio.wait_for(lease.lost(), 30.0)


async def test_one_who_comes_back_goes_on_with_it(client: Client) -> None:
    first = await Lease(client, 10).__aenter__()
    await client.put("/k/a", b"1", first.id)
    await first.close(revoke=False)
    async with Lease(client, 10, resume_id=first.id) as second:
        assert second.id == first.id
        assert time.monotonic() < second.deadline <= time.monotonic() + 10
    assert await client.get("/k/a") is None
    async with Lease(client, 10, resume_id=first.id) as third:
        assert third.id != first.id and await client.lease_time_to_live(third.id) is not None
