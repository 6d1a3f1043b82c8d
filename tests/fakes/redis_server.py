"""A real redis-server for tests, on a free port of loopback, to be killed, frozen and started again."""

from __future__ import annotations

import signal
import subprocess
import time
from pathlib import Path

from tests.fakes.ports import free_port


class RedisServer:
    """Debian's redis-server without persistence but for what `save` writes."""

    def __init__(self, folder: Path, *, password: str = "", notify: bool = True) -> None:
        self._folder, self._password, self._notify = folder, password, notify
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def node(self) -> str:
        return f"127.0.0.1:{self.port}"

    def start(self) -> RedisServer:
        words = ["--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self._folder), "--save", ""]
        words += ["--notify-keyspace-events", "KA"] if self._notify else []
        words += ["--requirepass", self._password] if self._password else []
        self._process = subprocess.Popen(["redis-server", *words], stdout=subprocess.DEVNULL)
        deadline_s = time.monotonic() + 30
        while "PONG" not in self.cli("ping", check=False):
            if time.monotonic() > deadline_s:
                raise AssertionError("redis-server did not start within 30 s")
            time.sleep(0.02)
        return self

    def cli(self, *words: str, check: bool = True) -> str:
        secret = ["-a", self._password, "--no-auth-warning"] if self._password else []
        argv = ["redis-cli", "-p", str(self.port), *secret, *words]
        return subprocess.run(argv, capture_output=True, text=True, check=check, timeout=60).stdout.strip()

    def signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None
