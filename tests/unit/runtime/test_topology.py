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


def test_rules_touch_one_table_and_can_be_repeated() -> None:
    text = rules.base("mine", topology.bridge("br", "10.0.0.0/24"))
    for line in text.splitlines():
        assert line.split()[2:4] == ["ip", "mine"] or line.split()[1:4] == ["table", "ip", "mine"]
    chains = {line.split()[4] for line in text.splitlines() if line.startswith("add chain")}
    assert chains == {line.split()[4] for line in text.splitlines() if line.startswith("flush chain")}


def test_published_ports_are_elements() -> None:
    ports = (PublishedPort(80, 8080), PublishedPort(53, 5353, "udp", "127.0.0.1"))
    assert rules.publish("t", ports, "10.0.0.2").splitlines() == [
        "add element ip t any_tcp { 80 : 10.0.0.2 . 8080 }",
        "add element ip t at_udp { 127.0.0.1 . 53 : 10.0.0.2 . 5353 }",
    ]
    assert rules.unpublish("t", ports) == [
        "delete element ip t any_tcp { 80 }",
        "delete element ip t at_udp { 127.0.0.1 . 53 }",
    ]
