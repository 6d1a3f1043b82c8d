"""What stays in view although the store no longer shows it. Pure: the clock and the fate of leases are passed in.

An entry that vanished because somebody deleted it is gone at once. An entry whose lease expired, and everything
that changed when the store lost its history, is kept as a *ghost*: a dead agent or a wiped store is no order to
stop traffic. HAProxy's own checks take dead servers out meanwhile.
"""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from confd_py.store import Change, Entry, LeaseFate

GhostCause = Literal["expired", "undecided", "doubt"]


@dataclass(frozen=True, slots=True)
class Ghost:
    """An entry kept in view since `since_s`, and why.

    expired: its lease ran out · undecided: it vanished and the lease's fate is not known yet · doubt: it vanished
    or changed when the store's history broke.
    """

    entry: Entry
    cause: GhostCause
    since_s: float


@dataclass(frozen=True, slots=True)
class Limits:
    """What leases that expire may take away: after `grace_s`, and in one directory never so much that fewer than
    `min_servers` entries are left, or more than the share `max_shrink` goes at once.
    """

    grace_s: float = 0.0
    min_servers: int = 0
    max_shrink: float = 1.0

    @property
    def on(self) -> bool:
        """Whether anything is kept at all."""
        return bool(self.grace_s or self.min_servers or self.max_shrink < 1.0)


def judge(change: Change, fate: LeaseFate, now_s: float) -> Ghost | None:
    """The ghost `change` leaves behind, or None when the store's word is taken."""
    old = change.old
    if old is None:
        return None
    if change.cause == "reset":
        same = change.new is not None and change.new.value == old.value
        return None if same else Ghost(old, "doubt", now_s)
    if change.new is not None or not old.lease or fate == "alive":
        return None
    return Ghost(old, "expired" if fate == "gone" else "undecided", now_s)


def released(
    ghosts: Mapping[str, Ghost],
    has_siblings: Callable[[str], bool],
    present: Callable[[str], bool],
    now_s: float,
    grace_s: float,
) -> tuple[str, ...]:
    """Keys of ghosts whose time is over.

    - expired: after the grace, even if it was the last of its kind.
    - undecided: never by time; its lease has to be asked about.
    - doubt, and the store shows another value under that key: after the grace the store's value counts.
    - doubt about an entry with a lease: after the grace, once a sibling was announced again (`has_siblings`).
    - doubt about an entry without a lease: nobody will announce it by itself; it stays until it is put again.
    """

    def over(key: str, ghost: Ghost) -> bool:
        if ghost.cause == "undecided" or now_s - ghost.since_s < grace_s:
            return False
        if ghost.cause == "expired" or present(key):
            return True
        return bool(ghost.entry.lease) and has_siblings(posixpath.dirname(key))

    return tuple(key for key, ghost in ghosts.items() if over(key, ghost))


def spared(
    keys: Iterable[str], ghosts: Mapping[str, Ghost], alive: Callable[[str], int], limits: Limits
) -> frozenset[str]:
    """Of the keys whose time is over, those of expired leases that stay all the same; `alive` counts a directory."""
    expired = {key for key, ghost in ghosts.items() if ghost.cause == "expired"}
    going = sorted(key for key in keys if key in expired)
    kept: list[str] = []
    for directory in sorted({posixpath.dirname(key) for key in going}):
        here = [key for key in going if posixpath.dirname(key) == directory]
        all_expired = sum(posixpath.dirname(key) == directory for key in expired)
        living = alive(directory)
        if all_expired > limits.max_shrink * (living + all_expired):
            kept += here
        else:
            staying = living + all_expired - len(here)
            kept += here[: max(0, limits.min_servers - staying)]
    return frozenset(kept)


def next_release_s(ghosts: Iterable[Ghost], now_s: float, grace_s: float) -> float | None:
    """Seconds until `released` may answer differently because of time alone."""
    waits = [ghost.since_s + grace_s - now_s for ghost in ghosts if ghost.cause != "undecided"]
    ahead = [wait for wait in waits if wait > 0]
    return min(ahead) if ahead else None


@dataclass(frozen=True, slots=True)
class Remembered:
    """What was in view when the last process ended: entries of one store at one revision, and their ghosts."""

    revision: int
    cluster_id: int
    entries: Mapping[str, Entry]
    ghosts: Mapping[str, Ghost]


def changes_since(
    remembered: Remembered, entries: Mapping[str, Entry], cluster_id: int, revision: int
) -> tuple[Change, ...]:
    """The changes between a remembered view and a first read, with the cause they have to be judged by."""
    doubtful = cluster_id != remembered.cluster_id or revision < remembered.revision or _rewritten(remembered, entries)
    cause: Literal["reset", "resync"] = "reset" if doubtful else "resync"
    keys = sorted(remembered.entries.keys() | entries.keys())
    pairs = ((key, remembered.entries.get(key), entries.get(key)) for key in keys)
    return tuple(Change(key, old, new, cause) for key, old, new in pairs if old != new)


def _rewritten(remembered: Remembered, entries: Mapping[str, Entry]) -> bool:
    """Whether old revisions hold other entries now: a wiped store that was set up as before keeps its cluster id."""
    if not remembered.cluster_id:
        return False  # a store that counts no revisions has no history to lose
    return any(e.revision <= remembered.revision and remembered.entries.get(k) != e for k, e in entries.items())
