"""The same three hosts over encrypted tunnels: nothing that containers say is to be read between hosts."""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from runtime.networks.overlay import Peer
from tests.integration.overlay.conftest import Hosts, Rooted
from tests.integration.overlay.lab import streaming
from tests.integration.overlay.test_hosts import heard_from, mtu
from tests.integration.runtime.conftest import becomes

PORT = 51820
SECRET = b"what nobody else is to read"


class Veiled(list[Rooted]):
    """The hosts, each with the keys of the others."""

    def __init__(self, hosts: Hosts) -> None:
        super().__init__(hosts)
        self.keys = [host.do(lambda h: h.network.vtep_key()) for host in hosts]

    def peers_of(self, host: Rooted) -> list[Peer]:
        known = zip(self, self.keys, strict=True)
        return [replace(other.peer, key=key) for other, key in known if other is not host]

    def join(self, host: Rooted, *, without: str = "") -> list[str]:
        return host.join([p for p in self.peers_of(host) if p.name != without], port=PORT, encrypted=True)


@pytest.fixture
def veiled(hosts: Hosts) -> Iterator[Veiled]:
    """All hosts joined with keys; afterwards they are as they were."""
    found = Veiled(hosts)
    for host in found:
        found.join(host)
    yield found
    hosts.join()
    assert [wireguard_links(host) for host in hosts] == [[], [], []]


def wireguard_links(host: Rooted) -> list[str]:
    names = host.machine.do(lambda: [name for _, name in socket.if_nameindex()])
    return [name for name in names if name.startswith("wg")]


@contextmanager
def tapped(host: Rooted) -> Iterator[list[bytes]]:
    """All frames that pass the cable of a host."""
    found: list[bytes] = []
    tap = host.machine.do(lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3)))
    tap.bind(("u0", 0))
    tap.settimeout(0.1)
    ends = threading.Event()

    def listen() -> None:
        while not ends.is_set():
            try:
                found.append(tap.recv(65536))
            except TimeoutError:
                continue

    thread = threading.Thread(target=listen)
    thread.start()
    try:
        yield found
    finally:
        ends.set()
        thread.join()
        tap.close()


def told(there: Rooted, here: Rooted) -> bytes:
    """What a container hears from one of another host."""
    with there.place().listen(7100) as listener, here.place().connect(there.address, 7100) as speaker:
        connection, _ = listener.accept()
        speaker.sendall(SECRET)
        with connection:
            return connection.recv(100)


def test_what_containers_say_is_not_read_between_hosts(veiled: Veiled) -> None:
    with tapped(veiled[1]) as frames:
        assert told(veiled[1], veiled[0]) == SECRET
        becomes(lambda: any(frame[36:38] == PORT.to_bytes(2, "big") for frame in list(frames)), 20.0)
    assert not any(SECRET in frame for frame in frames)


def test_the_tap_hears_what_is_not_encrypted(hosts: Hosts) -> None:
    with tapped(hosts[1]) as frames:
        assert told(hosts[1], hosts[0]) == SECRET
        becomes(lambda: any(SECRET in frame for frame in list(frames)), 20.0)


def test_addresses_are_containers_own_and_the_mtu_fits(veiled: Veiled) -> None:
    here, there = veiled[0], veiled[2]
    assert heard_from(there.place(), here.place(), there.address) == here.address
    assert heard_from(there.place(), here.machine, there.address) == here.machine.gateway
    assert mtu(here.place(), "eth0") == 1500 - 60


def test_nothing_is_lost_between_others_while_a_peer_comes_and_goes(veiled: Veiled) -> None:
    one, two, _ = veiled
    with streaming(one.place(), two.place(), two.address) as stream:
        for host in (one, two):
            assert any("taken away" in line for line in veiled.join(host, without="h3"))
            assert any("10.87.3.0/24" in line for line in veiled.join(host))
            assert veiled.join(host) == []
    assert stream.lost == 0


def test_a_program_in_the_kernels_place_that_is_killed_is_started_again(veiled: Veiled) -> None:
    one = veiled[0]
    (link,) = wireguard_links(one)
    found = [pid for pid in map(int, filter(str.isdigit, os.listdir("/proc"))) if runs(pid, link)]
    if not found:
        assert kernel_has_it(one), f"{link} is nobody's"
        one.machine.link(lambda ip: ip.link("del", ifname=link))
    for pid in found:
        os.kill(pid, signal.SIGKILL)
    becomes(lambda: wireguard_links(one) == [], 20.0)
    assert veiled.join(one)[0] == f"tunnel end {link} made"
    becomes(lambda: one.place().reaches(veiled[1].address), 30.0)


def test_the_key_stays_and_only_root_reads_it(veiled: Veiled) -> None:
    one = veiled[0]
    assert one.do(lambda host: host.network.vtep_key()) == veiled.keys[0]
    assert one.paths.wireguard_key.stat().st_mode & 0o777 == 0o600


def runs(pid: int, link: str) -> bool:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[:2] == [b"wireguard-go", link.encode()]
    except OSError:
        return False


def kernel_has_it(host: Rooted) -> bool:
    return bool(host.machine.link(lambda ip: ip.get_links(kind="wireguard")))
