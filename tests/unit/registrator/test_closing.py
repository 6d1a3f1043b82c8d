"""When connections that stay open are closed while their instance drains."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest

from registrator.agent.closing import due, spreading
from registrator.model.instance import Instance
from registrator.model.names import InstanceName, NodeName, ReleaseNumber, ServiceName
from registrator.model.node import ServerReport
from registrator.model.service import Service
from registrator.model.traffic import Traffic
from registrator.registry.world import World

WEB, ONE = ServiceName("web"), InstanceName("web.1")
DRAINING = Instance(ONE, WEB, ReleaseNumber(1), NodeName("h1"), state="draining", changed_at=1000.0)
TRAFFIC = Traffic(drain_timeout_s=30.0, drain_spread_s=10.0)
BUSY = {"web.80": {ONE: ServerReport("MAINT", 0, 4), "web.2": ServerReport("UP", 100, 4)}, "other.80": {}}


Servers = dict[str, dict[str, ServerReport]]


def shares(instance: Instance, traffic: Traffic, now: float, servers: Servers) -> list[float]:
    world = World(services={WEB: Service(WEB, ReleaseNumber(1), traffic=traffic)}, instances={ONE: instance})
    found = list(spreading(world, servers, now))
    assert all(place == ("web.80", ONE) for place, _ in found)
    return [share for _, share in found]


@pytest.mark.parametrize(("now", "share"), [(1019.0, []), (1025.0, [0.5]), (1030.0, [1.0])])
def test_the_window_is_the_last_part_of_the_drain(now: float, share: list[float]) -> None:
    assert shares(DRAINING, TRAFFIC, now, BUSY) == share


def test_nobody_else_is_touched() -> None:
    assert shares(replace(DRAINING, state="running"), TRAFFIC, 1030.0, BUSY) == []
    assert shares(DRAINING, replace(TRAFFIC, drain_spread_s=0.0), 1030.0, BUSY) == []
    assert shares(DRAINING, TRAFFIC, 1030.0, {"web.80": {ONE: ServerReport("DRAIN", 0, 0)}}) == []


def test_each_has_its_moment_and_all_are_over_before_the_deadline() -> None:
    names = [f"0x55d0c{number:07x}" for number in range(0, 64_000, 64)]
    closed = [len(due(names, step / 10)) for step in range(11)]
    assert closed[0] == 0 and closed[9] == closed[10] == len(names)
    steps = [after - before for before, after in pairwise(closed[:10])]
    assert min(steps) > 50 and max(steps) < 200, "about as many in each part of the window"
    assert set(due(names, 0.3)) <= set(due(names, 0.4)), "what was due stays due"
