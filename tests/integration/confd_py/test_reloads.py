"""What takes a reload, what it keeps, and what happens when it cannot be done."""

from __future__ import annotations

import http.client
import os
import random
import signal
import socket
import subprocess
import time
from pathlib import Path

from tests.fakes.ports import free_port
from tests.integration.confd_py.conftest import Ring
from tests.integration.confd_py.parts import SOON_S, load, within


def status(port: int, host: str = "x") -> int:
    client = http.client.HTTPConnection("127.0.0.1", port, timeout=SOON_S)
    client.request("GET", "/", headers={"host": host})
    return client.getresponse().status


def test_a_new_service_takes_one_reload_and_fails_no_request(ring: Ring) -> None:
    ring.service()
    ring.instance(1)
    ring.until_applied(ring.instance(2))
    ring.until_serving(1, 2)
    second = free_port()
    before = int(str(ring.confd.state()["reloads"]))
    with load(ring.port) as running:
        time.sleep(0.2)
        ring.until_applied(ring.service("api", port=second))
        ring.until_applied(ring.instance(1, service="api"))
        within(SOON_S, "api answers", lambda: status(second) == 200)
        time.sleep(0.2)
    assert running.failures == []
    assert int(str(ring.confd.state()["reloads"])) == before + 1


def test_hostnames_share_a_port(ring: Ring) -> None:
    named = {"published": ring.port, "target": 80, "mode": "http", "hostnames": ["api.example", "*.wild.example"]}
    ring.service("api", ports=[named])
    ring.until_applied(ring.instance(1, service="api"))
    within(SOON_S, "api serves", lambda: ring.haproxy.serving("api.80") == {"api.1"})
    assert status(ring.port, "other.example") == 404
    ring.service()
    ring.until_applied(ring.instance(1))
    ring.until_serving(1)
    for host, name in (("API.example:99", "api.1"), ("a.wild.example", "api.1"), ("other.example", "web.1")):
        client = http.client.HTTPConnection("127.0.0.1", ring.port, timeout=SOON_S)
        client.request("GET", "/", headers={"host": host})
        assert client.getresponse().read().decode() == name, host


def test_tcp_mode(ring: Ring) -> None:
    port = {"published": ring.port, "target": 80, "mode": "tcp", "hostnames": []}
    check = {"path": None, "interval_s": 1.0, "timeout_s": 1.0, "rise": 1, "fall": 2}
    ring.service(ports=[port], check=check, balance="leastconn")
    ring.until_applied(ring.instance(1))
    ring.until_serving(1)
    assert status(ring.port) == 200


def test_a_reload_lets_no_sick_server_in_again(ring: Ring) -> None:
    ring.service()
    ring.instance(1)
    ring.until_applied(ring.instance(2))
    ring.until_serving(1, 2)
    ring.web.sick.add("web.2")
    ring.until_serving(1)
    hits = ring.web.hits["web.2"]
    with load(ring.port) as running:
        for _ in range(3):
            ring.until_applied(ring.service(balance=random.choice(["leastconn", "random"]), drain_timeout_s=1.0))
            ring.until_applied(ring.service("api", port=free_port()))
            time.sleep(0.3)
    assert running.failures == []
    assert ring.web.hits["web.2"] == hits
    assert int(str(ring.confd.state()["reloads"])) >= 4


def test_a_server_that_comes_with_a_reload_is_admitted_by_a_check_too(ring: Ring) -> None:
    ring.service()
    ring.until_applied(ring.instance(1))
    ring.until_serving(1)
    ring.confd.kill()
    ring.web.sick.add("web.2")
    ring.service(balance="leastconn")
    revision = ring.instance(2)
    with load(ring.port) as running:
        ring.confd.start()
        ring.until_applied(revision)
        time.sleep(0.3)
        ring.web.sick.clear()
        ring.until_serving(1, 2)
    assert running.failures == []
    assert ring.haproxy.servers()["web.2"][2] == 0


def test_a_server_that_other_directives_name_is_admitted_where_it_stands(idle_ring: Ring) -> None:
    """HAProxy refuses to delete it, so it cannot be put there again."""
    template = idle_ring.confd.confdir / "templates" / "haproxy.cfg.j2"
    rule = "    use-server web.1 if { req.hdr(x-pin) 1 }\n    default-server check"
    whole = template.read_text()
    idle_ring.start()
    idle_ring.confd.stop()
    template.write_text(whole.replace("    default-server check", rule))
    idle_ring.service()
    revision = idle_ring.instance(1)
    idle_ring.confd.start()
    idle_ring.until_applied(revision)
    idle_ring.until_serving(1)
    assert status(idle_ring.port) == 200


