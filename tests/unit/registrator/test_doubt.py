"""A node that dies while a release is judged: what was under way there is not held against the release."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import pytest

from registrator.model.names import InstanceName, NodeName
from registrator.model.node import Edge, ServerReport
from registrator.model.usage import Figures
from registrator.registry.world import World
from tests.unit.registrator.test_canary import TICK_S, Traffic, answers
from tests.unit.registrator.test_watch import begin, served

N2 = NodeName("n2")
UNTIL_CHECKED_S, UNTIL_DOWN_S, LEASE_S, LOST_S = 1.5, 2.5, 10.0, 15.0


class Dying(Traffic):
    """What load balancers send to a node that died hangs; they end it when its lease has ended, as agents do."""

    def __init__(self, *args: Any, **update: Any) -> None:
        super().__init__(*args, **update)
        self.node = N2  # the one that dies
        self.died_at = float("inf")
        self.silent = True  # else nothing of the sort: it answers its checks
        self.waiting: Counter[InstanceName] = Counter()
        self.cut: Counter[tuple[str, str]] = Counter()  # release, server

    def since(self) -> float:
        return self.now - self.died_at

    def struck(self) -> set[InstanceName]:
        return {n for n, a in self.assignments.items() if a.node == self.node and self.since() >= 0}

    def world(self) -> World:
        world = super().world()
        if self.silent and self.since() >= LEASE_S:
            nodes = {name: node for name, node in self.nodes.items() if name != self.node}
            there = {n: i for n, i in self.instances.items() if n not in self.struck()}
            return replace(world, nodes=nodes, instances=there)
        return world

    def decide(self, lost: frozenset[NodeName] = frozenset()) -> list[object]:
        return super().decide(frozenset({self.node}) if self.silent and self.since() >= LOST_S else lost)

    def agents(self) -> None:
        super().agents()
        for name in self.struck() if self.silent and self.since() >= LEASE_S else ():
            self.instances.pop(name, None)

    def edge(self, name: str, reports: dict[str, ServerReport]) -> Edge:
        edge = super().edge(name, {n: self.report(n, r) for n, r in reports.items()})
        usage = edge.usage["web.80"]
        for release in usage:
            waits = sum(c for n, c in self.waiting.items() if self.of(n) == release)
            cut = {n: c for (r, n), c in self.cut.items() if r == release and name == "e1"}
            usage[release] = replace(usage[release], sessions=waits if name == "e1" else 0, cut=cut)
        return edge

    def of(self, name: str) -> str:
        return str(self.assignments[InstanceName(name)].release)

    def report(self, name: str, report: ServerReport) -> ServerReport:
        if name not in self.struck() or not self.silent:
            return replace(report, check="L7OK", sessions=self.waiting[InstanceName(name)])
        state = "DOWN" if self.since() >= UNTIL_DOWN_S else report.state
        check = "L4TOUT" if self.since() >= UNTIL_CHECKED_S else "L7OK"
        return ServerReport(state, report.weight, self.waiting[InstanceName(name)], check)

    def serve(self, seconds: float) -> None:
        down = self.struck() if self.silent and self.since() >= UNTIL_DOWN_S else set()
        up = [n for n, i in self.instances.items() if i.serving and not self.assignments[n].drain and n not in down]
        weights = [self.weight(self.instances[n].release) for n in up]
        if any(weights):
            for name, count in Counter(self.random.choices(up, weights, k=round(self.rate * seconds))).items():
                self.meet(name, count)
        if self.silent and self.since() >= LEASE_S:
            for name, count in self.waiting.items():
                self.break_off(name, count)
            self.waiting.clear()

    def meet(self, name: InstanceName, count: int) -> None:
        if name not in self.struck():
            self.count(name, answers(count))
        elif self.silent:
            self.waiting[name] += count
        else:
            self.break_off(name, count)

    def break_off(self, name: str, count: int) -> None:
        self.cut[self.of(name), name] += count
        self.count(name, Figures(count, 0, count))

    def count(self, name: str, more: Figures) -> None:
        place = "e1", int(self.of(name))
        self.counted[place] = self.counted.get(place, Figures()) + more


def made(kind: str) -> Dying:
    if kind == "canary":
        return Dying(4, 400.0, monitor_s=20.0)
    update = {"strategy": "blue-green", "parallelism": 0} if kind == "blue-green" else {"parallelism": 2}
    return Dying(4, 400.0, (), monitor_s=20.0, judge=("failures", "queue"), **update)


def half_there(kind: str) -> Dying:
    """Release 2 is judged, and something of it runs on the node that is to die."""
    stage = made(kind)
    served(stage)
    stage.play("done")
    begin(stage, stage.releases[1])

    def there() -> bool:
        new = {n for n, a in stage.assignments.items() if a.release == 2 and n in stage.instances}
        running = stage.state() in (("monitoring",) if kind == "blue-green" else ("rolling", "canary"))
        if kind == "canary" and new:
            stage.node = stage.assignments[min(new)].node
        return running and any(stage.assignments[n].node == stage.node for n in new)

    stage.until(there)
    for _ in range(4):
        stage.step()
        stage.agents()
        stage.serve(TICK_S)
        stage.now += TICK_S
    return stage


@pytest.mark.parametrize("torn", [0, 20])
@pytest.mark.parametrize("kind", ["rolling", "blue-green"])
def test_a_good_release_is_not_turned_back_for_a_node_that_died(kind: str, torn: int) -> None:
    """What is under way breaks off at once, where a host still says so, or when its lease has ended."""
    stage = half_there(kind)
    stage.died_at = stage.now
    for name in stage.struck():
        stage.break_off(name, torn)
    stage.until(lambda: stage.ended() and stage.since() > LOST_S, 120.0)
    assert sum(stage.cut.values()) > 10, "requests were lost with it, many enough to speak against a release"
    assert (stage.state(), stage.reason) == ("done", "")


@pytest.mark.parametrize("kind", ["rolling", "blue-green"])
def test_one_that_breaks_off_requests_on_a_node_that_lives_is_turned_back_soon(kind: str) -> None:
    stage = half_there(kind)
    stage.died_at, stage.silent = stage.now, False
    stage.until(lambda: stage.state() == "rolling-back", 8.0)
    assert "requests failed" in stage.reason or "budget is spent" in stage.reason


def test_nor_is_a_canary_whose_only_instance_was_there() -> None:
    stage = half_there("canary")
    stage.died_at = stage.now
    for name in stage.struck():
        stage.break_off(name, 20)
    stage.until(lambda: stage.since() > LOST_S + 5.0, 120.0)
    assert (stage.state(), stage.reason) == ("canary", "")
    assert any(a.release == 2 and a.node != stage.node for a in stage.assignments.values()), "it is tried elsewhere"
