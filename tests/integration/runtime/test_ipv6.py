"""Containers with IPv6: the same promises as with IPv4."""

from __future__ import annotations

import contextlib
import secrets
import socket
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import dns.message
import dns.query
import dns.rcode
import pytest

from registrator.agent.drivers.runtime import RuntimeEngine
from runtime.doctor.leftovers import leftovers
from runtime.errors import PortTaken
from runtime.host import Host
from runtime.linux import in_thread, setns
from runtime.model import PublishedPort
from runtime.networks.cables import plug
from runtime.networks.kernel import drop_namespace, ensure_namespace, netlink
from runtime.networks.nft import Nft
from runtime.networks.topology import Bridge, Link
from tests.fakes.ports import free_port
from tests.integration.runtime.conftest import Root, answers, becomes, finished, free_subnet, run, texts
from tests.integration.runtime.test_network import fetch

SETTINGS = "/proc/sys/net/ipv6/conf"
TENTATIVE, DEPRECATED = 0x40, 0x20


@pytest.fixture
def root(dual_root: Root) -> Root:
    return dual_root


def test_a_container_has_both_addresses_and_is_reached_by_both(runtime_host: Host, root: Root) -> None:
    _link("uplink0")
    heard = Path(SETTINGS, "uplink0/accept_ra")
    assert heard.read_text().strip() == "1"
    web = run(runtime_host, "web")
    assert root.subnet6 is not None
    assert web.address6 == f"{root.subnet6.removesuffix('/64')}{web.address.rpartition('.')[2]}"
    flags = [
        line.split()[4]
        for line in Path("/proc/thread-self/net/if_inet6").read_text().splitlines()
        if root.bridge in line
    ]
    states = sorted(int(flag, 16) & (TENTATIVE | DEPRECATED) for flag in flags)
    assert states == [0, 0, DEPRECATED], "the bridge can ask for containers at once; one address nobody speaks as"
    assert "hello" in answers(web.address) and "hello" in answers(web.address6)
    inside = f"cat /etc/hosts {SETTINGS}/eth0/accept_ra; busybox ip -6 route"
    finished(runtime_host, "c", "/bin/sh", "-c", inside)
    said, six = texts(runtime_host, "c"), runtime_host.containers.inspect("c").address6
    assert f"{six}\tc" in said and "0" in said, "no container is a router to another one"
    assert any(line.startswith(f"default via {runtime_host.network.bridge.address6} ") for line in said)
    assert heard.read_text().strip() == "2", "the host itself hears its routers on"
    assert Path(SETTINGS, root.bridge, "accept_ra").read_text().strip() == "0"
    agents = RuntimeEngine(runtime_host, "n1")
    agents.serve_names({"web": (web.address,), "far": (web.address, "10.87.0.99")})
    try:
        assert [_aaaa(root, name) for name in ("web", "far")] == [[web.address6], []]
        assert agents.names() == {"web": (web.address,), "far": (web.address, "10.87.0.99")}
    finally:
        runtime_host.network.names.end()


