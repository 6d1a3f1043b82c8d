"""Every single step of a container's life fails once. What was half done is undone, or done by the next call; the
doctor finds nothing."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Any

import pytest

from runtime import lifecycle
from runtime.doctor.leftovers import leftovers
from runtime.errors import ContainerNotFound, RuntimeFault
from runtime.host import Host
from runtime.model import ContainerSpec, MemoryFile, Mount, PublishedPort, Restart, State
from tests.fakes.ports import free_port
from tests.integration.runtime.conftest import IMAGE, Root, answers, becomes, traces

CREATE = [
    "runtime.networks.ipam:Addresses.claim",
    "runtime.state:Records.begin",
    "runtime.lifecycle:mount_rootfs",
    "runtime.lifecycle:write_files",
    "runtime.networks.nft:Nft.run",
    "runtime.networks.kernel:ensure_bridge",
    "runtime.networks.kernel:ensure_namespace",
    "runtime.networks.cables:plug",
    "runtime.networks.network:Network._publish",
    "runtime.networks.kernel:set_values",
    "runtime.volumes:_fill",
    "runtime.volumes:Volumes._make",
    "runtime.memoryfiles:place",
    "runtime.engines.bundle:config",
    "runtime.state:Records.commit",
]
START = [
    "runtime.state:Records.forget_ends",
    "runtime.lifecycle:Lifecycle._forget_run",
    "runtime.lifecycle:write_files",
    "runtime.memoryfiles:place",
    "runtime.engines.bundle:config",
    "runtime.engines.oci:OciEngine._create",
    "runtime.engines.oci:OciEngine._created",
    "runtime.engines.oci:OciEngine._known",
    "runtime.engines.oci:OciEngine._call",
    "runtime.state:Records.write_start",
    "runtime.supervision:ensure",
    "runtime.supervision:ring",
]
STOP = [
    "runtime.lifecycle:Lifecycle.hold",
    "runtime.state:Records.mark_stopped",
    "runtime.process:Process.signal",
    "runtime.stopping:readable",
]
REMOVE = [
    "runtime.state:Records.retract",
    "runtime.lifecycle:Lifecycle._forget_run",
    "runtime.engines.oci:OciEngine.discard",
    "runtime.engines.oci:OciEngine._call",
    "runtime.engines.cgroups:Cgroups.drop",
    "runtime.networks.network:Network.disconnect",
    "runtime.networks.nft:Nft.run",
    "runtime.networks.kernel:drop_namespace",
    "runtime.memoryfiles:remove",
    "runtime.lifecycle:unmount_rootfs",
    "runtime.networks.ipam:Addresses.release",
]
PORT = free_port()
SPEC = ContainerSpec(
    "web",
    IMAGE,
    ports=(PublishedPort(PORT, 80),),
    mounts=(Mount("volume", "/srv", "data"),),
    files=(MemoryFile("/run/secrets/x", content="x"),),
    sysctls={"net.core.somaxconn": "77"},
    restart=Restart("unless-stopped"),
)


class Broken(RuntimeFault):
    """The fault that is put in."""


@contextmanager
def failing_once(place: str, when: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The function at `place` fails the first time it is called, before or after its work. Yields what failed."""
    module, path = place.split(":")
    owner: Any = importlib.import_module(module)
    *outer, name = path.split(".")
    for part in outer:
        owner = getattr(owner, part)
    original = getattr(owner, name)
    failed: list[str] = []

    def once(*args: Any, **kwargs: Any) -> Any:
        if failed:
            return original(*args, **kwargs)
        failed.append(place)
        if when == "after":
            original(*args, **kwargs)
        raise Broken(f"{place} fails {when} its work")

    with monkeypatch.context() as patched:
        patched.setattr(owner, name, once)
        yield failed


def clean(host: Host, root: Root) -> None:
    assert [leftover.what for leftover in leftovers(host.paths, root.bridge)] == []


def serves(host: Host) -> None:
    web = host.containers.inspect("web")
    assert "hello" in answers(web.address)
    assert "hello" in answers("127.0.0.1", PORT)
    assert "hello" in answers(web.address6)
    assert "hello" in answers(host.network.bridge.address6, PORT)


@pytest.fixture
def root(dual_root: Root) -> Root:
    return dual_root


@pytest.fixture
def host(runtime_host: Host, root: Root) -> Iterator[Host]:
    """In the end, all is taken away, and nothing is left."""
    yield runtime_host
    runtime_host.containers.remove("web")
    for volume in runtime_host.volumes.all():
        runtime_host.volumes.remove(volume.name)
    clean(runtime_host, root)
    runtime_host.close()
    becomes(lambda: traces(root) == [], within_s=10.0, what=lambda: str(traces(root)))


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("place", CREATE)
def test_create(host: Host, root: Root, place: str, when: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with failing_once(place, when, monkeypatch) as failed:
        with suppress(Broken):  # some steps are tried again at once
            host.containers.create(SPEC)
    assert failed, "the step was not taken"
    clean(host, root)
    with suppress(ContainerNotFound):
        host.containers.inspect("web")  # it was made after all
        host.containers.remove("web")
    host.containers.create(SPEC)
    host.containers.start("web")
    serves(host)


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("place", START)
def test_start(host: Host, root: Root, place: str, when: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lifecycle, "JUST_NOW_S", 0.0)  # as if it had been made a while ago
    host.containers.create(SPEC)
    with failing_once(place, when, monkeypatch) as failed:
        with suppress(Broken):
            host.containers.start("web")
    assert failed, "the step was not taken"
    clean(host, root)
    host.containers.start("web")
    serves(host)
    argv = ["/bin/cat", "/run/secrets/x", "/proc/sys/net/core/somaxconn"]
    assert host.inside.exec_probe("web", argv, 30.0) == (0, "x77")


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("place", STOP)
def test_stop(host: Host, root: Root, place: str, when: str, monkeypatch: pytest.MonkeyPatch) -> None:
    host.containers.create(replace(SPEC, stop_signal="SIGURG"))  # passed over: it is there to be waited for
    host.containers.start("web")
    with failing_once(place, when, monkeypatch) as failed:
        with suppress(Broken):
            host.containers.stop("web", 0.2)
    assert failed, "the step was not taken"
    clean(host, root)
    assert host.containers.stop("web", 0.2).state is State.EXITED


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("place", REMOVE)
def test_remove(host: Host, root: Root, place: str, when: str, monkeypatch: pytest.MonkeyPatch) -> None:
    host.containers.create(SPEC)
    host.containers.start("web")
    with failing_once(place, when, monkeypatch) as failed:
        with suppress(Broken):
            host.containers.remove("web")
    assert failed, "the step was not taken"
    host.containers.remove("web")
    clean(host, root)
    host.containers.create(SPEC)
    host.containers.start("web")
    serves(host)
