"""What the name of a service stands for, and that a lost record takes no address away."""

from __future__ import annotations

from dataclasses import replace

from registrator.agent.names import decide, paired, unpaired
from registrator.model.instance import Instance
from registrator.model.names import InstanceName, NodeName, ReleaseNumber, ServiceName
from registrator.model.rollout import Rollout
from registrator.model.service import Service
from registrator.registry.world import World

WEB = ServiceName("web")
SERVICE = Service(WEB, ReleaseNumber(1), 2)
ONE = Instance(
    InstanceName("web.1"), WEB, ReleaseNumber(1), NodeName("n1"), {"80": "10.87.0.2:80", "81": "10.87.0.2:81"},
    state="running", health="healthy",
)  # fmt: skip
TWO = replace(ONE, instance=InstanceName("web.2"), endpoints={"80": "10.87.1.2:80"})


def world(*instances: Instance, wanted: bool = True) -> World:
    return World(services={WEB: SERVICE} if wanted else {}, instances={i.instance: i for i in instances})


def test_a_name_stands_for_the_instances_that_serve() -> None:
    assert decide(world(TWO, ONE), {}, doubted=False) == {"web": ("10.87.0.2", "10.87.1.2")}
    assert decide(world(ONE, replace(TWO, state="draining")), {}, doubted=False) == {"web": ("10.87.0.2",)}
    assert decide(world(replace(ONE, health="unhealthy")), {}, doubted=False) == {"web": ()}


def test_records_that_all_vanished_take_no_address_away_while_the_service_is_wanted_or_may_be() -> None:
    known = {"web": ("10.87.0.2",)}
    assert decide(world(), known, doubted=False) == known
    assert decide(world(wanted=False), known, doubted=True) == known
    assert decide(world(wanted=False), known, doubted=False) == {}
    assert decide(world(replace(ONE, state="exited")), known, doubted=True) == {"web": ()}


def test_instances_of_a_release_that_is_to_get_no_requests_are_not_named_while_there_are_others() -> None:
    new = replace(TWO, release=ReleaseNumber(2))
    switched = {WEB: Rollout(WEB, ReleaseNumber(2), ReleaseNumber(1), weights={"1": 0})}
    both, old = replace(world(ONE, new), rollouts=switched), replace(world(ONE), rollouts=switched)
    assert decide(both, {}, doubted=False) == {"web": ("10.87.1.2",)}
    assert decide(old, {}, doubted=False) == {"web": ("10.87.0.2",)}


def test_a_name_has_ipv6_addresses_if_all_that_serve_it_do() -> None:
    names = {"here": ("10.87.0.2", "10.87.0.3"), "both": ("10.87.0.2", "10.87.1.2"), "none": ()}
    found = paired(names, {"10.87.0.2": "fd00::2", "10.87.0.3": "fd00::3"})
    assert found == names | {"here": ("10.87.0.2", "10.87.0.3", "fd00::2", "fd00::3")}
    assert unpaired(found) == names and paired(names, {}) == names
