"""Who listens where on nginx's machine: a port of somebody else is told before nginx is bothered with it.

`nginx -t` passes over a port in use, and a reload tries it for 2.5 s, in which the master does nothing else.
"""

from __future__ import annotations

import contextlib
import ipaddress
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from confd_py.errors import NginxRefused
from confd_py.nginx.config import Address, listens

_LISTEN = "0A"
_SOCKET = re.compile(r"socket:\[(\d+)\]")


@dataclass(frozen=True)
class Listener:
    """A listening TCP socket of the machine."""

    address: Address
    inode: int


def refuse_taken_ports(text: str, master: int) -> None:
    """Raises NginxRefused for addresses in `text` where another program than `master` listens."""
    try:
        own = _inodes(master)
        found = [each for name in ("tcp", "tcp6") for each in parse(Path(f"/proc/{master}/net/{name}").read_text())]
    except OSError:
        return  # not ours to see: nginx finds out
    others = [listener.address for listener in found if listener.inode not in own]
    taken = [address for address in listens(text) if any(_conflict(address, other) for other in others)]
    if taken:
        raise NginxRefused(
            f"nginx cannot listen on port {taken[0].port}: Address already in use",
            details=tuple(f"{address.host}:{address.port} is in use" for address in taken),
            hint="Publish another port, or stop the program that has it; `ss -ltnp` names it. It is tried again.",
        )


def parse(table: str) -> list[Listener]:
    """The listening sockets in a text of /proc/net/tcp or tcp6."""
    rows = (line.split() for line in table.splitlines()[1:])
    return [Listener(_address(row[1]), int(row[9])) for row in rows if len(row) > 9 and row[3] == _LISTEN]


def _address(text: str) -> Address:
    """Four bytes each in the order of this machine, in hexadecimal; then the port."""
    host, _, port = text.partition(":")
    words = (bytes.fromhex(host[at : at + 8]) for at in range(0, len(host), 8))
    packed = b"".join(word[::-1] if sys.byteorder == "little" else word for word in words)
    return Address(str(ipaddress.ip_address(packed)), int(port, 16))


def _conflict(one: Address, other: Address) -> bool:
    """Within one family: whether `::` takes IPv4 along is its owner's secret."""
    if one.port != other.port or one.wildcard_of_family != other.wildcard_of_family:
        return False
    return one.host == other.host or one.wildcard_of_family in (one.host, other.host)


def _inodes(pid: int) -> set[int]:
    """Of the sockets that a process has open. Raises OSError."""
    return set(_sockets(Path(f"/proc/{pid}/fd")))


def _sockets(folder: Path) -> Iterator[int]:
    for link in folder.iterdir():
        with contextlib.suppress(FileNotFoundError):
            if found := _SOCKET.fullmatch(str(link.readlink())):
                yield int(found[1])
