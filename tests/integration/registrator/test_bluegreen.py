"""Blue/green with two real load balancers under load, and leaders that are killed at every step: nothing is lost."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from registrator.model.service import Update
from registrator.model.traffic import Sticky
from tests.integration.registrator.fleet import PATIENT_S, Fleet, fleet

UPDATE = Update(parallelism=0, monitor_s=1.0, deadline_s=60.0, strategy="blue-green", keep_s=600.0)


@pytest.fixture(params=[None, Sticky("SID")], ids=["without cookies", "sticky"])
async def two(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[Fleet]:
    """Four instances of release 1 behind two load balancers."""
    async with fleet(tmp_path) as here:
        here.sticky = request.param
        await here.deploy(1, 4, UPDATE)
        await here.until_ended(1)
        yield here


async def test_all_requests_go_over_and_back_at_once_whoever_leads_and_none_fails(two: Fleet) -> None:
    reloads = {edge.name: edge.confd.state()["reloads"] for edge in two.edges}
    async with two.load(400.0):
        two.control("c2")
        two.startable = lambda order: order.release == 1 or order.instance in ("web.5", "web.6")
        await two.deploy(2, 4, UPDATE)
        await two.until(lambda: len(two.instances(2)) == 2, PATIENT_S, "half of the new set is there")
        assert await served(two) == {1}
        assert two.rollout.state == "warming"
        two.kill("c1")
        two.startable = lambda order: True
        await two.until(lambda: two.rollout.state == "monitoring", PATIENT_S, "the next leader switched")
        two.control("c1")
        two.kill("c2")
        await two.until_ended(2)
        assert two.rollout.state == "done"
        assert len(two.instances(1)) == 4, "the old set is kept"
        assert await served(two) == {2}

        both = {*two.instances(1), *two.instances(2)}
        await two.want(1)
        await two.until(lambda: switched(two, 1), PATIENT_S, "back, by every edge")
        assert await served(two) == {1}
        await two.until_ended(1)
        assert {*two.instances(1), *two.instances(2)} == both, "none was started or stopped for it"

        await two.deploy(1, 4, replace(UPDATE, keep_s=1.0))
        await two.until(lambda: not two.instances(2), PATIENT_S, "its time is over")
    assert two.sent > 500
    assert two.failures == []
    assert {edge.name: edge.confd.state()["reloads"] for edge in two.edges} == reloads


def switched(two: Fleet, release: int) -> bool:
    """Whether every load balancer gives all requests to `release`, as the leader heard."""
    switch = two.rollout.switch
    return two.rollout.release == release and switch is not None and switch.taken_at > 0


async def served(two: Fleet) -> set[int]:
    """The releases that get requests from now on, for half a second and for 50 of them at least."""
    before = two.hits
    await asyncio.sleep(0.5)
    await two.until(lambda: sum(two.hits.values()) >= sum(before.values()) + 50, PATIENT_S, "there are requests")
    releases = {str(i.instance): int(i.release) for i in two.world.instances.values()}
    return {releases[name] for name, count in two.hits.items() if count > before[name]}
