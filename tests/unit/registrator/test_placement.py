"""Where instances go: spread out, where they fit, and nowhere else; and the reason is told."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registrator.control.placement import Board, NoPlace, Place
from registrator.model.instance import Assignment
from registrator.model.names import InstanceName, NodeName, ReleaseNumber, ServiceName
from registrator.model.node import Capacity, Node
from registrator.model.placement import Availability, Placement, is_constraint
from registrator.model.service import Service

WEB, ONE = ServiceName("web"), ReleaseNumber(1)


USUAL = Capacity()


def node(name: str, roles: tuple[str, ...] = ("worker",), capacity: Capacity = USUAL, **labels: str) -> Node:
    return Node(NodeName(name), roles, capacity=capacity, labels=labels)


def service(name: str = "web", replicas: int = 1, **placement: Any) -> Service:
    return Service(ServiceName(name), ONE, replicas, placement=Placement(**placement))


def order(number: int, where: str, name: str = "web", release: int = 1, *, drain: bool = False) -> Assignment:
    return Assignment(
        InstanceName(f"{name}.{number}"), ServiceName(name), ReleaseNumber(release), NodeName(where), drain
    )


def board(nodes: list[Node], orders: list[Assignment] = [], *services: Service, **states: str) -> Board:  # noqa: B006
    availability = {NodeName(n): Availability(NodeName(n), state) for n, state in states.items()}
    known = {s.service: s for s in services}
    return Board({n.node: n for n in nodes}, orders, (), known, availability)


def placed(on: Board, what: Service, count: int) -> list[str]:
    """The nodes of `count` instances; a question mark where there was no place."""
    found = [on.place(what, ONE) for _ in range(count)]
    return [place.node if isinstance(place, Place) else "?" for place in found]


THREE = [node("h1"), node("h2"), node("h3")]


def test_a_service_spreads_over_all_nodes() -> None:
    assert Counter(placed(board(THREE), service(), 7)) == {"h1": 3, "h2": 2, "h3": 2}


def test_the_emptier_node_is_taken_where_none_has_more_of_the_service() -> None:
    orders = [order(1, "h1", "db"), order(2, "h2", "db")]
    assert placed(board(THREE, orders), service(), 1) == ["h3"]


def test_a_new_release_spreads_on_its_own_whatever_the_old_one_looks_like() -> None:
    orders = [order(n, "h1", release=9) for n in range(6)]
    assert Counter(placed(board(THREE, orders), service(), 6)) == {"h1": 2, "h2": 2, "h3": 2}


@pytest.mark.parametrize(
    ("constraint", "fit"),
    [
        ("node.labels.disk==ssd", {"h1"}),
        ("node.labels.disk != ssd", {"h2", "h3"}),
        ("node.hostname!=h2", {"h1", "h3"}),
        ("node.role==edge", {"h3"}),
        ("node.colour==red", set()),
    ],
)
def test_constraints(constraint: str, fit: set[str]) -> None:
    nodes = [node("h1", disk="ssd"), node("h2", disk="hdd"), node("h3", ("worker", "edge"))]
    what = service(constraints=(constraint,))
    assert set(placed(board(nodes), what, 3)) == (fit or {"?"})
    assert is_constraint(constraint) == bool(fit)


def test_instances_are_even_over_zones_and_then_over_nodes() -> None:
    nodes = [node("h1", zone="a"), node("h2", zone="a"), node("h3", zone="a"), node("h4", zone="b")]
    what = service(spread=("zone",))
    assert Counter(placed(board(nodes, [], what), what, 6)) == {"h1": 1, "h2": 1, "h3": 1, "h4": 3}


def test_no_more_than_so_many_on_a_node_counts_a_release_on_its_own() -> None:
    what = service(max_per_node=1)
    orders = [order(n, f"h{n}", release=9) for n in (1, 2, 3)]  # else a start-first release would wait for ever
    assert placed(board(THREE, orders), what, 4) == ["h1", "h2", "h3", "?"]


def test_reservations_are_kept() -> None:
    nodes = [node("h1", capacity=Capacity(4.0, 8 << 30)), node("h2", capacity=Capacity(2.0, 8 << 30))]
    what = service(cpus=1.5)
    assert sorted(placed(board(nodes, [], what), what, 4)) == ["?", "h1", "h1", "h2"]
    hungry = service(memory_bytes=5 << 30)
    assert sorted(placed(board(nodes, [], hungry), hungry, 3)) == ["?", "h1", "h2"]


def test_what_drains_still_takes_room_and_is_no_reason_to_stay_away() -> None:
    nodes = [node("h1", capacity=Capacity(instances=1)), node("h2"), node("h3")]
    orders = [order(1, "h1", drain=True), order(2, "h2")]
    assert placed(board(nodes, orders), service(), 1) == ["h3"]


def test_drained_and_cordoned_nodes_take_nothing_and_only_drained_ones_are_left() -> None:
    orders = [order(1, "h1"), order(2, "h2"), order(3, "h3")]
    on = board(THREE, orders, service(), h1="drained", h2="cordoned")
    assert on.leaving(service(), orders) == {"web.1": "h1: drained"}
    assert set(placed(on, service(), 3)) == {"h3"}


def test_a_node_that_is_away_says_nothing_of_what_it_has() -> None:
    orders = [order(1, "h9")]
    assert board(THREE, orders, service(), h9="drained").leaving(service(), orders) == {}


def test_every_refusal_is_told_with_how_many_nodes_it_holds_for() -> None:
    nodes = [node("h1"), node("h2"), node("h3", capacity=Capacity(instances=1)), node("h4", ("edge",))]
    what = service(constraints=("node.hostname!=h1",))
    place = board(nodes, [order(1, "h3")], what, h2="drained").place(what, ONE)
    assert place == NoPlace("h1: not node.hostname!=h1; h2: drained; h3: full (1 instances); h4: no worker")
    assert board([]).place(service(), ONE) == NoPlace("no node is alive")
    lost = Board({n.node: n for n in THREE}, [], [NodeName("h1"), NodeName("h2"), NodeName("h3")])
    assert lost.place(service(), ONE) == NoPlace("3 nodes: lost")


def test_a_global_service_wants_one_on_each_node_that_fits_and_keeps_those_on_nodes_that_are_away() -> None:
    what = service(every_node=True, constraints=("node.hostname!=h3",))
    assert board(THREE, [], what).wanted(what, []) == 2
    orders = [order(1, "h1"), order(2, "h9")]
    assert board(THREE, orders, what).wanted(what, orders) == 3, "h9 is away, not lost"
    assert board(THREE, orders, what, h1="cordoned").wanted(what, orders) == 3, "what is on h1 stays"
    assert board(THREE, orders, what, h1="drained").wanted(what, orders) == 2
    assert board(THREE, [], what).wanted(replace(what, replicas=0), []) == 0
    assert placed(board(THREE, [order(1, "h1")], what), what, 2) == ["h2", "?"]


@given(
    capacities=st.lists(st.integers(0, 5), min_size=1, max_size=8),
    zones=st.lists(st.sampled_from("abc"), min_size=8, max_size=8),
    there=st.lists(st.tuples(st.integers(0, 7), st.sampled_from(["web", "db"]), st.booleans()), max_size=12),
    count=st.integers(0, 20),
    most=st.integers(0, 3),
    spread=st.booleans(),
)
def test_the_heap_chooses_what_looking_at_every_node_would(
    capacities: list[int], zones: list[str], there: list[tuple[int, str, bool]], count: int, most: int, spread: bool
) -> None:
    nodes = [node(f"h{n}", capacity=Capacity(instances=size), zone=zones[n]) for n, size in enumerate(capacities)]
    what = service(max_per_node=most, spread=("zone",) if spread else ())
    orders = [order(n, f"h{where}", name, drain=drain) for n, (where, name, drain) in enumerate(there)]
    quick = placed(board(nodes, orders, what), what, count)
    slow = []
    for n in range(count):
        slow += placed(board(nodes, orders, what), what, 1)  # a fresh board looks at every node
        orders = [*orders, order(100 + n, slow[-1])] if slow[-1] != "?" else orders
    assert quick == slow
