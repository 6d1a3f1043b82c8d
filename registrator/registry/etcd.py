"""The store in etcd: the one file of registrator that imports etcdkit."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager

import etcdkit
from registrator.config import EtcdAccess
from registrator.errors import Conflict, HecdError, LeaseLost, RegistryRefused, RegistryUnavailable
from registrator.registry.schema import ROOT
from registrator.registry.store import (
    Absent,
    Created,
    Delete,
    Guard,
    Lease,
    Put,
    Raw,
    Snapshot,
    Unchanged,
    Write,
    room_word,
)


class EtcdStore:
    """See registry.store.Store. Use it through `open_store`."""

    def __init__(self, client: etcdkit.Client, mirror: etcdkit.Mirror) -> None:
        self._client = client
        self._mirror = mirror
        self._rooms: Mapping[str, Mapping[str, Raw]] = {}
        self._moved: dict[str, int] = {}  # room -> revision at which something of it last changed
        mirror.listen(self._hear)

    @property
    def connected(self) -> bool:
        return self._mirror.connected

    async def ready(self) -> None:
        """Wait until the first snapshot is there."""
        try:
            await self._mirror.ready()
        except etcdkit.EtcdError as err:
            raise _mapped(err) from err

    def snapshot(self) -> Snapshot:
        epoch, revision = self._mirror.mark
        return Snapshot(epoch, revision, self._mirror.cluster_id, self._rooms)

    async def changed(self, after: tuple[int, int], rooms: Collection[str] = ()) -> None:
        epoch, revision = after
        while True:
            await self._mirror.changed(after)
            after = self._mirror.mark
            told = not rooms or not revision or after[0] != epoch
            if told or any(self._moved.get(room, 0) > revision for room in rooms):
                return

    async def commit(self, writes: Sequence[Write], guards: Sequence[Guard] = ()) -> int:
        try:
            result = await self._client.transaction(
                compare=[_compare(guard) for guard in guards], success=[_operation(write) for write in writes]
            )
        except etcdkit.EtcdError as err:
            raise _mapped(err) from err
        if not result.succeeded:
            raise Conflict("somebody else changed it first", hint="Look again and repeat the command.")
        return result.revision

    async def lease(self, ttl_s: int, resume: int = 0) -> Lease:
        lease = etcdkit.Lease(self._client, ttl_s, resume_id=resume or None)
        try:
            await lease.__aenter__()
        except etcdkit.EtcdError as err:
            raise _mapped(err) from err
        return _HeldLease(lease)

    def _hear(self, changes: list[etcdkit.Change]) -> None:
        """Keep each entry in the port's words. What was handed out does not change, and what did not change is kept."""
        fresh: dict[str, dict[str, Raw]] = {}
        for change in changes:
            word = room_word(change.key)
            if word not in fresh:
                fresh[word] = dict(self._rooms.get(word, {}))
            if change.new is None:
                fresh[word].pop(change.key, None)
            else:
                fresh[word][change.key] = _raw(change.new)
        self._rooms = {**self._rooms, **fresh}
        self._moved.update(dict.fromkeys(fresh, self._mirror.mark[1]))


class _HeldLease:
    """An etcdkit lease in the port's words."""

    def __init__(self, lease: etcdkit.Lease) -> None:
        self._lease = lease

    @property
    def id(self) -> int:
        return self._lease.id

    @property
    def deadline(self) -> float:
        return self._lease.deadline

    async def lost(self) -> None:
        await self._lease.lost()

    async def close(self, *, revoke: bool) -> None:
        try:
            await self._lease.close(revoke=revoke)
        except etcdkit.EtcdError as err:
            raise _mapped(err) from err


@asynccontextmanager
async def open_store(
    access: EtcdAccess, *, wait: bool = True, ready_within_s: float | None = None, prefix: str = ROOT
) -> AsyncIterator[EtcdStore]:
    """A store of the keys below `prefix` with its first snapshot; an empty one of cluster 0 where `wait` is False and
    etcd has not answered yet.

    `ready_within_s` None waits for ever. Raises RegistryUnavailable when it passes, RegistryRefused when etcd refuses.
    """
    client = etcdkit.Client(access.endpoints, tls=_tls(access), user=access.user)
    try:
        async with etcdkit.Mirror(client, prefix) as mirror:
            store = EtcdStore(client, mirror)
            if wait:
                try:
                    async with asyncio.timeout(ready_within_s):
                        await store.ready()
                except TimeoutError as err:
                    raise RegistryUnavailable(f"etcd at {', '.join(access.endpoints)} does not answer") from err
            yield store
    finally:
        await client.close()


def _tls(access: EtcdAccess) -> etcdkit.TLS | None:
    if access.tls is None:
        return None
    files = (access.tls.ca, access.tls.cert, access.tls.key)
    return etcdkit.TLS(*(path.read_bytes() if path else None for path in files))


def _raw(entry: etcdkit.Entry) -> Raw:
    return Raw(entry.value, entry.mod_revision, entry.create_revision, entry.lease)


def _compare(guard: Guard) -> etcdkit.Compare:
    match guard:
        case Absent(key):
            return etcdkit.absent(key)
        case Unchanged(key, revision):
            return etcdkit.unchanged(key, revision)
        case Created(key, revision):
            return etcdkit.created(key, revision)


def _operation(write: Write) -> etcdkit.Operation:
    match write:
        case Put(key, value, lease):
            return etcdkit.put(key, value, lease)
        case Delete(key):
            return etcdkit.delete(key)


def _mapped(err: etcdkit.EtcdError) -> HecdError:
    if isinstance(err, etcdkit.Unavailable):
        return RegistryUnavailable(err.brief, hint=err.hint, retry_after_s=err.retry_after_s or 1.0)
    if isinstance(err, etcdkit.LeaseGone):
        return LeaseLost(err.brief)
    return RegistryRefused(err.brief, details=err.details, hint=err.hint)
