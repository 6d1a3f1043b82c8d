"""The network of one host root: a bridge, a namespace for each container, published ports."""

from __future__ import annotations

import contextlib
import os
import socket
from functools import cached_property

from runtime.errors import KernelRefused, MissingProgram, PortTaken
from runtime.model import PublishedPort
from runtime.networks import kernel, rules, topology
from runtime.networks.nft import Nft
from runtime.networks.topology import Bridge
from runtime.paths import HostPaths
from runtime.state import held


class Network:
    """Connects containers and takes them away again. Thread-safe, and safe beside other processes on the same root."""

    def __init__(self, paths: HostPaths, bridge: Bridge) -> None:
        self.bridge = bridge
        self._paths = paths
        self._table = f"hecd_{paths.id}"
        self._checked = False

    def connect(self, name: str, address: str, ports: tuple[PublishedPort, ...]) -> None:
        """Give the container a namespace with `address`, and publish its ports. Fine if it has them. Raises
        KernelRefused, PortTaken."""
        namespace = self._paths.namespace(name)
        if os.path.ismount(namespace):
            return
        with held(self._paths.locks / "network", shared=True):
            self._ensure()
            try:
                kernel.ensure_namespace(namespace)
                kernel.plug(topology.link(self.bridge, address, os.urandom(6).hex(), publishes=bool(ports)), namespace)
                self._publish(ports, address)
            except BaseException:
                kernel.drop_namespace(namespace)
                raise

    def disconnect(self, name: str, address: str, ports: tuple[PublishedPort, ...]) -> None:
        """Take away what `connect` made; fine if nothing is there."""
        for command in rules.unpublish(self._table, ports) if self._publishes(ports, address) else ():
            with contextlib.suppress(KernelRefused):
                self._nft.run(command)
        kernel.drop_namespace(self._paths.namespace(name))

    def teardown(self) -> None:
        """Take bridge and rules away. Only while no container has an address. Fine if there are none.

        Rules are made before the bridge, and go after it: where a bridge is, its rules are.
        """
        kernel.drop_bridge(self.bridge.name, self._table)
        with contextlib.suppress(KernelRefused, MissingProgram):
            self._nft.run(f"delete table ip {self._table}")

    @property
    def _exists(self) -> bool:
        return self.bridge.name in (name for _, name in socket.if_nameindex())

    @cached_property
    def _nft(self) -> Nft:
        return Nft()

    def _ensure(self) -> None:
        """Once in each process all is made sure of, as somebody may have flushed it; later a look is enough."""
        if self._checked and self._exists:
            return
        self._nft.run(rules.base(self._table, self.bridge))
        kernel.ensure_bridge(self.bridge, self._table)
        self._checked = True

    def _publish(self, ports: tuple[PublishedPort, ...], address: str) -> None:
        if not ports:
            return
        for port in ports:
            _check_free(port)
        try:
            self._nft.run(rules.publish(self._table, ports, address))
        except KernelRefused as err:
            if any("File exists" in line for line in err.details):
                raise PortTaken(_words(ports), "another container") from err
            raise

    def _publishes(self, ports: tuple[PublishedPort, ...], address: str) -> bool:
        """Whether these ports lead to this container: after a failed publish they may be another one's."""
        if not ports:
            return False
        try:
            listed = self._nft.run(f"list table ip {self._table}")
        except KernelRefused:
            return False
        return f"{address} . " in listed


def _check_free(port: PublishedPort) -> None:
    """A published port would take a program's connections away from it, unseen."""
    kind = socket.SOCK_STREAM if port.protocol == "tcp" else socket.SOCK_DGRAM
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, int(kind == socket.SOCK_STREAM))
        try:
            probe.bind((port.address or "0.0.0.0", port.published))  # noqa: S104 - it only looks
        except OSError as err:
            raise PortTaken(_words((port,)), "a program of this host") from err


def _words(ports: tuple[PublishedPort, ...]) -> str:
    return ", ".join(f"{p.published}/{p.protocol}" for p in ports)
