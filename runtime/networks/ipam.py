"""Addresses of one subnet, one file each: the link(2) that succeeds is the claim, so no two owners get one address.

Nothing here looks at all of them while others wait: hundreds of containers may be made at once.
"""

from __future__ import annotations

import contextlib
import ipaddress
import os
import threading
from collections.abc import Iterator
from pathlib import Path

from runtime.errors import NoAddressLeft
from runtime.state import held

_CURSOR = ".last"


class Addresses:
    """`root/<address>` holds the name of its owner, `root/.of-<owner>` links to the address to be looked at first.
    The gateway is the subnet's first address."""

    def __init__(self, root: Path, subnet: str, locks: Path) -> None:
        self.subnet = ipaddress.IPv4Network(subnet)
        self._root = root
        self._lock = locks / "addresses"
        self._turn = threading.Lock()  # threads that wait for a file would all be woken each time

    @property
    def gateway(self) -> str:
        return str(self.subnet.network_address + 1)

    def claim(self, owner: str) -> str:
        """The owner's address, a new one if it has none. Raises NoAddressLeft.

        Addresses go round the subnet: one that was given back rests as long as it can before it is given out again.
        """
        with self._alone():
            if address := self._of(owner):
                return address
            for address in self._after_the_last():
                if not (self._root / address).exists() and self.take(address, owner):
                    (self._root / _CURSOR).write_text(address)  # half of it, after a crash, only begins elsewhere
                    return address
        raise NoAddressLeft(str(self.subnet))

    def take(self, address: str, owner: str) -> bool:
        """Claim this very address; False if another one has it."""
        self._note(owner, address)  # first: a crash leaves a hint that is wrong rather than a claim without one
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
        with self._alone():
            address = self._of(owner)
            for each in [address] if address else [a for a, by in self.all().items() if by == owner]:
                (self._root / each).unlink(missing_ok=True)
            self._hint(owner).unlink(missing_ok=True)

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        with self._turn, held(self._lock, spent=lambda: False):
            yield

    def all(self) -> dict[str, str]:
        """Owners by address."""
        found = {}
        for entry in os.scandir(self._root):
            if not entry.name.startswith("."):
                with contextlib.suppress(FileNotFoundError):
                    found[entry.name] = Path(entry).read_text()
        return found

    def _hint(self, owner: str) -> Path:
        return self._root / f".of-{owner}"

    def _note(self, owner: str, address: str) -> None:
        self._hint(owner).unlink(missing_ok=True)
        with contextlib.suppress(FileExistsError):
            self._hint(owner).symlink_to(address)

    def _of(self, owner: str) -> str:
        """The owner's address by its hint, "" if that tells of none."""
        with contextlib.suppress(FileNotFoundError):
            address = self._hint(owner).readlink().name
            if (self._root / address).read_text() == owner:
                return address
        return ""

    def _after_the_last(self) -> Iterator[str]:
        first = int(self.subnet.network_address) + 2
        count = self.subnet.num_addresses - 3  # without network, gateway and broadcast
        start = self._last() - first + 1
        return (str(ipaddress.IPv4Address(first + (start + i) % count)) for i in range(count))

    def _last(self) -> int:
        """The address that was given out last, or the gateway's."""
        with contextlib.suppress(FileNotFoundError, ValueError):
            return int(ipaddress.IPv4Address((self._root / _CURSOR).read_text()))
        return int(self.subnet.network_address) + 1
