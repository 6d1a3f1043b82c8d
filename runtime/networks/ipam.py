"""Addresses of one subnet, one file each: the link(2) that succeeds is the claim, so no two owners get one address."""

from __future__ import annotations

import contextlib
import ipaddress
import os
from pathlib import Path

from runtime.errors import NoAddressLeft
from runtime.state import held, write_whole

_CURSOR = ".last"


class Addresses:
    """`root/<address>` holds the name of its owner. The gateway is the subnet's first address."""

    def __init__(self, root: Path, subnet: str, locks: Path) -> None:
        self.subnet = ipaddress.IPv4Network(subnet)
        self._root = root
        self._lock = locks / "addresses"

    @property
    def gateway(self) -> str:
        return str(self.subnet.network_address + 1)

    def claim(self, owner: str) -> str:
        """The owner's address, a new one if it has none. Raises NoAddressLeft.

        Addresses go round the subnet: one that was given back rests as long as it can before it is given out again.
        """
        with held(self._lock):
            taken = self.all()
            if owner in taken.values():
                return next(address for address, by in taken.items() if by == owner)
            address = self._next(set(taken))
            self.take(address, owner)
            write_whole(self._root / _CURSOR, address.encode())
            return address

    def take(self, address: str, owner: str) -> bool:
        """Claim this very address; False if another one has it."""
        draft = self._root / f".{os.urandom(8).hex()}"
        draft.write_text(owner)
        try:
            (self._root / address).hardlink_to(draft)
        except FileExistsError:
            return (self._root / address).read_text() == owner
        finally:
            draft.unlink()
        return True

    def release(self, owner: str) -> None:
        """Give back what the owner has; fine if that is nothing."""
        with held(self._lock):
            for address, by in self.all().items():
                if by == owner:
                    (self._root / address).unlink(missing_ok=True)

    def all(self) -> dict[str, str]:
        """Owners by address."""
        found = {}
        for entry in os.scandir(self._root):
            if not entry.name.startswith("."):
                with contextlib.suppress(FileNotFoundError):
                    found[entry.name] = Path(entry).read_text()
        return found

    def _next(self, taken: set[str]) -> str:
        first = int(self.subnet.network_address) + 2
        count = self.subnet.num_addresses - 3  # without network, gateway and broadcast
        start = self._last() - first + 1
        for i in range(count):
            address = str(ipaddress.IPv4Address(first + (start + i) % count))
            if address not in taken:
                return address
        raise NoAddressLeft(str(self.subnet))

    def _last(self) -> int:
        """The address that was given out last, or the gateway's."""
        with contextlib.suppress(FileNotFoundError, ValueError):
            return int(ipaddress.IPv4Address((self._root / _CURSOR).read_text()))
        return int(self.subnet.network_address) + 1
