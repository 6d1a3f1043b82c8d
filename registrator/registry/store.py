"""The port to the store of records, in the words of those who use it. Drivers: etcd.py, and a fake for tests."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol, TypeVar

MOST_AT_ONCE = 128  # writes of one commit, and guards, as etcd has it by default
AT_ONCE = 100  # how many are best committed together where there may be more: with room for what goes along

T = TypeVar("T")


def portions(writes: Sequence[T]) -> list[Sequence[T]]:
    """The same in parts that are each committed at once."""
    return [writes[first : first + AT_ONCE] for first in range(0, len(writes), AT_ONCE)]


@dataclass(frozen=True)
class Raw:
    """One stored value. `revision` is that of its last change, `created` that of its creation."""

    value: bytes
    revision: int
    created: int
    lease: int = 0


def room_word(key: str) -> str:
    """The room that a key is in: its second word, "" where it has no more than one."""
    return key.split("/", 3)[2] if key.count("/") > 1 else ""


@dataclass(frozen=True)
class Snapshot:
    """All records at one revision, by room and key. `epoch` grows when the store's history broke: other data, or older
    data. A room in which nothing changed is the same object as in the snapshot before."""

    epoch: int
    revision: int
    cluster_id: int
    rooms: Mapping[str, Mapping[str, Raw]]

    @property
    def entries(self) -> Mapping[str, Raw]:
        """The records by key; put together when it is asked for."""
        return {key: raw for room in self.rooms.values() for key, raw in room.items()}

    def get(self, key: str) -> Raw | None:
        """The record at `key`."""
        return self.rooms.get(room_word(key), {}).get(key)

    def only(self, words: Collection[str]) -> Snapshot:
        """The same without other rooms than these."""
        return replace(self, rooms={word: room for word, room in self.rooms.items() if word in words})

    @property
    def mark(self) -> tuple[int, int]:
        """What to hand to `changed` to hear of anything newer."""
        return self.epoch, self.revision


@dataclass(frozen=True)
class Put:
    """Store `value` at `key`, bound to `lease` if not 0."""

    key: str
    value: bytes
    lease: int = 0


@dataclass(frozen=True)
class Delete:
    """Remove `key`; fine if it is not there."""

    key: str


@dataclass(frozen=True)
class Absent:
    """Guard: `key` does not exist."""

    key: str


@dataclass(frozen=True)
class Unchanged:
    """Guard: `key` was last changed at `revision`."""

    key: str
    revision: int


@dataclass(frozen=True)
class Created:
    """Guard: `key` is the one created at `revision`, changed since or not."""

    key: str
    revision: int


Write = Put | Delete
Guard = Absent | Unchanged | Created


class Lease(Protocol):
    """A lease that is being kept alive."""

    @property
    def id(self) -> int:
        """Its number in the store."""

    @property
    def deadline(self) -> float:
        """`time.monotonic()` until which it lives for certain."""

    async def lost(self) -> None:
        """Return when the store says that it is gone."""

    async def close(self, *, revoke: bool) -> None:
        """Stop keeping it alive; with `revoke` its keys vanish at once."""


class Store(Protocol):
    """Reads cost no round trip: the driver keeps a copy of everything up to date."""

    @property
    def connected(self) -> bool:
        """Whether the copy is being kept up to date right now."""

    def snapshot(self) -> Snapshot:
        """The newest complete state."""

    async def changed(self, after: tuple[int, int], rooms: Collection[str] = ()) -> None:
        """Return as soon as there is a snapshot with another mark than `after`; with `rooms`, one in which something of
        these is another, or of a later epoch, or the first of all."""

    async def commit(self, writes: Sequence[Write], guards: Sequence[Guard] = ()) -> int:
        """Do all writes at once if all guards hold; the revision.

        Raises Conflict, LeaseLost, RegistryUnavailable, RegistryRefused.
        """

    async def lease(self, ttl_s: int, resume: int = 0) -> Lease:
        """A lease kept alive from now on; `resume` is one to go on with if it still lives."""
