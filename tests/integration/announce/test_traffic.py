"""Traffic follows containers that HECD does not run: announced, served by its HAProxy, drained before they die."""

from __future__ import annotations

import http.client
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.fakes.ports import free_port
from tests.integration.announce.dockerd import SLOW_TO_END
from tests.integration.announce.parts import PREFIX, Host, until
from tests.integration.confd_py.parts import Confd, Haproxy

IP = "127.0.0.1"
HECD = str(Path(sys.executable).with_name("hecd"))
CONFD = str(Path(sys.executable).with_name("confd-py"))


def hecd(host: Host, *words: str) -> str:
    argv = [HECD, "--root", str(host.folder / "root"), "--etcd", host.etcd.endpoint, *words]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


@contextmanager
def requests(port: int) -> Iterator[list[int]]:
    """The statuses of all requests made while the block runs, 0 for one without an answer."""
    statuses: list[int] = []
    ending = threading.Event()

    def ask() -> None:
        while not ending.is_set():
            connection = http.client.HTTPConnection(IP, port, timeout=20)
            try:
                connection.request("GET", "/")
                statuses.append(connection.getresponse().status)
            except OSError:
                statuses.append(0)
            connection.close()

    threads = [threading.Thread(target=ask, daemon=True) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        yield statuses
    finally:
        ending.set()
        for thread in threads:
            thread.join(timeout=40)


def test_no_request_is_lost_when_an_announced_container_is_stopped(host: Host) -> None:
    haproxy, port = Haproxy(host.folder), free_port()
    confd = Confd(host.folder, haproxy, host.etcd.endpoint)
    try:
        host.announce(f"-ip={IP}", to="hecd://{}")
        names = [host.dockerd.run(f"web.{n}", publish={80: 8080 + n}, script=SLOW_TO_END) for n in range(2)]
        until(lambda: len(host.records("web")) == 2, told=host.log)
        assert (
            "web is announced and not served"
            in subprocess.run(
                [HECD, "--etcd", host.etcd.endpoint, "status"], capture_output=True, text=True, timeout=60
            ).stdout
        )
        hecd(host, "serve", "web", f"{port}:80")
        confd.start()
        until(haproxy.config.exists)
        haproxy.start()
        until(lambda: len(haproxy.serving("web.80")) == 2, told=lambda: haproxy.servers("web.80"))
        with requests(port) as statuses:
            until(lambda: len(statuses) > 100, told=lambda: statuses)
            host.dockerd.api.stop(names[0], timeout=30)
            until(lambda: len(haproxy.servers("web.80")) == 1, told=lambda: haproxy.servers("web.80"))
            before = len(statuses)
            until(lambda: len(statuses) > before + 100, told=lambda: statuses)
        assert set(statuses) == {200}
        hecd(host, "rm", "web")
        until(lambda: "web" not in haproxy.config.read_text())
    finally:
        confd.stop()
        haproxy.stop()


def test_a_confd_template_for_registrators_keys_goes_on_unchanged(host: Host) -> None:
    for folder in ("conf.d", "templates"):
        (host.folder / "confd" / folder).mkdir(parents=True)
    out = host.folder / "upstream.conf"
    (host.folder / "confd/conf.d/web.toml").write_text(
        f'[template]\nsrc = "web.tmpl"\ndest = "{out}"\nkeys = ["{PREFIX}/web"]\n'
    )
    (host.folder / "confd/templates/web.tmpl").write_text(
        f'upstream web {{\n{{{{range getvs "{PREFIX}/web/*"}}}}  server {{{{.}}}};\n{{{{end}}}}}}\n'
    )
    host.announce(f"-ip={IP}")
    for number in range(2):
        host.dockerd.run(f"web.{number}", publish={80: 8080 + number})
    until(lambda: len(host.stored()) == 2, told=host.log)
    argv = [CONFD, "-onetime", "-backend=etcdv3", f"-node={host.etcd.url}", f"-confdir={host.folder / 'confd'}"]
    subprocess.run(argv, check=True, timeout=60, env={**os.environ}, capture_output=True)
    assert out.read_text() == f"upstream web {{\n  server {IP}:8080;\n  server {IP}:8081;\n}}\n"
