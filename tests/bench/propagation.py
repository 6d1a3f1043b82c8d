"""From the commit of an instance record in etcd until HAProxy serves it: `python tests/bench/propagation.py`.

Real etcd, HAProxy and confd-py. An instance of an own web server is announced; the clock starts when etcd has
answered the put, and stops when HAProxy's statistics show the new server admitted (its first good check passed, ready
for requests). Between two measured ones a request through the frontend proves that it is true. Prints p50 and p99 in
milliseconds for backends of 10, 500 and 5,000 servers, and fails if HAProxy was reloaded or 10 servers miss the goal.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import etcdkit
from tests.fakes.ports import free_port
from tests.integration.confd_py.conftest import Ring
from tests.integration.confd_py.parts import within

GOAL_P50_MS, GOAL_P99_MS = 10.0, 50.0


def record(number: int, address: str) -> bytes:
    """The instance record of web.<number>."""
    value = {
        "instance": f"web.{number}", "service": "web", "release": 1, "node": "n1", "endpoints": {"80": address},
        "state": "running", "health": "healthy", "weight": 100, "reason": "",
    }  # fmt: skip
    return json.dumps(value).encode()


class StatsSocket:
    """A kept conversation with HAProxy that asks for one server's admission."""

    def __init__(self, path: Path) -> None:
        self._sock = socket.socket(socket.AF_UNIX)
        self._sock.connect(str(path))
        self._ask("prompt")

    def knows(self, name: str) -> bool:
        """Whether the server is there at all."""
        return f" {name} " in self._ask("show servers state web.80")

    def ready(self, name: str) -> bool:
        """Whether the server has traffic now."""
        state = self._ask("show servers state web.80")
        at = state.find(f" {name} ")
        if at < 0:
            return False
        part = state[at : at + 120].split()
        return part[2] == "2" and part[3] == "0"

    def _ask(self, command: str) -> str:
        self._sock.sendall(command.encode() + b"\n")
        data = b""
        while not data.endswith(b"\n> "):
            data += self._sock.recv(1 << 20)
        return data.decode()


async def measure(ring: Ring, base: str, present: int, rounds: int) -> list[float]:
    """Milliseconds of each round with `present` servers, all at `base`, in the backend."""
    times: list[float] = []
    async with etcdkit.Client([ring.etcd.endpoint]) as client:
        for start in range(0, present, 64):
            numbers = range(start, min(start + 64, present))
            await asyncio.gather(*(client.put(f"/hecd/instances/web/web.{n}", record(n, base)) for n in numbers))
        within(120, f"{present} servers serve", lambda: len(ring.haproxy.serving()) == present)
        stats = StatsSocket(ring.haproxy.run / "admin.sock")
        for index in range(rounds):
            number = 100_000 + index
            key = f"/hecd/instances/web/web.{number}"
            await client.put(key, record(number, base))
            begun = time.perf_counter()
            while not stats.ready(f"web.{number}"):
                await asyncio.sleep(0.0005 + present / 1_000_000)
                assert time.perf_counter() - begun < 10, "not serving within 10 s"
            times.append((time.perf_counter() - begun) * 1000)
            revision = await client.put(key, record(number, base).replace(b"running", b"draining"))
            ring.until_applied(revision, 20)
            await client.delete(key)
            while stats.knows(f"web.{number}"):
                await asyncio.sleep(0.01)
            await asyncio.sleep(0.05 + present / 10_000)  # the next round starts from rest
        await client.delete_prefix("/hecd/instances/")
        within(120, "all are gone", lambda: not ring.haproxy.servers())
    return times


@contextlib.contextmanager
def web_server(folder: Path) -> Iterator[str]:
    """Its "ip:port" while the block runs: a HAProxy that answers by itself, as the checks of 5,000 servers are many."""
    address = f"127.0.0.1:{free_port()}"
    config = folder / "web.cfg"
    config.write_text(
        "global\n    maxconn 5000\n"
        "defaults\n    mode http\n    timeout client 60s\n    timeout connect 1s\n    timeout server 60s\n"
        f"frontend web\n    bind {address}\n    http-request return status 200 content-type text/plain string base\n"
    )
    with subprocess.Popen(["haproxy", "-db", "-f", str(config)]) as process:
        try:
            within(10, "the web server listens", lambda: answers(address))
            yield address
        finally:
            process.kill()


def answers(address: str) -> bool:
    host, _, port = address.rpartition(":")
    with contextlib.suppress(OSError), socket.create_connection((host, int(port)), 0.5):
        return True
    return False


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--servers", type=int, nargs="+", default=[10, 500, 5000])
    parser.add_argument("--rounds", type=int, default=100)
    options = parser.parse_args()
    missed = False
    with tempfile.TemporaryDirectory(prefix="hecd-bench-") as folder, web_server(Path(folder)) as base:
        ring = Ring(Path(folder))
        try:
            ring.start()
            again = 0
            print(f"{'servers':>8} {'p50 ms':>8} {'p99 ms':>8} {'max ms':>8}")
            for present in options.servers:
                # All share this machine: 5,000 checks a second would be what is measured.
                check = {"path": "/health", "interval_s": max(1.0, present / 500), "timeout_s": 1.0}
                ring.until_applied(ring.service(check=check))
                reloads = int(str(ring.confd.state()["reloads"]))
                rounds = options.rounds if present < 1000 else max(10, options.rounds // 5)
                times = sorted(asyncio.run(measure(ring, base, present, rounds)))
                p50, p99 = statistics.median(times), times[min(len(times) - 1, int(len(times) * 0.99))]
                print(f"{present:8d} {p50:8.1f} {p99:8.1f} {times[-1]:8.1f}", flush=True)
                missed |= present <= 10 and (p50 > GOAL_P50_MS or p99 > GOAL_P99_MS)
                again += int(str(ring.confd.state()["reloads"])) - reloads
            print(f"reloads: {again}")
            missed |= again > 0
        finally:
            ring.stop()
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