def test_a_port_that_a_program_has_or_that_leads_nowhere(
    runtime_host: Host, root: Root, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = free_port()
    with socket.create_server(("::1", port), family=socket.AF_INET6), pytest.raises(PortTaken, match=str(port)):
        run(runtime_host, "web", ports=(PublishedPort(port, 80),))
    one = PublishedPort(free_port(), 80, address=_gateway(root).replace("::", ":0::"))
    run(runtime_host, "web", ports=(PublishedPort(port, 80), one))
    Nft().run(f"add element ip6 hecd_{root.id} any_tcp {{ 59999 : fd00::99 . 80 }}")
    monkeypatch.setattr("runtime.doctor.leftovers.SETTLE_S", 0.2)
    found = leftovers(runtime_host.paths, root.bridge)
    assert [leftover.what for leftover in found] == ["published port 59999/tcp to fd00::99"]
    found[0].take()
    assert leftovers(runtime_host.paths, root.bridge) == []
    runtime_host.containers.remove("web")


def test_after_a_reboot_without_the_subnet_a_container_has_ipv4_only(runtime_host: Host, root: Root) -> None:
    port = free_port()
    run(runtime_host, "web", ports=(PublishedPort(port, 80),))
    runtime_host.containers.stop("web")
    drop_namespace(runtime_host.paths.namespace("web"))
    runtime_host.network.teardown()
    again = Host.open(root.lib, root.run, subnet6="")
    assert "hello" in answers(again.containers.start("web").address)
    assert "hello" in answers("127.0.0.1", port)
    again.containers.remove("web")


def test_a_port_leads_in_from_everywhere_and_networks_are_apart(
    runtime_host: Host, root: Root, layout: Path, tmp_path: Path
) -> None:
    port, six = free_port(), free_port()
    web = run(runtime_host, "web", ports=(PublishedPort(port, 80), PublishedPort(six, 80, address=_gateway(root))))
    with _second(root, tmp_path) as other:
        other.images.load(layout)
        run(other, "far")
        answers(web.address6)
        assert "hello" in answers(_gateway(root), port)
        assert "hello" in fetch(runtime_host, "web", _gateway(root), port), "hairpin"
        assert "hello" in fetch(other, "far", _gateway(root), port), "a published port is for all"
        said = fetch(other, "far", web.address6, 80)
        assert "hello" not in said and "refused" in said, "networks are apart, and who tries is told at once"
        assert "hello" in answers(_gateway(root), six)
        assert "hello" in answers("::1", port)
        for address, closed in (("127.0.0.1", six), (other.network.bridge.address6, six), ("::1", six)):
            with pytest.raises(ConnectionRefusedError):
                answers(address, closed, within_s=0.0)
    runtime_host.containers.remove("web")
    assert [leftover.what for leftover in leftovers(runtime_host.paths, root.bridge)] == []


def test_who_speaks_is_seen_and_who_leaves_is_masqueraded(runtime_host: Host, root: Root, tmp_path: Path) -> None:
    """A client beyond another interface of the host, which knows of no container."""
    port = free_port()
    run(runtime_host, "web", ports=(PublishedPort(port, 5353, "udp"),))
    with _client(tmp_path / "client") as (namespace, gateway, address):
        inside = in_thread(lambda: _socket(str(runtime_host.paths.namespace("web")), 5353))
        outside = in_thread(lambda: _socket(str(namespace), 5354))
        with inside, outside:
            outside.sendto(b"ping", (gateway, port))
            said, sender = inside.recvfrom(100)
            assert (said, sender[0]) == (b"ping", address)
            inside.sendto(b"pong", sender)
            assert outside.recvfrom(100)[1][:2] == (gateway, port)
            with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as here:
                here.settimeout(5.0)
                here.connect(("::1", port))
                here.send(b"from the host itself")
                inside.sendto(b"to it", inside.recvfrom(100)[1])
                assert here.recv(100) == b"to it"
            with in_thread(lambda: _socket(str(runtime_host.paths.namespace("web")), 0)) as away:
                away.sendto(b"out", (address, 5354))
                assert outside.recvfrom(100)[1][0] == gateway


def test_who_goes_on_sending_reaches_the_next_container_of_a_port(runtime_host: Host) -> None:
    port = free_port()
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as client:
        client.connect(("::1", port))
        for name in ("first", "second"):
            run(runtime_host, name, ports=(PublishedPort(port, 5353, "udp"),))
            with in_thread(partial(_socket, str(runtime_host.paths.namespace(name)), 5353)) as server:
                for _ in range(2):  # the first may only tell that nobody was there
                    with contextlib.suppress(ConnectionRefusedError):
                        client.send(name.encode())
                assert server.recv(100) == name.encode()
            runtime_host.containers.remove(name)
            with contextlib.suppress(ConnectionRefusedError):
                client.send(b"to nobody")


def test_the_hosts_loopback_is_out_of_reach(runtime_host: Host, root: Root) -> None:
    """A container may not speak as what stands for ::1 on the way to published ports."""
    web = run(runtime_host, "web", ports=(PublishedPort(free_port(), 80, "udp"),))
    loop6 = runtime_host.network.bridge.loop6
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as listener:
        listener.bind(("::", 0))
        listener.settimeout(0.3)
        port = listener.getsockname()[1]
        inside = in_thread(lambda: _socket(str(runtime_host.paths.namespace("web")), 0))
        with inside:
            inside.sendto(b"honest", (loop6, port))
            assert listener.recvfrom(100)[1][0] == web.address6
        with in_thread(lambda: _speaking_as(str(runtime_host.paths.namespace("web")), loop6)) as false:
            with contextlib.suppress(OSError):
                false.sendto(b"false", (loop6, port))
            with pytest.raises(TimeoutError):
                listener.recvfrom(100)


def _speaking_as(namespace: str, address: str) -> socket.socket:
    setns(namespace)
    found = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    found.setsockopt(socket.IPPROTO_IPV6, 78, 1)  # IPV6_FREEBIND
    found.bind((address, 0))
    return found


def _aaaa(root: Root, name: str) -> list[str]:
    server = root.subnet.removesuffix("0/24") + "1"
    reply = dns.query.udp(dns.message.make_query(name, "AAAA"), server, timeout=5.0)
    assert reply.rcode() == dns.rcode.NOERROR
    return [item.address for rrset in reply.answer for item in rrset]


def _gateway(root: Root) -> str:
    return f"{(root.subnet6 or '').removesuffix('/64')}1"


@contextlib.contextmanager
def _second(root: Root, tmp_path: Path) -> Iterator[Host]:
    """Another root beside this one."""
    subnet6 = f"fd00:88:{secrets.token_hex(2)}::/64"
    lib, away = tmp_path / "two/lib", tmp_path / "two/run"
    other = replace(root, lib=lib, run=away, subnet=free_subnet(), bridge=f"{root.bridge}b", subnet6=subnet6).open()
    try:
        yield other
    finally:
        for container in other.containers.list():
            other.containers.remove(container.name)
        other.close()


@contextlib.contextmanager
def _client(namespace: Path) -> Iterator[tuple[Path, str, str]]:
    """A network namespace behind an interface of this one: the host's address there, and its own."""
    ensure_namespace(namespace)
    try:
        _link("out0")
        with netlink("make the test's network") as ip:
            index = socket.if_nametoindex("out0")
            ip.addr("add", index=index, address="fd00:99::1", prefixlen=64, flags=2)
        bridge = Bridge("out0", "10.99.0.0/24", "10.99.0.1", 24, "", subnet6="fd00:99::/64")
        plug(Link("hvclient", "10.99.0.2", "02:48:0a:63:00:02", bridge, False, "fd00:99::2"), namespace)
        in_thread(lambda: _forget_the_way(namespace))
        yield namespace, "fd00:99::1", "fd00:99::2"
    finally:
        drop_namespace(namespace)


def _forget_the_way(namespace: Path) -> None:
    """It knows no way to containers: what is not masqueraded gets no answer."""
    setns(str(namespace))
    with netlink("forget the way") as ip:
        ip.route("del", dst="::/0", gateway="fd00:99::1")


def _link(name: str) -> None:
    with netlink(f"make {name}") as ip:
        ip.link("add", ifname=name, kind="bridge", state="up")
    becomes(lambda: name in (found for _, found in socket.if_nameindex()))


def _socket(namespace: str, port: int) -> socket.socket:
    """A socket stays in the namespace where it was opened."""
    setns(namespace)
    found = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    found.settimeout(5.0)
    found.bind(("::", port))
    return found
