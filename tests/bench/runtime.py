"""How fast containers come and go, beside Docker on the same machine: python -m tests.bench.runtime (as root).

It starts a dockerd of its own (overlay2, in a network namespace of its own) and measures in pairs, one of ours and one
of Docker's SDK by turns, with busybox httpd below an init: milliseconds from the call until the port answers; stop and
remove; many with 8 workers, also with `docker run -d`; the next version of an image whose base is here, pulled and
unpacked; where our time goes, by step; many at once, and the memory that they take on our side.

What either keeps until a reboot lies in memory, as /run does on a host with systemd: before ext4 makes a file, it looks
at each that was deleted in the last five minutes, so that a run would be the slower the more ran before it.
"""

from __future__ import annotations

import argparse
import random
import secrets
import shutil
import socket
import statistics
import subprocess
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import docker

from runtime import lifecycle
from runtime.engines.oci import OciEngine
from runtime.host import Host
from runtime.images.build import LayerFiles, build_image, link
from runtime.lifecycle import Lifecycle
from runtime.linux import mount, unmount
from runtime.model import ContainerSpec, ImageConfig, Restart
from runtime.networks.network import Network
from runtime.state import Records
from tests.integration.announce.dockerd import Dockerd
from tests.integration.announce.namespace import own_network
from tests.integration.runtime.oci_registry import FakeRegistry

SERVE = ["/bin/busybox", "httpd", "-f", "-p", "80", "-h", "/"]
IMAGE = "hecd/bench:1"
WORKERS = 8
ALONE_S, AMONG_MANY_S = 0.0005, 0.01  # how often a port is tried
STEPS: list[tuple[str, object, str]] = [
    ("create: address, layers, record", lifecycle, "mount_rootfs"),
    ("create: files in etc", lifecycle, "write_files"),
    ("create: network", Network, "connect"),
    ("bundle, twice", Lifecycle, "_write_bundle"),
    ("create: all", Lifecycle, "create"),
    ("start: conmon and crun create", OciEngine, "_create"),
    ("start: crun start", OciEngine, "_call"),
    ("start: record", Records, "write_start"),
    ("start: all", Lifecycle, "start"),
]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--count", type=int, default=30, help="pairs, one after the other")
    parser.add_argument("--parallel", type=int, default=100, help=f"containers with {WORKERS} workers")
    parser.add_argument("--at-once", type=int, default=200, help="containers that start and live at once")
    given = parser.parse_args()
    with own_network(), opened() as host, dockerd() as (client, address):
        ours, dockers, typed = Ours(host), Dockers(client), Typed(address)
        for side in (ours, dockers, typed):
            side.up("warm")
            side.gone("warm")
        in_pairs(ours, dockers, given.count)
        in_parallel({"ours": ours, "Docker SDK": dockers, "docker run -d": typed}, given.parallel)
        next_versions(host, client)
        by_step(host, given.count)
        at_once(host, given.at_once)


class Ours:
    """Containers of this package."""

    def __init__(self, host: Host) -> None:
        self._host = host

    def up(self, name: str, pace_s: float = ALONE_S) -> None:
        self._host.containers.create(ContainerSpec(name, IMAGE, command=tuple(SERVE)))
        until_it_answers(self._host.containers.start(name).address, pace_s=pace_s)

    def gone(self, name: str) -> None:
        self._host.containers.stop(name)
        self._host.containers.remove(name)


class Dockers:
    """The same through Docker's SDK."""

    def __init__(self, client: Any) -> None:
        self._client = client

    def up(self, name: str, pace_s: float = ALONE_S) -> None:
        container = self._client.containers.run(IMAGE, SERVE, name=name, detach=True, init=True)
        container.reload()
        until_it_answers(container.attrs["NetworkSettings"]["Networks"]["bridge"]["IPAddress"], pace_s=pace_s)

    def gone(self, name: str) -> None:
        container = self._client.containers.get(name)
        container.stop()
        container.remove()


class Typed:
    """The same as one types it: `docker run -d`, `docker stop`, `docker rm`."""

    def __init__(self, address: str) -> None:
        self._address = address

    def up(self, name: str, pace_s: float = ALONE_S) -> None:
        self._docker("run", "-d", "--init", "--name", name, IMAGE, *SERVE)
        found = self._docker("inspect", "-f", "{{.NetworkSettings.IPAddress}}", name)
        until_it_answers(found.strip(), pace_s=pace_s)

    def gone(self, name: str) -> None:
        self._docker("stop", name)
        self._docker("rm", name)

    def _docker(self, *words: str) -> str:
        argv = ["docker", "-H", self._address, *words]
        return subprocess.run(argv, check=True, capture_output=True, text=True).stdout


