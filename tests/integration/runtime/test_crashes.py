"""The caller dies by SIGKILL, anywhere: what runs goes on and is found again, what is half made goes away."""

from __future__ import annotations

import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from runtime import userns
from runtime.engines.oci import OciEngine
from runtime.errors import ContainerNotFound
from runtime.host import Host
from runtime.model import ContainerSpec, State
from runtime.process import Process
from runtime.state import Records
from tests.fakes.ports import free_port
from tests.integration.runtime.conftest import IMAGE, Root, answers, becomes, run, texts, traces

PORT = free_port()

# Where the caller dies. Each is patched to kill the process before, or after, it does its work.
PLACES = [
    "runtime.networks.ipam:Addresses.claim:after",
    "runtime.lifecycle:mount_rootfs:before",
    "runtime.lifecycle:mount_rootfs:after",
    "runtime.networks.kernel:ensure_bridge:before",
    "runtime.networks.kernel:ensure_namespace:after",
    "runtime.networks.cables:plug:after",
    "runtime.networks.network:Network._publish:after",
    "runtime.state:Records.commit:before",
    "runtime.state:Records.commit:after",
    "runtime.engines.oci:OciEngine._create:before",
    "runtime.engines.oci:OciEngine._create:after",
    "runtime.engines.oci:OciEngine.launch:after",
    "runtime.state:Records.write_start:after",
]
REMOVE_PLACES = [
    "runtime.state:Records.retract:after",
    "runtime.engines.oci:OciEngine.discard:before",
    "runtime.engines.oci:OciEngine.discard:after",
    "runtime.networks.network:Network.disconnect:after",
    "runtime.lifecycle:unmount_rootfs:after",
]
CLOSE_PLACES = ["runtime.networks.kernel:drop_bridge:before", "runtime.networks.kernel:drop_bridge:after"]
DYING = """
    import importlib, os, signal, sys
    from pathlib import Path
    from runtime.host import Host
    from runtime.model import ContainerSpec, PublishedPort

    place, lib, run, subnet, bridge, port, *steps = sys.argv[1:]
    host = Host.open(Path(lib), Path(run), subnet, bridge)
    if place:
        module, path, when = place.split(":")
        owner = importlib.import_module(module)
        *outer, name = path.split(".")
        for part in outer:
            owner = getattr(owner, part)
        original = getattr(owner, name)

        def dying(*args, **kwargs):
            if when == "after":
                original(*args, **kwargs)
            os.kill(os.getpid(), signal.SIGKILL)

        setattr(owner, name, dying)
    for step in steps:
        if step == "create":
            host.containers.create(ContainerSpec("web.1", "hecd/test:1", ports=(PublishedPort(int(port), 80),)))
        elif step == "close":
            host.close()
        else:
            getattr(host.containers, step)("web.1")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def die(root: Root, *steps: str, place: str = "", port: int = PORT) -> None:
    """Another process does `steps` with the container web.1, and dies at `place`, else at the end."""
    given = [place, str(root.lib), str(root.run), root.subnet, root.bridge, str(port), *steps]
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(DYING), *given], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == -signal.SIGKILL, done.stderr


def test_what_runs_is_adopted(runtime_host: Host, root: Root) -> None:
    die(root, "create", "start")
    found = root.open()
    container = found.containers.inspect("web.1")
    assert container.state is State.RUNNING
    assert "hello" in answers(container.address)
    assert "hello" in answers("127.0.0.1", PORT)
    fd = found.containers.exit_fd("web.1")
    assert fd is not None
    assert found.containers.stop("web.1").exit_code == 143


def test_log_and_exit_code_outlive_the_caller(runtime_host: Host, root: Root) -> None:
    spec = ContainerSpec(
        "web.1", IMAGE, command=("/bin/sh", "-c", "for i in 1 2 3 4 5; do echo $i; sleep 0.1; done; exit 42")
    )
    runtime_host.containers.create(spec)
    die(root, "start")
    assert runtime_host.containers.wait("web.1", 30.0)
    assert runtime_host.containers.inspect("web.1").exit_code == 42
    assert texts(runtime_host, "web.1") == ["1", "2", "3", "4", "5"]


@pytest.mark.parametrize("place", PLACES)
def test_a_crash_half_way_leaves_nothing_half_made(runtime_host: Host, root: Root, place: str) -> None:
    die(root, "create", "start", place=place)
    host = root.open()
    try:
        container = host.containers.inspect("web.1")
    except ContainerNotFound:
        host.close()
        becomes(lambda: traces(root) == [], what=lambda: f"left: {traces(root)}")
        container = run(host, "web.1")
    else:
        host.containers.start("web.1")
        assert "hello" in answers("127.0.0.1", PORT)
    assert "hello" in answers(container.address)
    other = run(host, "web.2")
    assert other.address != container.address


@pytest.mark.parametrize("place", REMOVE_PLACES)
def test_a_crash_while_removing_is_finished_later(runtime_host: Host, root: Root, place: str) -> None:
    die(root, "create", "start", "remove", place=place)
    host = root.open()
    host.containers.remove("web.1")
    host.close()
    becomes(lambda: traces(root) == [], what=lambda: f"left: {traces(root)}")


@pytest.mark.parametrize("place", CLOSE_PLACES)
def test_a_crash_while_closing_is_finished_later(runtime_host: Host, root: Root, place: str) -> None:
    die(root, "create", "start", "remove", "close", place=place)
    host = root.open()
    host.close()
    assert traces(root) == []
    assert "hello" in answers(run(runtime_host, "web").address)


def test_a_crash_between_leaves_published_ports_free(runtime_host: Host, root: Root) -> None:
    die(root, "create", place="runtime.state:Records.commit:before")
    root.open()
    die(root, "create", "start")
    assert "hello" in answers("127.0.0.1", PORT)


def test_a_killed_shim_does_not_hide_the_container(runtime_host: Host) -> None:
    container = run(runtime_host, "web")
    start = Records(runtime_host._paths).read_start("web")
    assert start is not None
    start.shim.signal(9)
    assert start.shim.wait(30.0)
    assert runtime_host.containers.inspect("web").state is State.RUNNING
    assert "hello" in answers(container.address)
    runtime_host.containers.signal("web", "SIGKILL")
    assert runtime_host.containers.wait("web", 30.0)
    ended = runtime_host.containers.inspect("web")
    assert (ended.state, ended.exit_code) == (State.LOST, None)
    assert runtime_host.containers.start("web").state is State.RUNNING


def test_after_a_reboot_containers_start_again(runtime_host: Host, root: Root, monkeypatch: pytest.MonkeyPatch) -> None:
    """A reboot takes processes, mounts, namespaces and `run`; addresses, records and written files stay."""
    before = run(runtime_host, "web", "/bin/sh", "-c", "echo kept >/kept; exec /bin/busybox httpd -f -p 80 -h /srv")
    becomes((root.lib / "containers/web/upper/kept").exists)
    start = Records(runtime_host._paths).read_start("web")
    assert start is not None
    _reboot(root, runtime_host, start.process)
    host = root.open()
    assert host.containers.inspect("web").state is State.LOST
    after = host.containers.start("web")
    assert after.address == before.address
    assert "hello" in answers(after.address)
    assert host.inside.exec_probe("web", ["/bin/cat", "/kept"], 30.0) == (0, "kept")


def _reboot(root: Root, host: Host, process: Process) -> None:
    process.signal(9)
    assert host.containers.wait("web", 30.0)
    OciEngine.open(host._paths).discard("web")
    host.network.disconnect("web", "", ())
    subprocess.run(["umount", root.lib / "containers/web/rootfs"], check=True)
    userns.drop(host.paths.userns("web"))
    host.network.teardown()
    subprocess.run(["rm", "-rf", root.run], check=True)


def test_lost_claims_are_taken_again_from_records(runtime_host: Host, root: Root) -> None:
    first = run(runtime_host, "web.1")
    Path(root.lib / "addresses" / first.address).unlink()
    host = root.open()
    assert run(host, "web.2").address != first.address
    assert host._addresses.all()[first.address] == "web.1"
