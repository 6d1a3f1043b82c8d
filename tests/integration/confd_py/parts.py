"""Real parts for tests of confd-py: HAProxy, confd-py itself, small web servers, and load that counts failures."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import weakref
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

from tests.fakes.ports import free_port

ROOT = Path(__file__).resolve().parents[3]
TEMPLATES = ROOT / "templates" / "haproxy"
SOON_S = 30.0  # where no time is promised: machines stand still
HEARD_S = 8.0  # for edits of files: whoever does not hear of them looks at everything every 10 s
HAPROXY = os.environ.get("HECD_TEST_HAPROXY", "haproxy")  # the program that these tests run


def within(
    seconds: float, what: str, probe: Callable[[], object], seen: Callable[[], object] = lambda: "nothing more is known"
) -> object:
    """What `probe` returns as soon as it is true; fails when that takes longer and tells what is `seen` then."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found = probe()
        if found:
            return found
        time.sleep(0.005)
    raise AssertionError(f"not within {seconds} s: {what}; now: {seen()}")


class Web(threading.Thread):
    """HTTP servers in one thread; each answers with its name, after `delay_s`, and counts its requests."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self._loop = asyncio.new_event_loop()
        self._servers: dict[str, asyncio.Server] = {}
        self._writers: dict[str, set[asyncio.StreamWriter]] = {}
        self.hits: Counter[str] = Counter()
        self.checks: Counter[str] = Counter()
        self.delay_s: dict[str, float] = {}
        self.held: set[str] = set()  # these answer no request until they are taken out of it
        self.sick: set[str] = set()
        self.failing: set[str] = set()  # these answer every request with 500
        self.start()

    def run(self) -> None:
        self._loop.run_forever()

    def open(self, name: str, port: int = 0) -> str:
        """Start one; its "ip:port"."""
        future = asyncio.run_coroutine_threadsafe(self._open(name, port), self._loop)
        return future.result(SOON_S)

    def close(self, name: str) -> None:
        """Kill one: listening socket and connections."""
        asyncio.run_coroutine_threadsafe(self._close(name), self._loop).result(SOON_S)

    def stop(self) -> None:
        for name in list(self._servers):
            self.close(name)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self.join(SOON_S)

    async def _open(self, name: str, port: int) -> str:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            self._writers.setdefault(name, set()).add(writer)
            with contextlib.suppress(OSError, EOFError, asyncio.CancelledError):
                while True:
                    await self._answer(name, reader, writer)
            writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", port, backlog=512)
        self._servers[name] = server
        return f"127.0.0.1:{server.sockets[0].getsockname()[1]}"

    async def _answer(self, name: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = [line for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")]
        if length:
            await reader.readexactly(int(length[0].split(b":")[1]))
        check = head.startswith(b"GET /health ")
        (self.checks if check else self.hits)[name] += 1
        if not check:
            await asyncio.sleep(self.delay_s.get(name, 0.0))
            while name in self.held:
                await asyncio.sleep(0.005)
        status = b"503 Sick" if check and name in self.sick else b"200 OK"
        status = b"500 Broken" if not check and name in self.failing else status
        body = name.encode()
        writer.write(b"HTTP/1.1 %s\r\ncontent-length: %d\r\n\r\n%s" % (status, len(body), body))
        await writer.drain()

    async def _close(self, name: str) -> None:
        self._servers.pop(name).close()
        for writer in self._writers.pop(name, set()):
            writer.transport.abort()


class Haproxy:
    """HAProxy in master-worker mode over the file confd-py writes; everything below one directory."""

    def __init__(self, folder: Path, binary: str = HAPROXY) -> None:
        self.binary = binary
        folder.mkdir(parents=True, exist_ok=True)
        self.run = Path(tempfile.mkdtemp(prefix="haproxy-"))  # the names of sockets below have to be short
        weakref.finalize(self, shutil.rmtree, self.run, ignore_errors=True)
        self.config = self.run / "haproxy.cfg"
        self.log = folder / "haproxy.log"
        self.certificates = folder / "certificates"
        self.stats_port = free_port()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def environ(self) -> dict[str, str]:
        return {
            "HECD_HAPROXY_CFG": str(self.config),
            "HECD_HAPROXY_RUN": str(self.run),
            "HECD_HAPROXY_STATS_PORT": str(self.stats_port),
            "HECD_HAPROXY_BIND": "127.0.0.1",
            "HECD_HAPROXY_BINARY": self.binary,
            "HECD_CERTIFICATES": str(self.certificates),
        }

    def start(self) -> None:
        argv = [self.binary, "-W", "-S", f"{self.run}/master.sock,level,admin", "-f", str(self.config)]
        with self.log.open("ab") as log:
            environ = {**os.environ, "PLACE": str(self.run)}
            self._process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environ)
        within(SOON_S, "HAProxy answers", self._answers)

    def stop(self) -> None:
        """End master and workers, hard."""
        if self._process is None:
            return
        workers = subprocess.run(
            ["ps", "-o", "pid=", "--ppid", str(self._process.pid)], capture_output=True, text=True, check=False
        )
        self._process.kill()
        self._process.wait()
        for pid in workers.stdout.split():
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)
        self._process = None
        within(SOON_S, "HAProxy is gone", lambda: not self._answers())

    @property
    def master_pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def ask(self, command: str) -> str:
        return self._ask("admin.sock", command)

    def ask_master(self, command: str) -> str:
        return self._ask("master.sock", f"{command};quit")

    def servers(self, backend: str = "web.80") -> dict[str, tuple[str, int, int, int]]:
        """name -> (address, operational state, admin state, weight), of instances only."""
        rows = [line.split() for line in self.ask(f"show servers state {backend}").splitlines()]
        return {
            r[3]: (f"{r[4]}:{r[18]}", int(r[5]), int(r[6]), int(r[7]))
            for r in rows
            if len(r) > 18 and r[1] == backend and not r[3].startswith("hecd-")
        }

    def serving(self, backend: str = "web.80") -> set[str]:
        """Names of servers that get new requests."""
        return {
            name for name, (_, up, admin, weight) in self.servers(backend).items() if up == 2 and not admin and weight
        }

    def worker_pid(self) -> int:
        return int(next(line.split()[1] for line in self.ask("show info").splitlines() if line.startswith("Pid:")))

    def _ask(self, name: str, command: str) -> str:
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(SOON_S)
            sock.connect(str(self.run / name))
            sock.sendall(command.encode() + b"\n")
            data = b""
            while chunk := sock.recv(1 << 20):
                data += chunk
        return data.decode()

    def _answers(self) -> bool:
        try:
            return "Pid" in self.ask("show info")
        except OSError:
            return False


class Balancer(Protocol):
    """What confd-py has to know of a load balancer: its file, and the variables the shipped templates read."""

    config: Path

    @property
    def environ(self) -> dict[str, str]: ...


class Confd:
    """confd-py as a process."""

    def __init__(self, folder: Path, balancer: Balancer, endpoint: str, templates: Path = TEMPLATES) -> None:
        self.confdir = folder / "confd"
        shutil.copytree(templates, self.confdir)
        self.check_every("600s")  # tests are of what follows a change by itself, and not of the check of everything
        self.log = folder / "confd-py.log"
        self._balancer = balancer
        self._endpoint = endpoint
        self.environ: dict[str, str] = {}
        self._process: subprocess.Popen[bytes] | None = None

    def check_every(self, interval: str) -> None:
        """How often what runs is compared with what is wanted though nothing changed."""
        for toml in (self.confdir / "conf.d").glob("*.toml"):
            toml.write_text(re.sub(r'(?<=\ncheck_interval = )".*"', f'"{interval}"', toml.read_text()))

    def start(self) -> None:
        argv = [sys.executable, "-m", "confd_py", "-watch", "-backend", "etcdv3", "-node", f"http://{self._endpoint}"]
        argv += ["-confdir", str(self.confdir), "-prefix", "", "-log-level", "debug"]
        environ = {**os.environ, **self._balancer.environ, **self.environ}
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                argv, env=environ, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )

    def stop(self) -> int:
        if self._process is None:
            return 0
        self._process.terminate()
        return self._gone()

    def kill(self) -> None:
        """kill -9."""
        if self._process is not None:
            self._process.kill()
            self._gone()

    def signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def state(self) -> dict[str, object]:
        try:
            found: dict[str, object] = json.loads(Path(f"{self._balancer.config}.applied").read_text())
        except FileNotFoundError:
            return {"revision": -1, "error": "absent"}
        return found

    def told(self) -> str:
        """Its state and the last lines of its log, for a test that fails."""
        return f"{self.state()}\n{self.log.read_text()[-4000:]}"

    def applied(self, revision: int) -> bool:
        """Whether `revision` is in effect."""
        state = self.state()
        return not state["error"] and int(str(state["revision"])) >= revision

    def _gone(self) -> int:
        assert self._process is not None
        code = self._process.wait(SOON_S)
        self._process = None
        return code


_PATIENT_S = 20.0  # a request that takes longer has failed; the load and its servers are one process


class Load(threading.Thread):
    """Keep-alive and new connections, a third of the requests POST; every answer that is no 200 is kept.

    `kept` is the share of connections that are kept alive, 0..1. A failure on one that was closed before the request
    was sent begins with `stale`: a client that looks first would have opened another.
    """

    def __init__(self, port: int, connections: int = 8, kept: float = 0.5) -> None:
        super().__init__(daemon=True)
        self._port = port
        self._connections = connections
        self._kept = round(connections * kept)
        self._ending = threading.Event()
        self.sent = 0
        self.failures: list[str] = []
        self.took_s: list[float] = []  # of requests that were answered
        self.served: Counter[str] = Counter()

    def run(self) -> None:
        asyncio.run(self._all())

    def end(self) -> None:
        self._ending.set()
        self.join(2 * _PATIENT_S)

    async def _all(self) -> None:
        await asyncio.gather(*(self._client(keep=index < self._kept) for index in range(self._connections)))

    async def _client(self, *, keep: bool) -> None:
        streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        while not self._ending.is_set():
            self.sent += 1
            post = self.sent % 3 == 0
            begun_s = time.perf_counter()
            what = f"{'stale ' if streams and streams[0].at_eof() else ''}{'POST' if post else 'GET'}"
            try:
                async with asyncio.timeout(_PATIENT_S):
                    if streams is None:
                        streams = await asyncio.open_connection("127.0.0.1", self._port)
                    closing = await self._request(*streams, what, keep=keep)
                self.took_s.append(time.perf_counter() - begun_s)
            except (OSError, EOFError, TimeoutError, ValueError) as err:
                self.failures.append(f"{what} {type(err).__name__} {err}")
                closing = True
            if closing and streams is not None:
                streams[1].close()
                streams = None
            await asyncio.sleep(0.002)

    async def _request(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, what: str, *, keep: bool
    ) -> bool:
        post = what.endswith("POST")
        method = b"POST / HTTP/1.1\r\ncontent-length: 4\r\n" if post else b"GET / HTTP/1.1\r\n"
        ending = b"connection: close\r\n" if not keep else b""
        writer.write(method + b"host: x\r\n" + ending + b"\r\n" + (b"data" if post else b""))
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        length = int(head.split("content-length: ")[1].split("\r\n")[0])
        body = await reader.readexactly(length)
        if " 200 " not in head.split("\r\n")[0]:
            self.failures.append(f"{what} {head.split(chr(13))[0]}")
        self.served[body.decode(errors="replace")[:20]] += 1
        return not keep or "connection: close" in head


@contextlib.contextmanager
def load(port: int, connections: int = 8) -> Iterator[Load]:
    """Load while the block runs."""
    running = Load(port, connections)
    running.start()
    try:
        yield running
    finally:
        running.end()
