"""What one resource sees of the store: the store's entries, and over them the ghosts the guard keeps."""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Mapping
from dataclasses import replace

from confd_py import guard
from confd_py.guard import Ghost, Limits, Remembered
from confd_py.keyspace import KeySpace, covers
from confd_py.store import Batch, Change, Entry, LeaseFate


class View:
    """Kept up to date batch by batch; `keys` is what templates read, with `prefix` cut off.

    Limits that are not on believe the store at once.
    """

    def __init__(
        self,
        paths: tuple[str, ...],
        prefix: str,
        limits: Limits,
        covers: Callable[[tuple[str, ...], str], bool] = covers,
    ) -> None:
        self.paths = paths
        self._covers = covers
        self.revision = 0
        self.cluster_id = 0
        self.epoch = 0
        self.ready = False
        self.entries: dict[str, Entry] = {}
        self.ghosts: dict[str, Ghost] = {}
        self.spared: frozenset[str] = frozenset()  # ghosts that stay beyond the grace: too many would go
        self.keys = KeySpace()
        self._prefix = "" if prefix == "/" else prefix
        self._limits = limits
        self._alive_below: dict[str, int] = {}  # directory -> how many entries the store shows there

    @property
    def guarded(self) -> bool:
        """Whether entries are ever kept."""
        return self._limits.on

    def relevant(self, batch: Batch) -> Batch:
        """The part of `batch` this view is about."""
        mine = tuple(change for change in batch.changes if self._covers(self.paths, change.key))
        return batch if len(mine) == len(batch.changes) else replace(batch, changes=mine)

    def questions(self, batch: Batch) -> set[int]:
        """Leases whose fate must be known before `batch` can be judged."""
        if not self._limits.on:
            return set()
        vanished = (c.old for c in batch.changes if c.new is None and c.old and c.cause in ("event", "resync"))
        return {old.lease for old in vanished if old.lease}

    def undecided(self) -> set[int]:
        """Leases whose fate could not be learned yet."""
        return {ghost.entry.lease for ghost in self.ghosts.values() if ghost.cause == "undecided"}

    def start(self, batch: Batch, remembered: Remembered | None) -> Batch:
        """Turn a first read into changes against what was remembered; without memory it is taken as it is."""
        self.ready = True
        if remembered is None or not self._limits.on:
            return batch
        for key, entry in remembered.entries.items():
            self._set(key, entry)
        self.ghosts = dict(remembered.ghosts)
        for key in self.ghosts:
            self._show(key)
        entries = {change.key: change.new for change in batch.changes if change.new is not None}
        changes = guard.changes_since(remembered, entries, batch.cluster_id, batch.revision)
        return replace(batch, changes=changes)

    def take(self, batch: Batch, fates: Mapping[int, LeaseFate], now_s: float) -> None:
        """Make `batch` the view's present."""
        self.revision, self.cluster_id, self.epoch = batch.revision, batch.cluster_id, batch.epoch
        for change in batch.changes:
            self._take_one(change, fates, now_s)

    def settle(self, fates: Mapping[int, LeaseFate], now_s: float) -> bool:
        """Judge undecided ghosts again; True when something left the view."""
        gone = False
        for key, ghost in [(k, g) for k, g in self.ghosts.items() if g.cause == "undecided"]:
            fate = fates.get(ghost.entry.lease, "unknown")
            if fate == "gone":
                self.ghosts[key] = replace(ghost, cause="expired")
            elif fate == "alive":
                gone = True
                self._lay(key)
        return gone

    def release(self, now_s: float) -> tuple[str, ...]:
        """Let go of the ghosts whose time is over; their keys."""
        grace_s, present = self._limits.grace_s, self.entries.__contains__
        keys = guard.released(self.ghosts, lambda d: bool(self._alive(d)), present, now_s, grace_s)
        self.spared = guard.spared(keys, self.ghosts, self._alive, self._limits)
        keys = tuple(key for key in keys if key not in self.spared)
        for key in keys:
            self._lay(key)
        return keys

    def next_release_s(self, now_s: float) -> float | None:
        """Seconds until `release` may find something."""
        return guard.next_release_s(self.ghosts.values(), now_s, self._limits.grace_s)

    def remembered(self) -> Remembered:
        """What a later process has to know."""
        return Remembered(self.revision, self.cluster_id, dict(self.entries), dict(self.ghosts))

    def _alive(self, directory: str) -> int:
        return self._alive_below.get(directory, 0)

    def _take_one(self, change: Change, fates: Mapping[int, LeaseFate], now_s: float) -> None:
        self._set(change.key, change.new)
        if change.new is not None and change.cause != "reset":
            self.ghosts.pop(change.key, None)
            self._comfort(posixpath.dirname(change.key), now_s)
        elif self._limits.on and change.key not in self.ghosts:
            fate = fates.get(change.old.lease, "unknown") if change.old else "unknown"
            ghost = guard.judge(change, fate, now_s)
            if ghost is not None:
                self.ghosts[change.key] = ghost
        self._show(change.key)

    def _comfort(self, directory: str, now_s: float) -> None:
        """The first announcement after a loss of history starts the grace of its missing siblings."""
        if self._alive_below.get(directory, 0) != 1:
            return
        for key, ghost in self.ghosts.items():
            if ghost.cause == "doubt" and posixpath.dirname(key) == directory:
                self.ghosts[key] = replace(ghost, since_s=now_s)

    def _set(self, key: str, entry: Entry | None) -> None:
        directory = posixpath.dirname(key)
        before = key in self.entries
        if entry is None:
            self.entries.pop(key, None)
        else:
            self.entries[key] = entry
        self._alive_below[directory] = self._alive_below.get(directory, 0) + (entry is not None) - before
        self._show(key)

    def _lay(self, key: str) -> None:
        self.ghosts.pop(key, None)
        self._show(key)

    def _show(self, key: str) -> None:
        ghost = self.ghosts.get(key)
        entry = ghost.entry if ghost else self.entries.get(key)
        name = "/" + key.removeprefix(self._prefix).lstrip("/")
        if "//" in name or "/." in name or name.endswith("/"):
            name = posixpath.normpath(name)  # as confd has it
        if entry is None:
            self.keys.drop(name)
        else:
            self.keys.put(name, entry.value)
