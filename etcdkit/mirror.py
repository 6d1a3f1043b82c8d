"""A prefix kept up to date: reads cost no round trip, and a snapshot is of one revision.

After anything that interrupts the watch everything is read again. When the cluster id changed, the revision went
backwards, or old revisions hold something else than they did, history broke: the snapshot's epoch grows.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from contextlib import aclosing, suppress
from types import MappingProxyType, TracebackType

from etcdkit.calls import Backoff
from etcdkit.client import Client
from etcdkit.entry import Cause, Change, Entry, Snapshot, prefix_range
from etcdkit.errors import EtcdError, HistoryBroke, Unauthorized
from etcdkit.watch import Batch, watch_once

log = logging.getLogger(__name__)

Listener = Callable[[list[Change]], None]


class Mirror:
    """Use it as an async context manager; it works in a task of its own while the block runs.

    `connected` and `last_error` are for displays: whether it is being kept up to date, and why it last was not.
    """

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
        self._task = asyncio.create_task(self._run(), name=f"mirror of {self._prefix}")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, err: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._task is not None
        self._task.cancel()
        with suppress(asyncio.CancelledError):
            await self._task

    async def ready(self) -> None:
        """Wait until the first snapshot is there, however long etcd is away. Raises Unauthorized when it refuses."""
        await self._first.wait()
        if self._refused is not None and self._cluster_id == 0:
            raise self._refused

    @property
    def mark(self) -> tuple[int, int]:
        """Epoch and revision of the newest state."""
        return self._epoch, self._revision

    @property
    def cluster_id(self) -> int:
        """The cluster it is of; 0 while etcd has never answered."""
        return self._cluster_id

    def snapshot(self) -> Snapshot:
        """The newest state; empty, of cluster 0, while etcd has never answered. It costs nothing and never changes."""
        if self._shared is None:
            self._shared = MappingProxyType(self._entries)
        return Snapshot(self._revision, self._cluster_id, self._epoch, self._shared)

    async def changed(self, after: tuple[int, int]) -> None:
        """Return as soon as (epoch, revision) is another than `after`."""
        while self.mark == after:
            await self._moved.wait()

    def listen(self, listener: Listener) -> None:
        """Hand every change to `listener`, in order, before `changed` returns.

        A reset is told even when it changed nothing. An exception in a listener is logged and goes no further.
        """
        self._listeners.append(listener)

    # -- the task -----------------------------------------------------------------------------------------------------

    async def _run(self) -> None:
        backoff = Backoff()
        while True:
            try:
                await self._follow(backoff)
            except Unauthorized as err:
                self._refused = err
                self._first.set()
                self._lost(err)
            except EtcdError as err:
                self._lost(err)
            except Exception as err:  # whatever it is, a mirror that stands still in silence is worse
                log.exception("mirror failed prefix=%s", self._prefix)
                self._lost(EtcdError(f"unexpected: {err!r}"))
            await backoff.wait()

    async def _follow(self, backoff: Backoff) -> None:
        """Watch, read everything, and apply what the watch tells until something is wrong.

        The watch comes first: were the store replaced between a read and a watch that begins after it, nobody would
        notice, while a watch that is there breaks.
        """
        async with aclosing(watch_once(self._client.calls, *prefix_range(self._prefix), 0)) as batches:
            await anext(batches)
            self._adopt(await self._client.get_prefix(self._prefix))
            async for batch in batches:
                backoff.reset()
                self._take(batch)

    def _lost(self, err: EtcdError) -> None:
        if self.connected:
            log.warning("mirror interrupted prefix=%s reason=%s", self._prefix, err)
        elif self.last_error is None:
            log.info("mirror waits for etcd prefix=%s reason=%s", self._prefix, err)
        self.connected, self.last_error = False, err

    def _adopt(self, snapshot: Snapshot) -> None:
        """Take over what was read."""
        broken = self._cluster_id != 0 and self._contradicts(snapshot)
        if broken:
            log.warning("history broke prefix=%s revision=%d now=%d", self._prefix, self._revision, snapshot.revision)
            self._epoch += 1
        elif not self.connected and self.last_error is not None:
            log.info("mirror back prefix=%s revision=%d", self._prefix, snapshot.revision)
        changes = _difference(self._entries, snapshot.entries, "reset" if broken else "resync")
        self._entries, self._shared = dict(snapshot.entries), None
        self._revision, self._cluster_id = snapshot.revision, snapshot.cluster_id
        self.connected, self._refused = True, None
        self._tell(changes, even_if_none=broken)
        self._first.set()

    def _contradicts(self, snapshot: Snapshot) -> bool:
        """Whether `snapshot` can't follow from what is here. A store that was wiped keeps its cluster id when it is set
        up as before, and may be past our revision by now; but then old revisions hold other entries."""
        if snapshot.cluster_id != self._cluster_id or snapshot.revision < self._revision:
            return True
        return any(
            entry.mod_revision <= self._revision and self._entries.get(key) != entry
            for key, entry in snapshot.entries.items()
        )

    def _take(self, batch: Batch) -> None:
        """Apply the events of a batch."""
        if batch.cluster_id != self._cluster_id:
            raise HistoryBroke("another cluster answers at these endpoints")
        events = [event for event in batch.events if event[2] > self._revision]  # the others were read already
        if not events:
            return
        # A snapshot that was handed out must not change: go on with a copy.
        entries = dict(self._entries) if self._shared is not None else self._entries
        changes = []
        for key, entry, _ in events:
            changes.append(Change(key, entries.pop(key, None) if entry is None else entries.get(key), entry, "event"))
            if entry is not None:
                entries[key] = entry
        self._entries, self._shared = entries, None
        self._revision = events[-1][2]
        self._tell(changes)

    def _tell(self, changes: list[Change], *, even_if_none: bool = False) -> None:
        for listener in self._listeners if changes or even_if_none else ():
            try:
                listener(changes)
            except Exception:
                log.exception("a listener failed prefix=%s", self._prefix)
        moved, self._moved = self._moved, asyncio.Event()
        moved.set()


def _difference(old: Mapping[str, Entry], new: Mapping[str, Entry], cause: Cause) -> list[Change]:
    changed = [Change(key, old.get(key), entry, cause) for key, entry in new.items() if old.get(key) != entry]
    return changed + [Change(key, entry, None, cause) for key, entry in old.items() if key not in new]
