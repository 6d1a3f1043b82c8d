"""Names, addresses and files of a container's network: worked out, not made."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass

INTERFACE = "eth0"
MTU_BYTES = 1500
LEAST_MTU6_BYTES = 1280  # below, an interface has no IPv6
# A container's namespace is its own: whoever runs there may listen on 80, and ping.
LARGEST_GROUP = "2147483647"  # that may ping
SYSCTLS = {"net.ipv4.ip_unprivileged_port_start": "0", "net.ipv4.ping_group_range": f"0 {LARGEST_GROUP}"}
ZONE = "hecd"  # names of services end in it
GROUP = 87  # link group of all bridges of this kind, whichever root's: networks that are kept apart


@dataclass(frozen=True)
class Bridge:
    """The switch of one host root: its name, its address with prefix length, its fixed MAC; `subnet6` is "" where its
    containers have IPv4 only."""

    name: str
    subnet: str
    address: str
    prefix: int
    mac: str
    mtu: int = MTU_BYTES
    subnet6: str = ""

    @property
    def address6(self) -> str:
        """Its IPv6 address, or ""."""
        return self.twin(self.address)

    @property
    def loop6(self) -> str:
        """What stands for ::1 on the way to a container; no container's, as its twin is for all of a subnet. Or ""."""
        return self.twin(str(ipaddress.IPv4Network(self.subnet).broadcast_address))

    @property
    def prefix6(self) -> int:
        return ipaddress.IPv6Network(self.subnet6).prefixlen

    def twin(self, address: str) -> str:
        """The IPv6 address of who has this IPv4 address, as far into its subnet: whoever holds one holds both. "" where
        there is no IPv6, and for what is not of this subnet."""
        four, found = ipaddress.IPv4Network(self.subnet), ipaddress.IPv4Address(address)
        if not self.subnet6 or found not in four:
            return ""
        return str(ipaddress.IPv6Network(self.subnet6)[int(found) - int(four.network_address)])

    def own(self, address6: str) -> str:
        """The same address; "" for one of a subnet that it had once."""
        found = address6 and self.subnet6 and ipaddress.IPv6Address(address6) in ipaddress.IPv6Network(self.subnet6)
        return address6 if found else ""


@dataclass(frozen=True)
class Link:
    """A container's cable: the end in the host, and the end inside."""

    host_name: str
    address: str
    mac: str
    bridge: Bridge
    hairpin: bool  # whether the bridge may send back what came from here
    address6: str = ""


def bridge(name: str, subnet: str, subnet6: str = "") -> Bridge:
    """Raises ValueError where `subnet` is no IPv4 network of at least 4 addresses, `subnet6` no IPv6 network as large,
    or `name` no interface name."""
    network = ipaddress.IPv4Network(subnet)
    if network.num_addresses < 4:
        raise ValueError(f"{subnet} has no room for a container")
    if subnet6:
        subnet6 = str(_six(subnet6, network))
    if not 0 < len(name) <= 15 or "/" in name or not name.isprintable() or any(c.isspace() or c in '":' for c in name):
        raise ValueError(f"{name!r} is no name of a network interface")
    address = str(network.network_address + 1)
    return Bridge(name, str(network), address, network.prefixlen, mac_of(address), subnet6=subnet6)


def link(of: Bridge, address: str, token: str, *, publishes: bool, address6: str = "") -> Link:
    """`token` is a word of at most 13 letters and digits that no cable had before.

    A cable vanishes some time after its namespace: a name that is used again would still be there.
    A container that publishes ports may connect to one of them itself. Where the kernel lets bridges see nftables
    (br_netfilter, which Docker switches on), that connection never leaves the bridge, and needs a hairpin.
    """
    return Link(f"hv{token}", address, mac_of(address), of, publishes, address6)


def mac_of(address: str) -> str:
    """A MAC that is a function of the address: who gets a used address has the MAC that neighbours remember."""
    return "02:48:" + ":".join(f"{octet:02x}" for octet in ipaddress.IPv4Address(address).packed)


def hosts_file(hostname: str, address: str, extra: Mapping[str, str], gateway: str, address6: str = "") -> str:
    """`extra` are further names with their addresses; "host-gateway" is the host as containers reach it."""
    return (
        "127.0.0.1\tlocalhost\n"
        "::1\tlocalhost ip6-localhost ip6-loopback\n"
        + "".join(f"{own}\t{hostname}\n" for own in (address, address6) if own)
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


def _six(subnet: str, four: ipaddress.IPv4Network) -> ipaddress.IPv6Network:
    six = ipaddress.IPv6Network(subnet)
    if six.is_link_local or six.is_multicast or six.is_loopback or six.is_unspecified:
        raise ValueError(f"{six} is not for containers: write a subnet of your own, as fd00:87::/64")
    if six.num_addresses < four.num_addresses:
        raise ValueError(f"{six} has fewer addresses than {four}: each container needs one of both")
    return six


def _unreachable(line: str) -> bool:
    words = line.split()
    if len(words) < 2 or words[0] != "nameserver":
        return False
    try:
        address = ipaddress.ip_address(words[1].partition("%")[0])
    except ValueError:
        return True
    return address.is_loopback
