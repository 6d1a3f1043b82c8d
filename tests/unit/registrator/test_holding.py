"""Requests are held while a release that stops first leaves none to answer them, and no longer."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registrator.control.actions import Drain, HoldBack, LetGo
from registrator.control.holding import ended
from registrator.errors import HecdError, NotFound
from registrator.model.hold import HOLD_SERVER, LONGEST_S, SORRY_SERVER, Hold
from registrator.model.names import NodeName, ReleaseNumber, ServiceName
from registrator.model.node import Edge, ServerReport
from registrator.model.service import Port, Service, Traffic
from registrator.orders import give
from registrator.registry import schema
from registrator.registry.acknowledgement import admitted, held_back, let_through, without_holder
from registrator.registry.world import World
from tests.unit.registrator.test_orders import Desk, spec
from tests.unit.registrator.test_rollout import N1, WEB, Stage

WAIT = Hold(WEB, "operator", "wait", 1.0, 1e9, "ann@host")


class Balanced(Stage):
    """With a load balancer that does what it is told, unless it is `slow`, and beside it a holder."""

    def __init__(self, replicas: int, **update: object) -> None:
        super().__init__(replicas, **update)
        self.holds: dict[str, Hold] = {}
        self.slow = False
        self.holder = "UP"
        self.applied = False  # whether the load balancer holds
        self.nowhere = 0  # moments in which a request would have found nobody

    def world(self) -> World:
        world = super().world()
        servers = {
            n: replace(r, weight=0 if self.applied else 100) for n, r in world.edges[N1].servers["web.80"].items()
        }
        for name, a in self.assignments.items():
            if a.drain and name in servers:
                servers[name] = replace(servers[name], weight=0)
        servers[HOLD_SERVER] = ServerReport(self.holder, int(self.applied))
        edge = replace(world.edges[N1], servers={"web.80": servers})
        return replace(world, edges={N1: edge}, holds={(WEB, owner): hold for owner, hold in self.holds.items()})

    def step(self) -> list[object]:
        actions = super().step()
        for action in actions:
            if isinstance(action, HoldBack):
                self.holds[action.hold.owner] = action.hold
            elif isinstance(action, LetGo):
                del self.holds[action.hold.owner]
        for action in ended(self.holds.values(), self.now):
            assert isinstance(action, LetGo)
            del self.holds[action.hold.owner]
        return actions

    def agents(self) -> None:
        super().agents()
        if not self.slow:
            self.applied = bool(self.holds)
        opened = any(r.open for r in self.world().edges[N1].servers["web.80"].values())
        if self.rollout is not None and self.rollout.stable and not opened:
            self.nowhere += 1


@pytest.mark.parametrize(
    ("replicas", "update", "holds"),
    [
        (1, {"order": "stop-first"}, 1),
        (3, {"order": "stop-first", "parallelism": 0}, 1),
        (3, {"order": "stop-first"}, 0),
        (1, {"order": "start-first"}, 0),
    ],
)
def test_requests_are_held_where_else_nobody_would_answer(replicas: int, update: dict[str, object], holds: int) -> None:
    stage = Balanced(replicas, **update)
    stage.play("done")
    stage.want(2)
    stage.log.clear()
    stage.play("done")
    assert (stage.log.count("HoldBack"), stage.log.count("LetGo")) == (holds, holds)
    assert stage.nowhere == 0
    assert stage.holds == {}
    assert not stage.applied
    if holds:
        assert stage.log.index("HoldBack") < stage.log.index("Drain") < stage.log.index("LetGo")


def half_way() -> Balanced:
    stage = Balanced(1, order="stop-first", deadline_s=100.0)
    stage.play("done")
    stage.want(2)
    stage.slow = True
    stage.step()
    assert list(stage.holds) == ["release"]
    return stage


def test_the_old_one_drains_only_when_the_load_balancers_say_that_requests_wait() -> None:
    stage = half_way()
    stage.agents()
    stage.now += 2.0
    assert not any(isinstance(a, Drain) for a in stage.step())
    stage.applied = True
    assert any(isinstance(a, Drain) for a in stage.step())


def test_a_load_balancer_that_does_not_follow_is_not_waited_for_long() -> None:
    stage = half_way()
    stage.now += 3.0
    assert any(isinstance(a, Drain) for a in stage.step())


def test_without_a_holder_the_release_goes_on_as_it_can() -> None:
    stage = Balanced(1, order="stop-first")
    stage.holder = "DOWN"
    stage.play("done")
    stage.want(2)
    stage.play("done")
    assert "HoldBack" not in stage.log


def test_a_release_that_fails_while_requests_wait_goes_back_and_lets_them_go() -> None:
    stage = Balanced(1, order="stop-first")
    stage.play("done")
    stage.bad_releases = {2}
    stage.want(2)
    stage.play("rolled-back")
    assert stage.log.count("HoldBack") == stage.log.count("LetGo") == 1
    assert (stage.nowhere, stage.holds, stage.serving()) == (0, {}, 1)


def test_a_hold_ends_when_its_time_is_over() -> None:
    stage = half_way()
    stage.slow = False
    for _ in range(3):
        stage.agents()
        stage.step()
    stage.instances.clear()
    stage.now += LONGEST_S
    stage.step()
    assert stage.holds == {}
    assert ended([WAIT, replace(WAIT, until=0.0)], 1e8) == []


def test_a_release_goes_through_while_an_operator_holds_the_service() -> None:
    stage = Balanced(2, deadline_s=30.0)
    stage.play("done")
    stage.holds["operator"] = WAIT
    stage.agents()
    stage.want(2)
    stage.play("done")
    assert stage.applied
    assert {a.release for a in stage.assignments.values()} == {2}


def test_a_server_that_no_good_check_has_seen_is_not_ready_while_held() -> None:
    stage = Balanced(1, order="stop-first")
    stage.holds["operator"] = WAIT
    stage.announce("web.1", 1)
    stage.applied = True
    world = stage.world()
    reports = world.edges[N1].servers["web.80"]
    unseen = {**reports, "web.1": replace(reports["web.1"], check="INI")}
    for servers, ready in ((reports, True), (unseen, False)):
        edge = replace(world.edges[N1], servers={"web.80": servers})
        instance = next(iter(stage.instances.values()))
        assert admitted(instance, stage.service.traffic, [edge], held=True) is ready
        assert admitted(instance, stage.service.traffic, [edge]) is False


WORD = st.sampled_from(["", "", "pause", "resume", "abort", "promote", "want", "slow", "fast", "bad"])


@given(st.lists(WORD, max_size=25))
def test_whatever_happens_nothing_is_held_in_the_end(words: list[str]) -> None:
    stage = Balanced(1, order="stop-first", monitor_s=1.0, deadline_s=20.0)
    stage.play("done")
    for word in words:
        if word == "want":
            stage.want(stage.service.release % 8 + 1)
        elif word in ("slow", "fast"):
            stage.slow = word == "slow"
        elif word == "bad":
            stage.bad_releases = {stage.service.release}
        elif word:
            stage.say(word)
        stage.step()
        stage.agents()
        stage.now += 0.5
    stage.slow = False
    if stage.rollout is not None and stage.rollout.state == "held":
        stage.now += 0.1
        stage.say("abort")
    for _ in range(120):
        stage.step()
        stage.agents()
        stage.now += 0.5
    assert stage.holds == {}


def edge(hold: int, sorry: int, weight: int) -> Edge:
    servers = {
        HOLD_SERVER: ServerReport("UP", hold),
        SORRY_SERVER: ServerReport("no check", sorry),
        "web.1": ServerReport("UP", weight),
    }
    return Edge(NodeName("n1"), 1, {"web.80": servers})


@pytest.mark.parametrize(
    ("edges", "held", "let"),
    [
        ([edge(1, 0, 0)], True, False),
        ([edge(0, 1, 0)], True, False),
        ([edge(1, 0, 100)], False, False),
        ([edge(0, 0, 100)], False, True),
        ([edge(1, 0, 0), edge(0, 0, 100)], False, False),
        ([Edge(NodeName("n1"))], False, True),
    ],
)
def test_what_counts_as_held_and_as_let_through(edges: list[Edge], held: bool, let: bool) -> None:
    service = Service(WEB, ReleaseNumber(1), traffic=Traffic((Port(8080, 80),)))
    assert (held_back(service, edges), let_through(service, edges)) == (held, let)


def test_an_edge_without_holder_is_named() -> None:
    service = Service(WEB, ReleaseNumber(1), traffic=Traffic((Port(8080, 80),)))
    assert without_holder(service, [edge(0, 0, 1), Edge(NodeName("n2"))]) == ["n2"]


async def test_who_holds_and_lets_go_is_told_what_is_in_the_way() -> None:
    desk = Desk()

    async def hold(name: str, kind: str) -> int:
        return await give.hold(desk.store, desk.world(), ServiceName(name), kind, 30.0, "why", now=5.0, who="me")

    async def let_go(kind: str) -> int:
        return await give.let_go(desk.store, desk.world(), WEB, kind, now=6.0, who="me")

    await desk.deploy(spec(), spec("db", published=5432, mode="tcp"), replace(spec("job"), traffic=Traffic()))
    with pytest.raises(NotFound):
        await hold("wbe", "wait")
    with pytest.raises(HecdError, match="publishes no port"):
        await hold("job", "wait")
    with pytest.raises(HecdError, match="speaks no HTTP"):
        await hold("db", "sorry")
    with pytest.raises(HecdError, match="no load balancer"):
        await hold("web", "wait")
    await desk.store.commit([schema.put(Edge(NodeName("n7")))])
    with pytest.raises(HecdError, match="could wait, on n7"):
        await hold("web", "wait")
    await hold("web", "sorry")
    with pytest.raises(HecdError, match="under maintenance already, by me: why") as caught:
        await hold("web", "wait")
    assert caught.value.hint == "hecd maintenance web off"
    with pytest.raises(HecdError, match="web is not paused"):
        await let_go("wait")
    await let_go("sorry")
    servers = {"web.8080": {HOLD_SERVER: ServerReport("UP", 0)}}
    await desk.store.commit([schema.put(Edge(NodeName("n7"), servers=servers))])
    await hold("web", "wait")
    assert desk.world().holds[WEB, "operator"] == Hold(WEB, "operator", "wait", 5.0, 35.0, "me", "why")
