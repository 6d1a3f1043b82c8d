"""hecd top and hecd events as a person types them, with a real etcd that is there, dies, and never was."""

from __future__ import annotations

import json
import os
import pty
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import pytest
from click.testing import CliRunner

from registrator.cli import hecd, session
from registrator.errors import RegistryUnavailable
from registrator.registry.codec import encode
from tests.fakes.etcd_server import EtcdServer
from tests.fakes.ports import free_port
from tests.unit.registrator.test_traffic import ONE, edge, world

HECD = str(Path(sys.executable).with_name("hecd"))


@pytest.fixture
def etcd(tmp_path: Path) -> Iterator[EtcdServer]:
    server = EtcdServer(tmp_path).start()
    record = edge(ONE, 1.0)
    server.etcdctl("put", f"/hecd/edges/{ONE}", encode(record).decode())
    for instance in world().instances.values():
        server.etcdctl("put", f"/hecd/instances/web/{instance.instance}", encode(instance).decode())
    yield server
    server.kill()


@contextmanager
def until_ctrl_c(argv: list[str]) -> Iterator[IO[str]]:
    """What it prints while the block runs; then Ctrl-C ends it in order."""
    process = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        yield process.stdout
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    finally:
        process.kill()
        process.wait()
    assert (process.returncode, "Traceback" in err) == (0, False), err


def command(endpoint: str, *words: str) -> list[str]:
    return [HECD, "--etcd", endpoint, "top", *words]


def test_once_it_prints_a_table_or_json(etcd: EtcdServer) -> None:
    table = subprocess.run(command(etcd.endpoint), capture_output=True, text=True, timeout=60)
    assert table.returncode == 0, table.stderr
    assert table.stdout.splitlines()[0].split()[:7] == [
        "SERVICE",
        "PORT",
        "RELEASE",
        "EDGE",
        "STATE",
        "SERVERS",
        "REQ/S",
    ]
    assert [row.split()[:4] for row in table.stdout.splitlines()[1:]] == [
        ["web", "80", "1", "h4"],
        ["web", "80", "2", "h4"],
    ]
    plain = subprocess.run(command(etcd.endpoint, "--once", "--json"), capture_output=True, text=True, timeout=60)
    lines = json.loads(plain.stdout)["lines"]
    assert [(line["release"], line["share"], line["http_5xx"]) for line in lines] == [("1", 99.0, 1), ("2", 1.0, 2)]
    none = subprocess.run(command(etcd.endpoint, "api", "--once"), capture_output=True, text=True, timeout=60)
    assert (none.returncode, none.stdout) == (0, "") and "no load balancer tells of a service" in none.stderr


def test_where_no_etcd_is_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "PATIENCE_S", 0.2)
    monkeypatch.setattr(session, "ANSWER_WITHIN_S", 1.0)
    address = f"127.0.0.1:{free_port()}"
    done = CliRunner().invoke(hecd, ["--etcd", address, "top", "--once"])
    assert isinstance(done.exception, RegistryUnavailable) and done.exception.hint
    assert done.stderr == f"waiting for etcd at {address}\n"


def test_live_it_goes_on_without_etcd_and_ends_with_ctrl_c(etcd: EtcdServer) -> None:
    argv = command(etcd.endpoint, "--json", "--every", "0.1")
    with until_ctrl_c(argv) as lines:
        assert json.loads(lines.readline())["connected"]
        etcd.kill()
        end = time.monotonic() + 60
        while (said := json.loads(lines.readline()))["connected"]:
            assert time.monotonic() < end, "etcd is gone and it does not say so"
        assert len(said["lines"]) == 2


def test_on_a_terminal_it_draws_what_it_sees(etcd: EtcdServer) -> None:
    ours, theirs = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "160", "LINES": "24"}
    process = subprocess.Popen(command(etcd.endpoint), stdin=theirs, stdout=theirs, stderr=theirs, env=environment)
    os.close(theirs)
    seen = b""
    try:
        end = time.monotonic() + 60
        while b"SERVICE" not in seen or b"web" not in seen:
            assert time.monotonic() < end, seen
            if select.select([ours], [], [], 0.2)[0]:
                seen += os.read(ours, 65536)
        process.send_signal(signal.SIGINT)
        end = time.monotonic() + 60
        while process.poll() is None and time.monotonic() < end:
            if select.select([ours], [], [], 0.2)[0]:
                try:
                    seen += os.read(ours, 65536)
                except OSError:
                    break  # it has closed its terminal
        assert process.wait(60) == 0
    finally:
        process.kill()
        process.wait()
        os.close(ours)
    assert b"Traceback" not in seen


def test_events_tells_of_the_past_and_goes_on_until_ctrl_c(etcd: EtcdServer) -> None:
    argv = [HECD, "--etcd", etcd.endpoint, "events", "-f", "-o", "json", "web"]
    with until_ctrl_c(argv) as lines:
        past = [json.loads(lines.readline()) for _ in range(3)]
        assert {(event["about"], event["text"]) for event in past} == {
            (f"web.{n}", "starting on h4") for n in (1, 2, 3)
        }
        gone = "/hecd/instances/web/web.2"
        etcd.etcdctl("del", gone)
        now = json.loads(lines.readline())
        assert (now["about"], now["text"], now["service"]) == ("web.2", "is gone from h4", "web")
        etcd.kill()