def test_a_draining_server_stays_drained_over_a_reload(ring: Ring) -> None:
    ring.service()
    ring.instance(1)
    ring.until_applied(ring.instance(2))
    ring.until_applied(ring.instance(2, state="draining"))
    hits = ring.web.hits["web.2"]
    with load(ring.port) as running:
        ring.until_applied(ring.service(balance="leastconn"))
        time.sleep(0.3)
    assert running.failures == []
    assert ring.web.hits["web.2"] == hits
    assert ring.haproxy.servers()["web.2"][3] == 0


def test_changes_that_race_reloads_all_land(ring: Ring) -> None:
    """Every change is one of servers or one of structure, as fast as etcd takes them."""
    dice = random.Random(7)
    addresses = [ring.web.open(f"w{index}") for index in range(4)]
    other = free_port()
    ring.service()
    revision = 0
    present: set[int] = set()
    for step in range(120):
        number = dice.randrange(1, 13)
        if step % 8 == 0:
            balance = dice.choice(["roundrobin", "leastconn", "random"])
            revision = ring.service("api", port=other, balance=balance, drain_timeout_s=float(step))
        elif number in present and dice.random() < 0.5:
            present.discard(number)
            revision = ring.withdraw(number)
        else:
            present.add(number)
            revision = ring.instance(number, address=dice.choice(addresses))
    ring.until_applied(revision)
    ring.until_serving(*present)
    wanted = {f"web.{n}": ring.addresses[f"web.{n}"] for n in present}
    # One that is removed is there, and gets nothing, until its last check is over.
    within(SOON_S, "nobody else is left", lambda: {n: s[0] for n, s in ring.haproxy.servers().items()} == wanted)


def test_a_reload_by_somebody_else_is_noticed(idle_ring: Ring) -> None:
    idle_ring.confd.check_every("200ms")
    idle_ring.start()
    idle_ring.service()
    idle_ring.until_applied(idle_ring.instance(1))
    old = idle_ring.haproxy.worker_pid()
    os.kill(idle_ring.haproxy.master_pid, signal.SIGUSR2)
    within(SOON_S, "a new worker", lambda: idle_ring.haproxy.worker_pid() != old)
    idle_ring.until_applied(idle_ring.instance(2))
    idle_ring.until_serving(1, 2)
    idle_ring.until_applied(idle_ring.withdraw(1))
    idle_ring.until_serving(2)


def test_a_port_in_use_is_told_and_tried_again(ring: Ring) -> None:
    ring.service()
    ring.until_applied(ring.instance(1))
    ring.until_serving(1)
    good = ring.haproxy.config.read_text()
    with socket.socket() as taken:
        port = free_port()  # one that no connection is given: HAProxy is to get it afterwards
        taken.bind(("127.0.0.1", port))
        taken.listen()
        revision = ring.service("api", port=port)
        fault = within(SOON_S, "the fault is told", lambda: ring.confd.state().get("error"))
        assert f"cannot listen on port {port}: Address already in use" in str(fault)
        assert ring.haproxy.config.read_text() == good
        assert status(ring.port) == 200
        # Servers of what runs still follow.
        ring.instance(2)
        ring.until_serving(1, 2)
    ring.until_applied(revision)


def test_a_failed_start_of_the_new_process_puts_the_old_file_back(ring: Ring) -> None:
    """`haproxy -c` accepts what only the start finds out: here a socket in a directory that is not there."""
    ring.service()
    ring.until_applied(ring.instance(1))
    ring.until_serving(1)
    good = ring.haproxy.config.read_text()
    template = ring.confd.confdir / "templates" / "haproxy.cfg.j2"
    whole = template.read_text()
    template.write_text(
        whole.replace("    stats timeout 1h", "    stats timeout 1h\n    stats socket /nonexistent-for-hecd/x")
    )
    revision = ring.service("api", port=free_port())
    within(SOON_S, "the fault is told", lambda: "the reload failed" in str(ring.confd.state().get("error")))
    assert ring.haproxy.config.read_text() == good
    assert status(ring.port) == 200
    template.write_text(whole)
    ring.until_applied(revision)
    ring.until_serving(1)


