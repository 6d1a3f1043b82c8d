"""Three hosts as network namespaces behind a switch, with the outside world at its far end.

    h1 ── u0 10.200.0.1 ─┐
    h2 ── u0 10.200.0.2 ─┼─ sw0 10.200.0.254 (the namespace `switch`: the outside, and where etcd is)
    h3 ── u0 10.200.0.3 ─┘

Nothing of it is seen in the machine's own namespace, and it ends with the last process inside.
"""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from runtime.linux import in_thread, setns
from runtime.networks import kernel

T = TypeVar("T")

OUTSIDE = "10.200.0.254"
SO_RCVBUFFORCE = 33  # Linux; the module socket has no name for it
NETWORK = "10.87.0.0/16"


@dataclass(frozen=True)
class Place:
    """A network namespace that things are done in."""

    namespace: Path

    def do(self, work: Callable[[], T]) -> T:
        """Do it inside, in a thread of its own; threads and processes it starts are inside too."""

        def inside() -> T:
            setns(str(self.namespace))
            return work()

        return in_thread(inside)

    def command(self, *words: str | Path) -> list[str]:
        """A command that runs inside. (`ip netns exec` would hide /sys.)"""
        return ["nsenter", f"--net={self.namespace}", "--", *map(str, words)]

    def link(self, change: Callable[[Any], T]) -> T:
        """Change links with a netlink socket of this place."""

        def changed() -> T:
            with kernel.netlink("change the lab") as ip:
                return change(ip)

        return self.do(changed)

    def listen(self, port: int, kind: socket.SocketKind = socket.SOCK_STREAM) -> socket.socket:
        """A socket stays in the namespace where it was opened."""

        def opened() -> socket.socket:
            found = socket.socket(socket.AF_INET, kind)
            found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            found.bind(("0.0.0.0", port))
            found.settimeout(20.0)
            if kind == socket.SOCK_STREAM:
                found.listen()
            else:
                found.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 64 << 20)  # nothing is lost where a reader is late
            return found

        return self.do(opened)

    def connect(self, address: str, port: int, within_s: float = 20.0) -> socket.socket:
        return self.do(lambda: socket.create_connection((address, port), timeout=within_s))

    def reaches(self, address: str, port: int = 80, within_s: float = 10.0) -> bool:
        """Whether an HTTP server there answers."""
        try:
            with self.connect(address, port, within_s) as connection:
                connection.sendall(b"GET /index.html HTTP/1.0\r\n\r\n")
                return b"200" in connection.recv(100)
        except OSError:
            return False


@dataclass(frozen=True)
class Machine(Place):
    """A host of the lab: its place in the network, and its directory."""

    number: int
    root: Path

    @property
    def name(self) -> str:
        return f"h{self.number}"

    @property
    def underlay(self) -> str:
        return f"10.200.0.{self.number}"

    @property
    def subnet(self) -> str:
        return f"10.87.{self.number}.0/24"

    @property
    def gateway(self) -> str:
        return f"10.87.{self.number}.1"

    @property
    def bridge(self) -> str:
        return "hecd0"


@dataclass(frozen=True)
class Lab:
    switch: Place
    hosts: tuple[Machine, ...]

    def plug(self, host: Machine, *, state: str) -> None:
        """Pull the host's cable out of the switch ("down"), or put it in ("up")."""
        self.switch.link(lambda ip: ip.link("set", index=_index(ip, host.name), state=state))

    def set_mtu(self, host: Machine, mtu: int) -> None:
        """Of the host's cable to the switch, at both ends."""
        self.switch.link(lambda ip: ip.link("set", index=_index(ip, host.name), mtu=mtu))
        host.link(lambda ip: ip.link("set", index=_index(ip, "u0"), mtu=mtu))

    def give(self, host: Machine, address: str) -> None:
        """One more underlay address."""
        host.link(lambda ip: ip.addr("replace", index=_index(ip, "u0"), address=address, prefixlen=24))


