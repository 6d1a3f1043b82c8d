"""What others can see of a running confd-py: status, metrics, health, systemd."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes.etcd_server import EtcdServer
from tests.fakes.ports import free_port
from tests.integration.confd_py.parts import HEARD_S, ROOT, SOON_S, within
from tests.integration.confd_py.test_command_line import Place


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    yield Place(tmp_path)


class Systemd:
    """The receiving end of the notification protocol. It reads all the time: the kernel keeps some ten messages, and
    who ends says so only once."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "notify"
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(self.path))
        self.told: list[str] = []
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def hears(self, word: str) -> bool:
        return any(line.startswith(word) for line in self.told)

    def close(self) -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.sendto(b"", str(self.path))
        self._thread.join(SOON_S)
        self._socket.close()

    def _read(self) -> None:
        while message := self._socket.recv(4096):
            self.told += message.decode().splitlines()


def fetch(port: int, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=SOON_S) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as err:
        return err.code, err.read().decode()
    except OSError:
        return 0, ""


def test_metrics_health_and_status(place: Place) -> None:
    port, place_of_socket = free_port(), place.folder / "status.sock"
    words = ["-watch", "-metrics-listen", f"127.0.0.1:{port}", "-status-socket", str(place_of_socket)]
    process = subprocess.Popen(place.argv(*words), cwd=ROOT, stderr=subprocess.DEVNULL)
    try:
        within(SOON_S, "healthy", lambda: fetch(port, "/health")[0] == 200)
        within(
            SOON_S,
            "one change counted",
            lambda: 'confd_change_seconds_count{resource="t"} 1.0' in fetch(port, "/metrics")[1],
        )
        assert 'confd_in_effect{resource="t"} 1.0' in fetch(port, "/metrics")[1]
        place.resource("t", "{{ nope }}", place.out)
        within(HEARD_S, "not healthy", lambda: fetch(port, "/health")[0] == 503)
        assert "'nope' is undefined" in json.loads(fetch(port, "/health")[1])["errors"]["t"]
        assert fetch(port, "/other")[0] == 404
        status = place.run("status", "-status-socket", str(place_of_socket))
        assert status.returncode == 1
        assert "'nope' is undefined" in status.stdout
        assert "none is running" not in status.stderr
        process.terminate()
        assert process.wait(SOON_S) == 0
        assert not place_of_socket.exists()
        assert "none is running" in place.run("status", "-status-socket", str(place_of_socket)).stderr
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize("listen", ["0.0.0.0:9101", "127.0.0.1", "127.0.0.1:x", "example.org:80"])
def test_metrics_stay_on_loopback(place: Place, listen: str) -> None:
    done = place.run("-watch", "-metrics-listen", listen)
    assert done.returncode == 1
    assert "is no address:port of loopback" in done.stderr


def test_systemd_is_told(place: Place, tmp_path: Path) -> None:
    systemd = Systemd(tmp_path)
    environ = {**os.environ, "NOTIFY_SOCKET": str(systemd.path), "WATCHDOG_USEC": "200000"}
    process = subprocess.Popen(place.argv("-watch"), cwd=ROOT, stderr=subprocess.DEVNULL, env=environ)
    try:
        within(SOON_S, "ready", lambda: systemd.hears("READY=1"))
        within(SOON_S, "its state", lambda: systemd.hears("STATUS=1 resources in effect"))
        process.send_signal(signal.SIGHUP)
        within(SOON_S, "reloading", lambda: systemd.hears("RELOADING=1"))
        within(SOON_S, "alive", lambda: systemd.told.count("WATCHDOG=1") > 1)
        process.terminate()
        process.wait(SOON_S)
        within(SOON_S, "stopping", lambda: systemd.hears("STOPPING=1"))
    finally:
        process.kill()
        process.wait()
        systemd.close()


def test_check_and_diff_read_a_mock(place: Place) -> None:
    mock = place.folder / "mock.json"
    mock.write_text('{"app": {"name": "mocked"}}')
    argv = [sys.executable, "-m", "confd_py", "diff", "-mock", str(mock), "-confdir", str(place.folder)]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert "+name=mocked" in done.stdout
    argv[3] = "check"
    assert subprocess.run(argv, cwd=ROOT, capture_output=True, timeout=60, check=False).returncode == 0


