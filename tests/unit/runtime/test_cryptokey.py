"""What WireGuard is told, and how what it knows is read."""

from __future__ import annotations

from dataclasses import replace

import pytest

from runtime.networks import cryptokey, overlay, topology
from runtime.networks.cryptokey import Party
from runtime.networks.overlay import Overlay, Peer, Route

OWN = "10.87.1.0/24"
PRIVATE = "8GboYh0YF3q8oJhn0gzY6TjCK0fO2Vg2b0yfcRv7YlI="
SETTINGS = Overlay("192.0.2.1", "10.87.0.0/16", port=51820, encrypted=True)
TWO = Peer("n2", "10.87.2.0/24", "192.0.2.2", "02:48:0a:57:02:00", "zAUt1PrLxVFBl2wn0aR0p3E9JY7bKF8wHxgj8GZ2ZwA=")
THREE = Peer("n3", "10.87.3.0/24", "192.0.2.3", "02:48:0a:57:03:00", "b0yfcRv7YlI8GboYh0YF3q8oJhn0gzY6TjCK0fO2Vg0=")
DUMP = (
    f"{PRIVATE}\t{THREE.key}\t51820\toff\n"
    f"{TWO.key}\t(none)\t192.0.2.2:51820\t10.87.2.0/24\t0\t0\t0\toff\n"
    f"{THREE.key}\t(none)\t(none)\t(none)\t0\t0\t0\toff\n"
)


def told(wanted: cryptokey.Settings, seen: cryptokey.Settings) -> str:
    return " ".join(cryptokey.orders(wanted, seen, "/key"))


def test_each_peer_may_send_from_its_subnet_only() -> None:
    assert told(cryptokey.settings(PRIVATE, 51820, [TWO]), cryptokey.read("(none)\t(none)\t46439\toff\n")) == (
        f"private-key /key listen-port 51820 peer {TWO.key} endpoint 192.0.2.2:51820 allowed-ips 10.87.2.0/24"
    )


def test_what_it_knows_is_read_back() -> None:
    seen = cryptokey.read(DUMP)
    assert seen.parties == {Party(TWO.key, "192.0.2.2:51820", TWO.subnet), Party(THREE.key, "(none)", "(none)")}
    assert (seen.private, seen.port) == (PRIVATE, 51820)
    assert cryptokey.read("(none)\t(none)\t46439\toff\n") == cryptokey.Settings("", 46439, frozenset())


def test_what_is_right_is_not_touched_and_differences_hold_no_secret() -> None:
    seen = cryptokey.read(DUMP.rpartition(f"{THREE.key}\t(none)\t(none)")[0])
    right = cryptokey.settings(PRIVATE, 51820, [TWO])
    assert cryptokey.differences(right, seen) == cryptokey.orders(right, seen, "/key") == []
    moved = cryptokey.settings(PRIVATE, 51821, [replace(TWO, underlay="192.0.2.9")])
    assert cryptokey.differences(moved, seen) == [
        "listens at UDP port 51821",
        "peer 10.87.2.0/24 at 192.0.2.9:51821",
    ]
    other = cryptokey.settings("another", 51820, [THREE])
    assert told(other, seen) == (
        f"private-key /key peer {TWO.key} remove peer {THREE.key} endpoint 192.0.2.3:51820 allowed-ips 10.87.3.0/24"
    )
    assert cryptokey.differences(other, seen) == [
        "key of this host set",
        "peer 10.87.3.0/24 at 192.0.2.3:51820",
        "peer 10.87.2.0/24 taken away",
    ]


def test_a_route_is_all_that_an_encrypted_peer_takes() -> None:
    bridge = topology.bridge("hecd0", OWN)
    assert overlay.entries([TWO], bridge, encrypted=True) == [Route("10.87.2.0/24", "", "10.87.1.1")]
    assert str(Route("10.87.2.0/24", "", "10.87.1.1")) == "route to 10.87.2.0/24"


@pytest.mark.parametrize(
    ("settings", "peer", "fault"),
    [
        (SETTINGS, replace(TWO, key=""), "its tunnels are not encrypted"),
        (replace(SETTINGS, encrypted=False), TWO, "its tunnels are encrypted"),
        (SETTINGS, replace(TWO, key="c2hvcnQ="), "'c2hvcnQ=' is no key"),
        (SETTINGS, replace(TWO, key=TWO.key + "\n[Peer]"), "is no key"),
        (SETTINGS, replace(TWO, key=THREE.key), f"its key is that of {THREE.name}"),
    ],
)
def test_a_peer_that_cannot_be_is_named(settings: Overlay, peer: Peer, fault: str) -> None:
    others = [replace(THREE, name="n1")] if "that of" in fault else []
    fault = fault.replace(THREE.name, "n1")
    good, refused = overlay.accepted([*others, peer], settings, OWN)
    assert good == others
    assert len(refused) == 1 and fault in refused[0]
