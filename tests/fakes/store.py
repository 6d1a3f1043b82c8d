"""A store in memory that keeps the promises of registrator.registry.store; tests/contract holds it to them."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Collection, Sequence

from registrator.errors import Conflict, LeaseLost, RegistryRefused, RegistryUnavailable
from registrator.registry.store import (
    MOST_AT_ONCE,
    Absent,
    Created,
    Delete,
    Guard,
    Lease,
    Put,
    Raw,
    Snapshot,
    Write,
    room_word,
)


class FakeStore:
    """etcd as the port shows it. `away` makes every write fail; `wipe` forgets all, under a new cluster id."""

    def __init__(self) -> None:
        self.connected = True
        self.away = False
        self._rooms: dict[str, dict[str, Raw]] = {}
        self._changed_at: dict[str, int] = {}  # room -> revision
        self._epoch = 0
        self._cluster = 1
        self._revision = 1
        self._moved = asyncio.Event()
        self._leases: dict[int, FakeLease] = {}
        self._ids = itertools.count(100)

    def snapshot(self) -> Snapshot:
        return Snapshot(self._epoch, self._revision, self._cluster, dict(self._rooms))

    async def changed(self, after: tuple[int, int], rooms: Collection[str] = ()) -> None:
        while not self._moved_since(after, rooms):
            moved = self._moved
            await moved.wait()

    async def commit(self, writes: Sequence[Write], guards: Sequence[Guard] = ()) -> int:
        if self.away:
            raise RegistryUnavailable("the fake is away", retry_after_s=0.01)
        if len(writes) > MOST_AT_ONCE:
            raise RegistryRefused("etcd refuses: too many operations in txn request")
        if not all(self._holds(guard) for guard in guards):
            raise Conflict("a guard does not hold")
        if any(isinstance(w, Put) and w.lease and w.lease not in self._leases for w in writes):
            raise LeaseLost("no such lease")
        self._revision += 1
        for write in writes:
            self._apply(write)
        self._ring()
        return self._revision

    async def lease(self, ttl_s: int, resume: int = 0) -> Lease:
        if self.away:
            raise RegistryUnavailable("the fake is away", retry_after_s=0.01)
        lease = self._leases.get(resume) or FakeLease(self, next(self._ids), ttl_s)
        self._leases[lease.id] = lease
        return lease

    def expire(self, lease_id: int) -> None:
        """End a lease as if its holder had died."""
        lease = self._leases.pop(lease_id)
        self._revision += 1
        for room in list(self._rooms.values()):
            for key in [key for key, raw in room.items() if raw.lease == lease_id]:
                self._apply(Delete(key))
        lease.gone.set()
        self._ring()

    def wipe(self) -> None:
        """Lose everything, as an etcd whose data directory was deleted."""
        for lease_id in list(self._leases):
            self._leases.pop(lease_id).gone.set()
        self._rooms, self._changed_at = {}, {}
        self._epoch, self._cluster, self._revision = self._epoch + 1, self._cluster + 1, 1
        self._ring()

    def _apply(self, write: Write) -> None:
        word = room_word(write.key)
        room = dict(self._rooms.get(word, {}))
        before = room.pop(write.key, None)
        if isinstance(write, Put):
            created = before.created if before else self._revision
            room[write.key] = Raw(write.value, self._revision, created, write.lease)
        elif before is None:
            return
        self._rooms[word], self._changed_at[word] = room, self._revision

    def _holds(self, guard: Guard) -> bool:
        raw = self._rooms.get(room_word(guard.key), {}).get(guard.key)
        if isinstance(guard, Absent):
            return raw is None
        if raw is None:
            return False
        return guard.revision == (raw.created if isinstance(guard, Created) else raw.revision)

    def _moved_since(self, after: tuple[int, int], rooms: Collection[str]) -> bool:
        mark = self.snapshot().mark
        if not rooms or mark[0] != after[0]:
            return mark != after
        return any(self._changed_at.get(room, 0) > after[1] for room in rooms)

    def _ring(self) -> None:
        moved, self._moved = self._moved, asyncio.Event()
        moved.set()


class FakeLease:
    def __init__(self, store: FakeStore, lease_id: int, ttl_s: int) -> None:
        self.id = lease_id
        self.gone = asyncio.Event()
        self._store = store
        self._ttl_s = ttl_s

    @property
    def deadline(self) -> float:
        return time.monotonic() + self._ttl_s

    async def lost(self) -> None:
        await self.gone.wait()

    async def close(self, *, revoke: bool) -> None:
        if revoke and not self.gone.is_set():
            self._store.expire(self.id)
