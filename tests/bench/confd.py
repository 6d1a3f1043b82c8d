"""confd-py beside the original confd: `python tests/bench/confd.py [--confd PATH] [--changes 200]`.

A real etcd; the same Go template and confdir for both, in one run. Prints what this disk alone takes for a file that is
flushed (ours are, the original's are not); how long it takes from the answer to a put until the file holds the new
value (p50, p99) with 10, 100, 1,000 and 10,000 keys under the prefix, start until the first file, memory, and CPU while
nothing happens; then the same for one of 200 resources with 10 keys each, and how many resources rendered for it.
Without --confd its figures are those recorded on another day. `propagation.py` goes on from the file to the first
request.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import ctypes
import json
import os
import select
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import etcdkit

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))
from tests.fakes.etcd_server import EtcdServer  # noqa: E402

OURS = "confd-py"
TEMPLATE = '{{range gets "/up/*"}}server {{base .Key}} {{.Value}}\n{{end}}'
RECORDED = "recorded from confd 0.16: 1 ms p50, 9 ms p99"


@dataclass
class Rival:
    """A program under test, with a confdir of its own."""

    name: str
    argv: list[str]
    folder: Path
    paths: tuple[str, ...] = ("/up",)  # one resource each
    process: subprocess.Popen[bytes] | None = None

    @property
    def out(self) -> Path:
        """What the first resource writes."""
        return self.outs[0]

    @property
    def outs(self) -> list[Path]:
        return [self.folder / f"out{path.replace('/', '-')}" for path in self.paths]

    def start(self, endpoint: str) -> float:
        """Seconds until the last first file is there."""
        for name in ("conf.d", "templates"):
            shutil.rmtree(self.folder / name, ignore_errors=True)
            (self.folder / name).mkdir(parents=True)
        for path, out in zip(self.paths, self.outs, strict=True):
            name = path.strip("/").replace("/", "-")
            (self.folder / f"templates/{name}.tmpl").write_text(TEMPLATE.replace("/up", path))
            text = f'[template]\nsrc = "{name}.tmpl"\ndest = "{out}"\nkeys = ["{path}"]\n'
            (self.folder / f"conf.d/{name}.toml").write_text(text)
            out.unlink(missing_ok=True)
        words = ["-watch", "-backend", "etcdv3", "-node", endpoint, "-confdir", str(self.folder), "-log-level", "error"]
        installed = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
        installed["PYTHONPYCACHEPREFIX"] = str(self.folder / "bytecode")  # is not compiled at each start, either
        begun_s = time.perf_counter()
        self.process = subprocess.Popen([*self.argv, *words], cwd=ROOT, stderr=subprocess.DEVNULL, env=installed)
        while not all(out.exists() for out in self.outs):
            time.sleep(0.001)
            if time.perf_counter() - begun_s > 20:
                raise SystemExit(f"{self.name} wrote nothing within 20 s")
        return time.perf_counter() - begun_s

    def end(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def memory_mib(self) -> float:
        assert self.process is not None
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.split("VmRSS:")[1].split()[0]) / 1024

    def cpu_s(self) -> float:
        assert self.process is not None
        told = Path(f"/proc/{self.process.pid}/task").glob("*/schedstat")  # in ns: clock ticks are too coarse
        return sum(int(file.read_text().split()[0]) for file in told) / 1e9


class Watcher:
    """Sleeps until a file was renamed into its place, or written and closed: no polling beside who is measured."""

    def __init__(self, path: Path) -> None:
        self._path = path
        libc = ctypes.CDLL(None, use_errno=True)
        self._fd = libc.inotify_init1(os.O_CLOEXEC | os.O_NONBLOCK)
        if libc.inotify_add_watch(self._fd, os.fsencode(path.parent), 0x80 | 0x8) < 0:  # IN_MOVED_TO, IN_CLOSE_WRITE
            raise OSError(ctypes.get_errno(), f"cannot watch {path.parent}")

    def until(self, value: str, within_s: float = 20.0) -> None:
        """Returns when the file holds `value`."""
        deadline_s = time.perf_counter() + within_s
        while value not in self._path.read_text(errors="replace"):
            if time.perf_counter() > deadline_s:
                raise SystemExit(f"{self._path} did not change within {within_s} s")
            select.select([self._fd], [], [], 1.0)
            with contextlib.suppress(BlockingIOError):
                os.read(self._fd, 65536)

    def close(self) -> None:
        os.close(self._fd)


async def latencies_ms(client: etcdkit.Client, rival: Rival, changes: int) -> list[float]:
    """From the answer to a put until the first resource's file says so, change by change."""
    found = []
    watcher = Watcher(rival.out)
    for number in range(changes):
        value = f"10.0.0.1:{number}-{time.time_ns()}"
        await client.put(f"{rival.paths[0]}/00000", value.encode())
        begun_s = time.perf_counter()
        watcher.until(value)
        found.append((time.perf_counter() - begun_s) * 1000)
        await asyncio.sleep(0.26)  # quiet again: a storm is rationed, which is another matter
    watcher.close()
    return found


