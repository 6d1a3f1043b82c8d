"""Names, addresses and files of a container's network: worked out, not made."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass

INTERFACE = "eth0"
MTU_BYTES = 1500
# A container's namespace is its own: whoever runs there may listen on 80, and ping.
SYSCTLS = {"net.ipv4.ip_unprivileged_port_start": "0", "net.ipv4.ping_group_range": "0 2147483647"}
ZONE = "hecd"  # names of services end in it
GROUP = 87  # link group of all bridges of this kind, whichever root's: networks that are kept apart


@dataclass(frozen=True)
class Bridge:
    """The switch of one host root: its name, its address with prefix length, its fixed MAC."""

    name: str
    subnet: str
    address: str
    prefix: int
    mac: str
    mtu: int = MTU_BYTES


@dataclass(frozen=True)
class Link:
    """A container's cable: the end in the host, and the end inside."""

    host_name: str
    address: str
    mac: str
    bridge: Bridge
    hairpin: bool  # whether the bridge may send back what came from here


def bridge(name: str, subnet: str) -> Bridge:
    """Raises ValueError where `subnet` is no IPv4 network of at least 4 addresses, or `name` no interface name."""
    network = ipaddress.IPv4Network(subnet)
    if network.num_addresses < 4:
        raise ValueError(f"{subnet} has no room for a container")
    if not 0 < len(name) <= 15 or "/" in name or not name.isprintable() or any(c.isspace() or c in '":' for c in name):
        raise ValueError(f"{name!r} is no name of a network interface")
    address = str(network.network_address + 1)
    return Bridge(name, str(network), address, network.prefixlen, mac_of(address))


def link(of: Bridge, address: str, token: str, *, publishes: bool) -> Link:
    """`token` is a word of at most 13 letters and digits that no cable had before.

    A cable vanishes some time after its namespace: a name that is used again would still be there.
    A container that publishes ports may connect to one of them itself. Where the kernel lets bridges see nftables
    (br_netfilter, which Docker switches on), that connection never leaves the bridge, and needs a hairpin.
    """
    return Link(f"hv{token}", address, mac_of(address), of, publishes)


def mac_of(address: str) -> str:
    """A MAC that is a function of the address: who gets a used address has the MAC that neighbours remember."""
    return "02:48:" + ":".join(f"{octet:02x}" for octet in ipaddress.IPv4Address(address).packed)


def hosts_file(hostname: str, address: str, extra: Mapping[str, str], gateway: str) -> str:
    """`extra` are further names with their addresses; "host-gateway" is the host as containers reach it."""
    return (
        "127.0.0.1\tlocalhost\n"
        "::1\tlocalhost ip6-localhost ip6-loopback\n"
        f"{address}\t{hostname}\n"
        + "".join(f"{gateway if found == 'host-gateway' else found}\t{name}\n" for name, found in extra.items())
    )  # fmt: skip


@dataclass(frozen=True)
class Resolving:
    """How a container's own wishes differ from what its host has."""

    servers: tuple[str, ...] = ()
    search: tuple[str, ...] = ()
    options: tuple[str, ...] = ()

    def applied(self, text: str, zone: str) -> str:
        """`text` is resolv.conf without these wishes. With servers of one's own, the zone of the host is of no use."""
        lines = text.splitlines()
        if self.servers:
            lines = [line for line in lines if line.split()[:1] == ["options"]]
            lines = [*(f"nameserver {server}" for server in self.servers), *lines]
        if self.search:
            lines = [line for line in lines if line.split()[:1] not in (["search"], ["domain"])]
            words = [*([zone] if zone and not self.servers else []), *(word for word in self.search if word != ".")]
            lines += [f"search {' '.join(words)}"] if words else []
        if self.options:
            lines = [line for line in lines if line.split()[:1] != ["options"]]
            lines += [f"options {' '.join(self.options)}"]
        return "\n".join(lines) + "\n"


def resolv_file(candidates: list[str], server: str = "", zone: str = "") -> str:
    """The host's own name server at `server` that looks in `zone` first; without one, the first of the host's files
    that names a server which a container can reach; loopback ones are not."""
    if server:
        words = [line.split() for text in candidates[:1] for line in text.splitlines()]
        search = next((found[1:] for found in reversed(words) if found[:1] in (["search"], ["domain"])), [])
        return f"nameserver {server}\nsearch {' '.join([zone, *search])}\n"
    for text in candidates:
        lines = [line for line in text.splitlines() if not _unreachable(line)]
        if any(line.split()[:1] == ["nameserver"] for line in lines):
            return "\n".join(lines) + "\n"
    return "# The host has no name server that is reachable from here.\n"


def _unreachable(line: str) -> bool:
    words = line.split()
    if len(words) < 2 or words[0] != "nameserver":
        return False
    try:
        address = ipaddress.ip_address(words[1].partition("%")[0])
    except ValueError:
        return True
    return address.is_loopback
