"""Containers reach each other and their host, are reached by published ports, and two roots live side by side."""

from __future__ import annotations

import contextlib
import ipaddress
import os
import secrets
import shutil
import socket
import subprocess
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from runtime.errors import NetworkTaken, PortTaken
from runtime.host import Host
from runtime.linux import in_thread, setns
from runtime.model import PublishedPort
from runtime.networks import flows
from runtime.networks.nft import Nft
from tests.fakes.ports import free_port
from tests.integration.announce.namespace import own_network
from tests.integration.runtime.conftest import (
    Root,
    answers,
    becomes,
    cables,
    finished,
    free_subnet,
    new_root,
    run,
    texts,
    traces,
)

GET = "printf 'GET /index.html HTTP/1.0\\r\\n\\r\\n' | nc -w {within_s} {address} {port}"


def fetch(host: Host, name: str, address: str, port: int, within_s: int = 15) -> str:
    script = GET.format(address=address, port=port, within_s=within_s)
    return host.inside.exec_probe(name, ["/bin/sh", "-c", script], 30.0)[1]


def test_containers_reach_each_other_but_no_loopback_of_the_host(runtime_host: Host) -> None:
    one, two = run(runtime_host, "one"), run(runtime_host, "two")
    answers(one.address)
    assert "hello" in fetch(runtime_host, "two", one.address, 80)
    gateway = one.address.rpartition(".")[0] + ".1"
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        fetch(runtime_host, "two", gateway, listener.getsockname()[1], 2)
        subprocess.run(
            ["nsenter", f"--net={runtime_host._paths.namespace(two.name)}", "ip", "route", "add", "127.0.0.2/32",
             "via", gateway], check=False, capture_output=True,
        )  # fmt: skip
        fetch(runtime_host, "two", "127.0.0.2", listener.getsockname()[1], 2)
        listener.settimeout(0.2)
        with pytest.raises(TimeoutError):
            listener.accept()


def test_a_published_port_leads_in_from_everywhere(runtime_host: Host) -> None:
    port = free_port()
    web = run(runtime_host, "web", ports=(PublishedPort(port, 80),))
    answers(web.address)
    gateway = web.address.rpartition(".")[0] + ".1"
    run(runtime_host, "other")
    assert "hello" in answers("127.0.0.1", port)
    assert "hello" in answers(gateway, port)
    assert "hello" in fetch(runtime_host, "other", gateway, port)
    assert "hello" in fetch(runtime_host, "web", gateway, port), "hairpin"
    runtime_host.containers.remove("web")
    with pytest.raises(OSError):
        answers("127.0.0.1", port, within_s=0.0)


def test_a_port_published_on_one_address_is_closed_on_others(runtime_host: Host) -> None:
    port = free_port()
    web = run(runtime_host, "web", ports=(PublishedPort(port, 80, address="127.0.0.1"),))
    assert "hello" in answers("127.0.0.1", port)
    with pytest.raises(OSError):
        answers(web.address.rpartition(".")[0] + ".1", port, within_s=0.0)


def test_udp_is_published(runtime_host: Host) -> None:
    port = free_port()
    web = run(runtime_host, "web", ports=(PublishedPort(port, 53, "udp"),))
    server = in_thread(lambda: _udp_server(str(runtime_host._paths.namespace("web")), web.address))
    with server, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        for end in (server, client):
            end.settimeout(20.0)
        client.sendto(b"ping", ("127.0.0.1", port))
        said, sender = server.recvfrom(100)
        server.sendto(said.upper(), sender)
        assert client.recv(100) == b"PING"


def test_who_goes_on_sending_reaches_the_next_container_of_a_port(runtime_host: Host) -> None:
    """The kernel asks the rules for the first datagram of a flow only."""
    port, other = free_range(2), free_port()

    def serving(name: str) -> socket.socket:
        container = run(runtime_host, name, ports=(PublishedPort(port, 53, "udp"),))
        server = in_thread(lambda: _udp_server(str(runtime_host._paths.namespace(name)), container.address))
        server.settimeout(20.0)
        return server

    run(runtime_host, "third", ports=(PublishedPort(other, 53, "udp"),))
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as bystander,
    ):
        client.connect(("127.0.0.1", port))
        bystander.sendto(b"to the third", ("127.0.0.1", other))
        with serving("first") as first:
            client.send(b"one")
            assert first.recv(100) == b"one"
        runtime_host.containers.remove("first")
        for _ in range(2):
            sent(client, b"to nobody")
        with serving("second") as second:
            for _ in range(2):
                sent(client, b"two")
            assert second.recv(100) == b"two"
    with flows._netlink() as wire:
        assert len(flows._flows(wire, socket.AF_INET, other)) == 1, "others' flows stay"
        assert [f.asked for f in flows._flows(wire, socket.AF_INET, port)] == [ipaddress.ip_address("127.0.0.1")]


