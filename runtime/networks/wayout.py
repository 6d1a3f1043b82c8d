"""The way out of this host, as its routes have it: what containers send beyond has to fit through there."""

from __future__ import annotations

import contextlib
import fcntl
import socket
import struct
from pathlib import Path

from runtime.networks.topology import LEAST_MTU6_BYTES, MTU_BYTES

_ROUTES = Path("/proc/thread-self/net/route")  # of this thread's network namespace, which /sys need not be
_UP, _REJECT = 0x1, 0x200
_SIOCGIFMTU = 0x8921
_NAME_BYTES = 16


def mtu() -> int:
    """The MTU in bytes of the interface that IPv4's default route leads to, of several the one that counts; 1500 where
    there is none. What is below IPv6's least is that."""
    found = [words for line in _lines() if (words := line.split())[1] == words[7] == "00000000"]
    usable = [words for words in found if int(words[3], 16) & (_UP | _REJECT) == _UP]
    name = min(usable, key=lambda words: int(words[6]))[0] if usable else ""
    return max(_of(name), LEAST_MTU6_BYTES) if name else MTU_BYTES


def _lines() -> list[str]:
    with contextlib.suppress(OSError):
        return _ROUTES.read_text().splitlines()[1:]
    return []


def _of(name: str) -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket, contextlib.suppress(OSError):
        answer = fcntl.ioctl(any_socket, _SIOCGIFMTU, struct.pack("16si20x", name.encode(), 0))
        return int(struct.unpack_from("i", answer, _NAME_BYTES)[0])
    return MTU_BYTES
