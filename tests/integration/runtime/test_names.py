"""Containers find services by name: through a name server of their host, which outlives whoever started it."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import dns.message
import dns.query
import dns.rcode
import dns.rrset
import pytest

from runtime.errors import PortTaken
from runtime.host import Host
from runtime.process import Process
from tests.integration.runtime.conftest import Root, becomes, finished, run, texts, traces

NAMES = {"web": ["10.87.9.2", "10.87.9.3"], "none": []}


@pytest.fixture
def named(runtime_host: Host, root: Root) -> Iterator[Host]:
    runtime_host.network.names.serve(NAMES)
    yield runtime_host
    runtime_host.network.names.end()


def server(root: Root) -> str:
    return root.subnet.removesuffix("0/24") + "1"


def asked(root: Root, name: str, kind: str = "A", tcp: bool = False) -> dns.message.Message:
    ask = dns.query.tcp if tcp else dns.query.udp
    return ask(dns.message.make_query(name, kind), server(root), timeout=20.0)


def addresses(reply: dns.message.Message) -> list[str]:
    return sorted(item.address for rrset in reply.answer for item in rrset)


@pytest.mark.parametrize("tcp", [False, True])
def test_names_of_services_bare_and_with_their_zone(named: Host, root: Root, tcp: bool) -> None:
    run(named, "one")  # the bridge comes with the first container, the name server was there before
    for name in ("web", "web.hecd", "WEB.hecd."):
        assert addresses(asked(root, name, tcp=tcp)) == NAMES["web"]
    assert asked(root, "web.hecd", "AAAA", tcp).rcode() == dns.rcode.NOERROR
    assert asked(root, "none.hecd", tcp=tcp).rcode() == dns.rcode.NOERROR
    assert asked(root, "other.hecd", tcp=tcp).rcode() == dns.rcode.NXDOMAIN
    named.network.names.serve({"web": ["10.87.9.4"]})
    assert addresses(asked(root, "web", tcp=tcp)) == ["10.87.9.4"]


def test_a_container_asks_it_and_without_it_the_servers_of_the_host(named: Host, root: Root) -> None:
    finished(named, "one", "/bin/cat", "/etc/resolv.conf")
    lines = texts(named, "one")
    assert lines[0] == f"nameserver {server(root)}" and lines[1].split()[:2] == ["search", "hecd"]
    finished(named, "two", "/bin/busybox", "nslookup", "web.hecd")
    assert "10.87.9.2" in " ".join(texts(named, "two"))
    named.network.names.end()
    finished(named, "three", "/bin/cat", "/etc/resolv.conf")
    assert server(root) not in " ".join(texts(named, "three"))


def test_it_outlives_who_started_it_and_is_started_again_when_it_dies(named: Host, root: Root) -> None:
    run(named, "one")
    named.network.names.end()
    program = (
        "import os, signal, sys\nfrom pathlib import Path\nfrom runtime.host import Host\n"
        "Host.open(Path(sys.argv[1]), Path(sys.argv[2])).network.names.serve({'web': ['10.87.9.9']})\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", program, str(root.lib), str(root.run)], timeout=30)
    assert done.returncode == -signal.SIGKILL
    assert addresses(asked(root, "web")) == ["10.87.9.9"]
    assert named.network.names.names() == {"web": ["10.87.9.9"]}
    (pid,) = resolvers(root)
    named.network.names.serve(NAMES)
    assert resolvers(root) == [pid], "another one goes on with it"
    process = Process.of(pid)
    assert process is not None and process.signal(signal.SIGKILL) and process.wait(30.0)
    named.network.names.serve(NAMES)
    assert addresses(asked(root, "web")) == NAMES["web"]
    named.network.names.end()
    becomes(lambda: resolvers(root) == [])


def test_a_port_that_is_taken_is_said_and_containers_ask_the_host(runtime_host: Host, root: Root) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.setsockopt(socket.IPPROTO_IP, 15, 1)  # IP_FREEBIND
        other.bind((server(root), 53))
        with pytest.raises(PortTaken, match="53 of "):
            runtime_host.network.names.serve(NAMES)
    finished(runtime_host, "one", "/bin/cat", "/etc/resolv.conf")
    assert server(root) not in " ".join(texts(runtime_host, "one"))
    runtime_host.containers.remove("one")
    runtime_host.close()
    assert traces(root) == []


def test_other_questions_go_to_the_hosts_servers(tmp_path: Path) -> None:
    """The program itself, with an upstream of the test's."""
    upstream = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    upstream.bind(("127.0.0.53", 0))
    thread = threading.Thread(target=answer_one, args=(upstream,))
    thread.start()
    (tmp_path / "names").write_text("{}")
    (tmp_path / "resolv").write_text("nameserver 127.0.0.53\n")
    udp, tcp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM), socket.socket()
    for end in (udp, tcp):
        end.bind(("127.0.0.1", 0))
    tcp.listen()
    program = (
        "import dns.asyncquery, functools, runtime.networks.resolver as r; from pathlib import Path\n"
        f"r.RESOLV = Path({str(tmp_path / 'resolv')!r})\n"
        f"dns.asyncquery.udp = functools.partial(dns.asyncquery.udp, port={upstream.getsockname()[1]})\n"
        "r.main()\n"
    )
    words = [str(tmp_path / "names"), str(udp.fileno()), str(tcp.fileno())]
    child = subprocess.Popen([sys.executable, "-c", program, *words], pass_fds=(udp.fileno(), tcp.fileno()))
    try:
        port = udp.getsockname()[1]
        reply = dns.query.udp(dns.message.make_query("example.org", "A"), "127.0.0.1", port=port, timeout=10.0)
        assert addresses(reply) == ["192.0.2.7"]
        (tmp_path / "resolv").write_text("")
        reply = dns.query.udp(dns.message.make_query("example.org", "A"), "127.0.0.1", port=port, timeout=10.0)
        assert reply.rcode() == dns.rcode.SERVFAIL
        (tmp_path / "names").unlink()
        assert child.wait(10) == 0, "it ends with its file"
    finally:
        child.kill()
        child.wait()
        thread.join()
        for end in (udp, tcp, upstream):
            end.close()


def answer_one(upstream: socket.socket) -> None:
    upstream.settimeout(10.0)
    wire, sender = upstream.recvfrom(4096)
    reply = dns.message.make_response(dns.message.from_wire(wire))
    reply.answer.append(dns.rrset.from_text("example.org.", 5, "IN", "A", "192.0.2.7"))
    upstream.sendto(reply.to_wire(), sender)


def resolvers(root: Root) -> list[int]:
    """The processes that answer the names of this root."""
    found = []
    for path in (p / "cmdline" for p in Path("/proc").glob("[0-9]*")):
        try:
            words = path.read_bytes().split(b"\0")
        except OSError:
            continue
        if b"runtime.networks.resolver" in words and str(root.run).encode() in b" ".join(words):
            found.append(int(path.parent.name))
    return found
