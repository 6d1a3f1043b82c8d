"""Canaries with real load balancers under load: a bad release harms one request in a thousand, a good one passes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from registrator.model.canary import Step
from registrator.model.instance import Assignment
from registrator.model.service import Update
from tests.integration.registrator.fleet import PATIENT_S, Fleet, fleet

RATE = 1000.0
USUAL = Update(parallelism=0, monitor_s=0.5, canary=(Step(1, 3.0), Step(25, 2.0)), deadline_s=60.0)


@pytest.fixture
async def two(tmp_path: Path) -> AsyncIterator[Fleet]:
    """Four instances of release 1 behind two load balancers."""
    async with fleet(tmp_path) as here:
        await here.deploy(1, 4, USUAL)
        await here.until_ended(1)
        assert here.rollout.state == "done"
        yield here


async def test_a_release_that_only_fails_harms_one_request_in_a_thousand(two: Fleet) -> None:
    two.behave = lambda order: fails(two, order)
    before = set(two.instances(1))
    async with two.load(RATE):
        await two.deploy(2, 4, USUAL)
        await two.until_ended(2)
        await asyncio.sleep(1.0)
    assert two.rollout.state == "rolled-back"
    assert "requests failed" in two.rollout.reason
    assert {f["kind"] for f in two.failures} == {"status 500"}
    assert 2 <= len(two.failures) <= 0.001 * two.sent, (len(two.failures), two.sent, two.rollout.reason)
    assert set(two.instances(1)) == before and not two.instances(2)


async def test_a_release_that_is_slow_is_turned_back_and_nobody_fails(two: Fleet) -> None:
    two.behave = lambda order: slow(two, order)
    async with two.load(RATE):
        await two.deploy(2, 4, USUAL)
        await two.until_ended(2)
    assert two.rollout.state == "rolled-back"
    assert "p99 is" in two.rollout.reason or "requests pile up" in two.rollout.reason  # whichever is seen first
    assert two.failures == []


async def test_a_good_release_gets_its_exact_share_and_is_promoted_though_the_leader_is_killed(two: Fleet) -> None:
    two.control("c2")
    counted = replace(USUAL, canary=(Step(1, 8.0), Step(25, 6.0)))  # shares are counted while a step lasts
    async with two.load(RATE):
        await two.deploy(2, 4, counted)
        await two.until(lambda: step(two) == 0 and opened(two), PATIENT_S, "one percent")
        before = two.hits
        await asyncio.sleep(2.0)
        assert share_since(two, before) == pytest.approx(1.0, abs=0.2)
        two.kill("c1")
        await two.until(lambda: step(two) == 1 and opened(two), PATIENT_S, "another one leads, and a quarter is given")
        assert two.world.leader == "c2"
        before = two.hits
        await asyncio.sleep(1.5)
        assert share_since(two, before) == pytest.approx(25.0, abs=0.2)
        await two.until_ended(2)
    assert two.rollout.state == "done", two.rollout.reason
    assert two.failures == []
    assert not two.instances(1) and len(two.instances(2)) == 4
    usually = "old servers go when their last check is over"
    await two.until(lambda: all(usual(edge.haproxy.servers()) for edge in two.edges), PATIENT_S, usually)
    for edge in two.edges:
        assert edge.confd.state()["reloads"] == 1, "for the new port, and none for the release"


def usual(servers: dict[str, tuple[Any, ...]]) -> bool:
    return {weight for name, (*_, weight) in servers.items() if name.startswith("web.")} == {100}


def fails(two: Fleet, order: Assignment) -> None:
    if order.release == 2:
        two.web.failing.add(str(order.instance))


def slow(two: Fleet, order: Assignment) -> None:
    if order.release == 2:
        two.web.delay_s[str(order.instance)] = 0.15


def step(two: Fleet) -> int | None:
    trial = two.rollout.trial
    return trial.step if trial is not None and two.rollout.state == "canary" else None


def opened(two: Fleet) -> bool:
    trial = two.rollout.trial
    return trial is not None and trial.open_since > 0


def share_since(two: Fleet, before: dict[str, int]) -> float:
    """The percentage of requests since `before` that release 2 got."""
    new = {str(name) for name in two.instances(2)}
    got = {name: count - before.get(name, 0) for name, count in two.hits.items()}
    return 100 * sum(count for name, count in got.items() if name in new) / sum(got.values())
