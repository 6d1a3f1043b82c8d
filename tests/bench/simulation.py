"""A large fleet by simulation: how long it takes to join, and what it costs to keep.

    python -m tests.bench.simulation --nodes 1000 --services 100 --replicas 100

Real etcd (one member), the real control loop as its own process, agents and load balancers simulated: see simulated.py.
All share the cores of this machine. Counted as etcd's writes: the proposals that it applied, one for each put,
transaction, and lease granted or revoked; keeping a lease alive is none, and is told besides.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import multiprocessing
import os
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import etcdkit
from registrator.model.instance import Instance
from registrator.model.names import ReleaseNumber
from registrator.model.release import Release, Settings
from registrator.model.service import Port, Service, Traffic, Update
from registrator.registry import schema
from registrator.registry.codec import decode
from tests.bench import simulated
from tests.bench.simulated import PORT, service_name
from tests.fakes.etcd_server import EtcdServer

GOAL_JOIN_S, GOAL_CPU, GOAL_WRITES, GOAL_CHANGE_MS, GOAL_MB = 60.0, 0.05, 50.0, 200.0, 300.0
ONE = ReleaseNumber(1)
HECD = str(Path(sys.executable).with_name("hecd"))


@dataclass
class Use:
    """What a process and etcd have done until now."""

    at: float
    cpu_s: float
    writes: float
    kept_alive: float

    def since(self, before: Use) -> tuple[float, float, float]:
        """Cores, writes a second, and leases kept alive a second."""
        took_s = self.at - before.at
        return (
            (self.cpu_s - before.cpu_s) / took_s,
            (self.writes - before.writes) / took_s,
            (self.kept_alive - before.kept_alive) / took_s,
        )


@dataclass
class Simulation:
    """The parts that run, and what an edge's mirror of the instances says."""

    etcd: EtcdServer
    control: subprocess.Popen[bytes]
    client: etcdkit.Client
    serving: set[str] = field(default_factory=set)
    leases: dict[str, tuple[Instance, int]] = field(default_factory=dict)
    _moved: asyncio.Event = field(default_factory=asyncio.Event)

    def heed(self, changes: list[etcdkit.Change]) -> None:
        for change in changes:
            name = change.key.rpartition("/")[2]
            self.serving.discard(name)
            if change.new is not None:
                said = decode(Instance, change.new.value)
                self.leases[name] = said, change.new.lease
                if said.serving:
                    self.serving.add(name)
        self._moved.set()

    async def until(self, good: Callable[[], bool], within_s: float) -> float:
        """Wait for what the mirror is to say; seconds."""
        begun = time.monotonic()
        async with asyncio.timeout(within_s):
            while not good():
                self._moved.clear()
                await self._moved.wait()
        return time.monotonic() - begun

    def use(self) -> Use:
        stat = Path(f"/proc/{self.control.pid}/stat").read_text().rpartition(")")[2].split()
        with urllib.request.urlopen(f"{self.etcd.url}/metrics", timeout=10) as answer:
            lines = [line.split() for line in answer.read().decode().splitlines() if not line.startswith("#")]
        found = {words[0]: float(words[1]) for words in lines if len(words) == 2}
        return Use(
            time.monotonic(),
            (int(stat[11]) + int(stat[12])) / os.sysconf("SC_CLK_TCK"),
            found["etcd_server_proposals_applied_total"],
            found["etcd_debugging_lease_renewed_total"],
        )

    def most_mb(self) -> float:
        text = Path(f"/proc/{self.control.pid}/status").read_text()
        return int(text.partition("VmHWM:")[2].split()[0]) / 1024

    async def put(self, record: schema.Record, lease: int = 0) -> None:
        put = schema.put(record, lease)
        await self.client.put(put.key, put.value, lease, repeatable=True)