def sent(client: socket.socket, data: bytes) -> None:
    """The refusal of an earlier one may be told in its place."""
    with contextlib.suppress(ConnectionRefusedError):
        client.send(data)


def test_the_mtu_of_the_way_out_is_that_of_bridge_and_cables(tmp_path: Path, layout: Path) -> None:
    def mtu(pid: int | None, name: str) -> int:
        where = [] if pid is None else ["nsenter", f"--net=/proc/{pid}/ns/net"]
        words = subprocess.run([*where, "ip", "-o", "link", "show", name], capture_output=True, text=True).stdout
        return int(words.partition(" mtu ")[2].split()[0])

    with own_network(), new_root(tmp_path, None) as root:
        for line in ("link add up0 type bridge", "link set up0 mtu 1400", "addr add 192.0.2.7/24 dev up0",
                     "link set up0 up",
                     "route add default via 192.0.2.1 metric 5"):  # fmt: skip
            subprocess.run(["ip", *line.split()], check=True)
        host = root.open()
        host.images.load(layout)
        first = run(host, "first")
        assert mtu(None, root.bridge) == mtu(first.pid, "eth0") == 1400
        subprocess.run(["ip", "link", "set", "up0", "mtu", "9000"], check=True)
        second = run(host, "second")
        assert mtu(None, root.bridge) == mtu(first.pid, "eth0") == mtu(second.pid, "eth0") == 9000
        subprocess.run(["ip", "link", "del", "up0"], check=True)
        assert mtu(run(host, "third").pid, "eth0") == 1500
        host.close()


def test_a_range_is_published_and_withdrawn_whole(runtime_host: Host) -> None:
    first = free_range(3)
    ports = tuple(PublishedPort(first + n, 9000 + n, "udp") for n in range(3))
    web = run(runtime_host, "web", ports=ports)
    place = str(runtime_host._paths.namespace("web"))
    for n in range(3):
        server = in_thread(partial(_udp_server, place, web.address, 9000 + n))
        with server, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            server.settimeout(20.0)
            client.sendto(b"%d" % n, ("127.0.0.1", first + n))
            assert server.recv(100) == b"%d" % n
    runtime_host.containers.remove("web")
    run(runtime_host, "second", ports=ports)


def free_range(count: int) -> int:
    """The first of so many UDP ports that nobody has at this moment."""
    while True:
        first = secrets.choice(range(20000, 30000))
        with contextlib.ExitStack() as probes, contextlib.suppress(OSError):
            for port in range(first, first + count):
                probes.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)).bind(("0.0.0.0", port))
            return first


def _udp_server(namespace: str, address: str, port: int = 53) -> socket.socket:
    """A socket stays in the namespace where it was opened."""
    setns(namespace)
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind((address, port))
    return server


def test_a_taken_port_is_said_and_leaves_nothing(runtime_host: Host, root: Root) -> None:
    port = free_port()
    with socket.socket() as listener:
        listener.bind(("0.0.0.0", port))
        listener.listen()
        with pytest.raises(PortTaken, match=str(port)):
            run(runtime_host, "web", ports=(PublishedPort(port, 80),))
        runtime_host.close()
        assert traces(root) == []
    first = run(runtime_host, "web", ports=(PublishedPort(port, 80),))
    with pytest.raises(PortTaken, match="another container"):
        run(runtime_host, "second", ports=(PublishedPort(port, 80), PublishedPort(free_port(), 80)))
    answers(first.address)
    assert "hello" in answers("127.0.0.1", port), "the first keeps its port"


def test_a_port_is_one_containers_whatever_its_root_and_address(
    runtime_host: Host, tmp_path: Path, layout: Path
) -> None:
    port = free_port()
    first = run(runtime_host, "first", ports=(PublishedPort(port, 80),))
    with new_root(tmp_path / "other", None) as elsewhere:
        other = elsewhere.open()
        other.images.load(layout)
        for address in ("", "127.0.0.1"):
            with pytest.raises(PortTaken, match="a container of another root"):
                run(other, "second", ports=(PublishedPort(port, 80, address=address),))
        with pytest.raises(PortTaken, match="another container"):
            run(runtime_host, "second", ports=(PublishedPort(port, 80, address="127.0.0.1"),))
        runtime_host.containers.stop(first.name, 0.0)
        runtime_host.containers.remove(first.name)
        run(other, "second", ports=(PublishedPort(port, 80, address="127.0.0.1"), PublishedPort(port, 80, "udp")))
        for host, by in ((runtime_host, "a container of another root"), (other, "another container")):
            with pytest.raises(PortTaken, match=by):
                run(host, "third", ports=(PublishedPort(port, 80),))
        assert "hello" in answers("127.0.0.1", port)
        other.close()


def test_names_and_files_inside(runtime_host: Host) -> None:
    web = finished(
        runtime_host, "web.1", "/bin/sh", "-c", "cat /etc/hostname /etc/hosts; busybox hostname", hostname="web-1"
    )
    lines = texts(runtime_host, "web.1")
    assert lines[0] == lines[-1] == "web-1"
    assert f"{web.address}\tweb-1" in lines


