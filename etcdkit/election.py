"""Who leads: a key held under a lease. The revision that created it fences what the leader writes."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from dataclasses import dataclass

from etcdkit.client import Client
from etcdkit.entry import Entry
from etcdkit.errors import Compacted, HistoryBroke, Unavailable
from etcdkit.transaction import Compare, absent, created, delete, put


@dataclass(frozen=True)
class Leadership:
    """Held until the lease ends or somebody removes the key."""

    key: str
    create_revision: int

    def guard(self) -> Compare:
        """Goes into every transaction of the leader, so that one who was deposed without knowing changes nothing."""
        return created(self.key, self.create_revision)


async def campaign(client: Client, key: str, value: bytes, lease: int) -> Leadership:
    """Wait until `key` is free and take it under `lease`; an etcd that is away is waited for.

    Raises LeaseGone when `lease` has ended, Unauthorized.
    """
    while True:
        try:
            result = await client.transaction(compare=[absent(key)], success=[put(key, value, lease)])
            if result.succeeded:
                return Leadership(key, result.revision)
            held = await client.get(key)
            if held is not None and held.lease == lease:
                return Leadership(key, held.create_revision)  # ours: the answer to an earlier try was lost
            if held is not None:
                await _freed(client, key, held)
        except Unavailable as err:
            await asyncio.sleep(err.retry_after_s)


async def resign(client: Client, leadership: Leadership) -> None:
    """Give it up, so that the next one need not wait for the lease to end. Fine if it is lost already."""
    await client.transaction(compare=[leadership.guard()], success=[delete(leadership.key)])


async def leader(client: Client, key: str) -> Entry | None:
    """Who leads now: the entry with the value given to `campaign`; None if nobody."""
    return await client.get(key)


async def _freed(client: Client, key: str, held: Entry) -> None:
    """Return when `key` may be free."""
    try:
        async with aclosing(client.watch(key, held.mod_revision + 1)) as batches:
            async for batch in batches:
                if any(entry is None for _, entry, _ in batch.events):
                    return
    except (Compacted, HistoryBroke):
        return
