"""From what is to stand there and what stands there to what is done; and never to what is not ours."""

from __future__ import annotations

from collections.abc import Mapping

from hypothesis import given
from hypothesis import strategies as st

from registrator.announce.decide import Deregister, Leave, Register, decide
from registrator.announce.layout import RegistratorLayout, Wanted
from registrator.registry.store import Raw

LAYOUT, LEASE = RegistratorLayout("/s", "host1"), 7
OWN, CUSTOM, FOREIGN = "/s/web/host1:aa:80", "/s/web/custom", "/s/web/host2:aa:80"
WANT = {OWN: Wanted(b"1", "it serves")}


def acts(wanted: Mapping[str, Wanted], published: Mapping[str, Raw], *, cleanup: bool = False) -> list[object]:
    return list(decide(wanted, published, LAYOUT, LEASE, cleanup=cleanup))


def test_what_is_missing_is_registered_and_only_where_nothing_is() -> None:
    assert acts(WANT, {}) == [Register(OWN, b"1", 0, "it serves")]


def test_what_stands_there_is_not_written_again() -> None:
    assert acts(WANT, {OWN: Raw(b"1", 3, 3, LEASE)}) == []


def test_what_differs_is_written_over_just_that() -> None:
    assert acts(WANT, {OWN: Raw(b"2", 3, 3, LEASE)}) == [Register(OWN, b"1", 3, "it serves")]


def test_what_an_earlier_run_wrote_is_taken_under_the_lease_of_this_one() -> None:
    for lease in (0, 99):
        assert acts(WANT, {OWN: Raw(b"1", 3, 3, lease)}) == [Register(OWN, b"1", 3, "it serves")]


def test_what_is_ours_and_not_wanted_goes() -> None:
    assert acts({}, {OWN: Raw(b"1", 3, 3, LEASE)}) == [Deregister(OWN, 3, "its container is gone")]
    gone = {OWN: Wanted(None, "it was sent SIGTERM")}
    assert acts(gone, {OWN: Raw(b"1", 3, 3, LEASE)}) == [Deregister(OWN, 3, "it was sent SIGTERM")]
    assert acts(gone, {}) == []


def test_a_custom_id_is_ours_by_its_lease() -> None:
    assert acts({}, {CUSTOM: Raw(b"1", 3, 3, LEASE)}) == [Deregister(CUSTOM, 3, "its container is gone")]
    held = acts({CUSTOM: Wanted(b"1", "")}, {CUSTOM: Raw(b"2", 3, 3, 99)})
    assert held == [Leave(CUSTOM, "lease 63 holds it")]


def test_what_is_not_ours_is_never_touched() -> None:
    others = {FOREIGN: Raw(b"1", 3, 3, 99), CUSTOM: Raw(b"1", 3, 3, 0), "/other/host1:aa:80": Raw(b"1", 3, 3, 0)}
    assert acts({}, others, cleanup=True) == []
    assert acts({}, {OWN: Raw(b"1", 3, 3, 99)}, cleanup=True) == []  # another announcer of this host keeps it
    assert acts({}, {OWN: Raw(b"1", 3, 3, 0)}) == []
    assert acts({OWN: Wanted(None, "")}, {OWN: Raw(b"1", 3, 3, 99)}) == []
    assert acts({CUSTOM: Wanted(None, "")}, {CUSTOM: Raw(b"1", 3, 3, 0)}) == []


def test_cleanup_removes_what_nobody_keeps() -> None:
    assert acts({}, {OWN: Raw(b"1", 3, 3, 0)}, cleanup=True) == [Deregister(OWN, 3, "its container is gone")]
    assert acts(WANT, {OWN: Raw(b"1", 3, 3, 0)}, cleanup=True) == [Register(OWN, b"1", 3, "it serves")]


KEYS = st.sampled_from([OWN, CUSTOM, FOREIGN, "/s/db/host1:bb:53:udp"])
RAWS = st.builds(Raw, st.sampled_from([b"1", b"2"]), st.just(3), st.just(3), st.sampled_from([0, LEASE, 99]))
WANTS = st.builds(Wanted, st.sampled_from([b"1", b"2", None]), st.just("why"))


@given(st.dictionaries(KEYS, WANTS), st.dictionaries(KEYS, RAWS), st.booleans())
def test_done_once_nothing_is_left_to_do(wanted: dict[str, Wanted], published: dict[str, Raw], cleanup: bool) -> None:
    after = dict(published)
    for action in decide(wanted, published, LAYOUT, LEASE, cleanup=cleanup):
        if isinstance(action, Register):
            after[action.key] = Raw(action.value, 4, 4, LEASE)
        elif isinstance(action, Deregister):
            del after[action.key]
    assert all(isinstance(a, Leave) for a in decide(wanted, after, LAYOUT, LEASE, cleanup=cleanup))
    for key, raw in published.items():
        if raw.lease == 99 and not LAYOUT.mine(key, raw):
            assert after[key] == raw
