"""The port to key-value stores, and what comes through it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

Cause = Literal["first", "event", "resync", "reset"]
LeaseFate = Literal["alive", "gone", "unknown"]


@dataclass(frozen=True, slots=True)
class Entry:
    """A value, the revision that wrote it, and the lease it lives under (0: none)."""

    value: str
    revision: int = 0
    lease: int = 0


@dataclass(frozen=True, slots=True)
class Change:
    """One key: `old` None is a new key, `new` None a vanished one.

    cause: "first" the first full read, "event" the store said so, "resync" found by reading all again,
    "reset" found after history broke (another cluster, or a revision that went backwards): that is doubt, not an order.
    """

    key: str
    old: Entry | None
    new: Entry | None
    cause: Cause


@dataclass(frozen=True, slots=True)
class Batch:
    """Changes that lead to one consistent state: all keys as of `revision`."""

    revision: int
    changes: tuple[Change, ...]
    cluster_id: int = 0
    epoch: int = 0


def difference(old: Mapping[str, Entry], new: Mapping[str, Entry], cause: Cause) -> tuple[Change, ...]:
    """What turns `old` into `new`, by key, in order."""
    keys = sorted(old.keys() | new.keys())
    return tuple(Change(k, old.get(k), new.get(k), cause) for k in keys if old.get(k) != new.get(k))


def changes_between(old: Mapping[str, str] | None, new: Mapping[str, str]) -> tuple[Change, ...]:
    """What a store without revisions and leases holds now, against what it held before; `old` None is a first read."""
    before, now = ({key: Entry(value) for key, value in values.items()} for values in (old or {}, new))
    return difference(before, now, "first" if old is None else "event")


class Store(Protocol):
    """Where keys live. Stores without leases answer "alive"; stores without revisions count for themselves."""

    @property
    def trouble(self) -> str:
        """Why `follow` hears of no change now, in one line; "" while nothing is known to be wrong."""
        ...

    async def read(self, keys: Sequence[str]) -> Batch:
        """Everything under `keys` (path prefixes) once, as changes of cause "first".

        Raises StoreUnavailable, StoreRefused.
        """
        ...

    async def follow(self, keys: Sequence[str], deliver: Callable[[Batch], None]) -> None:
        """Deliver the first full batch, then every change, until cancelled. Outages are ridden through inside."""
        ...

    def covers(self, paths: Sequence[str], key: str) -> bool:
        """Whether `key` belongs to one of `paths`: below it in a tree, starting with its characters elsewhere."""
        ...

    async def lease_fate(self, lease: int) -> LeaseFate:
        """Whether the lease still lives; "unknown" when the store cannot be asked now."""
        ...

    async def close(self) -> None:
        """Let go of connections."""
        ...
