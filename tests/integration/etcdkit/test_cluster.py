"""Three members, some of which are killed or frozen while others go on."""

from __future__ import annotations

import asyncio
from contextlib import aclosing

from etcdkit import Client, Lease, Mirror, Unavailable
from tests.fakes.becoming import becomes
from tests.fakes.etcd_server import EtcdServer


def in_use(client: Client, members: list[EtcdServer]) -> EtcdServer:
    """The member that `client` speaks to now."""
    return next(m for m in members if m.endpoint == client.calls.members.current.address)


async def write_until(client: Client, stop: asyncio.Event) -> dict[int, str]:
    """Keep writing; what was written for certain, by revision."""
    written: dict[int, str] = {}
    number = 0
    while not stop.is_set():
        number += 1
        try:
            written[await client.put("/k/counter", str(number).encode())] = str(number)
        except Unavailable:
            continue  # it may have happened: whoever watches sees it or does not
        await asyncio.sleep(0.002)
    return written


async def test_nothing_is_lost_or_told_twice_while_members_are_killed_and_frozen(members: list[EtcdServer]) -> None:
    endpoints = [m.endpoint for m in members]
    stop = asyncio.Event()
    seen: list[tuple[int, str]] = []
    async with Client(endpoints) as writer, Client(endpoints) as reader, Mirror(reader, "/k/") as mirror:
        await mirror.ready()
        start = mirror.snapshot().revision + 1

        async def watching() -> None:
            async with aclosing(reader.watch_prefix("/k/", start)) as batches:
                async for batch in batches:
                    seen.extend((revision, entry.value.decode()) for _, entry, revision in batch.events if entry)

        watcher = asyncio.create_task(watching())
        writing = asyncio.create_task(write_until(writer, stop))

        async def gone_on(reached: int) -> None:
            await becomes(lambda: seen[-1][0] > reached + 20)

        for round_number in range(6):
            victim = in_use(reader, members)
            await becomes(lambda: bool(seen))
            if round_number % 2:
                victim.freeze()
            else:
                victim.kill()
            reached = seen[-1][0]
            # One that is frozen is noticed after some 9 s; without pings of our own it would take a minute and more.
            await gone_on(reached)
            if round_number % 2:
                victim.thaw()
            else:
                await asyncio.to_thread(victim.start)
        stop.set()
        written = await writing
        last = max(written)
        await becomes(lambda: seen[-1][0] >= last and mirror.snapshot().revision >= last)
        watcher.cancel()
    revisions = [revision for revision, _ in seen]
    assert revisions == sorted(set(revisions)), "told twice, or out of order"
    assert written.items() <= dict(seen).items(), "lost"
    assert mirror.snapshot().entries["/k/counter"].value.decode() == seen[-1][1] and mirror.snapshot().epoch == 0
    assert len(written) > 100


async def test_calls_and_leases_go_on_without_the_member_in_use(members: list[EtcdServer]) -> None:
    async with Client([m.endpoint for m in members]) as client, Lease(client, 15) as lease:
        await client.put("/k/a", b"1", lease.id)

        async def kept_alive(renewed: float) -> None:
            await becomes(lambda: lease.deadline > renewed)

        for harm in ("kill", "freeze"):
            victim = in_use(client, members)
            getattr(victim, harm)()
            assert await client.get("/k/a") is not None  # within the ten seconds of a call
            renewed = lease.deadline
            await kept_alive(renewed)
            if harm == "kill":
                await asyncio.to_thread(victim.start)
            else:
                victim.thaw()


async def test_without_a_majority_nothing_is_pretended(members: list[EtcdServer]) -> None:
    async with Client([m.endpoint for m in members], timeout_s=5.0) as client, Mirror(client, "/k/") as mirror:
        await client.put("/k/a", b"1")
        await mirror.ready()
        alone = in_use(client, members)
        for member in members:
            if member is not alone:
                member.kill()
        await becomes(lambda: not mirror.connected)
        failed = None
        try:
            await client.put("/k/a", b"2")
        except Unavailable as err:
            failed = err
        assert failed is not None
        for member in members:
            if member is not alone:
                member.start(wait=False)
        await becomes(lambda: mirror.connected)
        assert mirror.snapshot().epoch == 0
