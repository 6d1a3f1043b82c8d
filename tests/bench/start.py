"""From an assignment in etcd to the port answering, through a real agent: the sample app, one instance at a time.

    python -m tests.bench.start --count 30

Prints the median and the worst, and the same for the end: from the order to drain to the record being gone.
"""

from __future__ import annotations

import argparse
import asyncio
import shutil
import statistics
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from registrator.agent import local
from registrator.config import Config
from registrator.demo import app
from registrator.model.instance import Assignment
from registrator.model.names import InstanceName, NodeName, ReleaseNumber, ServiceName
from registrator.model.release import Healthcheck, Release, Settings
from registrator.orders.follow import until
from registrator.registry import schema
from registrator.registry.etcd import EtcdStore, open_store
from registrator.registry.world import World
from registrator.up import machine
from registrator.up.supervisor import Supervisor

BENCH = ServiceName("bench")


async def answers(address: str) -> None:
    """Return when `address` answers an HTTP request."""
    host, _, port = address.partition(":")
    while True:
        try:
            reader, writer = await asyncio.open_connection(host, int(port))
            writer.write(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
            if (await reader.read(12)).endswith(b"200"):
                writer.close()
                return
        except OSError:
            await asyncio.sleep(0.001)


async def one(store: EtcdStore, node: NodeName, release: Release, number: int) -> tuple[float, float, float]:
    """Start and end one instance: seconds to the answer, to the healthy record, to the end."""
    order = Assignment(InstanceName(f"bench.{number}"), BENCH, release.number, node, reason="bench")

    def placed(world: World) -> bool:
        seen = world.instances.get(order.instance)
        return seen is not None and bool(seen.endpoints)

    begun = time.perf_counter()
    await store.commit([schema.put(order)])
    world = await until(store, placed, 10.0, "it has an address")
    await answers(world.instances[order.instance].endpoints["8080"])
    answered = time.perf_counter() - begun
    await until(store, lambda w: w.instances[order.instance].serving, 10.0, "it is healthy")
    healthy = time.perf_counter() - begun
    begun = time.perf_counter()
    await store.commit([schema.put(replace(order, drain=True))])
    await until(store, lambda w: order.instance not in w.instances, 10.0, "it is gone")
    await store.commit([schema.delete(order)])
    return answered, healthy, time.perf_counter() - begun


async def measure(config: Config, count: int) -> list[tuple[float, float, float]]:
    with local.opened(config) as here:
        layout = Path(config.root, "image")
        image = app.build(layout, 1)
        here.load(layout)
        check = Healthcheck("http", "/health")
        settings = Settings(image, here.digest(image), healthcheck=check, target_ports=(8080,))
    async with open_store(config.access) as store:
        release = Release(BENCH, ReleaseNumber(1), settings)
        await store.commit([schema.put(release)])
        return [await one(store, NodeName(config.node), release, n) for n in range(count + 1)][1:]


async def run(config: Config, supervisor: Supervisor, count: int) -> list[tuple[float, float, float]]:
    supervisor.start()
    try:
        await machine.ready(config, 30.0)
        return await measure(config, count)
    finally:
        await supervisor.stop()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=30)
    args = parser.parse_args()
    root = tempfile.mkdtemp(prefix="hecd-bench-", dir="/var/tmp")
    config = Config(node="bench", root=root, bridge="hecdbench0", subnet_pool="10.84.0.0/16")
    try:
        with machine.running(config, lambda program, line: None) as (config, supervisor):
            figures = asyncio.run(run(config, supervisor, args.count))
            with local.opened(config) as here:
                here.remove_all()
    finally:
        shutil.rmtree(root, ignore_errors=True)
    for name, values in zip(
        ("port answers", "healthy in etcd", "drained and gone"), zip(*figures, strict=True), strict=True
    ):
        print(f"{name:18} median {statistics.median(values) * 1000:6.1f} ms, worst {max(values) * 1000:6.1f} ms")


if __name__ == "__main__":
    main()
