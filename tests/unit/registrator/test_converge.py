"""The agent's deciders, as tables."""

from __future__ import annotations

from typing import Any

import pytest

from registrator.agent import converge
from registrator.agent import record as records
from registrator.agent.converge import BeginDrain, Kill, Remove, Start, Stop
from registrator.agent.copy import Copy
from registrator.health.verdict import Health, Probe, judge, pace_s
from registrator.model.instance import Assignment
from registrator.model.names import InstanceName, NodeName, ReleaseNumber, ServiceName
from registrator.model.release import Healthcheck, Release, Settings

NAME, WEB, N1 = InstanceName("web.1"), ServiceName("web"), NodeName("n1")
RELEASE = Release(WEB, ReleaseNumber(1), Settings("i", stop_grace_s=10.0, target_ports=(80,)))
RUN = Assignment(NAME, WEB, RELEASE.number, N1)
DRAIN = Assignment(NAME, WEB, RELEASE.number, N1, True, 30.0)


def copy(phase: str, **more: Any) -> Copy:
    return Copy(NAME, RELEASE, phase, 100.0, "10.0.0.1", **more)


@pytest.mark.parametrize(
    ("order", "seen", "released", "now", "expected"),
    [
        (RUN, None, False, 100.0, Start),
        (None, None, False, 100.0, None),
        (RUN, copy("starting"), False, 100.0, None),
        (RUN, copy("up"), False, 100.0, None),
        (RUN, copy("ending"), False, 100.0, None),
        (DRAIN, copy("ending", was_healthy=True), False, 100.0, None),
        (RUN, copy("down", retry_at=101.0), False, 100.0, None),
        (RUN, copy("down", retry_at=101.0), False, 101.0, Start),
        (None, copy("up"), False, 100.0, None),
        (None, copy("down"), False, 100.0, Start),
        (DRAIN, None, False, 100.0, None),
        (DRAIN, copy("starting"), False, 100.0, None),
        (DRAIN, copy("up"), False, 100.0, Stop),
        (DRAIN, copy("up", was_healthy=True), False, 100.0, BeginDrain),
        (DRAIN, copy("draining"), False, 129.0, None),
        (DRAIN, copy("draining"), True, 101.0, Stop),
        (DRAIN, copy("draining"), False, 130.0, Stop),
        (DRAIN, copy("stopping"), False, 109.0, None),
        (DRAIN, copy("stopping"), False, 110.0, Kill),
        (DRAIN, copy("stopping", killed=True), False, 111.0, None),
        (DRAIN, copy("down"), False, 100.0, Remove),
        (None, copy("stopping"), False, 110.0, Kill),
    ],
)
def test_the_next_action(
    order: Assignment | None, seen: Copy | None, released: bool, now: float, expected: type | None
) -> None:
    action = converge.decide(order, seen, RELEASE, released=released, now=now)
    assert type(action) is (expected or type(None))
    assert action is None or action.reason is not None


def test_nothing_is_started_before_its_release_is_known() -> None:
    assert converge.decide(RUN, None, None, released=False, now=0.0) is None


@pytest.mark.parametrize(
    ("order", "seen", "at"),
    [
        (RUN, None, None),
        (RUN, copy("up"), None),
        (RUN, copy("down", retry_at=105.0), 105.0),
        (DRAIN, copy("draining"), 130.0),
        (DRAIN, copy("stopping"), 110.0),
        (DRAIN, copy("stopping", killed=True), None),
    ],
)
def test_when_to_look_again(order: Assignment, seen: Copy | None, at: float | None) -> None:
    assert converge.wake_at(order, seen) == at


def test_starts_again_at_once_then_ever_later() -> None:
    assert [converge.backoff_s(n) for n in (1, 2, 3, 4, 20)] == [0.0, 0.5, 1.0, 2.0, 30.0]


CHECK = Healthcheck("http", retries=3, start_period_s=10.0, interval_s=5.0, start_interval_s=0.02)


@pytest.mark.parametrize(
    ("before", "good", "age_s", "verdict"),
    [
        (Health(), True, 0.0, "healthy"),
        (Health(), False, 9.9, "unknown"),
        (Health("unknown", 2), False, 10.0, "unhealthy"),
        (Health("unknown", 1), False, 10.0, "unknown"),
        (Health("healthy"), False, 1.0, "healthy"),
        (Health("healthy", 2), False, 1.0, "unhealthy"),
        (Health("unhealthy", 9), True, 1.0, "healthy"),
        (Health("healthy", 2), True, 1.0, "healthy"),
    ],
)
def test_health_is_not_one_probe(before: Health, good: bool, age_s: float, verdict: str) -> None:
    after = judge(before, Probe(good, "" if good else "no"), CHECK, age_s)
    assert after.verdict == verdict
    assert not good or after.bad == 0


def test_probes_are_quick_until_the_first_good_one() -> None:
    assert pace_s(Health(), CHECK, 0.1) == 0.02
    assert pace_s(Health(), CHECK, 8.0) == 0.25
    assert pace_s(Health("healthy"), CHECK, 0.1) == 5.0


@pytest.mark.parametrize(
    ("seen", "state"),
    [
        (copy("starting"), "starting"),
        (copy("up"), "starting"),
        (copy("up", health=Health("unhealthy", 3, "GET / answered 500")), "failed"),
        (copy("up", was_healthy=True), "running"),
        (copy("draining", was_healthy=True), "draining"),
        (copy("stopping"), "stopping"),
        (copy("down", was_healthy=True, reason="exit code 1"), "exited"),
        (copy("down", reason="exit code 1"), "failed"),
        (copy("ending", was_healthy=True), "running"),
        (copy("ending"), "starting"),
        (copy("ending", was_healthy=True, stopped=True), "stopping"),
        (copy("down", was_healthy=True, stopped=True), "stopping"),
    ],
)
def test_what_is_announced(seen: Copy, state: str) -> None:
    record = records.of_copy(seen, N1, changed_at=1.0)
    assert record.state == state
    assert record.endpoints == {"80": "10.0.0.1:80"}


def test_an_instance_that_never_got_well_says_what_its_probe_saw() -> None:
    record = records.of_copy(copy("up", health=Health("unhealthy", 3, "GET / answered 500")), N1, changed_at=1.0)
    assert record.reason == "never became healthy: GET / answered 500"
