"""The overlay as one host sees it: what it takes to reach the containers of its peers. Worked out, not made.

Each host has a subnet, and one tunnel end (VTEP). Three entries for a peer, and none for a container: a route to its
subnet by way of its tunnel end, a neighbour entry with the MAC of that end, and an FDB entry with the underlay address
at which that MAC is found. Nothing is learnt and nothing is flooded: who is not a peer is not reached. Where
tunnels are encrypted there is a route only, as WireGuard knows by itself where a subnet is.
"""

from __future__ import annotations

import base64
import binascii
import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass, fields, replace

from runtime.networks.topology import Bridge, mac_of

VNI, PORT = 87, 4789
VXLAN_BYTES = 50  # 14 Ethernet, 20 IPv4, 8 UDP and 8 VXLAN around every packet
LEAST_MTU_BYTES = 576 + VXLAN_BYTES
_KEY_BYTES = 32
_MAC = re.compile(r"[0-9a-f][02468ace](:[0-9a-f]{2}){5}")  # of one card, not of a group


@dataclass(frozen=True)
class Overlay:
    """What this host takes part in. `underlay` is its own address that peers send to; `network` holds all subnets.
    `encrypted`: by WireGuard, which has no VNI."""

    underlay: str
    network: str
    vni: int = VNI
    port: int = PORT
    encrypted: bool = False


@dataclass(frozen=True)
class Peer:
    """Another host of the overlay: its subnet, the address and the MAC of its tunnel end, and its public key where
    tunnels are encrypted."""

    name: str
    subnet: str
    underlay: str
    mac: str
    key: str = ""


@dataclass(frozen=True)
class Vtep:
    """A tunnel end as a link of the kernel."""

    name: str
    vni: int
    port: int
    underlay: str
    mac: str
    mtu: int
    learning: bool = False
    up: bool = True


@dataclass(frozen=True)
class Forward:
    """FDB entry: frames for `mac` go to `underlay`."""

    mac: str
    underlay: str

    @property
    def key(self) -> str:
        return self.mac

    def __str__(self) -> str:
        return f"FDB entry {self.mac} at {self.underlay}"


@dataclass(frozen=True)
class Neighbour:
    """The tunnel end with this address has this MAC."""

    address: str
    mac: str

    @property
    def key(self) -> str:
        return self.address

    def __str__(self) -> str:
        return f"neighbour {self.address} is {self.mac}"


@dataclass(frozen=True)
class Route:
    """To `subnet` by way of the tunnel end `via` ("": the link knows); the host itself speaks as `source`."""

    subnet: str
    via: str
    source: str

    @property
    def key(self) -> str:
        return self.subnet

    def __str__(self) -> str:
        return f"route to {self.subnet}{' via ' if self.via else ''}{self.via}"


Entry = Forward | Neighbour | Route
_ORDER = (Forward, Neighbour, Route)  # a route comes last and goes first: it never leads to nothing


@dataclass(frozen=True)
class Step:
    """One change: the entry is made (in the place of one with its key), or taken away."""

    entry: Entry
    drop: bool = False

    def __str__(self) -> str:
        return f"{self.entry}{' taken away' if self.drop else ''}"


def vtep(root_id: str, overlay: Overlay, subnet: str, underlay_mtu: int) -> Vtep:
    """This host's tunnel end. Its MAC follows from the subnet, so that a new link is found where the old one was."""
    mtu = underlay_mtu - VXLAN_BYTES
    return Vtep(link_name(root_id), overlay.vni, overlay.port, overlay.underlay, mac_of(tunnel_address(subnet)), mtu)


def link_name(root_id: str, *, encrypted: bool = False) -> str:
    """The name of the tunnel end of a host root."""
    return f"{'wg' if encrypted else 'vx'}{root_id}"


def tunnel_address(subnet: str) -> str:
    """The address of the tunnel end of a subnet's host: the first, which no container has. It only names the end."""
    return str(ipaddress.IPv4Network(subnet).network_address)


def entries(peers: Iterable[Peer], bridge: Bridge, *, encrypted: bool = False) -> list[Entry]:
    """All that has to be in the kernel for these peers."""
    if encrypted:
        return [Route(peer.subnet, "", bridge.address) for peer in peers]
    found: list[Entry] = []
    for peer in peers:
        via = tunnel_address(peer.subnet)
        found += [Forward(peer.mac, peer.underlay), Neighbour(via, peer.mac), Route(peer.subnet, via, bridge.address)]
    return found


