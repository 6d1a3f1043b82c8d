"""nginx follows the registry: reloads that are confirmed, refused and owed, and traffic over them."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import etcdkit
from tests.fakes.ports import free_port
from tests.integration.confd_py.nginx import NginxRing
from tests.integration.confd_py.parts import SOON_S, Load, within


@pytest.fixture
def idle_ring(tmp_path: Path) -> Iterator[NginxRing]:
    """Nothing runs yet."""
    ring = NginxRing(tmp_path)
    try:
        yield ring
    finally:
        ring.stop()


@pytest.fixture
def ring(idle_ring: NginxRing) -> NginxRing:
    """Everything runs, and web.1 serves."""
    idle_ring.start()
    idle_ring.service()
    idle_ring.until_applied(idle_ring.instance(1))
    idle_ring.until_serving(1)
    return idle_ring


def template_of(ring: NginxRing) -> Path:
    return ring.confd.confdir / "templates" / "nginx.conf.j2"


def hidden_listener() -> socket.socket:
    """On a port of all IPv6 addresses, and of all IPv4 addresses, too, which does not show. It is one that no
    connection is given: nginx is to get it afterwards."""
    return socket.create_server(("", free_port()), family=socket.AF_INET6, dualstack_ipv6=True)


async def announce(ring: NginxRing, count: int, address: str) -> None:
    """Many instances of another service at one address, over some seconds."""
    async with etcdkit.Client([ring.etcd.endpoint]) as client:
        traffic = {"ports": [{"published": free_port(), "target": 80}]}
        await client.put("/hecd/services/many", json.dumps({"service": "many", "traffic": traffic}).encode())
        for number in range(count):
            record = {
                "instance": f"many.{number}", "service": "many", "endpoints": {"80": address}, "state": "running",
                "health": "healthy",
            }  # fmt: skip
            await client.put(f"/hecd/instances/many/many.{number}", json.dumps(record).encode())
            await asyncio.sleep(0.02)


def error_of(ring: NginxRing, words: str, seconds: float = SOON_S) -> dict[str, object]:
    """The applied state as soon as its error has `words`."""
    within(seconds, f"the fault is told: {words}", lambda: words in str(ring.confd.state().get("error")))
    return ring.confd.state()


def test_traffic_follows_instances(ring: NginxRing) -> None:
    ring.until_applied(ring.instance(2))
    ring.until_serving(1, 2)
    before = ring.reloads
    ring.until_applied(ring.instance(1, state="draining"))
    assert ring.serving() == {"web.2"}
    ring.until_applied(ring.withdraw(1))
    assert ring.reloads == before + 1, "one that has drained takes no further reload"
    status, headers, body = ring.answer()
    assert (status, headers["x-hecd-instance"], body) == (200, "web.2", "web.2")


def test_hostnames_share_a_port(ring: NginxRing) -> None:
    named = {"published": ring.port, "target": 80, "mode": "http", "hostnames": ["api.example", "*.wild.example"]}
    ring.service("api", ports=[named])
    ring.until_applied(ring.instance(1, service="api"))
    assert ring.ask("API.example:99") == (200, "api.1")
    assert ring.ask("a.wild.example") == (200, "api.1")
    assert ring.ask("other.example") == (200, "web.1")
    ring.until_applied(ring.delete("/hecd/services/web"))
    assert ring.ask("other.example")[0] == 404
    assert ring.ask("api.example") == (200, "api.1")


def test_a_service_without_instances_answers_503_and_holds_up_nobody(ring: NginxRing) -> None:
    other = free_port()
    ring.until_applied(ring.service("api", port=other))
    assert ring.ask(port=other) == (503, "no instance of api serves now\n")
    assert ring.ask() == (200, "web.1")
    ring.until_applied(ring.instance(1, service="api"))
    assert ring.ask(port=other) == (200, "api.1")
    ring.until_applied(ring.withdraw(1, service="api"))
    assert ring.ask(port=other)[0] == 503


def test_tcp_mode(ring: NginxRing) -> None:
    port = free_port()
    tcp = {"published": port, "target": 80, "mode": "tcp", "hostnames": []}
    ring.until_applied(ring.service("db", ports=[tcp], balance="leastconn"))
    with pytest.raises(ConnectionError):
        ring.ask(port=port)
    ring.until_applied(ring.instance(1, service="db"))
    assert ring.ask(port=port) == (200, "db.1")


def test_what_a_server_sees_of_the_client(ring: NginxRing) -> None:
    """Also that a switch of protocols passes both ways, as a websocket's does."""
    seen = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                seen.append(connection.recv(4096).decode())
                connection.sendall(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n")
                connection.sendall(connection.recv(64).upper())

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        ring.until_applied(ring.instance(1, address=f"127.0.0.1:{listener.getsockname()[1]}"))
        with socket.create_connection(("127.0.0.1", ring.port), timeout=SOON_S) as client:
            client.sendall(b"GET / HTTP/1.1\r\nHost: a.example:7\r\nUpgrade: x\r\nConnection: upgrade\r\n")
            client.sendall(b"X-Forwarded-For: 9.9.9.9\r\n\r\n")
            head = client.recv(4096)
            assert head.startswith(b"HTTP/1.1 101 ")
            client.sendall(b"ping")
            rest = head.partition(b"\r\n\r\n")[2]
            assert rest + client.recv(64) == b"PING"
        thread.join(SOON_S)
    lines = seen[0].split("\r\n")
    assert {"Host: a.example:7", "X-Forwarded-For: 9.9.9.9, 127.0.0.1"} <= set(lines)
    assert {"Connection: upgrade", "Upgrade: x"} <= set(lines)


def test_a_dead_server_costs_no_request_that_can_be_sent_again(ring: NginxRing) -> None:
    ring.until_applied(ring.instance(2))
    ring.until_serving(1, 2)
    ring.web.close("web.2")
    for method in ("GET", "POST") * 10:  # nothing was sent to one that refuses to connect: a POST, too, goes elsewhere
        status, headers, body = ring.answer(method=method)
        assert (status, headers["x-hecd-instance"], body) == (200, "web.1", "web.1")


def test_a_post_is_not_sent_twice(ring: NginxRing) -> None:
    """A server that hangs up after it has read the request may have worked on it."""
    hits = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection:
                    hits.append(connection.recv(4096).split()[0].decode())

        threading.Thread(target=serve, daemon=True).start()
        ring.until_applied(ring.instance(2, address=f"127.0.0.1:{listener.getsockname()[1]}"))
        answers = [ring.ask(method=method)[0] for method in ("POST", "POST", "GET", "GET")]
        listener.shutdown(socket.SHUT_RDWR)
    assert answers.count(502) == hits.count("POST") == 1
    assert answers[2:] == [200, 200]


def test_reloads_lose_nothing_of_new_connections(ring: NginxRing) -> None:
    """The losses of idle keep-alive connections are nginx's own, and only counted here."""
    ring.until_applied(ring.instance(2))
    ring.until_serving(1, 2)
    fresh, kept = Load(ring.port, 4, kept=0), Load(ring.port, 4, kept=1)
    before = ring.reloads
    fresh.start()
    kept.start()
    for number in range(3, 9):
        ring.until_applied(ring.instance(number))
    for number in (3, 5, 7):
        ring.until_applied(ring.instance(number, state="draining"))
        ring.until_applied(ring.withdraw(number))
    fresh.end()
    kept.end()
    reloads = ring.reloads - before
    print(f"{reloads} reloads: {fresh.sent} new connections, {len(fresh.failures)} lost")
    lost = [failure for failure in kept.failures if not failure.startswith("stale")]
    print(f"{reloads} reloads: {kept.sent} requests on kept connections, {len(lost)} lost: {lost[:3]}")
    print(f"{len(kept.failures) - len(lost)} more were sent although the connection was closed already")
    assert reloads == 9
    assert fresh.failures == []
    assert min(fresh.sent, kept.sent) > 300


def test_a_file_nginx_does_not_accept_leaves_the_old_one(ring: NginxRing) -> None:
    good, stamp = ring.nginx.config.read_text(), ring.nginx.generation()[1]
    template = template_of(ring)
    whole = template.read_text()
    template.write_text(whole.replace("server_tokens off;", "server_tokens maybe;"))
    state = error_of(ring, "nginx does not accept the new nginx.conf")
    assert re.search(rf'invalid value "maybe" in {ring.nginx.config}:\d+', str(state["error_details"]))
    revision = ring.instance(2)
    within(SOON_S, "it is tried again", lambda: int(str(ring.confd.state()["failures"])) >= 3)
    assert (ring.nginx.config.read_text(), ring.nginx.generation()[1]) == (good, stamp)
    template.write_text(whole)
    ring.until_applied(revision)
    ring.until_serving(1, 2)


def test_a_value_that_is_more_than_a_word_never_reaches_the_file(ring: NginxRing) -> None:
    good = ring.nginx.config.read_text()
    ring.instance(2, address="10.0.0.1:80; } server { listen 1")
    error_of(ring, "cannot stand as a word of a nginx file")
    assert ring.nginx.config.read_text() == good


def test_a_port_in_use_is_told_and_applied_once_it_is_free(ring: NginxRing) -> None:
    good, inode = ring.nginx.config.read_text(), ring.nginx.config.stat().st_ino
    port = free_port()  # one that no connection is given: nginx is to get it afterwards
    with socket.create_server(("127.0.0.1", port)):
        ring.service("api", port=port)
        revision = ring.instance(1, service="api")
        state = error_of(ring, f"nginx cannot listen on port {port}: Address already in use")
        assert state["error_details"] == [f"127.0.0.1:{port} is in use"]
        assert (ring.nginx.config.read_text(), ring.nginx.config.stat().st_ino) == (good, inode)
        assert ring.ask() == (200, "web.1")
    ring.until_applied(revision)
    assert ring.ask(port=port) == (200, "api.1")


def test_a_port_that_only_nginx_finds_in_use_has_the_old_file_put_back(ring: NginxRing) -> None:
    good, stamp = ring.nginx.config.read_text(), ring.nginx.generation()[1]
    with hidden_listener() as taken:
        port = taken.getsockname()[1]
        ring.service("api", port=port)
        revision = ring.instance(1, service="api")
        state = error_of(ring, "nginx could not apply the new configuration")
        details = state["error_details"]
        assert isinstance(details, list)
        assert f"bind() to 127.0.0.1:{port} failed (98: Address already in use)" in details
        assert (ring.nginx.config.read_text(), ring.nginx.generation()[1]) == (good, stamp)
        assert ring.ask() == (200, "web.1")
    ring.until_applied(revision)
    assert ring.ask(port=port) == (200, "api.1")


def test_what_only_a_reload_refuses_is_taken_back(ring: NginxRing) -> None:
    """`nginx -t` starts from nothing: it cannot know that a zone counts something else already."""
    template = template_of(ring)
    whole = template.read_text()
    zone = "    limit_req_zone {} zone=z:64k rate=1000r/s;\n    server_tokens off;"
    template.write_text(whole.replace("    server_tokens off;", zone.format("$uri")))
    within(SOON_S, "the file follows", lambda: "$uri zone=z" in ring.nginx.config.read_text())
    good = ring.nginx.config.read_text()
    within(SOON_S, "nginx follows", lambda: ring.nginx.generation()[1] in good)
    template.write_text(whole.replace("    server_tokens off;", zone.format("$host")))
    state = error_of(ring, "nginx could not apply the new configuration")
    assert 'limit_req "z" uses the "$host" key while previously it used the "$uri" key' in str(state["error_details"])
    assert ring.nginx.config.read_text() == good
    template.write_text(whole)
    ring.until_applied(ring.instance(2))
    ring.until_serving(1, 2)


def test_nginx_killed_and_started_again(ring: NginxRing) -> None:
    before = ring.reloads
    ring.nginx.stop()
    state = error_of(ring, "no nginx runs")
    assert "Start nginx" in str(state["hint"])
    ring.instance(2)
    revision = ring.instance(3)
    within(SOON_S, "the file follows", lambda: ring.addresses["web.3"] in ring.nginx.config.read_text())
    ring.nginx.start()
    ring.until_applied(revision)
    ring.until_serving(1, 2, 3)
    assert ring.reloads == before, "it has read the file at its start"
    ring.until_applied(ring.withdraw(2))
    ring.until_serving(1, 3)


def test_an_nginx_that_runs_another_file_is_told(idle_ring: NginxRing) -> None:
    toml = idle_ring.confd.confdir / "conf.d" / "nginx.toml"
    toml.write_text(toml.read_text() + 'reload_timeout = "1s"\n')
    idle_ring.start()
    idle_ring.nginx.stop()
    error_of(idle_ring, "no nginx runs")
    other = idle_ring.nginx.config.with_name("other.conf")
    other.write_text(re.sub(r"[0-9a-f]{16}", "other", idle_ring.nginx.config.read_text()))
    idle_ring.nginx.start(other)
    state = error_of(idle_ring, "no new workers of nginx answered at 127.0.0.1:")
    assert str(idle_ring.nginx.log) in str(state["hint"])
    idle_ring.nginx.stop()
    idle_ring.nginx.start()
    idle_ring.service()
    idle_ring.until_applied(idle_ring.instance(1))
    idle_ring.until_serving(1)


def test_a_reload_by_somebody_else_changes_nothing(ring: NginxRing) -> None:
    before = ring.reloads
    old = ring.nginx.generation()[0]
    os.kill(ring.nginx.master_pid, signal.SIGHUP)
    within(SOON_S, "other workers", lambda: ring.nginx.generation()[0] != old)
    ring.until_applied(ring.instance(2))
    ring.until_serving(1, 2)
    assert ring.reloads == before + 1


def test_reloads_by_somebody_else_all_the_time(ring: NginxRing) -> None:
    ending = threading.Event()

    def hang_up() -> None:
        while not ending.wait(0.03):
            os.kill(ring.nginx.master_pid, signal.SIGHUP)

    def gets_some(name: str) -> None:
        within(SOON_S, f"{name} gets some", lambda: name in ring.serving(20))

    thread = threading.Thread(target=hang_up, daemon=True)
    thread.start()
    try:
        for number in range(2, 5):
            ring.until_applied(ring.instance(number))
            # Each generation begins with the first server, and may live for a few requests only.
            gets_some(f"web.{number}")
    finally:
        ending.set()
        thread.join(SOON_S)


def test_a_drain_counts_only_when_no_old_worker_takes_requests(idle_ring: NginxRing) -> None:
    """One that does not react holds it up, but not for ever."""
    toml = idle_ring.confd.confdir / "conf.d" / "nginx.toml"
    toml.write_text(toml.read_text() + 'reload_timeout = "10s"\n')
    idle_ring.start()
    idle_ring.service()
    idle_ring.instance(2)
    idle_ring.until_applied(idle_ring.instance(1))
    stamp, old = idle_ring.nginx.generation()[1], idle_ring.nginx.workers()[0]
    os.kill(old, signal.SIGSTOP)
    try:
        revision = idle_ring.instance(1, state="draining")
        within(SOON_S, "new workers answer", lambda: idle_ring.nginx.generation()[1:] not in ((stamp,), ()))
        time.sleep(0.5)
        assert not idle_ring.confd.applied(revision)
        idle_ring.until_applied(revision)
    finally:
        os.kill(old, signal.SIGCONT)
    assert "an old worker of nginx does not react" in idle_ring.confd.log.read_text()


def test_confd_restarted_needs_no_reload(ring: NginxRing) -> None:
    before, generation = ring.reloads, ring.nginx.generation()
    for _ in range(2):
        ring.confd.kill()
        ring.confd.start()
        ring.until_applied(ring.service())  # the same words once more
    assert ring.reloads == before
    assert ring.nginx.generation()[1] == generation[1]
    assert "shutting down" not in str(ring.nginx.titles())


def test_confd_killed_between_file_and_reload(ring: NginxRing) -> None:
    config = ring.nginx.config

    def replaced(old: int) -> None:
        within(SOON_S, "the file is in place", lambda: config.stat().st_ino != old)

    for number in range(2, 12):
        inode = config.stat().st_ino
        ring.instance(number)
        replaced(inode)
        ring.confd.kill()
        time.sleep(0.5)  # a reload, had it been asked for, would be done; one that takes longer is waited for

        def missed() -> bool:
            return ring.nginx.generation()[1] not in config.read_text()

        def agreed(name: str = f"web.{number}", times: int = 4 * number) -> bool:
            return (name in ring.serving(times)) is not missed()

        within(SOON_S, "workers tell what they serve", agreed)
        was_missed = missed()
        ring.confd.start()
        ring.until_applied(ring.service(drain_timeout_s=float(number)))
        ring.until_serving(*range(1, number + 1))
        if was_missed:
            return
    raise AssertionError("the kill never came between file and reload")


def test_confd_killed_while_nginx_refuses(ring: NginxRing) -> None:
    """The next process finds the new file in place, and nobody but the disk knows the old one."""
    good = ring.nginx.config.read_text()
    with hidden_listener() as taken:
        revision = ring.service("api", port=taken.getsockname()[1])

        def caught() -> bool:
            """Killed with the file in place; where it was taken back just before, the next try is waited for."""
            if ring.nginx.config.read_text() == good:
                return False
            ring.confd.kill()
            if ring.nginx.config.read_text() != good:
                return True
            ring.confd.start()
            return False

        within(SOON_S, "the file is in place", caught)
        ring.confd.start()
        error_of(ring, "nginx could not apply the new configuration")
        assert ring.nginx.config.read_text() == good
    ring.until_applied(revision)


def test_a_burst_makes_few_reloads_and_the_last_state_lands(ring: NginxRing) -> None:
    before, begun = ring.reloads, time.monotonic()
    address = ring.web.open("all")
    asyncio.run(announce(ring, 200, address))
    revision = ring.instance(2)
    ring.until_applied(revision)
    took_s = time.monotonic() - begun
    assert ring.reloads - before <= 3 + took_s, f"{ring.reloads - before} reloads in {took_s:.1f} s"
    assert ring.nginx.config.read_text().count(f"server {address} ") == 200
    ring.until_serving(1, 2)


def test_old_workers_do_not_pile_up(ring: NginxRing) -> None:
    """Each reload leaves its workers behind a connection that does not end; more than three generations are ended."""
    ring.web.delay_s["web.1"] = 60
    held = []
    try:
        for number in range(2, 9):
            client = socket.create_connection(("127.0.0.1", ring.port), timeout=SOON_S)
            client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            held.append(client)
            ring.until_applied(ring.service(balance="random" if number % 2 else "leastconn"))
        assert sum("shutting down" in title for title in ring.nginx.titles()) > 0
        within(SOON_S, "those that were ended are gone", lambda: few(ring.nginx.titles()), ring.nginx.titles)
    finally:
        for client in held:
            client.close()


def few(titles: list[str]) -> bool:
    """Whether workers of at most three older generations are there."""
    now = sum("worker process" in title and "shutting" not in title for title in titles)
    return sum("shutting down" in title for title in titles) <= 3 * now
