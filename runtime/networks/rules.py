"""The nftables rules of one host root, as text: one table of its own, nothing else is touched."""

from __future__ import annotations

from runtime.model import PublishedPort
from runtime.networks.topology import GROUP, Bridge


def base(table: str, bridge: Bridge, overlay: str = "") -> str:
    """Makes the table or brings it up to date, in one transaction; published ports stay.

    `overlay` is the network that is reached without NAT, besides the bridge's own; "" for none.
    """
    br, net = f'"{bridge.name}"', bridge.subnet
    elsewhere = f"oifname != {br}" + (f" ip daddr != {overlay}" if overlay else "")
    chains = {
        # With route_localnet, containers could reach services on the host's loopback: they may not.
        "guard": ("filter hook prerouting priority -300", [f"iifname {br} ip daddr 127.0.0.0/8 drop"]),
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
                f"ip saddr {net} {elsewhere} masquerade",
                f"ct status dnat ip saddr {net} oifname {br} masquerade",  # a container to a port of its own host
                f"ct status dnat fib saddr type local oifname {br} masquerade",  # the host itself, 127.0.0.1 included
            ],
        ),
    }
    lines = [f"add table ip {table}"]
    for protocol in ("tcp", "udp"):
        lines.append(f"add map ip {table} any_{protocol} {{ type inet_service : ipv4_addr . inet_service; }}")
        lines.append(
            f"add map ip {table} at_{protocol} {{ type ipv4_addr . inet_service : ipv4_addr . inet_service; }}"
        )
    lines += [f"add chain ip {table} published", f"flush chain ip {table} published"]
    for protocol in ("tcp", "udp"):
        lines.append(f"add rule ip {table} published dnat ip to ip daddr . {protocol} dport map @at_{protocol}")
        lines.append(f"add rule ip {table} published dnat ip to {protocol} dport map @any_{protocol}")
    for name, (hook, rules) in chains.items():
        lines.append(f"add chain ip {table} {name} {{ type {hook}; policy accept; }}")
        lines.append(f"flush chain ip {table} {name}")
        lines += [f"add rule ip {table} {name} {rule}" for rule in rules]
    return "\n".join(lines)


def publish(table: str, ports: tuple[PublishedPort, ...], address: str) -> str:
    """All of the ports or none; "File exists" where one is published to somewhere else."""
    return "\n".join(f"add element ip {table} {_map(p)} {{ {_key(p)} : {address} . {p.target} }}" for p in ports)


def unpublish(table: str, ports: tuple[PublishedPort, ...]) -> list[str]:
    """One command for each port, as one that is not there makes the whole transaction fail."""
    return [f"delete element ip {table} {_map(p)} {{ {_key(p)} }}" for p in ports]


def _map(port: PublishedPort) -> str:
    return f"{'at' if port.address else 'any'}_{port.protocol}"


def _key(port: PublishedPort) -> str:
    return f"{port.address} . {port.published}" if port.address else str(port.published)
