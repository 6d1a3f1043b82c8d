"""The agent's part in hooks: what it does with one run, as a table, and against a store and an engine in memory."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from registrator.agent.ports import Ending, SeenRun
from registrator.agent.run import Begin, Conclude, Remove, Watch, decide
from registrator.agent.runner import Runner
from registrator.model.hook import Hook, Hooks, Result, Run
from registrator.model.names import NodeName, ReleaseNumber, ServiceName
from registrator.model.release import Release, Settings
from registrator.registry import schema
from registrator.registry.trust import Trust
from registrator.registry.world import Reader, World
from tests.fakes.engine import FakeOneOffs
from tests.fakes.store import FakeStore

WEB, N1, NAME = ServiceName("web"), NodeName("n1"), "web.1.pre-deploy.1"
RELEASE = Release(WEB, ReleaseNumber(1), Settings("image", stop_grace_s=0.1), hooks=Hooks(Hook(("./migrate",))))
RUN = Run(NAME, WEB, ReleaseNumber(1), "pre_deploy", N1, timeout_s=60.0, ordered_at=5.0)
STOP, REMOVE = replace(RUN, order="stop", reason="enough"), replace(RUN, order="remove", reason="over")
OLD = replace(RUN, ordered_at=1.0)


def result(state: str) -> Result:
    return Result(NAME, WEB, ReleaseNumber(1), "pre_deploy", N1, state, ordered_at=5.0)


def seen(running: bool, run: Run = RUN) -> SeenRun:
    return SeenRun(run, RELEASE, running, 1.0)


@pytest.mark.parametrize(
    ("order", "said", "container", "expected"),
    [
        (RUN, None, None, Begin),
        (RUN, result("preparing"), None, Begin),
        (RUN, result("starting"), None, Conclude),  # it can't be known whether it ran: not again
        (RUN, result("running"), None, Conclude),
        (RUN, result("passed"), None, None),
        (RUN, result("failed"), None, None),
        (RUN, result("starting"), seen(True), Watch),
        (RUN, result("starting"), seen(False), Conclude),
        (RUN, result("running"), seen(True), Watch),
        (RUN, result("running"), seen(False), Conclude),
        (RUN, None, seen(True), Watch),
        (RUN, None, seen(False), Conclude),
        (RUN, result("passed"), seen(False), None),  # kept for its log
        (RUN, None, seen(False, OLD), Remove),
        (RUN, None, seen(True, OLD), Watch),
        (STOP, None, None, Conclude),
        (STOP, result("preparing"), None, Conclude),
        (STOP, result("running"), seen(True), Watch),
        (STOP, result("running"), seen(False), Conclude),
        (STOP, result("failed"), seen(False), None),
        (REMOVE, None, None, None),
        (REMOVE, result("running"), seen(True), Watch),
        (REMOVE, result("passed"), seen(False), Remove),
        (REMOVE, result("failed"), None, Remove),
        (None, None, None, None),
        (None, result("passed"), None, Remove),
        (None, None, seen(True), Watch),  # absence is not an order
        (None, None, seen(False), Remove),
    ],
)
def test_what_is_done_with_a_run(
    order: Run | None, said: Result | None, container: SeenRun | None, expected: type | None
) -> None:
    action = decide(order, said, container)
    assert (type(action) if action else None) is expected
    if isinstance(action, Watch):
        alone = order is None or (order.order == "run" and container is not None and container.run == RUN)
        assert bool(action.stop) != alone, "stopped only where somebody says so"


class Bench:
    def __init__(self, tmp: Path) -> None:
        self.tmp, self.store, self.engine = tmp, FakeStore(), FakeOneOffs()

    @asynccontextmanager
    async def runner(self) -> AsyncIterator[Runner]:
        runner = Runner(self.store, self.engine, self.engine, N1, Trust(self.tmp / "trust"))
        task = asyncio.create_task(runner.run())
        try:
            yield runner
            assert not task.done(), task
        finally:
            task.cancel()
            await asyncio.wait([task])

    async def order(self, run: Run = RUN) -> None:
        await self.store.commit([schema.put(RELEASE), schema.put(run)])

    @property
    def world(self) -> World:
        return Reader().read(self.store.snapshot())

    @property
    def result(self) -> Result | None:
        return self.world.results.get(NAME)

    async def until(self, good: Callable[[], object]) -> None:
        async with asyncio.timeout(20.0):
            while not good():
                await asyncio.sleep(0.005)

    async def until_state(self, state: str) -> Result:
        await self.until(lambda: (r := self.result) is not None and r.state == state)
        found = self.result
        assert found is not None
        return found


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


@pytest.mark.parametrize(("code", "state", "reason"), [(0, "passed", ""), (3, "failed", "exit code 3")])
async def test_it_runs_once_and_tells_how_it_ended(bench: Bench, code: int, state: str, reason: str) -> None:
    async with bench.runner():
        await bench.order()
        begun = await bench.until_state("running")
        bench.engine.end(NAME, code)
        over = await bench.until_state(state)
        await bench.store.commit([schema.put(RELEASE)])  # a change, and nothing comes of it
        await asyncio.sleep(0.05)
    assert (over.reason, over.log_tail, over.ordered_at) == (reason, ("last words",), RUN.ordered_at)
    assert 0 < begun.started_at == over.started_at <= over.ended_at
    assert bench.engine.calls == [f"start {NAME}"]


async def test_what_stands_in_the_way_is_told(bench: Bench) -> None:
    bench.engine.missing_image = "no such image"
    async with bench.runner():
        await bench.order()
        assert (await bench.until_state("failed")).reason == "no such image"
    assert bench.engine.calls == []


async def test_its_time_is_kept_and_a_good_exit_after_it_is_none(bench: Bench) -> None:
    bench.engine.endings[NAME] = Ending("exit code 0", (), 0)
    async with bench.runner():
        await bench.order(replace(RUN, timeout_s=0.1))
        over = await bench.until_state("failed")
    assert over.reason == "it took longer than 0.1 s: exit code 0"
    assert bench.engine.calls == [f"start {NAME}", f"signal {NAME} "]


async def test_one_that_ignores_its_stop_signal_is_killed(bench: Bench) -> None:
    bench.engine.stubborn = True
    async with bench.runner():
        await bench.order()
        await bench.until_state("running")
        await bench.order(STOP)
        over = await bench.until_state("failed")
    assert over.reason.startswith("enough")
    assert bench.engine.calls[-2:] == [f"signal {NAME} ", f"signal {NAME} SIGKILL"]


async def test_a_new_agent_goes_on_with_it_and_never_starts_it_again(bench: Bench) -> None:
    async with bench.runner():
        await bench.order()
        await bench.until_state("running")
    async with bench.runner():
        await asyncio.sleep(0.05)
        bench.engine.end(NAME, 0)
        await bench.until_state("passed")
    assert bench.engine.calls == [f"start {NAME}"]


async def test_one_that_ended_while_no_agent_ran_counts(bench: Bench) -> None:
    async with bench.runner():
        await bench.order()
        await bench.until_state("running")
    bench.engine.end(NAME, 0)
    async with bench.runner():
        await bench.until_state("passed")


async def test_an_agent_that_died_while_it_started_it_does_not_do_so_again(bench: Bench) -> None:
    await bench.order()
    await bench.store.commit([schema.put(result("starting"))])
    async with bench.runner():
        over = await bench.until_state("failed")
    assert "whether it ran is not known" in over.reason
    assert bench.engine.calls == []


async def test_an_order_that_was_taken_back_while_its_image_came_starts_nothing(bench: Bench) -> None:
    bench.engine.slow_image = threading.Event()
    async with bench.runner():
        await bench.order()
        await bench.until_state("preparing")
        await bench.order(STOP)
        bench.engine.slow_image.set()
        over = await bench.until_state("failed")
    assert over.reason == "it did not begin: enough"
    assert bench.engine.calls == []


async def test_its_end_is_told_when_etcd_is_back(bench: Bench) -> None:
    async with bench.runner():
        await bench.order()
        await bench.until_state("running")
        bench.store.away = True
        bench.engine.end(NAME, 0)
        await asyncio.sleep(0.1)
        assert bench.result is not None and bench.result.state == "running"
        bench.store.away = False
        await bench.until_state("passed")


async def test_after_a_wipe_it_runs_on_and_what_is_over_is_not_started_again(bench: Bench) -> None:
    async with bench.runner() as runner:
        await bench.order()
        await bench.until_state("running")
        runner.trust.judge(bench.world, 0.0)
        bench.store.wipe()
        runner.trust.judge(bench.world, 1.0)
        await bench.order()
        await bench.order(replace(RUN, run="web.1.pre-deploy.2"))
        await asyncio.sleep(0.1)
        assert bench.engine.containers_of_runs[NAME].running
        assert not bench.world.results, "etcd's word is in doubt"
    assert bench.engine.calls == [f"start {NAME}"]


async def test_it_is_taken_away_with_its_result(bench: Bench) -> None:
    async with bench.runner():
        await bench.order()
        await bench.until_state("running")
        await bench.order(REMOVE)
        await bench.until(lambda: bench.result is None)
        await bench.until(lambda: not bench.engine.containers_of_runs)
    assert bench.engine.calls == [f"start {NAME}", f"signal {NAME} ", f"remove {NAME}"]
