"""What the guard keeps, and when it lets go."""

from __future__ import annotations

import pytest

from confd_py.guard import Ghost, GhostCause, Limits, Remembered, changes_since, judge, released, spared
from confd_py.keyspace import common_path
from confd_py.store import Batch, Cause, Change, Entry, LeaseFate
from confd_py.view import View

PLAIN, LEASED = Entry("v", 5), Entry("v", 5, 77)
OTHER = Entry("w", 6, 77)
KEY = "/hecd/instances/web/web.1"


@pytest.mark.parametrize(
    ("old", "new", "cause", "fate", "kept"),
    [
        (None, LEASED, "event", "unknown", None),
        (PLAIN, None, "event", "unknown", None),
        (PLAIN, None, "resync", "unknown", None),
        (LEASED, None, "event", "alive", None),
        (LEASED, None, "event", "gone", "expired"),
        (LEASED, None, "resync", "gone", "expired"),
        (LEASED, None, "event", "unknown", "undecided"),
        (LEASED, OTHER, "event", "unknown", None),
        (PLAIN, None, "reset", "unknown", "doubt"),
        (LEASED, None, "reset", "alive", "doubt"),
        (LEASED, OTHER, "reset", "unknown", "doubt"),
        (LEASED, Entry("v", 9, 1), "reset", "unknown", None),
        (None, OTHER, "reset", "unknown", None),
    ],
)
def test_judge(old: Entry | None, new: Entry | None, cause: Cause, fate: LeaseFate, kept: GhostCause | None) -> None:
    ghost = judge(Change(KEY, old, new, cause), fate, 100.0)
    assert (ghost.cause if ghost else None) == kept
    assert ghost is None or (ghost.entry is old and ghost.since_s == 100.0)


@pytest.mark.parametrize(
    ("cause", "entry", "age_s", "siblings", "present", "gone"),
    [
        ("expired", LEASED, 59.0, True, False, False),
        ("expired", LEASED, 60.0, False, False, True),
        ("undecided", LEASED, 999.0, True, False, False),
        ("doubt", LEASED, 999.0, False, False, False),
        ("doubt", LEASED, 59.0, True, False, False),
        ("doubt", LEASED, 60.0, True, False, True),
        ("doubt", LEASED, 60.0, False, True, True),
        ("doubt", PLAIN, 999.0, True, False, False),
        ("doubt", PLAIN, 60.0, False, True, True),
    ],
)
def test_released(cause: GhostCause, entry: Entry, age_s: float, siblings: bool, present: bool, gone: bool) -> None:
    ghosts = {KEY: Ghost(entry, cause, 1000.0)}
    found = released(ghosts, lambda parent: siblings, lambda key: present, 1000.0 + age_s, 60.0)
    assert found == ((KEY,) if gone else ())


@pytest.mark.parametrize(
    ("cluster", "revision", "written", "cause"),
    [
        (1, 10, 5, "reset"),  # an old revision holds what was not there: set up anew under the same cluster id
        (1, 11, 11, "resync"),
        (1, 9, 11, "reset"),
        (2, 99, 99, "reset"),
    ],
)
def test_changes_since(cluster: int, revision: int, written: int, cause: Cause) -> None:
    remembered = Remembered(10, 1, {"/a": PLAIN, "/b": PLAIN}, {})
    new = Entry("v", written, 77)
    changes = changes_since(remembered, {"/b": PLAIN, "/c": new}, cluster, revision)
    assert changes == (Change("/a", PLAIN, None, cause), Change("/c", None, new, cause))


def view(grace_s: float = 60.0) -> View:
    return View(("/hecd/services", "/hecd/instances"), "/hecd", Limits(grace_s))


def change(name: str, old: Entry | None, new: Entry | None, cause: Cause = "event") -> Change:
    return Change(f"/hecd/instances/web/{name}", old, new, cause)


def shown(seen: View) -> set[str]:
    return {key.rsplit("/", 1)[1] for key, _ in seen.keys.below("/instances/")}


def test_view_keeps_expired_until_put_again_or_grace() -> None:
    seen = view()
    seen.take(Batch(5, (change("web.1", None, LEASED, "first"), change("web.2", None, LEASED, "first"))), {}, 0.0)
    gone = Batch(6, (change("web.1", LEASED, None), change("web.2", LEASED, None)))
    assert seen.questions(gone) == {77}
    seen.take(gone, {77: "gone"}, 10.0)
    assert shown(seen) == {"web.1", "web.2"}
    assert seen.next_release_s(10.0) == 60.0
    seen.take(Batch(7, (change("web.1", None, OTHER),)), {}, 20.0)
    assert set(seen.ghosts) == {"/hecd/instances/web/web.2"}
    assert seen.keys.get("/instances/web/web.1") == "w"
    assert seen.release(69.0) == ()
    assert seen.release(70.0) == ("/hecd/instances/web/web.2",)
    assert shown(seen) == {"web.1"}


