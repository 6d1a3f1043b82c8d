"""What etcd holds: entries, and snapshots of a prefix."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Entry:
    """One key's value. Revisions are etcd's store-wide counter; `lease` 0 is none."""

    value: bytes
    mod_revision: int
    create_revision: int
    lease: int = 0


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A prefix at one revision. `epoch` grows when history broke: another cluster, or an older revision."""

    revision: int
    cluster_id: int
    epoch: int
    entries: Mapping[str, Entry]


@dataclass(frozen=True, slots=True)
class Change:
    """One key's step. cause: "event" (a watch told), "resync" (found while reading again), "reset" (history broke)."""

    key: str
    old: Entry | None
    new: Entry | None
    cause: str


def prefix_end(prefix: bytes) -> bytes:
    """The first key after all that begin with `prefix`; etcd's mark for "to the end" where there is none."""
    kept = prefix.rstrip(b"\xff")
    return kept[:-1] + bytes([kept[-1] + 1]) if kept else b"\0"
