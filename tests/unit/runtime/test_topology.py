"""Names, addresses and files of a container's network."""

from __future__ import annotations

import pytest

from runtime.model import PublishedPort
from runtime.networks import rules, topology


def test_a_bridge() -> None:
    found = topology.bridge("hecd0", "10.87.3.0/24")
    assert (found.address, found.prefix, found.mac) == ("10.87.3.1", 24, "02:48:0a:57:03:01")


@pytest.mark.parametrize("name", ["", "a" * 16, "a/b", "a b", 'a"b', "a\n", "a:b"])
def test_names_that_are_no_interface(name: str) -> None:
    with pytest.raises(ValueError, match="network interface"):
        topology.bridge(name, "10.0.0.0/24")


@pytest.mark.parametrize("subnet", ["10.0.0.1/24", "10.0.0.0/31", "x", "fd00::/64"])
def test_what_is_no_subnet(subnet: str) -> None:
    with pytest.raises(ValueError):
        topology.bridge("hecd0", subnet)


def test_a_mac_follows_from_the_address() -> None:
    bridge = topology.bridge("hecd0", "10.87.3.0/24")
    one, two = (topology.link(bridge, "10.87.3.255", token, publishes=False) for token in ("a" * 13, "b" * 13))
    assert one.mac == two.mac == "02:48:0a:57:03:ff"
    assert one.host_name != two.host_name and len(one.host_name) <= 15


def test_who_has_an_address_has_its_twin() -> None:
    found = topology.bridge("hecd0", "10.87.3.0/24", "fd00:90::/64")
    assert (found.address6, found.prefix6, found.twin("10.87.3.254")) == ("fd00:90::1", 64, "fd00:90::fe")
    assert found.loop6 == "fd00:90::ff", "which no container has"
    assert found.twin("10.87.4.2") == "", "an address of an earlier subnet has none"
    assert topology.bridge("hecd0", "10.87.3.0/24").address6 == ""


def test_an_ipv6_address_of_an_earlier_subnet_is_left_out() -> None:
    bridge = topology.bridge("hecd0", "10.87.3.0/24", "fd00:90::/64")
    assert [bridge.own(address) for address in ("fd00:90::2", "fd00:91::2", "")] == ["fd00:90::2", "", ""]
    assert topology.bridge("hecd0", "10.87.3.0/24").own("fd00:90::2") == ""


@pytest.mark.parametrize(
    ("subnet6", "why"),
    [
        ("fd00:90::/121", "fewer addresses than 10.87.3.0/24"),
        ("fe80::/64", "not for containers"),
        ("ff05::/64", "not for containers"),
        ("fd00:90::1/64", "host bits"),
        ("10.0.0.0/24", "10.0.0.0"),
    ],
)
def test_what_is_no_ipv6_subnet(subnet6: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        topology.bridge("hecd0", "10.87.3.0/24", subnet6)


@pytest.mark.parametrize(
    ("files", "wanted"),
    [
        (["nameserver 10.0.0.1\nsearch x\n"], "nameserver 10.0.0.1\nsearch x\n"),
        (["nameserver 127.0.0.53\n", "nameserver 9.9.9.9\n"], "nameserver 9.9.9.9\n"),
        (["nameserver ::1\nnameserver 1.1.1.1\n"], "nameserver 1.1.1.1\n"),
        (["nameserver fe80::1%eth0\n"], "nameserver fe80::1%eth0\n"),
        (["nameserver nonsense\n"], "# The host has no name server that is reachable from here.\n"),
        ([], "# The host has no name server that is reachable from here.\n"),
    ],
)
def test_name_servers_are_ones_a_container_can_reach(files: list[str], wanted: str) -> None:
    assert topology.resolv_file(files) == wanted


@pytest.mark.parametrize(("subnet6", "families"), [("", {"ip"}), ("fd00:90::/64", {"ip", "ip6"})])
def test_rules_touch_tables_of_one_name_and_can_be_repeated(subnet6: str, families: set[str]) -> None:
    lines = [line.split() for line in rules.base("mine", topology.bridge("br", "10.0.0.0/24", subnet6)).splitlines()]
    assert {words[2] for words in lines} == families and {words[3] for words in lines} == {"mine"}
    chains = [words[2:5] for words in lines if words[:2] == ["add", "chain"]]
    assert chains == [words[2:5] for words in lines if words[:2] == ["flush", "chain"]]


def test_published_ports_are_elements() -> None:
    ports = (PublishedPort(80, 8080), PublishedPort(53, 5353, "udp", "127.0.0.1"))
    assert rules.publish("t", ports, "10.0.0.2").splitlines() == [
        "add element ip t any_tcp { 80 : 10.0.0.2 . 8080 }",
        "add element ip t at_udp { 127.0.0.1 . 53 : 10.0.0.2 . 5353 }",
    ]
    assert rules.unpublish("t", ports, "10.0.0.2") == [
        "delete element ip t any_tcp { 80 }",
        "delete element ip t at_udp { 127.0.0.1 . 53 }",
    ]


def test_a_port_is_published_in_the_families_it_is_of() -> None:
    ports = (
        PublishedPort(80, 8080),
        PublishedPort(81, 81, address="fd00:0::1"),
        PublishedPort(82, 82, address="127.0.0.1"),
    )
    assert rules.publish("t", ports, "10.0.0.2", "fd00:90::2").splitlines() == [
        "add element ip t any_tcp { 80 : 10.0.0.2 . 8080 }",
        "add element ip t at_tcp { 127.0.0.1 . 82 : 10.0.0.2 . 82 }",
        "add element ip6 t any_tcp { 80 : fd00:90::2 . 8080 }",
        "add element ip6 t at_tcp { fd00::1 . 81 : fd00:90::2 . 81 }",
        "add element ip6 t loop_tcp { 80 }",
    ]
    assert len(rules.unpublish("t", ports, "10.0.0.2", "fd00:90::2")) == 5
    assert len(rules.unpublish("t", ports, "10.0.0.2")) == 2
    assert rules.unserved(ports) == ("port 81 is published at fd00:0::1, and its container has no IPv6",)