@contextmanager
def built(folder: Path, count: int = 3) -> Iterator[Lab]:
    """The lab; its namespaces are let go of at the end, and the kernel takes away all that was in them."""
    made = [folder / "switch", *(folder / f"h{n}.net" for n in range(1, count + 1))]
    try:
        for path in made:
            kernel.ensure_namespace(path)
        switch = Place(made[0])
        switch.link(_lay_switch)
        hosts = tuple(Machine(path, n, folder / f"h{n}") for n, path in enumerate(made[1:], 1))
        for host in hosts:
            _connect(switch, host)
        yield Lab(switch, hosts)
    finally:
        for path in made:
            kernel.drop_namespace(path)


def _lay_switch(ip: Any) -> None:
    ip.link("set", index=1, state="up")
    ip.link("add", ifname="sw0", kind="bridge", address="02:00:00:00:00:fe")
    ip.addr("add", index=_index(ip, "sw0"), address=OUTSIDE, prefixlen=24)
    ip.link("set", index=_index(ip, "sw0"), state="up")


def _connect(switch: Place, host: Machine) -> None:
    fd = os.open(host.namespace, os.O_RDONLY | os.O_CLOEXEC)
    try:
        peer = {"ifname": "u0", "net_ns_fd": fd}
        switch.link(
            lambda ip: ip.link("add", ifname=host.name, kind="veth", master=_index(ip, "sw0"), state="up", peer=peer)
        )
    finally:
        os.close(fd)
    host.link(lambda ip: _bring_up(ip, host.underlay))


def _bring_up(ip: Any, address: str) -> None:
    ip.link("set", index=1, state="up")
    ip.addr("add", index=_index(ip, "u0"), address=address, prefixlen=24)
    ip.link("set", index=_index(ip, "u0"), state="up")
    ip.route("add", dst="0.0.0.0/0", gateway=OUTSIDE)


def _index(ip: Any, name: str) -> int:
    found: list[int] = ip.link_lookup(ifname=name)
    return found[0]


class Stream:
    """Datagrams back and forth every 2 ms, each of them counted."""

    EVERY_S = 0.002
    LATE_S = 10.0  # what has not come back by then, after the last was sent, is lost

    def __init__(self, here: Place, there: Place, address: str) -> None:
        self.sent = 0
        self.answered: set[int] = set()
        self._over = threading.Event()  # nothing is sent any more
        self._deaf = threading.Event()  # nothing is waited for any more
        self._server = there.listen(7007, socket.SOCK_DGRAM)
        self._client = here.listen(7008, socket.SOCK_DGRAM)
        self._server.settimeout(0.05)
        self._client.settimeout(0.05)
        self._to = (address, 7007)
        self._hearing = [threading.Thread(target=work) for work in (self._echo, self._hear)]
        self._sending = threading.Thread(target=self._send)

    @property
    def lost(self) -> int:
        return self.sent - len(self.answered)

    def run(self) -> None:
        for thread in (*self._hearing, self._sending):
            thread.start()

    def end(self) -> None:
        """Stop sending; wait for what is under way."""
        self._over.set()
        self._sending.join()
        deadline = time.monotonic() + self.LATE_S
        while self.lost and time.monotonic() < deadline:
            time.sleep(0.01)
        self._deaf.set()
        for thread in self._hearing:
            thread.join()
        for end in (self._server, self._client):
            end.close()

    def _send(self) -> None:
        while not self._over.is_set():
            with contextlib.suppress(OSError):  # it counts as lost
                self._client.sendto(self.sent.to_bytes(8, "big"), self._to)
            self.sent += 1
            time.sleep(self.EVERY_S)

    def _echo(self) -> None:
        self._until_deaf(self._server, self._server.sendto)

    def _hear(self) -> None:
        self._until_deaf(self._client, lambda data, sender: self.answered.add(int.from_bytes(data, "big")))

    def _until_deaf(self, end: socket.socket, act: Callable[[bytes, Any], object]) -> None:
        while not self._deaf.is_set():
            with contextlib.suppress(OSError):
                act(*end.recvfrom(100))


@contextmanager
def streaming(here: Place, there: Place, address: str) -> Iterator[Stream]:
    """A stream while the block runs. It flows when the block begins."""
    stream = Stream(here, there, address)
    stream.run()
    try:
        deadline = time.monotonic() + 20.0
        while not stream.answered:
            assert time.monotonic() < deadline, f"nothing comes back from {address}"
            time.sleep(0.005)
        yield stream
    finally:
        stream.end()
