"""How long a blue/green rollback takes, from order to load balancer; and how many requests a release harms that fails
all it gets after the switch, until it is turned back by itself. `python tests/bench/bluegreen.py`.

Real etcd, control, two HAProxys and confd-py with the shipped templates, under load; all share the cores of this
machine. An edge has switched when HAProxy's Runtime API says that just the servers of the other release have weights.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from registrator.model.canary import JUDGED_BY
from registrator.model.service import Update
from tests.integration.registrator.fleet import Edge, Fleet, fleet

_UPDATE = Update(parallelism=0, monitor_s=0.2, strategy="blue-green", keep_s=600.0)


async def _measure(folder: Path, replicas: int, rate: float, times: int) -> None:
    async with fleet(folder) as here:
        for release in (1, 2):
            await here.deploy(release, replicas, _UPDATE)
            await here.until_ended(release, 30.0)
        firsts, lasts = [], []
        async with here.load(rate):
            for n in range(times):
                took_ms = await _there(here, 1 + n % 2)
                firsts.append(min(took_ms))
                lasts.append(max(took_ms))
                await here.until_ended(1 + n % 2, 30.0)
        print(
            f"  {replicas:3d} replicas  first edge {_told(firsts)}  last edge {_told(lasts)}"
            f"  {len(here.failures)} of {here.sent} requests failed",
            flush=True,
        )


async def _judged(folder: Path, replicas: int, rate: float, times: int) -> None:
    """Releases that fail every request but those of their health checks."""
    harmed, firsts, lasts = [], [], []
    async with fleet(folder) as here:
        await here.deploy(1, replicas, _UPDATE)
        await here.until_ended(1, 30.0)
        here.behave = lambda order: here.web.failing.add(str(order.instance)) if order.release > 1 else None
        async with here.load(rate):
            for release in range(2, 2 + times):
                before = _failed(here)
                took_ms = await _turned_back(here, release, replicas)
                await here.until_ended(release, 30.0)
                firsts.append(min(took_ms))
                lasts.append(max(took_ms))
                harmed.append(_failed(here) - before)
        print(
            f"  {replicas:3d} replicas  {rate:g}/s  a release that only fails: {statistics.median(harmed):g} harmed, "
            f"{max(harmed)} at worst;  from the verdict to the first edge {_told(firsts)}, to the last {_told(lasts)}",
            flush=True,
        )


async def _turned_back(here: Fleet, release: int, replicas: int) -> list[float]:
    """Deploy it; how long each load balancer took from the leader's transaction on, milliseconds."""
    old = {str(name) for name in here.instances(1)}
    await here.deploy(release, replicas, replace(_UPDATE, monitor_s=10.0, judge=JUDGED_BY))
    await here.until(lambda: here.rollout.release == release and here.rollout.state == "monitoring", 30.0, "switched")
    while here.rollout.state == "monitoring":
        await here.store.changed(here.store.snapshot().mark)
    begun = time.perf_counter()
    return list(await asyncio.gather(*(asyncio.to_thread(_until_switched, edge, old, begun) for edge in here.edges)))


def _failed(here: Fleet) -> int:
    return sum(count for name, count in here.hits.items() if name in here.web.failing)


async def _there(here: Fleet, release: int) -> list[float]:
    """Order it; how long each load balancer took, milliseconds."""
    wanted = {str(name) for name in here.instances(release)}
    begun = time.perf_counter()
    watching = [asyncio.create_task(asyncio.to_thread(_until_switched, edge, wanted, begun)) for edge in here.edges]
    await here.want(release)
    return list(await asyncio.gather(*watching))


def _until_switched(edge: Edge, wanted: set[str], begun: float) -> float:
    while time.perf_counter() - begun < 10.0:
        if edge.haproxy.serving() == wanted:
            return 1000 * (time.perf_counter() - begun)
        time.sleep(0.002)
    raise AssertionError(f"{edge.name} has not switched")


def _told(took_ms: list[float]) -> str:
    return f"median {statistics.median(took_ms):4.0f} ms, worst {max(took_ms):4.0f} ms"


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--rate", type=float, default=400.0, help="requests a second, together")
    parser.add_argument("--times", type=int, default=20)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="hecd-bench-") as folder:
        for replicas in (4, 20):
            asyncio.run(_measure(Path(folder, str(replicas)), replicas, options.rate, options.times))
        for rate in (options.rate, options.rate / 20):
            asyncio.run(_judged(Path(folder, f"judged-{rate:g}"), 4, rate, max(1, options.times // 2)))


if __name__ == "__main__":
    main()
