"""What etcd holds: entries, and snapshots of a prefix."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from etcdkit.proto import etcd_pb2 as pb

Cause = Literal["event", "resync", "reset"]


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
    cause: Cause


def entry_of(kv: pb.KeyValue) -> Entry:
    """etcd's message as an Entry."""
    return Entry(kv.value, kv.mod_revision, kv.create_revision, kv.lease)


def key_bytes(key: str) -> bytes:
    """A key as etcd has it; the way back of `key_text`."""
    return key.encode("utf-8", "surrogateescape")


def key_text(key: bytes) -> str:
    """A key as text. Bytes that are no UTF-8 are kept as lone surrogates: others may write any key."""
    return key.decode("utf-8", "surrogateescape")


def prefix_range(prefix: str) -> tuple[bytes, bytes]:
    """The first key of a prefix and the first one after it, in etcd's terms: two zero bytes are everything."""
    start = key_bytes(prefix)
    kept = start.rstrip(b"\xff")
    return start or b"\0", kept[:-1] + bytes([kept[-1] + 1]) if kept else b"\0"
