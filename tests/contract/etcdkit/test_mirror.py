"""What Mirror promises while nothing is wrong; tests/integration breaks things."""

from __future__ import annotations

import asyncio

import pytest

from etcdkit import Change, Client, Entry, Lease, Mirror, delete, put
from tests.fakes.becoming import becomes
from tests.fakes.ports import free_port


async def test_it_has_what_was_there_and_what_comes(client: Client) -> None:
    await client.put("/m1/old", b"1")
    async with Mirror(client, "/m1/") as mirror:
        await mirror.ready()
        first = mirror.snapshot()
        assert {k: e.value for k, e in first.entries.items()} == {"/m1/old": b"1"} and mirror.connected
        await client.put("/m1/new", b"2")
        await asyncio.wait_for(mirror.changed((first.epoch, first.revision)), 30)
        second = mirror.snapshot()
        assert second.entries["/m1/new"].value == b"2" and second.revision > first.revision
        assert (second.epoch, second.cluster_id) == (first.epoch, first.cluster_id)
        assert second.entries == (await client.get_prefix("/m1/")).entries


async def test_a_snapshot_never_changes(client: Client) -> None:
    await client.put("/m2/a", b"1")
    async with Mirror(client, "/m2/") as mirror:
        await mirror.ready()
        snapshot = mirror.snapshot()
        assert mirror.snapshot().entries is snapshot.entries  # asking again costs nothing
        await client.put("/m2/a", b"2")
        await client.put("/m2/b", b"2")
        await becomes(lambda: len(mirror.snapshot().entries) == 2)
        assert {k: e.value for k, e in snapshot.entries.items()} == {"/m2/a": b"1"}
        with pytest.raises(TypeError):
            snapshot.entries["/m2/c"] = snapshot.entries["/m2/a"]  # type: ignore[index]


async def test_a_transaction_is_seen_whole_or_not_at_all(client: Client) -> None:
    async with Mirror(client, "/m3/") as mirror:
        await mirror.ready()
        seen: list[tuple[int, ...]] = []
        mirror.listen(lambda _: seen.append(tuple(int(e.value) for e in mirror.snapshot().entries.values())))
        for number in range(50):
            text = str(number).encode()
            last = await client.transaction(success=[put("/m3/a", text), put("/m3/b", text)])
        await becomes(lambda: mirror.snapshot().revision == last.revision)
        assert all(len(set(values)) == 1 and len(values) == 2 for values in seen) and seen[-1] == (49, 49)


async def test_listeners_hear_every_change_in_order_before_those_who_wait(client: Client) -> None:
    async with Mirror(client, "/m4/") as mirror:
        await mirror.ready()
        heard: list[Change] = []

        def fails(changes: list[Change]) -> None:
            raise RuntimeError("a listener's own fault")

        mirror.listen(fails)
        mirror.listen(heard.extend)
        start = mirror.snapshot()
        one = await client.put("/m4/a", b"1")
        await mirror.changed((start.epoch, start.revision))
        assert [c.key for c in heard] == ["/m4/a"]
        two = await client.put("/m4/a", b"2")
        await client.transaction(success=[delete("/m4/a")])
        await becomes(lambda: not mirror.snapshot().entries)
        first, second = Entry(b"1", one, one), Entry(b"2", two, one)
        assert heard == [
            Change("/m4/a", None, first, "event"),
            Change("/m4/a", first, second, "event"),
            Change("/m4/a", second, None, "event"),
        ]


async def test_a_key_whose_lease_ended_vanishes_and_the_change_names_the_lease(client: Client) -> None:
    async with Mirror(client, "/m5/") as mirror, Lease(client, 30) as lease:
        await mirror.ready()
        await client.put("/m5/a", b"1", lease.id)
        await becomes(lambda: "/m5/a" in mirror.snapshot().entries)
        heard: list[Change] = []
        mirror.listen(heard.extend)
        await client.revoke(lease.id)
        await becomes(lambda: not mirror.snapshot().entries)
        assert [(c.key, c.new, c.old.lease if c.old else 0) for c in heard] == [("/m5/a", None, lease.id)]
        await asyncio.wait_for(lease.lost(), 30)


async def test_ten_thousand_keys_are_mirrored(client: Client) -> None:
    value = b"x" * 300
    for begin in range(0, 10_000, 100):
        await client.transaction(success=[put(f"/m6/{n}", value) for n in range(begin, begin + 100)])
    async with Mirror(client, "/m6/") as mirror:
        await mirror.ready()
        assert len(mirror.snapshot().entries) == 10_000
        last = await client.put("/m6/5", b"y")
        await becomes(lambda: mirror.snapshot().revision == last)
        assert mirror.snapshot().entries["/m6/5"].value == b"y"


async def test_it_waits_for_an_etcd_that_is_not_there_yet() -> None:
    async with Client([f"127.0.0.1:{free_port()}"], timeout_s=2.0) as client, Mirror(client, "/") as mirror:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(mirror.ready(), 1.0)
        await becomes(lambda: "refused" in str(mirror.last_error), told=lambda: mirror.last_error)
        snapshot = mirror.snapshot()
        assert (snapshot.cluster_id, snapshot.revision, dict(snapshot.entries)) == (0, 0, {})
        assert not mirror.connected