def in_pairs(ours: Ours, dockers: Dockers, count: int) -> None:
    took: dict[str, list[float]] = defaultdict(list)
    for i in range(count):
        sides: list[tuple[str, Ours | Dockers]] = [("ours", ours), ("docker", dockers)]
        for side, made in random.sample(sides, 2):
            took[f"up {side}"].append(timed(partial(made.up, f"web.{i}")))
        for side, made in random.sample(sides, 2):
            took[f"gone {side}"].append(timed(partial(made.gone, f"web.{i}")))
    for what, words in (("up", "call until the port answers"), ("gone", "stop and remove")):
        mine, theirs = took[f"{what} ours"], took[f"{what} docker"]
        ratio = statistics.median(theirs) / statistics.median(mine)
        print(f"{words:32} ours {spread(mine)}   Docker SDK {spread(theirs)}   {ratio:.1f} times")


def in_parallel(sides: dict[str, Ours | Dockers | Typed], count: int) -> None:
    names = [f"many.{i}" for i in range(count)]
    rates: dict[str, dict[str, float]] = defaultdict(dict)
    with ThreadPoolExecutor(WORKERS) as pool:
        for side, made in sides.items():
            up = partial(made.up, pace_s=AMONG_MANY_S)
            for words, work in (("up", up), ("gone", made.gone)):
                took_s = timed(partial(all_done, pool, work, names)) / 1000
                rates[words][side] = count / took_s
    for words, by_side in rates.items():
        told = "   ".join(
            f"{side} {rate:.1f}/s" + (f" ({by_side['ours'] / rate:.1f} times)" if side != "ours" else "")
            for side, rate in by_side.items()
        )
        print(f"{count} with {WORKERS} workers, {words:18} {told}")


def next_versions(host: Host, client: Any) -> None:
    """Pulled from a registry on loopback; each has a layer of 1 MiB of its own above the base."""
    with tempfile.TemporaryDirectory(prefix="hecd-bench-") as place:
        layout, versions = Path(place), range(1, 8)
        base: LayerFiles = {"bin/busybox": Path("/bin/busybox"), "data/base": random.randbytes(8 << 20)}
        for n in versions:
            layers: list[LayerFiles] = [base, {"data/app": random.randbytes(1 << 20)}]
            build_image(layout, f"app:{n}", layers, ImageConfig(command=tuple(SERVE)))
        tags = {f"team/app:{n}": f"app:{n}" for n in versions}
        with FakeRegistry(layout, tags) as registry:
            refs = [f"{registry.address}/{tag}" for tag in tags]
            host.images.pull(refs[0])
            client.images.pull(refs[0])
            mine = [timed(partial(host.images.pull, ref)) for ref in refs[1:]]
            theirs = [timed(partial(client.images.pull, ref)) for ref in refs[1:]]
    print(f"{'next version, pull and unpack':32} ours {spread(mine)}   Docker SDK {spread(theirs)}")


def by_step(host: Host, count: int) -> None:
    took: dict[str, list[float]] = defaultdict(list)
    with ExitStack() as stack:
        for words, owner, name in STEPS:
            stack.enter_context(watched(owner, name, took[words]))
        for i in range(count):
            Ours(host).up(f"step.{i}")
    for i in range(count):
        Ours(host).gone(f"step.{i}")
    for words, _, _ in STEPS:
        print(f"  {words:34} {statistics.median(took[words]):6.1f} ms")


def at_once(host: Host, count: int) -> None:
    """All with a restart policy, so that the supervisor counts too."""
    names = [f"at-once.{i}" for i in range(count)]

    def up(name: str) -> float:
        def work() -> None:
            host.containers.create(ContainerSpec(name, IMAGE, command=tuple(SERVE), restart=Restart("always")))
            until_it_answers(host.containers.start(name).address, within_s=60.0, pace_s=0.02)

        return timed(work)

    latencies: list[float] = []
    with ThreadPoolExecutor(count) as pool:
        took_s = timed(lambda: latencies.extend(pool.map(up, names))) / 1000
    print(f"{count} at once: {took_s:.1f} s, {count / took_s:.1f}/s; each {spread(latencies)}")
    time.sleep(1.0)  # the supervisor has looked
    shims, inits, supervisor = memory(host)
    each_kib = (shims + inits + supervisor) / count
    print(
        f"  memory on our side: {each_kib / 1024:.2f} MiB a container (shims {shims / count:.0f} KiB, "
        f"inits {inits / count:.0f} KiB, one supervisor {supervisor / 1024:.1f} MiB)"
    )
    with ThreadPoolExecutor(WORKERS) as pool:
        took_s = timed(lambda: list(pool.map(host.containers.remove, names))) / 1000
    print(f"  removed with {WORKERS} workers: {count / took_s:.1f}/s")


