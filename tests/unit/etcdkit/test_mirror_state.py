"""What a mirror makes of what it is told, without any etcd."""

from __future__ import annotations

import pytest

from etcdkit import Batch, Change, Client, Entry, HistoryBroke, Mirror, Snapshot

CLUSTER = 7


def entry(value: str, mod: int, created: int = 0) -> Entry:
    return Entry(value.encode(), mod, created or mod)


@pytest.fixture
def mirror() -> Mirror:
    """At revision 10, with the keys a (of 5) and b (of 10)."""
    mirror = Mirror(Client(["127.0.0.1:1"]), "")
    mirror._adopt(Snapshot(10, CLUSTER, 0, {"a": entry("1", 5), "b": entry("1", 10)}))
    return mirror


@pytest.mark.parametrize(
    ("snapshot", "broke"),
    [
        (Snapshot(10, CLUSTER, 0, {"a": entry("1", 5), "b": entry("1", 10)}), False),
        (Snapshot(12, CLUSTER, 0, {"a": entry("1", 5), "b": entry("2", 12, 10)}), False),
        (Snapshot(12, CLUSTER, 0, {}), False),  # deleted, by all we know
        (Snapshot(12, 8, 0, {"a": entry("1", 5), "b": entry("1", 10)}), True),  # another cluster
        (Snapshot(9, CLUSTER, 0, {"a": entry("1", 5)}), True),  # an older revision
        (Snapshot(12, CLUSTER, 0, {"a": entry("other", 5)}), True),  # an old revision holds something else
        (Snapshot(12, CLUSTER, 0, {"a": entry("1", 4)}), True),  # a value older than the one known
        (Snapshot(12, CLUSTER, 0, {"c": entry("1", 9)}), True),  # a key that was not there at its revision
    ],
)
def test_history_that_broke_is_told_from_history_that_went_on(mirror: Mirror, snapshot: Snapshot, broke: bool) -> None:
    heard: list[list[Change]] = []
    mirror.listen(heard.append)
    mirror._adopt(snapshot)
    assert mirror.snapshot().epoch == int(broke)
    assert {c.cause for changes in heard for c in changes} <= {"reset" if broke else "resync"}
    assert mirror.snapshot().entries == snapshot.entries


def test_a_reset_is_told_even_when_nothing_differs(mirror: Mirror) -> None:
    heard: list[list[Change]] = []
    mirror.listen(heard.append)
    mirror._adopt(Snapshot(10, 8, 0, dict(mirror.snapshot().entries)))
    assert heard == [[]] and mirror.snapshot().epoch == 1


def test_events_that_were_read_already_are_not_told_again(mirror: Mirror) -> None:
    heard: list[Change] = []
    mirror.listen(heard.extend)
    mirror._take(Batch((("b", entry("1", 10), 10), ("a", None, 11), ("c", entry("2", 12), 12)), 12, CLUSTER))
    assert heard == [Change("a", entry("1", 5), None, "event"), Change("c", None, entry("2", 12), "event")]
    assert mirror.snapshot().revision == 12
    mirror._take(Batch((), 99, CLUSTER))
    assert mirror.snapshot().revision == 12  # progress of the store is no change of ours


def test_another_cluster_on_a_watch_is_not_believed(mirror: Mirror) -> None:
    with pytest.raises(HistoryBroke):
        mirror._take(Batch((("a", None, 11),), 11, 8))
    assert "a" in mirror.snapshot().entries
