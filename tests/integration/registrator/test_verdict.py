"""Releases that are judged by what two real load balancers answer, after a switch, while they roll, and before it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from registrator.model.canary import JUDGED_BY, Step
from registrator.model.service import Update
from tests.integration.registrator.fleet import PATIENT_S, Fleet, fleet

RATE = 400.0
ROLLING = Update(parallelism=1, delay_s=1.0, monitor_s=3.0, deadline_s=60.0)
SWITCHED = replace(ROLLING, parallelism=0, delay_s=0.0, strategy="blue-green", judge=JUDGED_BY)
TRIED = replace(SWITCHED, monitor_s=0.2, canary=(Step(25, 5.0),))  # its share is counted meanwhile


@pytest.fixture
async def two(tmp_path: Path) -> AsyncIterator[Fleet]:
    """Four instances of release 1 behind two load balancers."""
    async with fleet(tmp_path) as here:
        await here.deploy(1, 4, replace(ROLLING, monitor_s=0.1))
        await here.until_ended(1)
        yield here


async def test_what_only_fails_is_turned_back_by_itself_and_what_is_good_gets_its_share_and_then_all(
    two: Fleet,
) -> None:
    two.behave = lambda order: two.web.failing.add(str(order.instance)) if order.release in (2, 3) else None
    harmed = []
    async with two.load(RATE):
        await asyncio.sleep(1.0)
        for release, update in ((2, SWITCHED), (3, ROLLING)):
            before = failed(two)
            await two.deploy(release, 4, update)
            await two.until_ended(release)
            assert two.rollout.state == "rolled-back"
            assert "requests failed; of the old release 0 of" in two.rollout.reason
            assert len(two.instances(1)) == 4
            harmed.append(failed(two) - before)
        await two.deploy(4, 4, TRIED)
        await two.until(lambda: step_is_open(two), PATIENT_S, "all of the new set are warm and get a quarter")
        assert len(two.instances(4)) == len(two.instances(1)) == 4
        share = await share_of(two, 4, 0.8)
        await two.until_ended(4)
        assert (two.rollout.state, len(two.instances(1))) == ("done", 4), "the old set is kept"
    print(f"harmed, of {two.sent} at {RATE:g}/s: {harmed[0]} after the switch, {harmed[1]} while it rolled")
    assert {failure["kind"] for failure in two.failures} == {"status 500"}
    assert len(two.failures) == sum(harmed)
    assert all(2 <= count <= 0.5 * RATE for count in harmed), "those of half a second at most, where all go there"
    assert share == pytest.approx(0.25, abs=0.02)


def failed(two: Fleet) -> int:
    """The requests that met an instance that fails, so far."""
    return sum(count for name, count in two.hits.items() if name in two.web.failing)


def step_is_open(two: Fleet) -> bool:
    trial = two.rollout.trial
    return two.rollout.state == "canary" and trial is not None and trial.step == 0 and trial.open_since > 0


async def share_of(two: Fleet, release: int, seconds: float) -> float:
    """What it gets from now on."""
    before = two.hits
    await asyncio.sleep(seconds)
    got = {name: count - before[name] for name, count in two.hits.items()}
    return sum(got[str(name)] for name in two.instances(release)) / sum(got.values())
