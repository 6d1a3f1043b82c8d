"""etcd v3, through a mirror of the one path that covers all keys."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import cast

import etcdkit
from confd_py.errors import StoreRefused, StoreUnavailable
from confd_py.keyspace import common_path, covers
from confd_py.store import Batch, Cause, Change, Entry, LeaseFate
from confd_py.stores.tls import client_context
from confd_py.stores.unverified import UnverifiedMember


class EtcdStore:
    """Speaks to the members at `endpoints`; `tls` is (ca, cert, key) with "" for what is not used.

    Without `verify` any certificate of theirs is taken.
    """

    def __init__(
        self,
        endpoints: Sequence[str],
        *,
        tls: tuple[str, str, str] | None = None,
        user: tuple[str, str] | None = None,
        verify: bool = True,
    ) -> None:
        doubtful = [] if verify else [endpoint for endpoint in endpoints if endpoint.startswith("https://")]
        self._unverified = [UnverifiedMember(endpoint, tls[1:] if tls else ("", "")) for endpoint in doubtful]
        targets = [member.target for member in self._unverified]
        targets += [endpoint for endpoint in endpoints if endpoint not in doubtful]
        files = _read_tls(tls if not doubtful else None)
        self._mirror: etcdkit.Mirror | None = None
        self._client = etcdkit.Client(targets, tls=files, user=user, user_optional=True, timeout_s=5.0)

    @property
    def trouble(self) -> str:
        mirror = self._mirror
        waits = mirror is not None and not mirror.connected and mirror.last_error is not None
        return f"etcd does not answer: {mirror.last_error}" if mirror and waits else ""

    async def read(self, keys: Sequence[str]) -> Batch:
        await self._open()
        path = common_path(keys)
        try:
            snapshot = await self._client.get_prefix(path)
        except etcdkit.Unavailable as err:
            raise StoreUnavailable(f"etcd does not answer: {err}", hint="Check -node.") from err
        except etcdkit.EtcdError as err:
            raise StoreRefused(f"etcd refused: {err}", hint="Check -username, -password and certificates.") from err
        return _first(snapshot)

    async def follow(self, keys: Sequence[str], deliver: Callable[[Batch], None]) -> None:
        await self._open()
        path = common_path(keys)
        self._mirror = mirror = etcdkit.Mirror(self._client, path)
        async with mirror:
            try:
                await mirror.ready()
            except etcdkit.EtcdError as err:
                raise StoreRefused(f"etcd refused: {err}", hint="Check -username, -password and certificates.") from err
            mirror.listen(lambda changes: deliver(_later(mirror.snapshot(), changes)))
            deliver(_first(mirror.snapshot()))
            await asyncio.Event().wait()

    def covers(self, paths: Sequence[str], key: str) -> bool:
        return covers(tuple(paths), key)

    async def lease_fate(self, lease: int) -> LeaseFate:
        try:
            async with asyncio.timeout(1.0):
                left_s = await self._client.lease_time_to_live(lease)
        except (etcdkit.EtcdError, TimeoutError):
            return "unknown"
        return "gone" if left_s is None else "alive"

    async def close(self) -> None:
        await self._client.close()
        for member in self._unverified:
            await member.close()

    async def _open(self) -> None:
        for member in self._unverified:
            await member.start()


def _read_tls(files: tuple[str, str, str] | None) -> etcdkit.TLS | None:
    if files is None:
        return None
    client_context(*files)
    return etcdkit.TLS(*(Path(name).read_bytes() if name else None for name in files))


def _first(snapshot: etcdkit.Snapshot) -> Batch:
    changes = (Change(key, None, _entry(entry), "first") for key, entry in snapshot.entries.items())
    return Batch(snapshot.revision, tuple(changes), snapshot.cluster_id, snapshot.epoch)


def _later(snapshot: etcdkit.Snapshot, changes: Sequence[etcdkit.Change]) -> Batch:
    mine = tuple(Change(c.key, _maybe(c.old), _maybe(c.new), cast(Cause, c.cause)) for c in changes)
    return Batch(snapshot.revision, mine, snapshot.cluster_id, snapshot.epoch)


def _maybe(entry: etcdkit.Entry | None) -> Entry | None:
    return None if entry is None else _entry(entry)


def _entry(entry: etcdkit.Entry) -> Entry:
    return Entry(entry.value.decode("utf-8", "surrogateescape"), entry.mod_revision, entry.lease)
