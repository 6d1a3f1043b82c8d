"""nginx as a real part of tests, over the file confd-py writes; and the ring of etcd, confd-py and nginx."""

from __future__ import annotations

import contextlib
import http.client
import os
import signal
import subprocess
from pathlib import Path

from tests.fakes.ports import free_port
from tests.integration.confd_py.conftest import Ring
from tests.integration.confd_py.parts import ROOT, SOON_S, Confd, within


class Nginx:
    """Master and workers; everything below one directory."""

    def __init__(self, folder: Path) -> None:
        self.run = folder / "run"
        self.run.mkdir(parents=True, exist_ok=True)
        self.config = self.run / "nginx.conf"
        self.log = self.run / "error.log"
        self.status_port = free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self._groups: set[int] = set()

    @property
    def environ(self) -> dict[str, str]:
        return {
            "HECD_NGINX_CONF": str(self.config),
            "HECD_NGINX_RUN": str(self.run),
            "HECD_NGINX_LOG": str(self.run),
            "HECD_NGINX_STATUS_PORT": str(self.status_port),
            "HECD_NGINX_BIND": "127.0.0.1",
            "HECD_NGINX_SHUTDOWN_TIMEOUT": "20s",
        }

    def start(self, config: Path | None = None) -> None:
        argv = ["nginx", "-c", str(config or self.config), "-g", "daemon off;"]
        with (self.run / "nginx.out").open("ab") as out:
            self._process = subprocess.Popen(
                argv, stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True
            )
        self._groups.add(self._process.pid)
        within(SOON_S, "nginx answers", self.generation)

    def stop(self) -> None:
        """kill -9 of the master and all workers."""
        for group in self._groups:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(group, signal.SIGKILL)
        self._groups.clear()
        if self._process is not None:
            self._process.wait()
            self._process = None
        within(SOON_S, "nginx is gone", lambda: not self.generation())

    @property
    def master_pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def generation(self) -> tuple[str, ...]:
        """Pid and stamp, as a worker tells them; () if none does."""
        client = http.client.HTTPConnection("127.0.0.1", self.status_port, timeout=SOON_S)
        try:
            client.request("GET", "/")
            return tuple(client.getresponse().read().decode().split())
        except (OSError, http.client.HTTPException):
            return ()
        finally:
            client.close()

    def titles(self) -> list[str]:
        """What the children of the master call themselves, with their pids in front."""
        done = subprocess.run(
            ["ps", "-o", "pid=,args=", "--ppid", str(self.master_pid)], capture_output=True, text=True, check=False
        )
        return done.stdout.splitlines()

    def workers(self) -> list[int]:
        """Those that take connections."""
        return [int(title.split()[0]) for title in self.titles() if title.endswith("nginx: worker process")]


class NginxRing(Ring):
    """etcd, confd-py with the shipped nginx template, nginx and web servers."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.nginx = Nginx(folder)
        self.confd = Confd(folder / "by-nginx", self.nginx, self.etcd.endpoint, ROOT / "templates" / "nginx")

    def start(self) -> None:
        self.etcd.start()
        self.confd.start()
        within(SOON_S, "the first file", self.nginx.config.exists)
        self.nginx.start()
        within(SOON_S, "applied", lambda: self.confd.applied(1))

    def stop(self) -> None:
        self.confd.stop()
        self.nginx.stop()
        self.etcd.kill()
        self.web.stop()

    @property
    def reloads(self) -> int:
        return int(str(self.confd.state()["reloads"]))

    def ask(self, host: str = "x", port: int = 0, method: str = "GET") -> tuple[int, str]:
        """Status and body of one request on a new connection."""
        status, _, body = self.answer(host, port, method)
        return status, body

    def answer(
        self, host: str = "x", port: int = 0, method: str = "GET", headers: dict[str, str] | None = None
    ) -> tuple[int, http.client.HTTPMessage, str]:
        client = http.client.HTTPConnection("127.0.0.1", port or self.port, timeout=SOON_S)
        try:
            client.request(method, "/", headers={"host": host, "connection": "close", **(headers or {})})
            answer = client.getresponse()
            return answer.status, answer.headers, answer.read().decode()
        finally:
            client.close()

    def serving(self, times: int = 12) -> set[str]:
        """Who answers new requests, of `times` that are sent; 503 and the like by their number."""
        answers = (self.ask() for _ in range(times))
        return {body if status == 200 else str(status) for status, body in answers}

    def until_serving(self, *numbers: int, seconds: float = SOON_S) -> None:
        names = {f"web.{number}" for number in numbers}
        within(seconds, f"{names} serving", lambda: self.serving() == names)