def test_a_drain_counts_only_when_no_old_process_can_use_the_server(ring: Ring) -> None:
    """A client that was idle during a reload still talks to the old process, which takes no orders any more."""
    patient = {"idle_s": 100.0}  # the old process is to keep its client until it asks again
    ring.service(timeouts=patient)
    ring.until_applied(ring.instance(1))
    ring.until_serving(1)
    client = http.client.HTTPConnection("127.0.0.1", ring.port, timeout=SOON_S)
    client.request("GET", "/")
    assert client.getresponse().read() == b"web.1"
    ring.until_applied(ring.service(balance="leastconn", timeouts=patient))
    ring.instance(2)
    ring.until_serving(1, 2)
    revision = ring.instance(1, state="draining")
    within(SOON_S, "held", lambda: ring.confd.state()["held_by_old_processes"] == ["web.80/web.1"])
    assert ring.haproxy.serving() == {"web.2"}
    time.sleep(0.3)
    assert not ring.confd.applied(revision)
    client.request("GET", "/")
    assert client.getresponse().read() == b"web.1"
    ring.until_applied(revision)
    # What was not in use before needs no such wait.
    ring.until_applied(ring.instance(3))


def test_instances_do_not_wait_for_a_reload_that_is_due(idle_ring: Ring) -> None:
    idle_ring.confd.environ["HECD_MIN_RELOAD_INTERVAL"] = "120s"
    idle_ring.start()
    idle_ring.service()
    idle_ring.until_applied(idle_ring.instance(1))
    idle_ring.until_serving(1)
    idle_ring.service(balance="leastconn")
    revision = idle_ring.instance(2)
    idle_ring.until_serving(1, 2)
    assert not idle_ring.confd.applied(revision)


def test_haproxy_restarted_comes_back_in_step(ring: Ring) -> None:
    ring.service()
    ring.instance(1)
    ring.until_applied(ring.instance(2))
    ring.until_serving(1, 2)
    before = ring.confd.state()["reloads"]
    ring.haproxy.stop()
    ring.instance(3)
    within(SOON_S, "the file follows", lambda: "web.3" in ring.haproxy.config.read_text())
    within(SOON_S, "told", lambda: "no HAProxy answers" in str(ring.confd.state()["error"]), ring.confd.told)
    ring.haproxy.start()
    ring.until_serving(1, 2, 3)
    revision = ring.withdraw(1)
    ring.until_applied(revision)
    ring.until_serving(2, 3)
    assert ring.confd.state()["reloads"] == before


def test_confd_killed_in_the_middle_again_and_again(ring: Ring) -> None:
    address = ring.web.open("all")
    ring.service()
    ring.until_applied(ring.instance(1, address=address))
    ring.until_serving(1)
    with load(ring.port) as running:
        for number in range(2, 8):
            ring.instance(number, address=address)
            if number % 2:
                ring.service("api", port=free_port())
            time.sleep(0.005 * number)
            ring.confd.kill()
            ring.confd.start()
        ring.until_applied(ring.withdraw(2))
        ring.until_serving(1, 3, 4, 5, 6, 7)
    assert running.failures == []


def test_a_full_disk_leaves_the_old_file(idle_ring: Ring, tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(small)], check=True)
    try:
        idle_ring.confd.environ["HECD_HAPROXY_CFG"] = str(small / "haproxy.cfg")
        idle_ring.haproxy.config = small / "haproxy.cfg"
        idle_ring.start()
        idle_ring.service()
        idle_ring.until_applied(idle_ring.instance(1))
        idle_ring.until_serving(1)
        good = idle_ring.haproxy.config.read_text()
        filler = small / "filler"
        filler.write_bytes(b"")
        with filler.open("ab", buffering=0) as file:
            try:
                while True:
                    file.write(b"x" * 512)
            except OSError:
                pass
        revision = idle_ring.instance(2)
        log = idle_ring.confd.log
        within(SOON_S, "told", lambda: "could not be written: No space left on device" in log.read_text())
        assert idle_ring.haproxy.config.read_text() == good
        assert idle_ring.haproxy.serving() == {"web.1"}
        within(SOON_S, "nothing half written stays", lambda: not [p for p in small.iterdir() if p.name.startswith(".")])
        filler.unlink()
        idle_ring.until_applied(revision)
        idle_ring.until_serving(1, 2)
    finally:
        idle_ring.stop()
        subprocess.run(["umount", "-l", str(small)], check=True)