@contextlib.asynccontextmanager
async def running(folder: Path, options: argparse.Namespace) -> AsyncIterator[Simulation]:
    etcd = EtcdServer(folder, args=("--quota-backend-bytes=8589934592", "--auto-compaction-retention=1h"))
    etcd.start()
    environment = {**os.environ, "HECD_ROOT": str(folder), "HECD_ETCD": etcd.endpoint, "HECD_NODE": "c1"}
    argv = [sys.executable, *(["-m", "cProfile", "-o", options.profile] if options.profile else []), HECD, "control"]
    with (folder / "control.log").open("wb") as log:
        control = subprocess.Popen(argv, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        async with etcdkit.Client([etcd.endpoint]) as client:
            here = Simulation(etcd, control, client)
            mirror = etcdkit.Mirror(client, f"{schema.ROOT}instances/")
            mirror.listen(here.heed)
            async with mirror:
                yield here
    finally:
        control.terminate()
        control.wait(30)
        etcd.kill()


@contextlib.contextmanager
def process(target: Callable[..., None], *words: Any) -> Iterator[None]:
    made = multiprocessing.get_context("spawn").Process(target=target, args=words)
    made.start()
    try:
        yield
    finally:
        made.terminate()
        made.join(30)


async def joined(here: Simulation, options: argparse.Namespace) -> None:
    """Wait for all node records."""
    while True:
        snapshot = await here.client.get_prefix(f"{schema.ROOT}nodes/")
        if len(snapshot.entries) >= options.nodes + options.edges:
            return
        await asyncio.sleep(0.1)


async def deploy(here: Simulation, options: argparse.Namespace) -> None:
    update = Update(parallelism=options.parallelism, monitor_s=1.0, deadline_s=300.0)
    for number in range(options.services):
        name = service_name(number)
        traffic = Traffic((Port(10_000 + number, PORT),))
        await here.put(Release(name, ONE, Settings("sample:1", target_ports=(PORT,))))
        await here.put(Service(name, ONE, options.replicas, update, traffic))


async def settled(here: Simulation, options: argparse.Namespace) -> None:
    """Wait until all rollouts are done."""
    async with asyncio.timeout(300):
        while True:
            snapshot = await here.client.get_prefix(f"{schema.ROOT}rollouts/")
            if sum(b'"state":"done"' in e.value for e in snapshot.entries.values()) == options.services:
                return
            await asyncio.sleep(0.2)


async def scaled(here: Simulation, options: argparse.Namespace, number: int) -> float:
    """One more instance of a service: until an edge's mirror has it, ms."""
    snapshot = await here.client.get_prefix(f"{schema.ROOT}services/{service_name(number)}")
    service = decode(Service, snapshot.entries[f"{schema.ROOT}services/{service_name(number)}"].value)
    before = len(here.serving)
    begun = time.monotonic()
    await here.put(replace(service, replicas=service.replicas + 1))
    await here.until(lambda: len(here.serving) > before, 30.0)
    return (time.monotonic() - begun) * 1000


async def died(here: Simulation, name: str) -> float:
    """An instance ends, its agent says so and starts it again: until an edge's mirror has the end of it, ms."""
    said, lease = here.leases[name]
    begun = time.monotonic()
    await here.put(replace(said, state="exited"), lease)
    await here.until(lambda: name not in here.serving, 30.0)
    took_ms = (time.monotonic() - begun) * 1000
    await here.put(said, lease)
    return took_ms


def verdict(what: str, value: float, goal: float, unit: str) -> bool:
    print(f"{what:44} {value:9.1f} {unit:10} goal {goal:g}{'' if value <= goal else '   MISSED'}", flush=True)
    return value <= goal


def percentiles(times: list[float]) -> tuple[float, float]:
    ordered = sorted(times)
    return statistics.median(ordered), ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))]


async def measure(options: argparse.Namespace, folder: Path) -> bool:
    good = True
    total = options.services * options.replicas
    async with running(folder, options) as here:
        with contextlib.ExitStack() as stack:
            begun = time.monotonic()
            stack.enter_context(process(simulated.run_agents, here.etcd.endpoint, options.nodes, options.delay))
            for n in range(options.edges):
                stack.enter_context(process(simulated.run_edge, here.etcd.endpoint, f"e{n}", options.traffic))
            await joined(here, options)
            nodes_s, before = time.monotonic() - begun, here.use()
            await deploy(here, options)
            await here.until(lambda: len(here.serving) == total, 600.0)
            took_s = time.monotonic() - begun
            print(f"{options.nodes} nodes joined in {nodes_s:.1f} s; {total} instances {took_s - nodes_s:.1f} s later,")
            print(f"control using {here.use().since(before)[0] * 100:.0f} % of a core meanwhile")
            good &= verdict("join: all nodes, all instances in the mirror", took_s, GOAL_JOIN_S, "s")
            await settled(here, options)
            await asyncio.sleep(3.0)
            before = here.use()
            await asyncio.sleep(options.steady)
            cpu, writes, kept = here.use().since(before)
            good &= verdict("steady: control", cpu * 100, GOAL_CPU * 100, "% core")
            good &= verdict("steady: etcd's writes", writes, GOAL_WRITES, "/s")
            print(f"steady: leases kept alive                    {kept:9.1f} /s")
            up, down = [], []
            for n in range(options.changes):
                up.append(await scaled(here, options, n % options.services))
                await asyncio.sleep(options.pause)
                down.append(await died(here, sorted(here.serving)[n * 7 % len(here.serving)]))
                await asyncio.sleep(options.pause)
            for what, times in (("one more instance is in the mirror", up), ("a dead one is out of the mirror", down)):
                p50, p99 = percentiles(times)
                good &= verdict(f"{what}, p99 (p50 {p50:.0f})", p99, GOAL_CHANGE_MS, "ms")
            good &= verdict("memory of control at most", here.most_mb(), GOAL_MB, "MB")
    return good


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nodes", type=int, default=1000)
    parser.add_argument("--services", type=int, default=100)
    parser.add_argument("--replicas", type=int, default=100)
    parser.add_argument("--edges", type=int, default=2)
    parser.add_argument("--delay", type=float, default=0.0, help="seconds an instance takes to start")
    parser.add_argument("--parallelism", type=int, default=0, help="instances started at once; 0: all")
    parser.add_argument("--traffic", action="store_true", help="edges have other figures each second")
    parser.add_argument("--steady", type=float, default=20.0, help="seconds that nothing changes")
    parser.add_argument("--changes", type=int, default=100)
    parser.add_argument("--pause", type=float, default=0.2, help="seconds between changes")
    parser.add_argument("--profile", default="", help="write a profile of the control loop to this file")
    with tempfile.TemporaryDirectory(prefix="hecd-bench-") as folder:
        return 0 if asyncio.run(measure(parser.parse_args(), Path(folder))) else 1


if __name__ == "__main__":
    sys.exit(main())
