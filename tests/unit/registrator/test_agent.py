"""The agent against a store and an engine in memory: what it runs, what it says, and what it never does."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from registrator.agent.announcer import Announcer
from registrator.agent.copy import Copy
from registrator.agent.loop import Agent
from registrator.model.instance import Assignment, Instance
from registrator.model.names import InstanceName, NodeName, ReleaseNumber, ServiceName
from registrator.model.node import Edge, Node, ServerReport
from registrator.model.release import Healthcheck, Release, Settings
from registrator.registry import schema
from registrator.registry.store import MOST_AT_ONCE
from registrator.registry.trust import Trust
from registrator.registry.world import Reader
from tests.fakes.engine import FakeEngine, FakeProber
from tests.fakes.store import FakeStore

WEB, N1 = ServiceName("web"), NodeName("n1")
CHECK = Healthcheck("http", "/", port=80, interval_s=0.01, retries=2, start_period_s=0.05, start_interval_s=0.005)
RELEASE = Release(WEB, ReleaseNumber(1), Settings("image", healthcheck=CHECK, target_ports=(80,), stop_grace_s=0.05))


class Bench:
    """An agent at work, and the hands of everybody else."""

    def __init__(self, tmp: Path) -> None:
        self.tmp = tmp
        self.store = FakeStore()
        self.engine = FakeEngine()
        self.prober = FakeProber()

    @asynccontextmanager
    async def agent(self) -> AsyncIterator[Agent]:
        voice = Announcer(self.store, Node(N1), self.tmp / "lease", 10)
        agent = Agent(self.store, self.engine, self.prober, voice, Trust(self.tmp / "trust"))
        task = asyncio.create_task(agent.run())
        try:
            yield agent
        finally:
            task.cancel()
            await asyncio.wait([task])

    async def order(self, name: str = "web.1", *, drain: bool = False, timeout_s: float = 5.0) -> None:
        order = Assignment(InstanceName(name), WEB, RELEASE.number, N1, drain, timeout_s, "because")
        await self.store.commit([schema.put(RELEASE), schema.put(order)])

    async def edge(self, state: str, sessions: int = 0) -> None:
        revision = self.store.snapshot().revision
        report = {"web.80": {"web.1": ServerReport(state, 100, sessions)}}
        await self.store.commit([schema.put(Edge(N1, revision, report))])

    def record(self, name: str = "web.1") -> Instance | None:
        return Reader().read(self.store.snapshot()).instances.get(InstanceName(name))

    def ordered(self) -> set[str]:
        return {name for _, name in Reader().read(self.store.snapshot()).assignments}

    async def until(self, good: Callable[[], bool]) -> None:
        async with asyncio.timeout(20.0):
            while not good():
                mark = self.store.snapshot().mark
                changed = asyncio.create_task(self.store.changed(mark))
                await asyncio.wait([changed], timeout=0.02)
                changed.cancel()

    async def until_state(self, state: str, health: str | None = None) -> Instance:
        def good() -> bool:
            seen = self.record()
            return seen is not None and seen.state == state and health in (None, seen.health)

        await self.until(good)
        seen = self.record()
        assert seen is not None
        return seen


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


async def test_it_joins_runs_what_it_is_assigned_and_announces_it(bench: Bench) -> None:
    async with bench.agent():
        await bench.order()
        seen = await bench.until_state("running", "healthy")
    assert seen.endpoints == {"80": "10.0.0.1:80"}
    assert seen.node == "n1"
    assert Reader().read(bench.store.snapshot()).nodes.keys() == {"n1"}


async def test_it_announces_nothing_healthy_before_the_probe_passes(bench: Bench) -> None:
    bench.prober.good = False
    async with bench.agent():
        await bench.order()
        seen = await bench.until_state("starting")
        assert not seen.serving
        seen = await bench.until_state("failed")
        assert "never became healthy: it said no" in seen.reason
        bench.prober.good = True
        await bench.until_state("running", "healthy")


async def test_one_that_dies_is_out_at_once_and_started_again_under_its_address(bench: Bench) -> None:
    async with bench.agent():
        await bench.order()
        first = await bench.until_state("running", "healthy")
        bench.engine.die(InstanceName("web.1"))
        await bench.until(lambda: (r := bench.record()) is not None and r.restarts == 1 and r.serving)
        seen = bench.record()
    assert seen is not None
    assert seen.endpoints == first.endpoints


async def test_one_that_can_not_start_says_why_and_is_tried_again(bench: Bench) -> None:
    bench.engine.refuse = "no such image"
    async with bench.agent():
        await bench.order()
        seen = await bench.until_state("failed")
        assert seen.reason == "no such image"
        bench.engine.refuse = ""
        await bench.until_state("running", "healthy")


async def test_why_it_ended_is_told_until_it_serves_again(bench: Bench) -> None:
    async with bench.agent():
        await bench.order()
        await bench.until_state("running", "healthy")
        bench.prober.good = False
        bench.engine.die(InstanceName("web.1"))
        seen = await bench.until_state("starting")
        assert (seen.restarts, seen.reason, seen.log_tail) == (1, "exit code 3", ("last words",))
        assert seen.trouble == "exit code 3"
        bench.prober.good = True
        seen = await bench.until_state("running", "healthy")
        assert (seen.restarts, seen.reason, seen.log_tail) == (1, "", ())


async def test_a_registry_is_not_asked_again_before_it_wants_to_be(bench: Bench) -> None:
    bench.engine.refuse, bench.engine.retry_after_s = "the registry wants other credentials", 60.0
    async with bench.agent():
        await bench.order()
        await bench.until_state("failed")
        bench.engine.refuse = ""
        await asyncio.sleep(0.8)  # longer than the usual pause after a first failure
    assert bench.engine.calls == ["start web.1"]


async def test_an_engine_that_is_away_is_no_fault_of_an_instance(bench: Bench) -> None:
    bench.engine.away = True
    async with bench.agent():
        await bench.order()
        await asyncio.sleep(0.1)
        bench.engine.away = False
        seen = await bench.until_state("running", "healthy")
        assert seen.restarts == 0
        bench.engine.away = True
        await asyncio.sleep(0.1)
        assert (found := bench.record()) is not None and found.health == "healthy", "what runs goes on"
        bench.engine.die(InstanceName("web.1"))
        await bench.until(lambda: (r := bench.record()) is not None and not r.serving)
        bench.engine.away = False
        seen = await bench.until_state("running", "healthy")
        assert seen.restarts == 1


async def test_a_stop_waits_for_an_engine_that_is_away(bench: Bench) -> None:
    async with bench.agent():
        await bench.order()
        await bench.until_state("running", "healthy")
        bench.engine.away = True
        await bench.order(drain=True, timeout_s=0.01)
        await bench.until_state("stopping")
        await asyncio.sleep(0.1)  # longer than its grace period
        bench.engine.away = False
        await bench.until(lambda: bench.record() is None)
    assert bench.engine.calls == ["start web.1", "signal web.1 ", "remove web.1"], "it was asked to end, not killed"


async def test_a_look_that_the_engine_cannot_take_says_nothing(bench: Bench) -> None:
    async with bench.agent():
        await bench.order()
        await bench.until_state("running", "healthy")
        bench.prober.away = True
        await asyncio.sleep(0.2)  # time for the two failures that would make it unhealthy
        assert (seen := bench.record()) is not None and seen.health == "healthy"
        bench.prober.away, bench.prober.good = False, False
        await bench.until(lambda: (r := bench.record()) is not None and r.health == "unhealthy")


async def test_it_drains_until_every_edge_lets_go_then_stops_and_removes(bench: Bench) -> None:
    async with bench.agent():
        await bench.order()
        await bench.until_state("running", "healthy")
        await bench.edge("UP", 1)
        await bench.order(drain=True)
        await bench.until_state("draining")
        await bench.edge("DRAIN", 1)
        await asyncio.sleep(0.05)
        assert "signal" not in " ".join(bench.engine.calls)
        await bench.edge("DRAIN", 0)
        await bench.until(lambda: bench.record() is None)
    assert bench.engine.calls == ["start web.1", "signal web.1 ", "remove web.1"]


async def test_an_order_to_end_stands_until_nothing_is_left_even_of_one_that_was_never_announced(bench: Bench) -> None:
    async with bench.agent() as agent:
        await bench.until(lambda: bool(Reader().read(bench.store.snapshot()).nodes))
        bench.engine.away = True
        await bench.order()
        await bench.until(lambda: bool(agent.copies))
        await bench.order(drain=True)
        await asyncio.sleep(0.1)
        assert bench.record() is None and bench.ordered() == {"web.1"}, "it may begin any moment"
        bench.engine.away = False
        await bench.until(lambda: not bench.ordered())
        assert not bench.engine.seen and bench.record() is None
        assert bench.engine.calls[-1] == "remove web.1"
        await bench.order("web.2", drain=True)  # it never was here
        await bench.until(lambda: not bench.ordered())


async def test_an_edge_that_has_not_heard_of_the_drain_is_waited_for(bench: Bench) -> None:
    async with bench.agent():
        await bench.order()
        await bench.until_state("running", "healthy")
        await bench.edge("DRAIN", 0)  # an old report, from before
        await bench.order(drain=True)
        await bench.until_state("draining")
        await asyncio.sleep(0.05)
        assert "signal" not in " ".join(bench.engine.calls)
        await bench.edge("DRAIN", 0)
        await bench.until(lambda: bench.record() is None)


async def test_a_drain_ends_at_its_deadline_and_a_stubborn_one_is_killed(bench: Bench) -> None:
    bench.engine.stubborn = True
    async with bench.agent():
        await bench.order()
        await bench.until_state("running", "healthy")
        await bench.edge("UP", 7)
        await bench.order(drain=True, timeout_s=0.05)
        await bench.until(lambda: bench.record() is None)
    assert bench.engine.calls[1:] == ["signal web.1 ", "signal web.1 SIGKILL", "remove web.1"]


async def test_absence_is_no_order(bench: Bench) -> None:
    async with bench.agent():
        await bench.order()
        await bench.until_state("running", "healthy")
        await bench.store.commit([schema.delete(Assignment(InstanceName("web.1"), WEB, RELEASE.number, N1))])
        await asyncio.sleep(0.05)
        assert bench.record() is not None
    assert bench.engine.seen[InstanceName("web.1")].running


async def test_after_a_wipe_it_says_again_what_it_runs_and_takes_no_orders(bench: Bench) -> None:
    async with bench.agent():
        await bench.order()
        await bench.until_state("running", "healthy")
        bench.store.wipe()
        await bench.until_state("running", "healthy")
        await bench.order("web.2")
        await asyncio.sleep(0.05)
    assert bench.engine.calls == ["start web.1"]


async def test_a_lost_lease_is_replaced_and_everything_said_again(bench: Bench) -> None:
    async with bench.agent() as agent:
        await bench.order()
        await bench.until_state("running", "healthy")
        assert agent.announcer.lease is not None
        bench.store.expire(agent.announcer.lease.id)
        await bench.until_state("running", "healthy")
    assert bench.engine.calls == ["start web.1"]


async def test_more_instances_than_etcd_takes_at_once_are_said_again_all_of_them(bench: Bench) -> None:
    voice = Announcer(bench.store, Node(N1), bench.tmp / "lease", 10)
    holding = asyncio.create_task(voice.hold_lease())
    await bench.until(lambda: voice.lease is not None)
    names = [InstanceName(f"web.{n}") for n in range(1, 2 * MOST_AT_ONCE + 2)]
    copies = {name: Copy(name, RELEASE, "up", 0.0, "10.0.0.1") for name in names}

    async def said() -> set[InstanceName]:
        await voice.speak(copies, Reader().read(bench.store.snapshot()))
        world = Reader().read(bench.store.snapshot())
        assert set(world.nodes) == {N1}
        return set(world.instances)

    assert await said() == copies.keys()
    lost = voice.lease
    assert lost is not None
    bench.store.expire(lost.id)
    await bench.until(lambda: voice.lease is not None and voice.lease is not lost)
    assert await said() == copies.keys()
    copies.clear()
    assert await said() == set()
    holding.cancel()
    await asyncio.wait([holding])


async def test_a_new_agent_adopts_what_runs_and_writes_nothing_new(bench: Bench) -> None:
    async with bench.agent():
        await bench.order()
        await bench.until_state("running", "healthy")
    before = bench.store.snapshot().entries["/hecd/instances/web/web.1"]
    async with bench.agent() as agent:
        await bench.until(
            lambda: (c := agent.copies.get(InstanceName("web.1"))) is not None and c.health.verdict != "unknown"
        )
        await asyncio.sleep(0.02)
    assert bench.engine.calls == ["start web.1"]
    assert bench.store.snapshot().entries["/hecd/instances/web/web.1"] == before


async def test_while_etcd_is_away_a_dead_one_is_started_again(bench: Bench) -> None:
    async with bench.agent() as agent:
        await bench.order()
        await bench.until_state("running", "healthy")
        bench.store.away = True
        bench.engine.die(InstanceName("web.1"))
        await bench.until(lambda: bench.engine.calls == ["start web.1", "start web.1"])
        await bench.until(lambda: agent.copies[InstanceName("web.1")].health.verdict == "healthy")
        bench.store.away = False
        await bench.until(lambda: (r := bench.record()) is not None and r.restarts == 1 and r.serving)
