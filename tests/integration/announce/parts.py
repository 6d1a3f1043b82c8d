"""An announcer as a process of its own beside a real Docker and a real etcd, and what it makes of them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.fakes.etcd_server import EtcdServer
from tests.integration.announce.dockerd import Dockerd

REGISTRATOR = str(Path(sys.executable).with_name("registrator"))
HOST = "host1"
PREFIX = "/services"


def until(what: Callable[[], bool], within_s: float = 40.0, told: Callable[[], object] = lambda: "") -> None:
    """Wait until it is true; fail, saying `told`, if it is not within `within_s`."""
    deadline = time.monotonic() + within_s
    while not what():
        assert time.monotonic() < deadline, f"not within {within_s:g} s: {told()}"
        time.sleep(0.05)


@dataclass
class Host:
    """A Docker host with an announcer."""

    dockerd: Dockerd
    etcd: EtcdServer
    folder: Path
    _process: subprocess.Popen[bytes] | None = None
    _starts: int = 0

    def announce(self, *flags: str, to: str = f"etcd://{{}}{PREFIX}") -> None:
        """Start `registrator flags URI`, and wait until it has seen what Docker runs."""
        self.begin(*flags, to=to)
        self._starts += 1
        until(lambda: self.log().count("docker is there") >= self._starts, told=self.log)

    def begin(self, *flags: str, to: str = f"etcd://{{}}{PREFIX}") -> None:
        """Start `registrator flags URI`."""
        environment = {**os.environ, "DOCKER_HOST": self.dockerd.host, "HECD_ROOT": str(self.folder / "root")}
        argv = [REGISTRATOR, f"-hostname={HOST}", *flags, to.format(self.etcd.endpoint)]
        with (self.folder / "announcer.log").open("ab") as log:
            self._process = subprocess.Popen(
                argv, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.folder
            )

    def kill(self) -> None:
        """kill -9 the announcer."""
        self._end(signal.SIGKILL)

    def stop(self) -> int:
        """SIGTERM; the exit code."""
        return self._end(signal.SIGTERM)

    def ended(self, within_s: float = 60.0) -> int:
        """Wait until it ends by itself; the exit code."""
        assert self._process is not None
        return self._process.wait(timeout=within_s)

    def log(self) -> str:
        return (self.folder / "announcer.log").read_text()

    def stored(self, prefix: str = PREFIX) -> dict[str, str]:
        """What stands below `prefix`."""
        return {key: value for key, (value, _, _) in self.entries(prefix).items()}

    def entries(self, prefix: str = PREFIX) -> dict[str, tuple[str, int, int]]:
        """Key -> value, revision of its last change, lease."""
        found = json.loads(self.etcd.etcdctl("get", "--prefix", prefix, "-w", "json", "--hex=false"))
        return {
            _text(kv["key"]): (_text(kv["value"]), int(kv["mod_revision"]), int(kv.get("lease", 0)))
            for kv in found.get("kvs", [])
        }

    def records(self, service: str) -> list[dict[str, Any]]:
        """HECD's records of the instances of `service`."""
        return [json.loads(value) for value in self.stored(f"/hecd/instances/{service}/").values()]

    def becomes(self, keys: dict[str, str], prefix: str = PREFIX, within_s: float = 40.0) -> None:
        """Wait until just `keys` stand below `prefix`."""
        until(lambda: self.stored(prefix) == keys, within_s, lambda: f"{self.stored(prefix)}\n{self.log()}")

    def _end(self, how: signal.Signals) -> int:
        assert self._process is not None
        if self._process.poll() is None:
            self._process.send_signal(how)
        return self._process.wait(timeout=60)

    def close(self) -> None:
        if self._process is not None:
            self._end(signal.SIGKILL)


@dataclass
class Changes:
    """What a watch on etcd told: (seconds since the epoch when it did, PUT or DELETE, key, value)."""

    lines: list[tuple[float, str, str, str]] = field(default_factory=list)


@contextmanager
def changes(etcd: EtcdServer, prefix: str) -> Iterator[Changes]:
    """Every change below `prefix` while the block runs, noted when it is heard of."""
    argv = ["etcdctl", f"--endpoints={etcd.url}", "watch", "--prefix", prefix]
    environment = {"ETCDCTL_API": "3", "PATH": "/usr/bin:/bin"}
    process = subprocess.Popen(argv, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    heard, ready = Changes(), threading.Event()

    def read() -> None:
        assert process.stdout is not None
        while kind := process.stdout.readline().strip():
            key, value = process.stdout.readline().strip(), process.stdout.readline().strip()
            if key == f"{prefix}ready":
                ready.set()
            else:
                heard.lines.append((time.time(), kind, key, value))

    thread = threading.Thread(target=read, daemon=True)
    thread.start()
    try:
        deadline = time.monotonic() + 40.0
        while not ready.wait(0.05):
            assert time.monotonic() < deadline, "the watch tells nothing"
            etcd.etcdctl("put", f"{prefix}ready", "1")
        etcd.etcdctl("del", f"{prefix}ready")
        yield heard
    finally:
        process.kill()
        process.wait()
        thread.join(timeout=5)


def _text(encoded: str) -> str:
    import base64

    return base64.b64decode(encoded).decode()
