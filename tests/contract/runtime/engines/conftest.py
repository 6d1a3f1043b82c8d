"""One root for each test, with each engine: crun by ourselves, a real dockerd, a real Podman service."""

from __future__ import annotations

import ipaddress
import secrets
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import pytest

from runtime.host import Host
from tests.fakes.podman_service import PodmanService
from tests.integration.announce.dockerd import Dockerd
from tests.integration.announce.namespace import own_network
from tests.integration.runtime.conftest import IMAGE, free_subnet, layout  # noqa: F401 - a fixture
from tests.integration.runtime.private_registry import PrivateRegistry

ENGINES = ("oci", "docker", "podman")


class Daemon(Protocol):
    def start(self) -> object: ...
    def kill(self) -> None: ...
    def stop(self) -> None: ...


@dataclass(frozen=True)
class Engine:
    """What runs containers; `daemon` is None for the one that has none."""

    name: str
    socket: str = ""
    daemon: Daemon | None = None


@dataclass(frozen=True)
class Root:
    """What it takes to open a host, also a second time."""

    engine: Engine
    folder: Path
    subnet: str
    bridge: str
    subnet6: str

    def open(self, engine: str | None = None, socket: str | None = None) -> Host:
        """With its own engine and socket unless others are named; "" names none."""
        return Host.open(
            self.folder / "lib",
            self.folder / "run",
            self.subnet,
            self.bridge,
            engine=self.engine.name if engine is None else engine,
            socket=self.engine.socket if socket is None else socket,
            subnet6=self.subnet6,
        )


@pytest.fixture(scope="session")
def network() -> Iterator[None]:
    """Bridges and firewall rules of all engines stay in a namespace of this process."""
    with own_network():
        yield


@pytest.fixture(scope="session")
def registry(network: None, tmp_path_factory: pytest.TempPathFactory, layout: Path) -> Iterator[PrivateRegistry]:  # noqa: F811
    """One that wants a password, with team/app:1, the test image."""
    folder = tmp_path_factory.mktemp("registry")
    folder.chmod(0o755)
    folder.parent.chmod(0o755)
    with PrivateRegistry(folder / "registry") as found:
        found.push(layout, IMAGE, "team/app:1")
        yield found


@pytest.fixture(scope="session")
def docker(network: None) -> Iterator[Engine]:
    daemon = Dockerd()
    try:
        daemon.start()
        yield Engine("docker", f"{daemon.folder}/docker.sock", daemon)
    finally:
        daemon.stop()


@pytest.fixture(scope="session")
def podman(network: None, registry: PrivateRegistry) -> Iterator[Engine]:
    daemon = PodmanService(insecure=registry.address)
    try:
        daemon.start()
        yield Engine("podman", str(daemon.socket), daemon)
    finally:
        daemon.stop()


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest, network: None) -> Engine:
    return Engine("oci") if request.param == "oci" else request.getfixturevalue(request.param)


@pytest.fixture
def root(engine: Engine, tmp_path: Path) -> Iterator[Root]:
    """A new root. Afterwards nothing of it is left, or the test fails."""
    word = secrets.token_hex(2)
    found = Root(
        engine, tmp_path / "root", free_subnet(), f"hecdt{word}", str(ipaddress.IPv6Network(f"fd00:87:{word}::/64"))
    )
    yield found
    host = found.open()
    for container in host.containers.list():
        host.containers.remove(container.name)
    left = [*(found.folder / "lib" / "containers").iterdir(), *(found.folder / "run" / "netns").iterdir()]
    left += [entry for entry in (found.folder / "lib" / "addresses").iterdir() if not entry.name.startswith(".")]
    host.close()
    assert left == [], "left of it"
    shutil.rmtree(tmp_path, ignore_errors=True)


@pytest.fixture
def host(root: Root, layout: Path) -> Iterator[Host]:  # noqa: F811 - the fixture
    """An open host that has the test image."""
    found = root.open()
    found.images.load(layout)
    yield found
    found.close()
