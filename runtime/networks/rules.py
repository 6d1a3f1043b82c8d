"""The nftables rules of one host root, as text: one table of its own for IPv4 and, where its containers have IPv6, one
of the same name for that; nothing else is touched."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass

from runtime.model import PublishedPort
from runtime.networks.topology import GROUP, Bridge


@dataclass(frozen=True)
class Family:
    """`name` is that of tables and of expressions, `type` of addresses in maps."""

    name: str
    type: str


FOUR = Family("ip", "ipv4_addr")
SIX = Family("ip6", "ipv6_addr")
TABLES = "hecd_"  # what the names of all roots' tables begin with
_PROTOCOLS = ("tcp", "udp")


def base(table: str, bridge: Bridge, overlay: str = "") -> str:
    """Makes the tables or brings them up to date, in one transaction; published ports stay.

    `overlay` is the IPv4 network that is reached without NAT, besides the bridge's own; "" for none.
    """
    br = f'"{bridge.name}"'
    # With route_localnet, containers could reach services on the host's loopback: they may not.
    guard = {"guard": ("filter hook prerouting priority -300", [f"iifname {br} ip daddr 127.0.0.0/8 drop"])}
    elsewhere = f"oifname != {br}" + (f" ip daddr != {overlay}" if overlay else "")
    lines = _table(FOUR, table, guard | _chains(FOUR, br, bridge.subnet, elsewhere))
    if bridge.subnet6:
        lines += [f"add table ip6 {table}"]
        lines += [f"add set ip6 {table} loop_{protocol} {{ type inet_service; }}" for protocol in _PROTOCOLS]
        lines += _table(SIX, table, _loop(bridge.loop6) | _chains(SIX, br, bridge.subnet6, f"oifname != {br}"))
    return "\n".join(lines)


def drop(table: str) -> list[str]:
    """One command for each table, as one that is not there makes the whole transaction fail."""
    return [f"delete table {family.name} {table}" for family in (FOUR, SIX)]


def publish(table: str, ports: tuple[PublishedPort, ...], address: str, address6: str = "") -> str:
    """All of the ports or none; "File exists" where one is published to somewhere else."""
    served = [(family, there, p) for family, there in _ends(address, address6) for p in ports if serves(family, p)]
    lines = [
        f"add element {family.name} {table} {_map(p)} {{ {key(p)} : {there} . {p.target} }}"
        for family, there, p in served
    ]
    lines += [
        f"add element ip6 {table} loop_{p.protocol} {{ {p.published} }}" for f, _, p in served if _from_loopback(f, p)
    ]
    return "\n".join(lines)


def unpublish(table: str, ports: tuple[PublishedPort, ...], address: str, address6: str = "") -> list[str]:
    """One command for each element, as one that is not there makes the whole transaction fail."""
    families = [family for family, _ in _ends(address, address6)]
    return [line for f in families for p in ports if serves(f, p) for line in withdraw(f, table, p)]


def withdraw(family: Family, table: str, port: PublishedPort) -> list[str]:
    """The same for one port of one family."""
    lines = [f"delete element {family.name} {table} {_map(port)} {{ {key(port)} }}"]
    if _from_loopback(family, port):
        lines.append(f"delete element ip6 {table} loop_{port.protocol} {{ {port.published} }}")
    return lines


def serves(family: Family, port: PublishedPort) -> bool:
    """Whether the port is one of this family."""
    return not port.address or (":" in port.address) == (family is SIX)


def unserved(ports: tuple[PublishedPort, ...]) -> tuple[str, ...]:
    """Why ports cannot be published where a container has IPv4 only."""
    found = [p for p in ports if not serves(FOUR, p)]
    return tuple(f"port {p.published} is published at {p.address}, and its container has no IPv6" for p in found)


def key(port: PublishedPort) -> str:
    """What stands for it in a map."""
    return f"{ipaddress.ip_address(port.address)} . {port.published}" if port.address else str(port.published)


def _ends(address: str, address6: str) -> list[tuple[Family, str]]:
    return [(FOUR, address), *([(SIX, address6)] if address6 else [])]


def _chains(family: Family, br: str, net: str, elsewhere: str) -> dict[str, tuple[str, list[str]]]:
    return {
        # Networks are apart: from another one, containers here are reached by published ports only.
        "between": (
            "filter hook forward priority 0",
            [f"iifgroup {GROUP} iifname != {br} oifname {br} {rest}" for rest in ("ct status dnat accept", "reject")],
        ),
        "incoming": ("nat hook prerouting priority -100", ["fib daddr type local jump published"]),
        "outgoing": ("nat hook output priority -100", ["fib daddr type local jump published"]),
        "leaving": (
            "nat hook postrouting priority 100",
            [
                f"{family.name} saddr {net} {elsewhere} masquerade",
                # A container to a port of its own host, and the host itself, 127.0.0.1 included.
                f"ct status dnat {family.name} saddr {net} oifname {br} masquerade",
                f"ct status dnat fib saddr type local oifname {br} masquerade",
            ],
        ),
    }


def _loop(loop6: str) -> dict[str, tuple[str, list[str]]]:
    """Ports at ::1. What comes back to it Linux takes from the loopback interface only, and has no route_localnet for
    it: so another address of the host stands in for it, from before NAT until after it. It comes from nowhere else."""
    both = f"ip6 saddr {loop6} ip6 daddr {loop6}"
    out = [
        f"ip6 saddr ::1 ip6 daddr ::1 {protocol} dport @loop_{protocol} ip6 saddr set {loop6} ip6 daddr set {loop6}"
        for protocol in _PROTOCOLS
    ]
    return {
        "guard": ("filter hook prerouting priority -300", [f'iifname != "lo" ip6 saddr {loop6} drop']),
        "loop": ("route hook output priority -300", out),
        "back": ("filter hook input priority 150", [f"{both} ct status dnat ip6 saddr set ::1 ip6 daddr set ::1"]),
    }


def _from_loopback(family: Family, port: PublishedPort) -> bool:
    return family is SIX and not port.address


def _table(family: Family, table: str, chains: dict[str, tuple[str, list[str]]]) -> list[str]:
    own = f"{family.name} {table}"
    lines = [f"add table {own}"]
    for protocol in _PROTOCOLS:
        to = f"{family.type} . inet_service"
        lines.append(f"add map {own} any_{protocol} {{ type inet_service : {to}; }}")
        lines.append(f"add map {own} at_{protocol} {{ type {family.type} . inet_service : {to}; }}")
    lines += [f"add chain {own} published", f"flush chain {own} published"]
    for protocol in _PROTOCOLS:
        dnat = f"add rule {own} published dnat {family.name} to"
        lines.append(f"{dnat} {family.name} daddr . {protocol} dport map @at_{protocol}")
        lines.append(f"{dnat} {protocol} dport map @any_{protocol}")
    for name, (hook, rules) in chains.items():
        lines.append(f"add chain {own} {name} {{ type {hook}; policy accept; }}")
        lines.append(f"flush chain {own} {name}")
        lines += [f"add rule {own} {name} {rule}" for rule in rules]
    return lines


def _map(port: PublishedPort) -> str:
    return f"{'at' if port.address else 'any'}_{port.protocol}"