def memory(host: Host) -> tuple[int, int, int]:
    """KiB of shims, inits and the supervisor; memory that processes share is divided among them."""
    shims = inits = supervisor = 0
    for path in Path("/proc").glob("[0-9]*"):
        try:
            words = (path / "cmdline").read_bytes().split(b"\0")
            if words[0] == b"/dev/init" and str(host.paths.id) in (path / "cgroup").read_text():
                inits += pss(path)
            elif f"--runtime-arg=--root={host.paths.engine}".encode() in words:
                shims += pss(path)
            elif b"runtime.supervisor" in words and str(host.paths.lib).encode() in words:
                supervisor += pss(path)
        except OSError:
            continue
    return shims, inits, supervisor


def pss(process: Path) -> int:
    lines = (process / "smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))


@contextmanager
def watched(owner: object, name: str, took: list[float]) -> Iterator[None]:
    """Note how long each call of a function takes."""
    original = getattr(owner, name)

    def timing(*args: Any, **kwargs: Any) -> Any:
        began = time.perf_counter()
        try:
            return original(*args, **kwargs)
        finally:
            took.append((time.perf_counter() - began) * 1000)

    setattr(owner, name, timing)
    try:
        yield
    finally:
        setattr(owner, name, original)


def until_it_answers(address: str, within_s: float = 20.0, pace_s: float = ALONE_S) -> None:
    deadline = time.monotonic() + within_s
    while True:
        with socket.socket() as connection:
            connection.settimeout(1.0)
            if connection.connect_ex((address, 80)) == 0:
                return
        assert time.monotonic() < deadline, f"{address} does not answer"
        time.sleep(pace_s)


def all_done(pool: ThreadPoolExecutor, work: Callable[[str], None], names: list[str]) -> None:
    list(pool.map(work, names))


def timed(work: Callable[[], object]) -> float:
    """Milliseconds."""
    began = time.perf_counter()
    work()
    return (time.perf_counter() - began) * 1000


def spread(took_ms: list[float]) -> str:
    worst = statistics.quantiles(took_ms, n=10)[-1]
    return f"{statistics.median(took_ms):6.1f} ms (9 of 10 within {worst:.0f})"


@contextmanager
def opened() -> Iterator[Host]:
    """A host root of its own, with a busybox image; nothing is left afterwards."""
    root = Path(tempfile.mkdtemp(prefix="hecd-bench-"))
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, root)
        stack.enter_context(in_memory(root / "run"))
        yield from _opened(root)


def _opened(root: Path) -> Iterator[Host]:
    host = Host.open(root / "lib", root / "run", "10.87.240.0/20", f"hecdb{secrets.token_hex(3)}")
    try:
        layers: list[LayerFiles] = [
            {"bin/busybox": Path("/bin/busybox"), "bin/true": link("busybox"), "index.html": b"hello\n"}
        ]
        build_image(root / "layout", IMAGE, layers, ImageConfig())
        host.images.load(root / "layout")
        yield host
    finally:
        for container in host.containers.list():
            host.containers.remove(container.name)
        host.close()


@contextmanager
def in_memory(folder: Path) -> Iterator[None]:
    folder.mkdir()
    mount("tmpfs", str(folder), "tmpfs", options="mode=0700")
    try:
        yield
    finally:
        unmount(str(folder))


@contextmanager
def dockerd() -> Iterator[tuple[Any, str]]:
    """A client of a dockerd that has the same image, and its address."""
    daemon = Dockerd(storage="overlay2")
    with in_memory(daemon.folder / "exec"), in_memory(daemon.folder / "state"):
        daemon.start()
        try:
            daemon.load_image()
            client = docker.DockerClient(base_url=daemon.host, version="auto", timeout=60)
            client.images.get("hecd-test/web").tag(*IMAGE.split(":"))
            yield client, daemon.host
            client.close()
        finally:
            daemon.stop()


if __name__ == "__main__":
    main()
