"""A host root of its own for each test, cleaned up always, and a look at what is left of it."""

from __future__ import annotations

import contextlib
import ipaddress
import os
import secrets
import shutil
import socket
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from runtime.errors import KernelRefused
from runtime.host import Host
from runtime.images.build import LayerFiles, build_image, directory, link
from runtime.model import Container, ContainerSpec, ImageConfig
from runtime.networks.nft import Nft
from runtime.paths import HostPaths
from tests.integration.announce.namespace import own_network

IMAGE = "hecd/test:1"
SERVE = ("/bin/busybox", "httpd", "-f", "-p", "80", "-h", "/srv")
BASE: LayerFiles = {
    "bin/busybox": Path("/bin/busybox"),
    **{f"bin/{name}": link("busybox") for name in ("sh", "cat", "sleep", "id", "echo", "nc", "ls", "true")},
    "etc/passwd": b"root:x:0:0::/root:/bin/sh\napp:x:1000:1000::/home/app:/bin/sh\n",
    "etc/group": b"root:x:0:\napp:x:1000:\nextra:x:2000:app\n",
    "tmp": directory(0o1777),
}


@dataclass(frozen=True)
class Root:
    """What it takes to open a host, also from another process."""

    lib: Path
    run: Path
    subnet: str
    bridge: str
    subnet6: str | None = None

    def open(self) -> Host:
        return Host.open(self.lib, self.run, self.subnet, self.bridge, subnet6=self.subnet6)

    @property
    def id(self) -> str:
        return HostPaths(self.lib, self.run).id


_given: deque[int] = deque(maxlen=8)  # of late


def free_subnet() -> str:
    """A subnet of 10.87.0.0/16 whose gateway is no address of this machine, nor was given of late: a bridge is made
    with its first container. Workers beside this one have other ones."""
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    while True:
        third = secrets.choice([n for n in range(128 + worker % 4, 255, 4) if n not in _given])
        _given.append(third)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            try:
                probe.bind((f"10.87.{third}.1", 0))
            except OSError:
                return f"10.87.{third}.0/24"


@pytest.fixture(scope="session")
def layout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An OCI layout with the test image."""
    path = tmp_path_factory.mktemp("layout")
    build_image(path, IMAGE, [BASE, {"srv/index.html": b"hello\n"}], ImageConfig(command=SERVE))
    return path


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Root]:
    """A new root. Afterwards nothing of it is left, or the test fails."""
    with new_root(tmp_path, None) as found:
        yield found


@pytest.fixture
def dual_root(tmp_path: Path) -> Iterator[Root]:
    """The same with IPv6, in a network namespace of this process: IPv6 is forwarded there, and not on this machine."""
    with own_network(), new_root(tmp_path, str(ipaddress.IPv6Network(f"fd00:87:{secrets.token_hex(2)}::/64"))) as found:
        yield found


@contextlib.contextmanager
def new_root(tmp_path: Path, subnet6: str | None) -> Iterator[Root]:
    bridge = f"hecdt{secrets.token_hex(3)}"
    found = Root(tmp_path / "root" / "lib", tmp_path / "root" / "run", free_subnet(), bridge, subnet6)
    try:
        yield found
    finally:
        host = found.open()
        for container in host.containers.list():
            host.containers.remove(container.name)
        host.close()
    becomes(lambda: traces(found) == [], what=lambda: f"left: {traces(found)}")
    shutil.rmtree(tmp_path, ignore_errors=True)


@pytest.fixture
def runtime_host(root: Root, layout: Path) -> Iterator[Host]:
    """An open host that has the test image; its containers are removed afterwards, and leaks are looked for."""
    host = root.open()
    host.images.load(layout)
    yield host
    host.close()


def run(host: Host, name: str, *argv: str, **options: Any) -> Container:
    """Create and start a container of the test image; it serves HTTP on port 80 unless `argv` says otherwise."""
    spec = ContainerSpec(name, str(options.pop("image", IMAGE)), command=argv or None, **options)
    host.containers.create(spec)
    return host.containers.start(name)


def finished(host: Host, name: str, *argv: str, within_s: float = 30.0, **options: Any) -> Container:
    """The same, and wait for its end."""
    run(host, name, *argv, **options)
    assert host.containers.wait(name, within_s), f"{name} still runs"
    return host.containers.inspect(name)


def texts(host: Host, name: str) -> list[str]:
    return [line.text for line in host.inside.logs(name)]


def becomes(condition: Callable[[], bool], within_s: float = 20.0, what: Callable[[], str] = lambda: "") -> None:
    """The condition holds at the latest after `within_s`."""
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, what() or "it did not come true in time"
        time.sleep(0.01)


def answers(address: str, port: int = 80, path: str = "/index.html", within_s: float = 20.0) -> str:
    """The answer of an HTTP server that may just be starting."""
    deadline = time.monotonic() + within_s
    while True:
        try:
            with socket.create_connection((address, port), timeout=10.0 if within_s else 2.0) as connection:
                connection.sendall(f"GET {path} HTTP/1.0\r\n\r\n".encode())
                with connection.makefile() as reader:
                    return reader.read()
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.005)


def traces(root: Root) -> list[str]:
    """What the kernel and the disk still hold of this root's containers."""
    found = [f"mount {line.split()[4]}" for line in _read("/proc/self/mountinfo") if str(root.lib.parent) in line]
    found += [f"namespace {e.name}" for e in _scan(root.run / "netns")]
    found += [f"cgroup {p}" for p in Path("/sys/fs/cgroup").glob(f"*/hecd-{root.id}-*")]
    found += [f"interface {name}" for _, name in socket.if_nameindex() if name == root.bridge]
    processes = (p / "cmdline" for p in Path("/proc").glob("[0-9]*"))
    found += [f"process {p.parent.name}" for p in processes if _mentions(p, str(root.run))]
    for part in (root.lib / "containers", root.lib / "addresses", root.run / "containers", root.run / "oci"):
        found += [f"file {e.path}" for e in _scan(part) if not e.name.startswith(".last")]
    for family in ("ip", "ip6"):
        with contextlib.suppress(KernelRefused):
            Nft().run(f"list table {family} hecd_{root.id}")
            found.append(f"nft table of {family}")
    return found


def cables() -> set[str]:
    """The host's ends of all containers' cables, other roots' too."""
    return {name for _, name in socket.if_nameindex() if name.startswith("hv")}


def _read(path: str) -> list[str]:
    return Path(path).read_text().splitlines()


def _scan(path: Path) -> list[os.DirEntry[str]]:
    return list(os.scandir(path)) if path.exists() else []


def _mentions(cmdline: Path, text: str) -> bool:
    if cmdline.parent.name == str(os.getpid()):
        return False
    try:
        words = cmdline.read_bytes().split(b"\0")
        return f"--bundle={text}".encode() in cmdline.read_bytes() or (
            b"runtime.supervisor" in words and text.encode() in words
        )
    except OSError:
        return False