def shown(name: str, what: str, values: list[float]) -> None:
    ordered = sorted(values)
    p99 = ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))]
    print(
        f"{name:10} {what:34} p50 {statistics.median(ordered):7.2f} ms   p99 {p99:7.2f} ms   n {len(ordered)}",
        flush=True,
    )


def disk_ms(folder: Path, changes: int) -> list[float]:
    """What this disk alone takes to put a new file safely in an old one's place, from rest as a change finds it."""
    found = []
    for _ in range(changes):
        time.sleep(0.26)
        begun_s = time.perf_counter()
        with (folder / "staged").open("xb") as file:
            file.write(b"x" * 500)
            file.flush()
            os.fsync(file.fileno())
        (folder / "staged").rename(folder / "placed")
        found.append((time.perf_counter() - begun_s) * 1000)
    return found


async def many_resources(client: etcdkit.Client, rivals: list[Rival], endpoint: str, changes: int) -> None:
    """A change concerns one resource of many; `renders` of the others are counted where they are told."""
    paths = tuple(f"/many/{number:03}" for number in range(200))
    for path in paths:
        for number in range(10):
            await client.put(f"{path}/{number:05}", f"10.0.0.1:{number}".encode())
    for rival in rivals:
        rival.paths = paths
        first_s = rival.start(endpoint)
        await asyncio.sleep(1.5)
        before = renders(rival)
        shown(rival.name, "200 resources x 10 keys", await latencies_ms(client, rival, changes))
        rendered = [now - then for now, then in zip(renders(rival), before, strict=True)]
        told = f", renders {rendered[0]} of the one, {sum(rendered[1:])} of the others" if any(rendered) else ""
        print(f"{rival.name:10} last first file after {first_s * 1000:.0f} ms, {rival.memory_mib():.0f} MiB{told}")
        rival.end()


def started_s(rival: Rival, endpoint: str, times: int = 5) -> float:
    """Median seconds until the first file; it runs afterwards."""
    took = []
    for _ in range(times):
        rival.end()
        took.append(rival.start(endpoint))
    return statistics.median(took)


def renders(rival: Rival) -> list[int]:
    """How often each resource was rendered; the original does not tell."""
    files = [Path(f"{out}.applied") for out in rival.outs]
    return [json.loads(file.read_text())["renders"] if file.exists() else 0 for file in files]


async def run(changes: int, confd: str, idle_s: float) -> None:
    folder = Path(tempfile.mkdtemp(prefix="bench-confd-"))
    server = EtcdServer(folder).start()
    rivals = [Rival(OURS, [sys.executable, "-m", "confd_py"], folder / "ours")]
    rivals += [Rival("confd", [confd], folder / "theirs")] if confd else []
    client = etcdkit.Client([server.endpoint])
    have = 0
    shown("this disk", "create, write, flush, rename", disk_ms(folder, min(changes, 40)))
    try:
        for keys in (10, 100, 1_000, 10_000):
            for number in range(have, keys):
                await client.put(f"/up/{number:05}", f"10.0.0.1:{number}".encode())
            have = keys
            for rival in rivals:
                first_s = started_s(rival, server.endpoint)
                await asyncio.sleep(1.5)
                shown(rival.name, f"{keys} keys: change to file", await latencies_ms(client, rival, changes))
                before_s = rival.cpu_s()
                await asyncio.sleep(idle_s)
                idle = (rival.cpu_s() - before_s) / idle_s * 100
                print(
                    f"{rival.name:10} {keys} keys: first file after {first_s * 1000:.0f} ms, "
                    f"{rival.memory_mib():.0f} MiB, idle {idle:.2f} % of a core",
                    flush=True,
                )
                rival.end()
        await many_resources(client, rivals, server.endpoint, changes)
        if not confd:
            print(RECORDED)
    finally:
        for rival in rivals:
            rival.end()
        await client.close()
        server.kill()
        shutil.rmtree(folder)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--confd", default="", help="the original's binary")
    parser.add_argument("--changes", type=int, default=100)
    parser.add_argument("--idle", type=float, default=20.0, help="seconds of nothing, for the CPU")
    given = parser.parse_args()
    asyncio.run(run(given.changes, given.confd, given.idle))


if __name__ == "__main__":
    main()
