"""What Client promises, asked of a real etcd."""

from __future__ import annotations

import asyncio
from contextlib import aclosing

import pytest

from etcdkit import (
    Client,
    Compacted,
    Entry,
    LeaseGone,
    Refused,
    Unavailable,
    absent,
    created,
    delete,
    delete_prefix,
    get,
    put,
    unchanged,
)
from tests.fakes.becoming import answers
from tests.fakes.etcd_server import EtcdServer
from tests.fakes.ports import free_port


async def test_a_key_is_put_read_and_deleted(client: Client) -> None:
    first = await client.put("/keys/a", b"1")
    second = await client.put("/keys/a", b"2")
    assert second == first + 1
    assert await client.get("/keys/a") == Entry(b"2", second, first)
    assert await client.delete("/keys/a")
    assert not await client.delete("/keys/a")
    assert await client.get("/keys/a") is None


async def test_a_prefix_is_read_at_one_revision_and_ends_where_it_ends(client: Client) -> None:
    for key in ("/p/a", "/p/b", "/p0", "/o"):
        last = await client.put(key, key.encode())
    snapshot = await client.get_prefix("/p/")
    assert list(snapshot.entries) == ["/p/a", "/p/b"]
    assert snapshot.revision == last and snapshot.cluster_id != 0
    assert await client.delete_prefix("/p/") == 2
    assert list((await client.get_prefix("/p")).entries) == ["/p0"]


async def test_the_empty_prefix_is_everything_and_keys_need_not_be_text(client: Client) -> None:
    strange = b"\xff\xfe strange".decode("utf-8", "surrogateescape")
    await client.put(strange, b"x")
    everything = await client.get_prefix("")
    assert everything.entries[strange].value == b"x"
    assert await client.delete(strange)


async def test_values_are_bytes_and_may_be_empty_or_large(client: Client) -> None:
    for number in range(6):
        await client.put(f"/large/{number}", bytes([number]) * 1_000_000)
    await client.put("/large/empty", b"")
    snapshot = await client.get_prefix("/large/")
    assert sum(len(e.value) for e in snapshot.entries.values()) == 6_000_000  # above gRPC's own limit of 4 MiB
    assert snapshot.entries["/large/empty"].value == b""


async def test_a_transaction_does_one_branch_and_tells_what_came_of_it(client: Client) -> None:
    done = await client.transaction(
        compare=[absent("/txn/a")],
        success=[put("/txn/a", b"1"), put("/txn/b", b"2"), get("/txn/a")],
        failure=[get("/txn/a")],
    )
    entry = Entry(b"1", done.revision, done.revision)
    assert done.succeeded and done.responses == (done.revision, done.revision, {"/txn/a": entry})

    again = await client.transaction(compare=[absent("/txn/a")], success=[delete("/txn/a")], failure=[get("/txn/a")])
    assert not again.succeeded and again.responses == ({"/txn/a": entry},)

    removed = await client.transaction(success=[delete("/txn/nothing"), delete_prefix("/txn/")])
    assert removed.responses == (0, 2)


async def test_guards_tell_a_changed_key_and_another_creation(client: Client) -> None:
    made = await client.put("/guard", b"1")
    changed = await client.put("/guard", b"2")
    assert not (await client.transaction(compare=[unchanged("/guard", made)])).succeeded
    assert (await client.transaction(compare=[unchanged("/guard", changed), created("/guard", made)])).succeeded
    await client.delete("/guard")
    await client.put("/guard", b"3")
    assert not (await client.transaction(compare=[created("/guard", made)])).succeeded


async def test_a_lease_takes_its_keys_along(client: Client) -> None:
    lease = await client.lease(100)
    await client.put("/leased", b"x", lease)
    left_s = await client.lease_time_to_live(lease)
    assert left_s is not None and 50 <= left_s <= 100
    await client.revoke(lease)
    await client.revoke(lease)
    assert await client.get("/leased") is None
    assert await client.lease_time_to_live(lease) is None
    with pytest.raises(LeaseGone):
        await client.put("/leased", b"x", lease)


async def test_what_etcd_refuses_is_said(client: Client) -> None:
    with pytest.raises(Refused) as refused:
        await client.put("/too/large", b"x" * 3_000_000)
    assert "larger than max" in refused.value.brief
    with pytest.raises(Refused):
        await client.put("", b"x")


async def test_a_watch_tells_every_revision_once_and_in_order(client: Client) -> None:
    first = await client.put("/w/0", b"")
    for number in range(1, 2500):  # etcd hands out at most 1000 revisions at a time to one that catches up
        await client.put(f"/w/{number % 7}", str(number).encode())
    both = (await client.transaction(success=[put("/w/x", b""), delete("/w/0")])).revision
    seen: list[int] = []
    async with aclosing(client.watch_prefix("/w/", first)) as batches:
        async for batch in batches:
            seen += [revision for _, _, revision in batch.events]
            if seen[-1] == both:
                assert [(key, entry is None) for key, entry, _ in batch.events[-2:]] == [
                    ("/w/x", False),
                    ("/w/0", True),
                ]
                break
    assert seen == [*range(first, both), both, both]


async def test_a_watch_from_now_on_hears_what_comes_then(client: Client) -> None:
    await client.put("/now/old", b"")
    async with aclosing(client.watch_prefix("/now/")) as batches:
        first = asyncio.ensure_future(anext(batches))

        async def told() -> bool:  # the watch is there some time after it was asked for: put until it hears
            await client.put("/now/new", b"")
            return first.done()

        await answers(told)
        assert [key for key, _, _ in first.result().events] == ["/now/new"]


async def test_history_that_is_compacted_is_said(client: Client, etcd: EtcdServer) -> None:
    old = await client.put("/c", b"1")
    new = await client.put("/c", b"2")
    etcd.compact(new)
    with pytest.raises(Compacted) as compacted:
        await anext(client.watch_prefix("/c", old))
    assert compacted.value.revision == new


async def test_status_tells_each_member_and_who_is_away(etcd: EtcdServer) -> None:
    nobody = f"127.0.0.1:{free_port()}"
    async with Client([etcd.endpoint, nobody]) as client:
        status = {member.endpoint: member for member in await client.status()}
        here = status[etcd.endpoint]
        assert here.error is None and here.leads and here.has_leader and here.version.startswith("3.")
        assert here.revision > 0 and here.cluster_id == (await client.get_prefix("/")).cluster_id
        assert isinstance(status[nobody].error, Unavailable)
        assert await client.get("/nothing") is None  # although one of two endpoints is dead


async def test_nobody_there_is_unavailable_within_the_time_given() -> None:
    async with Client([f"127.0.0.1:{free_port()}"], timeout_s=2.0) as client:
        with pytest.raises(Unavailable) as away:
            await client.put("/x", b"")
    assert not away.value.ambiguous and "refused" in away.value.brief and away.value.retry_after_s > 0
