"""Ports of loopback for parts that tests start."""

from __future__ import annotations

import random
import socket


def free_port() -> int:
    """A TCP port that nobody uses now, that the kernel gives to no outgoing connection, and that no other test of this
    machine is given while this process lives: many are bound only long after they were chosen."""
    while True:
        port = random.randrange(10_000, 32_000)  # below the ports that connections are given
        if _mark(port) and _unused(port):
            return port


def _mark(port: int) -> bool:
    mark = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    try:
        mark.bind(f"\0hecd-test-port-{port}")
    except OSError:
        mark.close()
        return False
    _marks.append(mark)
    return True


def _unused(port: int) -> bool:
    with socket.socket() as sock:
        try:
            sock.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


_marks: list[socket.socket] = []  # of all ports given, until this process ends
