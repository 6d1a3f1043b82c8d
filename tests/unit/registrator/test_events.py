"""What is told as an event, and what is not worth one."""

from __future__ import annotations

from dataclasses import replace

from registrator.model.deed import Deed
from registrator.model.instance import Assignment, Instance
from registrator.model.names import InstanceName, NodeName, ReleaseNumber, ServiceName
from registrator.model.node import Edge, Node
from registrator.model.outcome import Outcome
from registrator.model.rollout import Rollout
from registrator.model.usage import Figures, Usage
from registrator.orders.events import Event, between, lately
from registrator.registry.world import World

WEB, N1, ONE = ServiceName("web"), NodeName("n1"), InstanceName("web.1")
ROLLOUT = Rollout(WEB, ReleaseNumber(2), ReleaseNumber(1), "canary", weights={"1": 100, "2": 4})
ORDER = Assignment(ONE, WEB, ReleaseNumber(2), N1, reason="fewest of web")
INSTANCE = Instance(ONE, WEB, ReleaseNumber(2), N1, state="running", health="healthy", changed_at=30.0)


def told(before: World, after: World) -> list[tuple[str, str]]:
    return [(event.about, event.text) for event in between(before, after, 99.0)]


def test_nothing_is_told_of_what_stayed_or_only_counts() -> None:
    edge = Edge(N1, 5, usage={"web.80": {"1": Usage(Figures(5))}})
    world = World(edges={N1: edge}, rollouts={WEB: ROLLOUT}, instances={ONE: INSTANCE})
    counted = replace(edge, usage={"web.80": {"1": Usage(Figures(9))}}, applied_revision=6, at=7.0)
    assert told(world, replace(world, edges={N1: counted})) == []


def test_every_step_is_told_with_its_reason() -> None:
    world = World()
    after = replace(
        world,
        leader="n1",
        nodes={N1: Node(N1, ("worker",))},
        rollouts={WEB: ROLLOUT},
        assignments={(N1, ONE): ORDER},
        instances={ONE: INSTANCE},
        audit={"5": Deed("5", 5.0, "ann@ops", "deploy", "web", "release 2")},
    )
    assert told(world, after) == [
        ("web", "deploy by ann@ops release 2"),
        ("n1", "leads"),
        ("n1", "joined, as worker"),
        ("web", "release 2 canary"),
        ("web", "weight of each server: release 1 100, release 2 4"),
        ("web.1", "release 2 to run on n1: fewest of web"),
        ("web.1", "running, healthy on n1"),
    ]
    failed = replace(INSTANCE, state="exited", reason="exit code 3")
    back = replace(ROLLOUT, state="rolling-back", reason="release 2 failed", weights={})
    drained = replace(ORDER, drain=True, reason="replaced by release 1")
    then = replace(
        after, rollouts={WEB: back}, assignments={(N1, ONE): drained}, instances={ONE: failed}, nodes={}, leader=None
    )
    assert told(after, then) == [
        ("control", "nobody leads"),
        ("n1", "left: its agent's lease is gone"),
        ("web", "release 2 rolling-back: release 2 failed"),
        ("web", "weight of each server: as usual"),
        ("web.1", "to finish on n1: replaced by release 1"),
        ("web.1", "exited on n1: exit code 3"),
    ]
    assert told(then, replace(then, instances={}, assignments={})) == [("web.1", "is gone from n1")]


def test_a_load_balancer_that_fails_reloads_and_recovers_is_told_of() -> None:
    well, bad = World(edges={N1: Edge(N1)}), World(edges={N1: Edge(N1, reloads=1, error="cannot bind :80")})
    assert told(well, bad) == [("n1", "load balancer cannot bind :80"), ("n1", "load balancer reloaded (1)")]
    assert told(bad, World(edges={N1: Edge(N1, reloads=1)})) == [("n1", "load balancer is well again")]


def test_the_past_is_what_the_records_know_in_the_order_of_time() -> None:
    world = World(
        nodes={N1: Node(N1, ("edge",), joined_at=10.0)},
        instances={ONE: INSTANCE},
        audit={"5": Deed("5", 5.0, "ann@ops", "deploy", "web", "release 2")},
        history={(WEB, ReleaseNumber(2)): Outcome(WEB, ReleaseNumber(2), "rolled-back", "slow", ended_at=40.0)},
    )
    assert lately(world) == [
        Event(5.0, "web", "deploy by ann@ops release 2", "web"),
        Event(10.0, "n1", "joined, as edge"),
        Event(30.0, "web.1", "running, healthy on n1", "web"),
        Event(40.0, "web", "release 2 ended rolled-back: slow", "web"),
    ]