def test_view_shows_keys_cleaned_as_confd_does() -> None:
    seen = View(("/",), "/app", Limits(0.0))
    raw = ("/app//a", "/app/b/", "/app/./c", "/app/d/../e", "/app/.hidden", "/app/f..g", "plain")
    seen.take(Batch(5, tuple(Change(key, None, PLAIN, "first") for key in raw)), {}, 0.0)
    assert [key for key, _ in seen.keys.below("/")] == ["/.hidden", "/a", "/b", "/c", "/e", "/f..g", "/plain"]
    seen.take(Batch(6, (Change("/app/d/../e", PLAIN, None, "event"),)), {}, 1.0)
    assert "/e" not in seen.keys


def test_view_settles_what_could_not_be_asked() -> None:
    seen = view()
    seen.take(Batch(5, (change("web.1", None, LEASED, "first"), change("web.2", None, OTHER, "first"))), {}, 0.0)
    seen.take(Batch(6, (change("web.1", LEASED, None),)), {77: "unknown"}, 1.0)
    assert seen.undecided() == {77}
    assert not seen.settle({77: "unknown"}, 2.0)
    assert shown(seen) == {"web.1", "web.2"}
    assert seen.settle({77: "alive"}, 3.0)
    assert shown(seen) == {"web.2"}


def test_view_after_a_wipe_gives_missing_siblings_their_grace_from_the_first_return() -> None:
    seen = view()
    first = (change("web.1", None, LEASED, "first"), change("web.2", None, LEASED, "first"))
    seen.take(Batch(50, first, 1, 0), {}, 0.0)
    lost = (change("web.1", LEASED, None, "reset"), change("web.2", LEASED, None, "reset"))
    seen.take(Batch(1, lost, 2, 1), {}, 10.0)
    assert (shown(seen), seen.revision, seen.cluster_id) == ({"web.1", "web.2"}, 1, 2)
    assert seen.release(5000.0) == ()
    seen.take(Batch(2, (change("web.1", None, OTHER),), 2, 1), {}, 5000.0)
    assert seen.release(5059.0) == ()
    assert seen.release(5060.0) == ("/hecd/instances/web/web.2",)


def test_view_restarted_before_a_wiped_store_shows_what_was_remembered() -> None:
    before = view()
    service = Change("/hecd/services/web", None, PLAIN, "first")
    before.take(Batch(50, (service, change("web.1", None, LEASED, "first")), 1), {}, 0.0)
    after = view()
    batch = after.start(Batch(1, (), 2), before.remembered())
    after.take(batch, {}, 1.0)
    assert shown(after) == {"web.1"}
    assert {ghost.cause for ghost in after.ghosts.values()} == {"doubt"}
    assert after.keys.get("/services/web") == "v"


def test_view_without_guard_believes_the_store() -> None:
    seen = view(0.0)
    seen.take(Batch(5, (change("web.1", None, LEASED, "first"),)), {}, 0.0)
    seen.take(Batch(1, (change("web.1", LEASED, None, "reset"),), 2, 1), {}, 0.0)
    assert shown(seen) == set()


def test_relevant_is_by_path_not_by_characters() -> None:
    keys = ("/hecd/services", "/hecd/services/web", "/hecd/servicesx", "/hecd/nodes/n1")
    batch = Batch(1, tuple(Change(key, None, PLAIN, "event") for key in keys))
    assert [c.key for c in view().relevant(batch).changes] == ["/hecd/services", "/hecd/services/web"]


@pytest.mark.parametrize(
    ("paths", "common"),
    [
        (("/hecd/services", "/hecd/instances"), "/hecd"),
        (("/a/b", "/a/b/c"), "/a/b"),
        (("/a", "/b"), "/"),
        (("/app",), "/app"),
        ((), "/"),
    ],
)
def test_common_path(paths: tuple[str, ...], common: str) -> None:
    assert common_path(paths) == common


GONE = Ghost(Entry("v", 1, 7), "expired", 0.0)


@pytest.mark.parametrize(
    ("expired", "alive", "limits", "stay"),
    [
        (["/a/1"], 9, Limits(), []),
        (["/a/1", "/a/2"], 0, Limits(min_servers=1), ["/a/1"]),
        (["/a/1", "/a/2"], 1, Limits(min_servers=1), []),
        (["/a/1", "/a/2"], 1, Limits(min_servers=5), ["/a/1", "/a/2"]),
        (["/a/1"], 3, Limits(max_shrink=0.5), []),
        (["/a/1", "/a/2"], 2, Limits(max_shrink=0.5), []),
        (["/a/1", "/a/2", "/a/3"], 2, Limits(max_shrink=0.5), ["/a/1", "/a/2", "/a/3"]),
        (["/a/1", "/b/1"], 0, Limits(max_shrink=0.9), ["/a/1", "/b/1"]),
    ],
)
def test_too_many_do_not_go_with_their_leases(expired: list[str], alive: int, limits: Limits, stay: list[str]) -> None:
    ghosts = dict.fromkeys(expired, GONE)
    assert spared(expired, ghosts, lambda directory: alive, limits) == frozenset(stay)


def test_what_was_lost_in_doubt_is_not_spared() -> None:
    ghosts = {"/a/1": Ghost(Entry("v", 1, 7), "doubt", 0.0)}
    assert spared(["/a/1"], ghosts, lambda directory: 0, Limits(min_servers=3)) == frozenset()
