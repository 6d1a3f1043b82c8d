"""How fast containers start, stop and go: python tests/bench/runtime.py [--count 40] [--parallel 100] (as root).

Prints milliseconds, median and worst of ten, for busybox httpd: create and start until its port answers; stop and
remove; start again; exec of a command; and how long it takes to bring many up with 8 threads.
"""

from __future__ import annotations

import argparse
import secrets
import shutil
import socket
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from runtime.host import Host
from runtime.images.build import build_image, link
from runtime.model import ContainerSpec, ImageConfig

SERVE = ("/bin/busybox", "httpd", "-f", "-p", "80", "-h", "/")
THREADS = 8


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--count", type=int, default=40, help="containers one after the other")
    parser.add_argument("--parallel", type=int, default=100, help="containers at once")
    given = parser.parse_args()
    with opened() as host:
        up(host, "warm")
        host.containers.remove("warm")
        one_by_one(host, given.count)
        at_once(host, given.parallel)


def one_by_one(host: Host, count: int) -> None:
    names = [f"web.{i}" for i in range(count)]
    report("create + start until the port answers", [timed(lambda n=name: up(host, n)) for name in names])
    report("list of all", [timed(host.containers.list) for _ in range(20)])
    report("exec of a command", [timed(lambda n=name: host.inside.exec_probe(n, ["/bin/true"], 5.0)) for name in names])
    report("stop (SIGTERM until its end is known)", [timed(lambda n=name: host.containers.stop(n)) for name in names])
    report("start again", [timed(lambda n=name: host.containers.start(n)) for name in names])
    report("stop + remove", [timed(lambda n=name: gone(host, n)) for name in names])


def at_once(host: Host, count: int) -> None:
    names = [f"many.{i}" for i in range(count)]
    with ThreadPoolExecutor(THREADS) as pool:
        for what, work in (("up", up), ("gone", gone)):
            took_s = timed(lambda w=work: list(pool.map(lambda name: w(host, name), names))) / 1000
            print(f"{count} containers {what}, {THREADS} threads: {took_s:.2f} s, {count / took_s:.0f} a second")


def up(host: Host, name: str) -> None:
    host.containers.create(ContainerSpec(name, "hecd/bench:1"))
    address = host.containers.start(name).address
    deadline = time.monotonic() + 10.0
    while not answers(address):
        assert time.monotonic() < deadline, f"{name} does not answer"
        time.sleep(0.0005)


def gone(host: Host, name: str) -> None:
    host.containers.stop(name)
    host.containers.remove(name)


def answers(address: str) -> bool:
    with socket.socket() as connection:
        connection.settimeout(1.0)
        return connection.connect_ex((address, 80)) == 0


def timed(work: Callable[[], object]) -> float:
    """Milliseconds."""
    began = time.perf_counter()
    work()
    return (time.perf_counter() - began) * 1000


def report(what: str, took_ms: list[float]) -> None:
    worst = statistics.quantiles(took_ms, n=10)[-1]
    print(f"{what:40} median {statistics.median(took_ms):6.1f} ms   9 of 10 within {worst:6.1f} ms")


@contextmanager
def opened() -> Iterator[Host]:
    """A host root of its own, with a busybox image; nothing is left afterwards."""
    root = Path(tempfile.mkdtemp(prefix="hecd-bench-"))
    host = Host.open(root / "lib", root / "run", "10.87.254.0/24", f"hecdb{secrets.token_hex(3)}")
    try:
        base = {"bin/busybox": Path("/bin/busybox"), "bin/true": link("busybox"), "index.html": b"hello\n"}
        build_image(root / "layout", "hecd/bench:1", [base], ImageConfig(command=SERVE))
        host.images.load(root / "layout")
        yield host
    finally:
        for container in host.containers.list():
            host.containers.remove(container.name)
        host.close()
        shutil.rmtree(root)


if __name__ == "__main__":
    main()
