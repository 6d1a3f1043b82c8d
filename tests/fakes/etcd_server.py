"""A real etcd for tests: on free ports of loopback, in a directory of its own, to be stopped, frozen, wiped, restarted."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path


def free_port() -> int:
    """A TCP port of loopback that nobody uses now."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
    return port


class EtcdServer:
    """One member, or one of several when `peers` (name -> peer port) names them all."""

    def __init__(self, folder: Path, *, name: str = "m1", peers: dict[str, int] | None = None, args: tuple[str, ...] = ()):
        self.port = free_port()
        self._name = name
        self._peers = peers or {name: free_port()}
        self._args = args
        self._log = folder / f"{name}.log"
        self.data = folder / f"{name}.etcd"
        self._process: subprocess.Popen[bytes] | None = None
        folder.mkdir(parents=True, exist_ok=True)

    @property
    def endpoint(self) -> str:
        return f"127.0.0.1:{self.port}"

    def start(self, *, wait: bool = True) -> EtcdServer:
        url, peer = f"http://{self.endpoint}", f"http://127.0.0.1:{self._peers[self._name]}"
        cluster = ",".join(f"{n}=http://127.0.0.1:{p}" for n, p in self._peers.items())
        argv = [
            "etcd", f"--name={self._name}", f"--data-dir={self.data}", f"--listen-client-urls={url}",
            f"--advertise-client-urls={url}", f"--listen-peer-urls={peer}", f"--initial-advertise-peer-urls={peer}",
            f"--initial-cluster={cluster}", "--heartbeat-interval=50", "--election-timeout=500",
            *self._args,
        ]  # fmt: skip
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        if wait:
            self.wait_ready()
        return self

    def wait_ready(self, within_s: float = 15.0) -> None:
        deadline = time.monotonic() + within_s
        while time.monotonic() < deadline:
            try:
                with urllib.request.urlopen(f"http://{self.endpoint}/health", timeout=1) as answer:
                    if b"true" in answer.read():
                        return
            except (urllib.error.URLError, OSError):
                time.sleep(0.02)
        raise AssertionError(f"etcd is not ready: {self._log.read_text()[-2000:]}")

    def kill(self) -> None:
        """kill -9."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def freeze(self) -> None:
        """It holds its connections and says nothing."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def wipe(self) -> None:
        """Lose all data; it must not be running."""
        assert self._process is None
        shutil.rmtree(self.data)

    def etcdctl(self, *words: str, user: str = "") -> str:
        argv = ["etcdctl", f"--endpoints={self.endpoint}", *([f"--user={user}"] if user else []), *words]
        done = subprocess.run(argv, env={"ETCDCTL_API": "3", "PATH": "/usr/bin:/bin"}, capture_output=True, text=True, timeout=20)
        assert done.returncode == 0, done.stderr
        return done.stdout
