"""Releases without a canary that pass their health checks and fail their requests, with two real load balancers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from registrator.model.canary import JUDGED_BY
from registrator.model.service import Update
from tests.integration.registrator.fleet import Fleet, fleet

RATE = 400.0
ROLLING = Update(parallelism=1, delay_s=1.0, monitor_s=3.0, deadline_s=20.0)
SWITCHED = replace(ROLLING, parallelism=0, delay_s=0.0, strategy="blue-green", judge=JUDGED_BY)


@pytest.fixture
async def two(tmp_path: Path) -> AsyncIterator[Fleet]:
    """Four instances of release 1 behind two load balancers."""
    async with fleet(tmp_path) as here:
        await here.deploy(1, 4, replace(ROLLING, monitor_s=0.1))
        await here.until_ended(1, 15.0)
        yield here


async def test_what_only_fails_is_turned_back_by_itself_after_a_switch_and_while_it_rolls(two: Fleet) -> None:
    two.behave = lambda order: two.web.failing.add(str(order.instance)) if order.release > 1 else None
    harmed = []
    async with two.load(RATE):
        await asyncio.sleep(1.0)
        for release, update in ((2, SWITCHED), (3, ROLLING)):
            before = failed(two)
            await two.deploy(release, 4, update)
            await two.until_ended(release, 15.0)
            assert two.rollout.state == "rolled-back"
            assert "requests failed; of the old release 0 of" in two.rollout.reason
            assert len(two.instances(1)) == 4
            harmed.append(failed(two) - before)
    print(f"harmed, of {two.sent} at {RATE:g}/s: {harmed[0]} after the switch, {harmed[1]} while it rolled")
    assert {failure["kind"] for failure in two.failures} == {"status 500"}
    assert len(two.failures) == sum(harmed)
    assert all(2 <= count <= 0.5 * RATE for count in harmed), "those of half a second at most, where all go there"


def failed(two: Fleet) -> int:
    """The requests that met an instance that fails, so far."""
    return sum(count for name, count in two.hits.items() if name in two.web.failing)
