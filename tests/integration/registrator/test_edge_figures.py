"""What an edge says of itself in etcd, with a real HAProxy before real servers, under load and across reloads."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from registrator.agent import usage
from registrator.agent.drivers.answers import AnswerLog
from registrator.agent.drivers.haproxy import HaproxyBalancer
from registrator.agent.edge import EdgeReporter
from registrator.config import EtcdAccess
from registrator.model.names import NodeName
from registrator.model.node import Edge
from registrator.model.usage import Usage, together
from registrator.registry.etcd import EtcdStore, open_store
from registrator.registry.world import Reader
from tests.integration.confd_py.conftest import Ring
from tests.integration.confd_py.parts import SOON_S, load, within

E1 = NodeName("e1")


@pytest.fixture
def ring(tmp_path: Path) -> Iterator[Ring]:
    ring = Ring(tmp_path)
    try:
        ring.start()
        yield ring
    finally:
        ring.stop()


@asynccontextmanager
async def reporting(ring: Ring) -> AsyncIterator[EtcdStore]:
    """The edge's part of an agent, in this process."""
    async with open_store(EtcdAccess((ring.etcd.endpoint,))) as store:
        lease = await store.lease(30)
        balancer = HaproxyBalancer(ring.haproxy.run / "admin.sock", Path(f"{ring.haproxy.config}.applied"))
        reporter = EdgeReporter(store, balancer, AnswerLog(ring.haproxy.run / "log.sock"), E1)
        task = asyncio.create_task(reporter.run(lambda: lease))
        try:
            yield store
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
            await lease.close(revoke=True)


async def edge(store: EtcdStore, good: Callable[[Edge], object], what: str, within_s: float = SOON_S) -> Edge:
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        found = Reader().read(store.snapshot()).edges.get(E1)
        if found is not None and good(found):
            return found
        await asyncio.sleep(0.02)
    raise AssertionError(f"not within {within_s:g} s: {what}; it says {found}")


def served(ring: Ring) -> None:
    """Two instances of release 1 that are quick, one of release 2 that is slow and fails."""
    ring.service()
    for number, release in ((1, 1), (2, 1), (3, 2)):
        key, record = ring.instance_record(number)
        assert isinstance(record, dict)
        ring.put(key, {**record, "release": release})
    ring.web.delay_s["web.3"] = 0.06
    ring.web.failing.add("web.3")
    within(SOON_S, "all serve", lambda: ring.haproxy.serving() == {"web.1", "web.2", "web.3"})


def of(found: Edge, release: str) -> Usage:
    return found.usage.get("web.80", {}).get(release, Usage())


async def test_every_answer_is_counted_once_by_release_also_across_reloads(ring: Ring) -> None:
    served(ring)
    async with reporting(ring) as store:
        await edge(store, lambda e: "web.80" in e.usage, "it reports")
        with load(ring.port) as running:
            for _ in range(3):
                await asyncio.sleep(0.5)
                os.kill(ring.haproxy.master_pid, signal.SIGUSR2)
            await asyncio.sleep(1.0)
        sent, failed = running.sent, len(running.failures)
        found = await edge(
            store, lambda e: together(e.usage["web.80"].values()).total.requests == sent, f"{sent} are counted"
        )
        assert of(found, "2").total.failed == failed == of(found, "2").total.requests > 10
        assert of(found, "1").total.failed == 0
        assert of(found, "1").p50_ms < 50 <= of(found, "2").p50_ms
        slowest_ms = 1000 * max(running.took_s)  # a figure is never far above the truth
        assert of(found, "1").p50_ms <= of(found, "1").p99_ms <= 2 * slowest_ms
        assert of(found, "2").p50_ms <= of(found, "2").p99_ms <= 2 * slowest_ms
        assert found.counted_since > 0 and found.uncounted == 0


async def test_an_agent_that_starts_again_counts_anew_and_says_since_when(ring: Ring) -> None:
    served(ring)
    async with reporting(ring) as store:
        with load(ring.port):
            before = await edge(store, lambda e: of(e, "1").total.requests > 20, "it counts")
    async with reporting(ring) as store:
        after = await edge(store, lambda e: e.counted_since > before.counted_since, "it counts anew")
        assert of(after, "1").total.requests < of(before, "1").total.requests


async def test_an_edge_writes_once_a_second_under_load_and_nothing_when_idle(
    ring: Ring, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(usage, "WINDOW_S", 2.0)
    served(ring)
    ring.put(*ring.instance_record(4, weight=0))  # one that is on its way, so that it looks often
    within(SOON_S, "it is there", lambda: "web.4" in ring.haproxy.servers())
    async with reporting(ring) as store:
        await edge(store, lambda e: "web.80" in e.usage, "it reports")
        with load(ring.port):
            await asyncio.sleep(1.0)
            begun = time.monotonic()
            first = ring.version("/hecd/edges/e1")
            await asyncio.sleep(2.0)
            await asyncio.to_thread(within, SOON_S, "it writes", lambda: ring.version("/hecd/edges/e1") > first)
            writes, seconds = ring.version("/hecd/edges/e1") - first, time.monotonic() - begun
        assert writes <= seconds + 1
        await edge(store, lambda e: of(e, "1").rate == 0 and of(e, "2").p99_ms == 0, "it is calm")
        calm = ring.version("/hecd/edges/e1")
        await asyncio.sleep(2.0)
        assert ring.version("/hecd/edges/e1") == calm
