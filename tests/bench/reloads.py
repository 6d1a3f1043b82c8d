"""HAProxy and nginx under one load while instances change: what reloads cost. `python tests/bench/reloads.py`.

Real etcd, confd-py and load balancers with the shipped templates, one after the other in one run. Clients are raw and
never repeat a request: a half keeps its connections, a half opens new ones; every third request is a POST. One change
adds an instance or drains and withdraws one. HAProxy takes them at run time; to see its reloads, too, it runs a second
time with a change of structure each time.

`lost` are requests without an answer of 200. `lost, stale` were sent on a connection that had been closed before:
clients that look first open another. All share the cores of this machine, so compare columns, not runs.
"""

from __future__ import annotations

import argparse
import contextlib
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.integration.confd_py.conftest import Ring
from tests.integration.confd_py.nginx import NginxRing
from tests.integration.confd_py.parts import Load, Web

_SERVERS = 4  # at rest
_REST_S = 0.2  # between changes


@dataclass(frozen=True)
class Outcome:
    """What one load met."""

    kept: Load
    fresh: Load
    reloads: int
    seconds: float

    def rows(self) -> dict[str, str]:
        every = sorted(self.kept.took_s + self.fresh.took_s)
        seconds = f"{self.seconds:.0f} s"
        return {
            "reloads": f"{self.reloads} in {seconds}",
            "kept connections: sent": f"{self.kept.sent}",
            "  lost GET": _lost(self.kept, "GET"),
            "  lost POST": _lost(self.kept, "POST"),
            "  lost, stale": _lost(self.kept, "stale"),
            "new connections: sent": f"{self.fresh.sent}",
            "  lost": f"{len(self.fresh.failures)}",
            "p50 ms": f"{statistics.median(every) * 1000:.1f}",
            "p99 ms": f"{every[int(len(every) * 0.99)] * 1000:.1f}",
            "longest ms": f"{every[-1] * 1000:.0f}",
        }


def _lost(load: Load, kind: str) -> str:
    return str(sum(failure.startswith(kind) for failure in load.failures))


def measure(ring: Ring, addresses: list[str], changes: int, *, structure: bool) -> Outcome:
    """One load over `changes` changes."""
    ring.start()
    ring.service()
    for number in range(1, _SERVERS):
        ring.instance(number, address=addresses[number])
    ring.until_applied(ring.instance(_SERVERS, address=addresses[_SERVERS]))
    ring.until_serving(*range(1, _SERVERS + 1))
    before, begun = int(str(ring.confd.state()["reloads"])), time.monotonic()
    kept, fresh = Load(ring.port, 8, kept=1), Load(ring.port, 8, kept=0)
    kept.start()
    fresh.start()
    try:
        for turn in range(changes):
            change(ring, addresses[0], turn, structure=structure)
            time.sleep(_REST_S)
    finally:
        kept.end()
        fresh.end()
    return Outcome(kept, fresh, int(str(ring.confd.state()["reloads"])) - before, time.monotonic() - begun)


def change(ring: Ring, address: str, turn: int, *, structure: bool) -> None:
    number = 100 + turn // 2
    if structure:
        ring.until_applied(ring.service(balance="leastconn" if turn % 2 else "random"), 20)
    elif turn % 2 == 0:
        ring.until_applied(ring.instance(number, address=address), 20)
    else:
        ring.until_applied(ring.instance(number, address=address, state="draining"), 20)
        ring.until_applied(ring.withdraw(number), 20)


@contextlib.contextmanager
def web_servers() -> Iterator[list[str]]:
    """Addresses of servers in a process of their own while the block runs."""
    argv = [sys.executable, __file__, "--serve"]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().split()
        finally:
            process.kill()


def serve() -> None:
    web = Web()
    print(*(web.open(f"web.{number}") for number in range(_SERVERS + 1)), flush=True)
    sys.stdin.read()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--changes", type=int, default=30)
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        serve()
        return 0
    runs = (("HAProxy", Ring, False), ("HAProxy, reloading", Ring, True), ("nginx", NginxRing, False))
    columns: dict[str, dict[str, str]] = {}
    for name, kind, structure in runs:
        with tempfile.TemporaryDirectory(prefix="hecd-bench-") as folder, web_servers() as addresses:
            Path(folder).chmod(0o755)  # nginx's workers are not root
            ring = kind(Path(folder))
            try:
                columns[name] = measure(ring, addresses, options.changes, structure=structure).rows()
            finally:
                ring.stop()
    print(f"{'':26}" + "".join(f"{name:>20}" for name in columns))
    for row in columns["nginx"]:
        print(f"{row:26}" + "".join(f"{column[row]:>20}" for column in columns.values()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
