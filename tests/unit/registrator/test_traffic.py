"""The lines of hecd top: which there are, their sums, and what is said of edges that tell nothing."""

from __future__ import annotations

from typing import Any

from registrator.model.instance import Instance
from registrator.model.names import InstanceName, NodeName, ReleaseNumber, ServiceName
from registrator.model.node import Edge, Node, ServerReport
from registrator.model.rollout import Rollout
from registrator.model.usage import REST, Figures, Usage
from registrator.orders import traffic
from registrator.registry.world import World

WEB = ServiceName("web")
ONE, TWO = NodeName("h4"), NodeName("h5")


def edge(name: NodeName, new_rate: float, **more: Any) -> Edge:
    servers = {
        "web.80": {"web.1": ServerReport("UP", 99), "web.2": ServerReport("UP", 1), "web.3": ServerReport("DOWN", 99)}
    }
    usage = {
        REST: Usage(),
        "1": Usage(Figures(900, 1), 99.0, 0.0, 2.0, 5.0, sessions=3),
        "2": Usage(Figures(9, 2, 1), new_rate, 0.5, 3.0, 10.0 * new_rate, queue=1, queue_max=4),
    }
    return Edge(name, 1, servers, usage={"web.80": usage, "db.5432": {REST: Usage()}}, counted_since=1.0, **more)


def world(*edges: Edge) -> World:
    instances = {
        InstanceName(f"web.{n}"): Instance(InstanceName(f"web.{n}"), WEB, ReleaseNumber(release), ONE)
        for n, release in ((1, 1), (2, 2), (3, 1))
    }
    rollout = Rollout(WEB, ReleaseNumber(2), ReleaseNumber(1), "canary")
    nodes = {name: Node(name, ("edge",)) for name in (ONE, TWO)}
    return World(nodes=nodes, instances=instances, edges={e.node: e for e in edges}, rollouts={WEB: rollout})


def test_each_release_has_its_sum_and_its_edges() -> None:
    found = traffic.lines(world(edge(ONE, 1.0), edge(TWO, 3.0)))
    assert [(line.release, line.edge, line.state) for line in found] == [
        ("1", "all", ""), ("1", "h4", ""), ("1", "h5", ""),
        ("2", "all", "canary"), ("2", "h4", "canary"), ("2", "h5", "canary"),
    ]  # fmt: skip
    old, new = found[0], found[3]
    assert (old.service, old.port, old.servers, old.rate) == ("web", "80", 1, 198.0)
    assert (old.requests, old.sessions) == (1800, 6)
    assert (new.rate, new.share, new.failed_rate, new.p99_ms, new.queue, new.http_5xx, new.errors) == (
        4.0, 2.0, 1.0, 30.0, 2, 4, 2,
    )  # fmt: skip


def test_with_one_edge_there_is_no_sum_and_services_can_be_named() -> None:
    assert [line.edge for line in traffic.lines(world(edge(ONE, 1.0)))] == ["h4", "h4"]
    assert traffic.lines(world(edge(ONE, 1.0)), ["db"]) == []
    assert traffic.lines(World()) == []


def test_what_found_no_server_has_a_line_only_where_there_is_some() -> None:
    away = Edge(ONE, usage={"web.80": {REST: Usage(Figures(3, 3), 0.3, 0.3)}}, counted_since=1.0)
    (line,) = traffic.lines(world(away))
    assert (line.release, line.servers, line.requests) == ("-", 0, 3)


def test_edges_that_tell_nothing_are_named() -> None:
    said = list(traffic.troubles(world(edge(ONE, 1.0, uncounted=7))))
    assert said == [
        "load balancer on h5: its agent does not report",
        "load balancer on h4: 7 answers came too fast to be counted",
    ]
    said = list(traffic.troubles(world(edge(ONE, 1.0, error="HAProxy does not answer"), Edge(TWO))))
    assert said == ["load balancer on h4: HAProxy does not answer", "load balancer on h5: gives no figures"]
