"""Ports of the machine itself, led to containers of an ordinary user: rootlesskit listens, outside of its namespaces.

It connects to the container's own address from inside of them, so that rules in there need not be passed.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterable
from pathlib import Path

from runtime.errors import KernelRefused, MissingProgram, NotPermitted, PortTaken
from runtime.model import PublishedPort

EVERYWHERE = "0.0.0.0"  # noqa: S104
_TAKEN = ("address already in use", "conflict with ID")


class Outside:
    """`socket` is where rootlesskit is asked."""

    def __init__(self, socket: Path) -> None:
        self._socket = socket

    def forward(self, ports: Iterable[PublishedPort], address: str) -> None:
        """Lead these to the address, all or none. Raises PortTaken, NotPermitted, KernelRefused, MissingProgram."""
        try:
            for port in ports:
                self._add(port, address)
        except BaseException:
            self.withdraw(address)
            raise

    def withdraw(self, address: str) -> None:
        """Lead nothing there any more. Fine if nothing is."""
        found = [json.loads(line) for line in self._call("list-ports", "--json").stdout.splitlines()]
        numbers = [str(port["id"]) for port in found if port["spec"].get("childIP") == address]
        if numbers:
            self._call("remove-ports", *numbers)

    def _add(self, port: PublishedPort, address: str) -> None:
        at = f"[{port.address}]" if ":" in port.address else port.address or EVERYWHERE
        done = self._call("add-ports", f"{at}:{port.published}:{address}:{port.target}/{port.protocol}")
        if done.returncode:
            raise _refused(port, done.stderr.strip().removeprefix("error: "))

    def _call(self, *words: str) -> subprocess.CompletedProcess[str]:
        argv = ["rootlessctl", f"--socket={self._socket}", *words]
        try:
            return subprocess.run(argv, check=False, capture_output=True, text=True, stdin=subprocess.DEVNULL)
        except FileNotFoundError:
            raise MissingProgram("rootlessctl", "rootlesskit") from None


def _refused(port: PublishedPort, words: str) -> PortTaken | NotPermitted | KernelRefused:
    name = f"{port.published}/{port.protocol}"
    if any(part in words for part in _TAKEN):
        return PortTaken(name, "a program or container of this host")
    if "privileged port" in words:
        hint = f"Publish one from 1024 on; or, as root: sysctl net.ipv4.ip_unprivileged_port_start={port.published}"
        return NotPermitted(f"port {name} can be published by root only", hint=hint)
    return KernelRefused(f"port {name} cannot be published", details=(words,))
