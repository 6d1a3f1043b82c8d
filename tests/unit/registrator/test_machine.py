"""Ports of `hecd up`."""

from __future__ import annotations

import socket
from pathlib import Path

from registrator.up import machine


def test_a_port_that_another_is_about_to_use_is_not_taken(tmp_path: Path) -> None:
    wanted = machine.any_port()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other:
        other.bind(f"\0hecd-port-{wanted}")
        found = machine._port(tmp_path / "one", wanted)
    assert found != wanted
    assert machine._port(tmp_path / "two", wanted) == wanted
    assert machine._port(tmp_path / "two", found) == wanted, "the one of last time"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other:
        try:
            other.bind(f"\0hecd-port-{wanted}")
        except OSError:
            return
    raise AssertionError("it is not held")
