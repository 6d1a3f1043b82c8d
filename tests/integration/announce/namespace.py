"""A network namespace for this process and all that it starts: Docker's bridges and firewall rules stay in it."""

from __future__ import annotations

import ctypes
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)


@contextmanager
def own_network() -> Iterator[None]:
    """This thread, and the processes and threads it starts, in a new namespace. It goes with the last of them."""
    before = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    try:
        _did(_libc.unshare(CLONE_NEWNET))
        try:
            subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
            yield
        finally:
            _did(_libc.setns(before, CLONE_NEWNET))
    finally:
        os.close(before)


def _did(result: int) -> None:
    if result != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
