"""How long a blue/green rollback takes, from order to load balancer. `python tests/bench/bluegreen.py`.

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
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

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


if __name__ == "__main__":
    main()
