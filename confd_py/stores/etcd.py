"""etcd v3, through a mirror of the one path that covers all keys; of several where the user may not read that one."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterable, Sequence
from pathlib import Path
from typing import Never, TypeVar, cast

import etcdkit
from confd_py.errors import StoreRefused, StoreUnavailable
from confd_py.keyspace import common_path, covers, top_paths
from confd_py.store import Batch, Cause, Change, Entry, LeaseFate
from confd_py.stores.tls import client_context
from confd_py.stores.unverified import UnverifiedMember

T = TypeVar("T")


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
        self._mirrors: list[etcdkit.Mirror] = []
        self._client = etcdkit.Client(targets, tls=files, user=user, user_optional=True, timeout_s=5.0)

    @property
    def trouble(self) -> str:
        waiting = [mirror for mirror in self._mirrors if not mirror.connected and mirror.last_error is not None]
        return f"etcd does not answer: {waiting[0].last_error}" if waiting else ""

    async def read(self, keys: Sequence[str]) -> Batch:
        await self._open()
        try:
            return await self._as_may_be(keys, self._read)
        except etcdkit.Unavailable as err:
            raise StoreUnavailable(f"etcd does not answer: {err}", hint="Check -node.") from err

    async def follow(self, keys: Sequence[str], deliver: Callable[[Batch], None]) -> None:
        await self._open()
        await self._as_may_be(keys, lambda paths: self._follow(paths, deliver))

    async def _as_may_be(self, keys: Sequence[str], get: Callable[[list[str]], Awaitable[T]]) -> T:
        """What is got of one path, which shows a transaction at once; else of each path. Raises StoreRefused."""
        paths = top_paths(keys)
        try:
            try:
                return await get([common_path(keys)])
            except etcdkit.Unauthorized:
                if len(paths) < 2:
                    raise
            return await get(paths)
        except etcdkit.Unavailable:
            raise
        except etcdkit.EtcdError as err:
            hint = f"Check -username, -password, certificates, and that the user may read {', '.join(paths)}."
            raise StoreRefused(f"etcd refused: {err}", hint=hint) from err

    async def _read(self, paths: list[str]) -> Batch:
        return _first([await self._client.get_prefix(path) for path in paths])

    async def _follow(self, paths: list[str], deliver: Callable[[Batch], None]) -> Never:
        mirrors = [etcdkit.Mirror(self._client, path) for path in paths]
        async with contextlib.AsyncExitStack() as stack:
            for mirror in mirrors:
                await stack.enter_async_context(mirror)
            self._mirrors = mirrors
            await asyncio.gather(*(mirror.ready() for mirror in mirrors))

            def snapshots() -> list[etcdkit.Snapshot]:
                return [mirror.snapshot() for mirror in mirrors]

            for mirror in mirrors:
                mirror.listen(lambda changes: deliver(_later(snapshots(), changes)))
            deliver(_first(snapshots()))
            while True:
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


def _first(snapshots: Sequence[etcdkit.Snapshot]) -> Batch:
    entries = {key: entry for snapshot in snapshots for key, entry in snapshot.entries.items()}
    return _batch(snapshots, (Change(key, None, _entry(entry), "first") for key, entry in entries.items()))


def _later(snapshots: Sequence[etcdkit.Snapshot], changes: Sequence[etcdkit.Change]) -> Batch:
    return _batch(snapshots, (Change(c.key, _maybe(c.old), _maybe(c.new), cast(Cause, c.cause)) for c in changes))


def _batch(snapshots: Sequence[etcdkit.Snapshot], changes: Iterable[Change]) -> Batch:
    newest = max(snapshots, key=lambda snapshot: snapshot.revision)
    epoch = sum(snapshot.epoch for snapshot in snapshots)  # grows when that of any does
    return Batch(newest.revision, tuple(changes), newest.cluster_id, epoch)


def _maybe(entry: etcdkit.Entry | None) -> Entry | None:
    return None if entry is None else _entry(entry)


def _entry(entry: etcdkit.Entry) -> Entry:
    return Entry(entry.value.decode("utf-8", "surrogateescape"), entry.mod_revision, entry.lease)
