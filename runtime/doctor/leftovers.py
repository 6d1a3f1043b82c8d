"""What lies about of containers that are none, and how to take it away.

Whoever opens a root sweeps it; this looks harder, at the kernel too, and leaves alone what somebody works on now.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from runtime.engines.cgroups import Cgroups
from runtime.errors import KernelRefused, RuntimeFault
from runtime.linux import in_thread, setns, unmount
from runtime.model import PublishedPort
from runtime.networks import rules
from runtime.networks.kernel import netlink
from runtime.networks.nft import Nft
from runtime.networks.topology import INTERFACE
from runtime.paths import HostPaths
from runtime.process import Process
from runtime.state import Records
from runtime.volumes import Volumes

SETTLE_S = 2.0  # the kernel takes cables and groups of the dead away a little later
_ELEMENT = re.compile(r"((?:[\d.a-f:]+ \. )?\d+) : ([\d.a-f:]+) \. (\d+)")
_MAP = re.compile(r"map (?:any|at)_(tcp|udp) \{(.*?)\n\t\}", re.DOTALL)


@dataclass(frozen=True)
class Leftover:
    """`take` takes it away. Raises RuntimeFault, OSError."""

    what: str
    take: Callable[[], object]


def leftovers(paths: HostPaths, bridge: str) -> list[Leftover]:
    """Everything; what goes away by itself is given the time to."""
    if not paths.lib.exists():
        return []
    paths.make()  # a reboot took `run`
    deadline = time.monotonic() + SETTLE_S
    while True:
        found = _Look(paths, bridge).all()
        if not found or time.monotonic() > deadline:
            return found
        time.sleep(0.1)


class _Look:
    def __init__(self, paths: HostPaths, bridge: str) -> None:
        self._paths = paths
        self._bridge = bridge
        self._records = Records(paths)
        self._whole = {record.spec.name: record for record in self._records.all()}
        self._cgroups = Cgroups.probe()

    def all(self) -> list[Leftover]:
        kinds = (self._shims, self._mounts, self._namespaces, self._cables, self._ports, self._groups, self._files)
        return [leftover for kind in kinds for leftover in kind()]

    def _foreign(self, name: str) -> bool:
        """Whether no container has this name, and nobody makes one of it now."""
        if name in self._whole:
            return False
        with self._records.locked_at_once(name) as free:
            return free and not self._records.readable(name)

    def _shims(self) -> Iterator[Leftover]:
        start = f"--bundle={self._paths.bundles}/".encode()
        for path in Path("/proc").glob("[0-9]*"):  # with more of a path it fails where one ends meanwhile
            with contextlib.suppress(OSError):
                words = [word for word in (path / "cmdline").read_bytes().split(b"\0") if word.startswith(start)]
                process = Process.of(int(path.name))
                if words and process and self._foreign(name := words[0].removeprefix(start).decode()):
                    yield Leftover(f"process {process.pid}, the shim of no container {name!r}", partial(_end, process))

    def _mounts(self) -> Iterator[Leftover]:
        for line in reversed(Path("/proc/self/mountinfo").read_text().splitlines()):
            place = Path(line.split()[4])
            for parent in (self._paths.containers, self._paths.bundles):
                if place.is_relative_to(parent) and self._foreign(place.relative_to(parent).parts[0]):
                    yield Leftover(f"mount {place}", partial(unmount, str(place)))

    def _namespaces(self) -> Iterator[Leftover]:
        for path in _entries(self._paths.netns):
            if self._foreign(path.name):
                yield Leftover(f"network namespace {path}", partial(_drop_namespace, path))

    def _cables(self) -> Iterator[Leftover]:
        """Ports of our bridge that lead into no container."""
        try:
            index = socket.if_nametoindex(self._bridge)
        except OSError:
            return
        ours = {found for path in _entries(self._paths.netns) for found in in_thread(partial(_outer_ends, path))}
        with netlink("list the cables") as ip:
            ports = [(port["index"], port.get_attr("IFLA_IFNAME")) for port in ip.get_links(master=index)]
        for number, name in ports:
            if number not in ours and name.startswith("hv") and not self._busy():
                yield Leftover(f"cable {name}", partial(_drop_link, number))

    def _busy(self) -> bool:
        """Whether a container is being made: its cable leads into a namespace that has no name yet."""
        for path in _entries(self._paths.container_locks):
            with self._records.locked_at_once(path.name) as free:
                if not free:
                    return True
        return False

    def _ports(self) -> Iterator[Leftover]:
        for family in (rules.FOUR, rules.SIX):
            yield from self._ports_of(family, f"hecd_{self._paths.id}")

    def _ports_of(self, family: rules.Family, table: str) -> Iterator[Leftover]:
        try:
            listed = Nft().run(f"list table {family.name} {table}")
        except RuntimeFault:
            return
        wanted = {
            (rules.key(p), p.protocol, address, p.target)
            for record in self._whole.values()
            for address in (record.address, record.address6)
            for p in record.spec.ports
        }
        for protocol, elements in _MAP.findall(listed):
            for key, address, target in _ELEMENT.findall(elements):
                if (key, protocol, address, int(target)) not in wanted and not self._busy():
                    at, _, published = key.rpartition(" . ")
                    port = PublishedPort(int(published), int(target), protocol, at)
                    commands = rules.withdraw(family, table, port)
                    yield Leftover(f"published port {key}/{protocol} to {address}", partial(_nft, commands))

    def _groups(self) -> Iterator[Leftover]:
        prefix = f"hecd-{self._paths.id}-"
        pattern = f"{prefix}*" if self._cgroups.unified else f"*/{prefix}*"
        for name in sorted({path.name for path in self._cgroups.root.glob(pattern)}):
            if self._foreign(name.removeprefix(prefix)):
                yield Leftover(f"control group {name}", partial(self._cgroups.drop, name))

    def _files(self) -> Iterator[Leftover]:
        for parent, what in (
            (self._paths.containers, "container"),
            (self._paths.bundles, "bundle"),
            (self._paths.engine, "state of the engine"),
        ):
            for path in _entries(parent):
                if self._foreign(path.name):
                    yield Leftover(f"{what}, half made or half removed: {path}", partial(shutil.rmtree, path))
        for path in _entries(self._paths.addresses):
            with contextlib.suppress(FileNotFoundError):
                if not path.name.startswith(".") and self._foreign(owner := path.read_text()):
                    yield Leftover(f"address {path.name} of no container {owner!r}", path.unlink)
        for path in self._paths.bundles.glob("*/.exec-*"):
            if not _used(path):
                yield Leftover(f"scratch of a command: {path}", partial(shutil.rmtree, path))
        if not any(path.name.startswith("volume-") for path in _entries(self._paths.locks)):
            for path in Volumes(self._paths, self._records.mounting).drafts():
                yield Leftover(f"volume, half made or half removed: {path}", partial(shutil.rmtree, path))


def _entries(folder: Path) -> list[Path]:
    return [Path(entry) for entry in os.scandir(folder)] if folder.exists() else []


def _outer_ends(namespace: Path) -> list[int]:
    """The indices, in the host, of the cables that end in the namespace."""
    if not os.path.ismount(namespace):
        return []
    try:
        setns(str(namespace))
        with netlink("list the cables of a namespace") as ip:
            return [x.get_attr("IFLA_LINK") for x in ip.get_links() if x.get_attr("IFLA_IFNAME") == INTERFACE]
    except (KernelRefused, OSError):  # removed meanwhile
        return []


def _used(scratch: Path) -> bool:
    """Whether the command of an `exec` lives, or is just being started."""
    try:
        pid = int((scratch / "pid").read_text())
    except (FileNotFoundError, ValueError):
        with contextlib.suppress(FileNotFoundError):
            return time.time() - scratch.stat().st_mtime < 60
        return True
    return Process.of(pid) is not None


def _end(process: Process) -> None:
    process.signal(9)
    process.wait(5.0)


def _drop_namespace(path: Path) -> None:
    unmount(str(path))
    path.unlink(missing_ok=True)


def _drop_link(index: int) -> None:
    with netlink("delete a cable") as ip:
        ip.link("del", index=index)


def _nft(commands: list[str]) -> None:
    nft = Nft()
    for command in commands:
        with contextlib.suppress(KernelRefused):  # it went meanwhile
            nft.run(command)