def test_convert_prints_the_twin(place: Place) -> None:
    source = place.folder / "x.tmpl"
    source.write_text('{{range gets "/app/*"}}{{.Key}}\n{{end}}')
    argv = [sys.executable, "-m", "confd_py", "convert", str(source)]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0
    (place.folder / "templates/t.j2").write_text(done.stdout)
    assert place.run("-onetime").returncode == 0
    assert place.out.read_text() == "/app/name\n"
    source.write_text("{{nope}}")
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, 'x.tmpl:1:2: function "nope" not defined' in done.stderr) == (1, True)


@pytest.mark.parametrize("harm", ["kill", "freeze"])
def test_a_store_that_is_away_is_told_and_what_is_in_effect_stays(place: Place, tmp_path: Path, harm: str) -> None:
    etcd = EtcdServer(tmp_path / "etcd").start()
    etcd.etcdctl("put", "/app/name", "web")
    port, at = free_port(), ["-confdir", str(place.folder), "-status-socket", str(place.folder / "status.sock")]
    argv = [sys.executable, "-m", "confd_py", "-watch", "-node", etcd.endpoint, *at]
    systemd = Systemd(place.folder)
    environ = {**os.environ, "NOTIFY_SOCKET": str(systemd.path)}
    listen = ["-metrics-listen", f"127.0.0.1:{port}"]
    process = subprocess.Popen([*argv, *listen], cwd=ROOT, env=environ, stderr=subprocess.DEVNULL)
    try:
        within(
            SOON_S,
            "in effect",
            lambda: place.out.exists() and "confd_store_answers 1.0" in fetch(port, "/metrics")[1],
        )
        assert json.loads(fetch(port, "/health")[1])["store"] == "answers"
        getattr(etcd, harm)()
        within(SOON_S, "told", lambda: "etcd does not answer" in fetch(port, "/health")[1])
        assert (fetch(port, "/health")[0], place.out.read_text()) == (200, "name=web\n")
        assert "confd_store_answers 0.0" in fetch(port, "/metrics")[1]
        within(SOON_S, "systemd told", lambda: systemd.hears("STATUS=1 resources in effect; etcd does not answer"))
        asked = [sys.executable, "-m", "confd_py", "status", *at]
        status = subprocess.run(asked, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
        assert (status.returncode, "etcd does not answer" in status.stderr) == (0, True)
        assert status.stdout.startswith("t: revision=")
        etcd.thaw() if harm == "freeze" else etcd.start()
        within(SOON_S, "back", lambda: '"store": "answers"' in fetch(port, "/health")[1])
        process.terminate()
        assert process.wait(SOON_S) == 0
    finally:
        process.kill()
        process.wait()
        systemd.close()
        etcd.kill()


def test_health_is_not_good_before_anything_was_applied_nor_with_a_resource_file_that_cannot_be_read(
    place: Place,
) -> None:
    port = free_port()
    listen = ["-metrics-listen", f"127.0.0.1:{port}", "-status-socket", str(place.folder / "status.sock")]
    away = [sys.executable, "-m", "confd_py", "-watch", "-node", f"127.0.0.1:{free_port()}"]
    process = subprocess.Popen([*away, "-confdir", str(place.folder), *listen], cwd=ROOT, stderr=subprocess.DEVNULL)
    try:
        within(SOON_S, "asked", lambda: fetch(port, "/health")[0] == 503)
        assert json.loads(fetch(port, "/health")[1])["errors"] == {"t": "nothing was applied yet"}
        assert 'confd_in_effect{resource="t"} 0.0' in fetch(port, "/metrics")[1]
    finally:
        process.kill()
        process.wait()
    process = subprocess.Popen(place.argv("-watch", *listen), cwd=ROOT, stderr=subprocess.DEVNULL)
    try:
        within(SOON_S, "healthy", lambda: fetch(port, "/health")[0] == 200)
        (place.folder / "conf.d/b.toml").write_text("[template")
        within(HEARD_S, "told", lambda: "b.toml" in fetch(port, "/health")[1])
        assert fetch(port, "/health")[0] == 503
    finally:
        process.kill()
        process.wait()


def test_a_status_socket_takes_the_place_of_no_file_and_leaves_its_directory(place: Place) -> None:
    folder = place.folder / "own"
    folder.mkdir()
    (folder / "file").write_text("precious")
    done = place.run("-watch", "-status-socket", str(folder / "file"))
    assert (done.returncode, (folder / "file").read_text()) == (1, "precious")
    assert "is there and no socket" in done.stderr
    (folder / "file").unlink()
    process = subprocess.Popen(
        place.argv("-watch", "-status-socket", str(folder / "s")), cwd=ROOT, stderr=subprocess.DEVNULL
    )
    try:
        within(SOON_S, "listens", (folder / "s").is_socket)
        process.terminate()
        assert process.wait(SOON_S) == 0
    finally:
        process.kill()
        process.wait()
    assert folder.is_dir() and not (folder / "s").exists()


def test_a_sighup_that_finds_nothing_to_read_changes_nothing_and_the_next_reads_confd_toml(place: Place) -> None:
    settings = place.folder / "confd.toml"
    settings.write_text('prefix = ""\n')
    (place.folder / "log").write_text("")
    with (place.folder / "log").open("w") as log:
        argv = place.argv("-watch", "-config-file", str(settings), "-status-socket", str(place.folder / "s"))
        process = subprocess.Popen(argv, cwd=ROOT, stderr=log)
    try:
        within(SOON_S, "in effect", lambda: place.out.exists() and place.out.read_text() == "name=web\n")
        (place.folder / "conf.d").rename(place.folder / "away")
        process.send_signal(signal.SIGHUP)
        within(SOON_S, "told", lambda: "all goes on as it was" in (place.folder / "log").read_text())
        (place.folder / "away").rename(place.folder / "conf.d")
        place.values.write_text("app: {name: db}\nnew: {app: {name: below}}\n")
        within(HEARD_S, "followed", lambda: place.out.read_text() == "name=db\n")
        settings.write_text('prefix = "/new"\n')
        process.send_signal(signal.SIGHUP)
        within(SOON_S, "another prefix", lambda: place.out.read_text() == "name=below\n")
        process.terminate()
        assert process.wait(SOON_S) == 0
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize("end", [signal.SIGHUP, signal.SIGKILL])
def test_a_first_reload_that_is_broken_off_is_done_again(place: Place, end: signal.Signals) -> None:
    begun, done = place.folder / "begun", place.folder / "done"
    reload_cmd = f"echo x >> {begun}; test -e {place.folder}/go && echo x >> {done} || sleep 5"
    place.resource("t", 'name={{ getv("/app/name") }}\n', place.out, f'reload_cmd = "{reload_cmd}"\n')
    argv = place.argv("-watch", "-status-socket", str(place.folder / "s"))
    process = subprocess.Popen(argv, cwd=ROOT, stderr=subprocess.DEVNULL)
    try:
        within(SOON_S, "reloading", begun.exists)
        (place.folder / "go").touch()
        process.send_signal(end)
        if end == signal.SIGKILL:
            process.wait()
            process = subprocess.Popen(argv, cwd=ROOT, stderr=subprocess.DEVNULL)
        within(SOON_S, "reloaded", done.exists)
    finally:
        process.kill()
        process.wait()


def test_values_of_a_mock_are_written_nowhere(place: Place) -> None:
    done = place.run("-onetime", "-mock", str(place.values))
    assert (done.returncode, place.out.exists()) == (1, False)
    assert "-mock is for check and diff" in done.stderr


def test_check_shows_nobody_what_the_file_would_not(place: Place) -> None:
    seen = place.folder / "seen"
    place.resource("t", "secret", place.out, f'mode = "0600"\ncheck_cmd = "stat -c %a {{{{.src}}}} > {seen}"\n')
    assert place.run("check").returncode == 0
    assert seen.read_text() == "600\n"


def test_links_that_lead_round_below_templates_hold_nothing_up(place: Place) -> None:
    for name in ("p", "q"):
        (place.folder / "templates" / name).symlink_to(".")
    assert place.run("-onetime").returncode == 0
    assert place.out.read_text() == "name=web\n"
