"""The nftables rules of one host root, as text: one table of its own for IPv4 and, where its containers have IPv6, one
of the same name for that; nothing else is touched."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass

from runtime.model import PublishedPort
from runtime.networks.topology import GROUP, Bridge


@dataclass(frozen=True)
class Family:
    """`name` is that of tables and of expressions, `type` of addresses in maps. `local` picks what is for this host."""

    name: str
    type: str
    local: str = "fib daddr type local"


FOUR = Family("ip", "ipv4_addr")
# What comes back to ::1 the kernel takes from the loopback interface only. So it is refused at once there, and whoever
# asked for `localhost` goes on to 127.0.0.1.
SIX = Family("ip6", "ipv6_addr", local="ip6 daddr != ::1 fib daddr type local")


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
        lines += _table(SIX, table, _chains(SIX, br, bridge.subnet6, f"oifname != {br}"))
    return "\n".join(lines)


def drop(table: str) -> list[str]:
    """One command for each table, as one that is not there makes the whole transaction fail."""
    return [f"delete table {family.name} {table}" for family in (FOUR, SIX)]


def publish(table: str, ports: tuple[PublishedPort, ...], address: str, address6: str = "") -> str:
    """All of the ports or none; "File exists" where one is published to somewhere else."""
    return "\n".join(
        f"add element {family.name} {table} {_map(p)} {{ {key(p)} : {there} . {p.target} }}"
        for family, there in _ends(address, address6)
        for p in ports
        if serves(family, p)
    )


def unpublish(table: str, ports: tuple[PublishedPort, ...], address: str, address6: str = "") -> list[str]:
    """One command for each port, as one that is not there makes the whole transaction fail."""
    return [
        f"delete element {family.name} {table} {_map(p)} {{ {key(p)} }}"
        for family, _ in _ends(address, address6)
        for p in ports
        if serves(family, p)
    ]


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
        "incoming": ("nat hook prerouting priority -100", [f"{family.local} jump published"]),
        "outgoing": ("nat hook output priority -100", [f"{family.local} jump published"]),
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


def _table(family: Family, table: str, chains: dict[str, tuple[str, list[str]]]) -> list[str]:
    own = f"{family.name} {table}"
    lines = [f"add table {own}"]
    for protocol in ("tcp", "udp"):
        to = f"{family.type} . inet_service"
        lines.append(f"add map {own} any_{protocol} {{ type inet_service : {to}; }}")
        lines.append(f"add map {own} at_{protocol} {{ type {family.type} . inet_service : {to}; }}")
    lines += [f"add chain {own} published", f"flush chain {own} published"]
    for protocol in ("tcp", "udp"):
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
