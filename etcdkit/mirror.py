"""A prefix kept up to date: reads cost no round trip, and a snapshot is of one revision.

On a lost member the watch goes on where it was. After a compaction, or when in doubt, everything is read again; when
the cluster id changed or the revision went backwards, the snapshot's epoch grows.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Mapping
from contextlib import suppress
from types import MappingProxyType, TracebackType

from etcdkit.client import Batch, Client
from etcdkit.entry import Change, Entry, Snapshot
from etcdkit.errors import Compacted, EtcdError, Unauthorized, Unavailable

log = logging.getLogger(__name__)

LOOK_AGAIN_S = 1.0  # an idle stream says nothing of a store that was replaced: ask it
LONGEST_BACKOFF_S = 1.0

Listener = Callable[[list[Change]], None]


class Mirror:
    """Use it as an async context manager; it works in a task of its own while the block runs."""

    def __init__(self, client: Client, prefix: str) -> None:
        self._client = client
        self._prefix = prefix
        self._entries: dict[str, Entry] = {}
        self._shared: Mapping[str, Entry] | None = None
        self._revision = self._cluster_id = self._epoch = 0
        self._first = asyncio.Event()
        self._moved = asyncio.Event()
        self._listeners: list[Listener] = []
        self._task: asyncio.Task[None] | None = None
        self._refused: Unauthorized | None = None
        self.connected = False
        self.last_error: EtcdError | None = None

    async def __aenter__(self) -> Mirror:
        self._task = asyncio.create_task(self._run())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, err: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._task is not None
        self._task.cancel()
        with suppress(asyncio.CancelledError):
            await self._task

    async def ready(self) -> None:
        """Wait until the first snapshot is there. Raises Unauthorized when etcd refuses."""
        await self._first.wait()
        if self._refused is not None:
            raise self._refused

    def snapshot(self) -> Snapshot:
        """The newest state; empty, of cluster 0, while etcd has never answered."""
        if self._shared is None:
            self._shared = MappingProxyType(self._entries)
        return Snapshot(self._revision, self._cluster_id, self._epoch, self._shared)

    async def changed(self, after: tuple[int, int]) -> None:
        """Return as soon as (epoch, revision) is another than `after`."""
        while (self._epoch, self._revision) == after:
            await self._moved.wait()

    def listen(self, listener: Listener) -> None:
        """Hand every change to `listener`, in order, before `changed` returns."""
        self._listeners.append(listener)

    # -- the task ---------------------------------------------------------------------------------------------------

    async def _run(self) -> None:
        backoff_s = 0.05
        while True:
            try:
                await self._read_all()
                backoff_s = 0.05
                await self._follow()
            except Unauthorized as err:
                self._refused = err
                self._first.set()
                self._lost(err)
            except Compacted as err:
                self._lost(err)
                continue
            except EtcdError as err:
                self._lost(err)
            await asyncio.sleep(backoff_s * (0.5 + random.random()))  # noqa: S311 - jitter, no secret
            backoff_s = min(backoff_s * 2, LONGEST_BACKOFF_S)

    def _lost(self, err: EtcdError) -> None:
        if self.connected or self.last_error is None:
            log.warning("mirror interrupted prefix=%s reason=%s", self._prefix, err)
        self.connected, self.last_error = False, err

    async def _read_all(self) -> None:
        snapshot = await self._client.get_prefix(self._prefix)
        broken = self._cluster_id != 0 and (
            snapshot.cluster_id != self._cluster_id or snapshot.revision < self._revision
        )
        if broken:
            log.warning("history broke prefix=%s revision=%d now=%d", self._prefix, self._revision, snapshot.revision)
            self._epoch += 1
        changes = _difference(self._entries, snapshot.entries, "reset" if broken else "resync")
        self._entries, self._shared = dict(snapshot.entries), None
        self._revision, self._cluster_id = snapshot.revision, snapshot.cluster_id
        if not self.connected and self.last_error is not None:
            log.info("mirror back prefix=%s revision=%d", self._prefix, self._revision)
        self.connected, self._refused = True, None
        self._tell(changes)
        self._first.set()

    async def _follow(self) -> None:
        """Watch until something is wrong with history; a lost member is none such."""
        resume = self._revision + 1
        backoff_s = 0.05
        while True:
            try:
                async for batch in self._batches(resume):
                    resume = self._take(batch, resume)
                    self.connected, backoff_s = True, 0.05
            except Unavailable as err:
                self._lost(err)
                self._client.leave_member()
                await asyncio.sleep(backoff_s * (0.5 + random.random()))  # noqa: S311 - jitter, no secret
                backoff_s = min(backoff_s * 2, LONGEST_BACKOFF_S)
                if await self._is_other_history():
                    return
                self.connected = True

    async def _batches(self, resume: int):  # type: ignore[no-untyped-def]
        """The watch's batches, with a look at the store whenever it is silent for a while."""
        stream = self._client.watch_prefix(self._prefix, resume).__aiter__()
        pending = asyncio.ensure_future(stream.__anext__())
        try:
            while True:
                done, _ = await asyncio.wait([pending], timeout=LOOK_AGAIN_S)
                if not done:
                    if await self._is_other_history():
                        raise Compacted(0)
                    continue
                batch = pending.result()
                pending = asyncio.ensure_future(stream.__anext__())
                yield batch
        finally:
            pending.cancel()
            with suppress(asyncio.CancelledError, EtcdError, StopAsyncIteration):
                await pending
            await stream.aclose()

    async def _is_other_history(self) -> bool:
        """Whether the store that answers now is not the one mirrored: other cluster id, or behind us."""
        probe = await self._client.get_prefix(self._prefix + "\0")  # nothing is there: only the header counts
        return probe.cluster_id != self._cluster_id or probe.revision < self._revision

    def _take(self, batch: Batch, resume: int) -> int:
        """Apply a batch; the revision to resume at."""
        if batch.cluster_id != self._cluster_id:
            raise Compacted(0)
        changes = []
        for key, entry, revision in batch.events:
            if revision < resume:
                continue  # told twice after a resume
            changes.append(Change(key, self._entries.get(key), entry, "event"))
        if not changes:
            return resume
        entries = dict(self._entries) if self._shared is not None else self._entries
        for change in changes:
            if change.new is None:
                entries.pop(change.key, None)
            else:
                entries[change.key] = change.new
        self._entries, self._shared = entries, None
        self._revision = batch.events[-1][2]
        self._tell(changes)
        return self._revision + 1

    def _tell(self, changes: list[Change]) -> None:
        if changes:
            for listener in self._listeners:
                listener(changes)
        moved, self._moved = self._moved, asyncio.Event()
        moved.set()


def _difference(old: Mapping[str, Entry], new: Mapping[str, Entry], cause: str) -> list[Change]:
    changed = [Change(key, old.get(key), entry, cause) for key, entry in new.items() if old.get(key) != entry]
    return changed + [Change(key, entry, None, cause) for key, entry in old.items() if key not in new]
