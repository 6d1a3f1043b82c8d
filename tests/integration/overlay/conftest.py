"""The lab with the runtime alone: three roots, one container on each, all joined."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import pytest

from runtime.host import Host
from runtime.networks.overlay import Overlay, Peer
from runtime.paths import HostPaths
from tests.integration.overlay.lab import NETWORK, Lab, Machine, Place, built
from tests.integration.runtime.conftest import layout, run

__all__ = ["layout"]

T = TypeVar("T")


@dataclass
class Rooted:
    """A host of the lab with an open runtime root. `web` is its container's place in the network."""

    machine: Machine
    host: Host
    underlay: str
    address: str = ""

    def do(self, work: Callable[[Host], T]) -> T:
        return self.machine.do(lambda: work(self.host))

    def start(self, name: str, **options: object) -> str:
        """A container that serves HTTP on port 80; its address."""
        return self.do(lambda host: run(host, name, **options).address)

    def place(self, name: str = "web") -> Place:
        return Place(self.paths.namespace(name))

    def join(self, peers: list[Peer], **settings: Any) -> list[str]:
        return self.do(lambda host: host.network.join(Overlay(self.underlay, NETWORK, **settings), peers))

    @property
    def paths(self) -> HostPaths:
        return HostPaths(self.machine.root / "lib", self.machine.root / "run")

    @property
    def tunnel(self) -> str:
        return f"vx{self.paths.id}"

    @property
    def peer(self) -> Peer:
        """What the others have to know of it."""
        return Peer(self.machine.name, self.machine.subnet, self.underlay, self.host.network.vtep_mac)


class Hosts(list[Rooted]):
    lab: Lab

    def peers_of(self, host: Rooted) -> list[Peer]:
        return [other.peer for other in self if other is not host]

    def join(self) -> list[list[str]]:
        return [host.join(self.peers_of(host)) for host in self]


@pytest.fixture(scope="session")
def hosts(tmp_path_factory: pytest.TempPathFactory, layout: Path) -> Iterator[Hosts]:
    folder = tmp_path_factory.mktemp("lab")
    with built(folder) as lab:
        found = Hosts()
        found.lab = lab
        try:
            for machine in lab.hosts:
                found.append(_opened(machine, layout))
            found.join()
            yield found
        finally:
            for host in found:
                host.do(emptied)


def _opened(machine: Machine, layout: Path) -> Rooted:
    def opened() -> Host:
        return Host.open(machine.root / "lib", machine.root / "run", machine.subnet, machine.bridge)

    rooted = Rooted(machine, machine.do(opened), machine.underlay)
    rooted.do(lambda host: host.images.load(layout))
    rooted.address = rooted.start("web")
    return rooted


def emptied(host: Host) -> None:
    for container in host.containers.list():
        host.containers.remove(container.name)
    host.network.leave()
    host.close()
