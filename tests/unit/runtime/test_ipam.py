"""Addresses: one owner each, in any order of events."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.errors import NoAddressLeft
from runtime.networks.ipam import Addresses


def subject(tmp_path: Path, subnet: str = "10.0.0.0/29") -> Addresses:
    for part in ("addresses", "locks"):
        (tmp_path / part).mkdir(parents=True, exist_ok=True)
    return Addresses(tmp_path / "addresses", subnet, tmp_path / "locks")


def test_gateway_network_and_broadcast_are_not_given(tmp_path: Path) -> None:
    addresses = subject(tmp_path)
    assert [addresses.claim(f"c{i}") for i in range(5)] == [f"10.0.0.{i}" for i in (2, 3, 4, 5, 6)]
    with pytest.raises(NoAddressLeft, match=r"10\.0\.0\.0/29"):
        addresses.claim("c6")
    assert addresses.gateway == "10.0.0.1"


def test_a_claim_can_be_repeated(tmp_path: Path) -> None:
    addresses = subject(tmp_path)
    assert addresses.claim("c") == addresses.claim("c") == subject(tmp_path).claim("c")


def test_what_was_given_back_rests_longest(tmp_path: Path) -> None:
    addresses = subject(tmp_path)
    first = addresses.claim("a")
    addresses.release("a")
    later = [addresses.claim(name) for name in "bcde"]
    assert first not in later
    assert addresses.claim("f") == first


def test_release_of_nothing_is_fine(tmp_path: Path) -> None:
    subject(tmp_path).release("nobody")


def test_a_hint_that_a_crash_left_is_not_trusted(tmp_path: Path) -> None:
    addresses = subject(tmp_path)
    addresses.claim("a")
    (tmp_path / "addresses" / ".of-b").symlink_to("10.0.0.2")
    (tmp_path / "addresses" / ".of-c").symlink_to("10.0.0.6")
    assert (addresses.claim("b"), addresses.claim("c")) == ("10.0.0.3", "10.0.0.4")
    addresses.release("b")
    assert addresses.all() == {"10.0.0.2": "a", "10.0.0.4": "c"}


def test_what_is_claimed_without_a_hint_is_given_back(tmp_path: Path) -> None:
    """As versions before hints claimed it."""
    addresses = subject(tmp_path)
    addresses.claim("a")
    (tmp_path / "addresses" / ".of-a").unlink()
    addresses.release("a")
    assert addresses.all() == {}


def test_take_is_for_one(tmp_path: Path) -> None:
    addresses = subject(tmp_path)
    assert addresses.take("10.0.0.5", "a")
    assert addresses.take("10.0.0.5", "a")
    assert not addresses.take("10.0.0.5", "b")
    assert addresses.all() == {"10.0.0.5": "a"}


def test_a_damaged_cursor_does_no_harm(tmp_path: Path) -> None:
    addresses = subject(tmp_path)
    (tmp_path / "addresses" / ".last").write_text("nonsense")
    assert addresses.claim("a") == "10.0.0.2"


def test_many_threads_get_many_addresses(tmp_path: Path) -> None:
    found: list[str] = []
    threads = [
        threading.Thread(target=lambda i=i: found.append(subject(tmp_path, "10.0.0.0/24").claim(f"c{i}")))
        for i in range(32)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(found)) == 32


@given(st.lists(st.tuples(st.booleans(), st.sampled_from("abcdefg")), max_size=40))
def test_owners_never_share(tmp_path_factory: pytest.TempPathFactory, events: list[tuple[bool, str]]) -> None:
    addresses = subject(tmp_path_factory.mktemp("ipam"))
    model: dict[str, str] = {}
    for claims, owner in events:
        if not claims:
            addresses.release(owner)
            model.pop(owner, None)
        elif owner in model or len(model) < 5:
            model.setdefault(owner, addresses.claim(owner))
            assert addresses.claim(owner) == model[owner]
        else:
            with pytest.raises(NoAddressLeft):
                addresses.claim(owner)
        assert len(set(model.values())) == len(model)
        assert addresses.all() == {address: owner for owner, address in model.items()}
