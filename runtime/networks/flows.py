"""UDP flows that the kernel goes on leading where a published port led once, as it asks the rules for the first
datagram of a flow only. TCP needs none of this: its connections end with the container.

Raw netlink, as it has the kernel choose: a host may have 100,000 flows. Needs Linux 5.8 (CTA_FILTER).
Source: linux/netfilter/nfnetlink_conntrack.h and nf_conntrack_netlink.c.
"""

from __future__ import annotations

import contextlib
import ipaddress
import os
import socket
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from runtime.model import PublishedPort

_NETLINK_NETFILTER = 12
_GET, _DELETE = 1 << 8 | 1, 1 << 8 | 2
_REQUEST, _ACK, _DUMP = 0x1, 0x4, 0x300
_ERROR, _DONE = 2, 3
_NESTED, _KIND = 0x8000, 0x3FFF
_ORIGINAL, _REPLY, _FILTER = 1, 2, 25  # CTA_TUPLE_ORIG, CTA_TUPLE_REPLY, CTA_FILTER
_IP, _PROTO = 1, 2  # CTA_TUPLE_IP, CTA_TUPLE_PROTO
_NUMBER, _DESTINATION_PORT = 1, 3  # CTA_PROTO_NUM, CTA_PROTO_DST_PORT
_FILTER_ORIGINAL, _BY_NUMBER, _BY_DESTINATION_PORT = 1, 1 << 3, 1 << 5
_BUFFER_BYTES = 1 << 16
_Address = ipaddress.IPv4Address | ipaddress.IPv6Address


@dataclass(frozen=True)
class Flow:
    """`asked` is the address that datagrams are sent to, `served` the one that answers: another one behind NAT."""

    asked: _Address
    served: _Address
    key: bytes  # as the kernel names it


def lead_to(ports: tuple[PublishedPort, ...], address: str, subnet: str) -> None:
    """Flows to these ports of the host, which `address` of `subnet` serves from now on, are led there with their next
    datagram: those that another container served, and those that nobody did."""
    there, net = ipaddress.ip_address(address), ipaddress.ip_network(subnet)

    def stale(flow: Flow) -> bool:
        return flow.served != there and (flow.served in net or (flow.served == flow.asked and _is_ours(flow.asked)))

    _forget(ports, there, stale)


def lead_nowhere(ports: tuple[PublishedPort, ...], address: str) -> None:
    """Flows to these ports are no longer led to `address`, which may soon be somebody else's."""
    there = ipaddress.ip_address(address)
    _forget(ports, there, lambda flow: flow.served == there)


def _forget(ports: tuple[PublishedPort, ...], there: _Address, which: Callable[[Flow], bool]) -> None:
    wanted = [p for p in ports if p.protocol == "udp"]
    if not wanted:
        return
    family = socket.AF_INET if there.version == 4 else socket.AF_INET6
    # Where the kernel tracks nothing there is nothing to forget; and a flow may have ended just now.
    with contextlib.suppress(OSError), _netlink() as wire:
        for port in wanted:
            for flow in [f for f in _flows(wire, family, port.published) if which(f)]:
                with contextlib.suppress(FileNotFoundError):
                    _ask(wire, _DELETE, _ACK, family, _attribute(_ORIGINAL | _NESTED, flow.key))


def _flows(wire: socket.socket, family: int, port: int) -> list[Flow]:
    """The UDP flows that were begun to this port of anybody."""
    proto = _attribute(_NUMBER, bytes([socket.IPPROTO_UDP])) + _attribute(_DESTINATION_PORT, struct.pack(">H", port))
    begun = _attribute(_ORIGINAL | _NESTED, _attribute(_PROTO | _NESTED, proto))
    chosen = _attribute(_FILTER_ORIGINAL, struct.pack("=I", _BY_NUMBER | _BY_DESTINATION_PORT))
    found = []
    for message in _ask(wire, _GET, _DUMP, family, begun + _attribute(_FILTER | _NESTED, chosen)):
        attributes = dict(_attributes(message[4:]))
        original, reply = attributes[_ORIGINAL], attributes[_REPLY]
        found.append(Flow(_address(original, destination=True), _address(reply, destination=False), original))
    return found


def _address(end: bytes, *, destination: bool) -> _Address:
    """Of a tuple: attributes 1 and 2 are source and destination of IPv4, 3 and 4 of IPv6."""
    found = dict(_attributes(dict(_attributes(end))[_IP]))
    return ipaddress.ip_address(next(found[kind] for kind in ((2, 4) if destination else (1, 3)) if kind in found))


def _is_ours(address: _Address) -> bool:
    """Whether this host has the address."""
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    with socket.socket(family, socket.SOCK_DGRAM) as probe, contextlib.suppress(OSError):
        probe.bind((str(address), 0))
        return True
    return False


@contextlib.contextmanager
def _netlink() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETLINK_NETFILTER) as wire:
        wire.bind((0, 0))
        wire.settimeout(2.0)
        yield wire


def _ask(wire: socket.socket, kind: int, flags: int, family: int, attributes: bytes) -> list[bytes]:
    """The messages that answer, each from its nfgenmsg on. Raises OSError."""
    body = struct.pack("=BBH", family, 0, 0) + attributes
    wire.send(struct.pack("=IHHII", 16 + len(body), kind, _REQUEST | flags, 1, 0) + body)
    found: list[bytes] = []
    while True:
        data = wire.recv(_BUFFER_BYTES)
        while data:
            length, answer = struct.unpack_from("=IH", data)
            message, data = data[16:length], data[(length + 3) & ~3 :]
            if answer == _DONE:
                return found
            if answer == _ERROR:
                code = -struct.unpack_from("=i", message)[0]
                if code:
                    raise OSError(code, os.strerror(code))
                return found
            found.append(message)


def _attribute(kind: int, value: bytes) -> bytes:
    return struct.pack("=HH", 4 + len(value), kind) + value + bytes(-len(value) % 4)


def _attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    while len(data) >= 4:
        length, kind = struct.unpack_from("=HH", data)
        yield kind & _KIND, data[4:length]
        data = data[(length + 3) & ~3 :]