def steps(wanted: Iterable[Entry], seen: Iterable[Entry]) -> list[Step]:
    """What leads from `seen` to `wanted`, in order. An entry that is right already is not touched."""
    want, have = set(wanted), set(seen)
    kept = {(type(entry), entry.key) for entry in want}
    # A neighbour or a route takes the place of one with its key. A MAC may stand in several FDB entries, each is apart.
    stale = {e for e in have - want if isinstance(e, Forward) or (type(e), e.key) not in kept}
    made = [Step(entry) for entry in sorted(want - have, key=_place)]
    return made + [Step(entry, drop=True) for entry in sorted(stale, key=_place, reverse=True)]


def differences(wanted: Vtep, seen: Vtep) -> list[str]:
    """What sets the link apart from what it has to be, in words."""
    pairs = [(f.name, getattr(seen, f.name), getattr(wanted, f.name)) for f in fields(Vtep) if f.name != "name"]
    return [f"{name} {has}, not {needs}" for name, has, needs in pairs if has != needs]


def can_be_changed(wanted: Vtep, seen: Vtep) -> bool:
    """Whether the kernel brings the link there as it is, so that entries and packets are not lost."""
    return (seen.vni, seen.port) == (wanted.vni, wanted.port)


def faults(overlay: Overlay, subnet: str) -> list[str]:
    """What cannot be in the settings."""
    found = [] if _is_address(overlay.underlay) else [f"{overlay.underlay!r} is no IPv4 address for tunnels"]
    if not 1 <= overlay.vni < 1 << 24:
        found.append(f"{overlay.vni} is no VNI: 1-16777215")
    if not 1 <= overlay.port <= 65535:
        found.append(f"{overlay.port} is no port: 1-65535")
    try:
        if not ipaddress.IPv4Network(subnet).subnet_of(ipaddress.IPv4Network(overlay.network)):
            found.append(f"{subnet} is no part of {overlay.network}")
    except ValueError as err:
        found.append(str(err))
    return found


def accepted(peers: Iterable[Peer], overlay: Overlay, subnet: str) -> tuple[list[Peer], list[str]]:
    """The peers that can be, and why others cannot: what they say comes from elsewhere, and must not lead anything
    but their own subnets away."""
    good: list[Peer] = []
    refused = []
    for peer in sorted(peers, key=lambda p: (p.name, p.subnet)):
        peer = replace(peer, mac=peer.mac.lower())
        fault = _fault(peer, good, overlay, subnet)
        if fault:
            refused.append(f"peer {peer.name}: {fault}")
        else:
            good.append(peer)
    return good, refused


def _fault(peer: Peer, others: list[Peer], overlay: Overlay, own: str) -> str:
    try:
        subnet = ipaddress.IPv4Network(peer.subnet)
    except ValueError as err:
        return str(err)
    if not subnet.subnet_of(ipaddress.IPv4Network(overlay.network)):
        return f"its subnet {subnet} is no part of {overlay.network}"
    if not _is_address(peer.underlay) or peer.underlay == overlay.underlay:
        return f"{peer.underlay!r} is no address of another host"
    if not _MAC.fullmatch(peer.mac) or peer.mac == mac_of(tunnel_address(own)):
        return f"{peer.mac!r} is no MAC of another host"
    for name, taken in [("this host", own), *((p.name, p.subnet) for p in others)]:
        if subnet.overlaps(ipaddress.IPv4Network(taken)):
            return f"its subnet {subnet} is that of {name}"
    if twin := next((p.name for p in others if p.mac == peer.mac), ""):
        return f"its MAC {peer.mac} is that of {twin}"
    if bool(peer.key) != overlay.encrypted:
        return "its tunnels are not encrypted" if overlay.encrypted else "its tunnels are encrypted"
    if overlay.encrypted and not _is_key(peer.key):
        return f"{peer.key!r} is no key"
    twin = next((p.name for p in others if p.key and p.key == peer.key), "")
    return f"its key is that of {twin}" if twin else ""


def _is_key(word: str) -> bool:
    """Whether it is a public key as wg(8) writes it."""
    try:
        return len(base64.b64decode(word, validate=True)) == _KEY_BYTES
    except (binascii.Error, ValueError):
        return False


def _is_address(text: str) -> bool:
    try:
        address = ipaddress.IPv4Address(text)
    except ValueError:
        return False
    return not (address.is_multicast or address.is_unspecified)


def _place(entry: Entry) -> tuple[int, str, str]:
    return _ORDER.index(type(entry)), entry.key, str(entry)