def test_an_address_keeps_its_mac(runtime_host: Host) -> None:
    first = finished(runtime_host, "c", "/bin/cat", "/sys/class/net/eth0/address")
    octets = ":".join(f"{int(n):02x}" for n in first.address.split("."))
    assert texts(runtime_host, "c") == [f"02:48:{octets}"]


def test_the_bridge_keeps_its_mac_and_hears_no_routers(runtime_host: Host, root: Root) -> None:
    path = Path(f"/sys/class/net/{root.bridge}/address")
    finished(runtime_host, "zero", "/bin/cat", "/proc/sys/net/ipv6/conf/eth0/accept_ra")
    heard = [*texts(runtime_host, "zero"), Path(f"/proc/sys/net/ipv6/conf/{root.bridge}/accept_ra").read_text().strip()]
    assert heard == ["0", "0"], "no container is a router to the host, nor to another one"
    run(runtime_host, "one")
    before = path.read_text()
    for i in range(5):
        run(runtime_host, f"c.{i}")
    runtime_host.containers.remove("one")
    assert path.read_text() == before


def test_cables_and_bridge_vanish_with_the_containers(runtime_host: Host, root: Root) -> None:
    before = cables()
    for i in range(3):
        run(runtime_host, f"c.{i}")
    assert len(cables() - before) >= 3
    for i in range(3):
        runtime_host.containers.remove(f"c.{i}")
    runtime_host.close()
    becomes(lambda: traces(root) == [])
    run(runtime_host, "back")
    assert root.bridge in (name for _, name in socket.if_nameindex())


def test_two_roots_side_by_side(runtime_host: Host, root: Root, layout: Path, tmp_path: Path) -> None:
    other = replace(
        root, lib=tmp_path / "two/lib", run=tmp_path / "two/run", subnet=free_subnet(), bridge=f"{root.bridge}b"
    )
    second = other.open()
    second.images.load(layout)
    port = free_port()
    here = run(runtime_host, "web")
    there = run(second, "web", ports=(PublishedPort(port, 80),))
    try:
        assert here.address != there.address
        assert "hello" in answers(here.address) and "hello" in answers("127.0.0.1", port)
        for host, address in ((runtime_host, there.address), (second, here.address)):
            said = fetch(host, "web", address, 80)
            assert "hello" not in said and "refused" in said, "networks are apart, and who tries is told at once"
        gateway = there.address.rpartition(".")[0] + ".1"
        assert "hello" in fetch(runtime_host, "web", gateway, port), "a published port is for all"
    finally:
        second.containers.remove("web")
        second.close()
    becomes(lambda: traces(other) == [])
    assert "hello" in answers(here.address)


def test_a_root_refuses_a_bridge_and_addresses_that_others_have(
    runtime_host: Host, root: Root, layout: Path, tmp_path: Path
) -> None:
    run(runtime_host, "web")
    beside = replace(root, lib=tmp_path / "two/lib", run=tmp_path / "two/run")
    cases = [
        (replace(beside, subnet=free_subnet()), [f"the bridge {root.bridge}", str(root.lib)]),
        (replace(beside, bridge=f"{root.bridge}b"), [root.subnet, root.bridge]),
    ]
    for other, words in cases:
        second = other.open()
        second.images.load(layout)
        try:
            with pytest.raises(NetworkTaken) as caught:
                run(second, "web")
        finally:
            second.containers.remove("web")
            second.close()
        assert all(word in caught.value.brief for word in words), caught.value.brief
        assert other.id not in Nft().run("list tables")
        shutil.rmtree(tmp_path / "two")
    assert "hello" in answers(runtime_host.containers.inspect("web").address)


def test_a_root_remembers_its_network(runtime_host: Host, root: Root) -> None:
    reopened = Host.open(root.lib, root.run)
    assert run(reopened, "web").address.startswith(root.subnet.removesuffix(".0/24"))


MANY_FILES = """
import os, resource, sys
from runtime.errors import KernelRefused
from runtime.networks.nft import Nft
resource.setrlimit(resource.RLIMIT_NOFILE, (2048, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
early = Nft()
files = [os.open("/dev/null", os.O_RDONLY) for _ in range(1100)]
early.run("list tables")
try:
    Nft()
except KernelRefused as err:
    print(err)
"""


def test_a_process_with_many_files_is_told_and_not_ended() -> None:
    """libnftables itself calls abort() when its socket is beyond the first 1,024."""
    done = subprocess.run([sys.executable, "-c", MANY_FILES], capture_output=True, text=True, timeout=20, check=False)
    assert (done.returncode, "files are open in this process" in done.stdout) == (0, True), done.stderr


def test_rules_are_let_go_of_with_whoever_used_them() -> None:
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(5):
        Nft().run("list tables")
    assert len(os.listdir("/proc/self/fd")) == before
