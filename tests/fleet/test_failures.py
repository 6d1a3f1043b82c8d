"""What dies takes only its own requests with it, what is cut off serves on, and after that there is one truth."""

from __future__ import annotations

import time
from typing import Any

from tests.fleet.conftest import WEB, Fleet, failures

LEASE_TTL_S = 5.0
RIGHT_WITHIN_S = 1.5  # checks notice within 0.9 s where the machine has time for them


def test_a_worker_that_dies_takes_only_its_own_requests_with_it(fleet: Fleet) -> None:
    """Not one that has etcd's leader or control's besides: leases live longer then, as a new leader renews them all."""
    host = next(h for h in ("h1", "h2", "h3") if h not in (fleet.leader, fleet.etcd_leader))
    victims = fleet.serving(host)
    assert victims
    with fleet.load() as reports:
        killed_at = time.time()
        assert fleet.lab("kill", host).code == 0
        dead_at = time.time()
        fleet.until(lambda: len(fleet.serving() - victims) == 10, 60.0, "all replicas are back")
        back_s = time.time() - killed_at
    wrong = [f for f in failures(reports) if not _inside(f, victims, killed_at, dead_at)]
    assert wrong == []
    assert late_after(reports, dead_at) == [], "traffic is right again"
    assert back_s <= LEASE_TTL_S + 8.0  # tests/bench/fleet.py prints what it takes where nothing else runs


def test_a_worker_that_comes_back_is_no_surplus_and_costs_nothing(fleet: Fleet) -> None:
    assert fleet.lab("kill", "h2").code == 0
    fleet.until(lambda: len(fleet.serving("h1", "h3", "h4", "h5")) == 10, 60.0, "replaced")
    with fleet.load() as reports:
        assert fleet.lab("heal", "h2").code == 0
        fleet.until(lambda: "h2" in fleet.world.nodes, 60.0, "it is back")
        fleet.until(fleet.settled, 60.0, "ten and no more")
    assert failures(reports) == []


def test_a_load_balancer_that_dies_is_missed_by_its_own_clients_only(fleet: Fleet) -> None:
    with fleet.load() as reports:
        assert fleet.lab("kill", "h5", "haproxy").code == 0
        time.sleep(2.0)
        assert fleet.lab("heal", "h5").code == 0
        time.sleep(2.0)
    assert reports["h4"]["failures"] == []
    assert reports["h5"]["failures"], "this kill hurt nobody: it proves nothing"


def test_a_release_does_not_wait_for_a_load_balancer_that_is_gone(fleet: Fleet) -> None:
    victims = fleet.serving("h5")
    with fleet.load() as reports:
        killed_at = time.time()
        assert fleet.lab("kill", "h5").code == 0
        dead_at = time.time()
        fleet.deploy()
    assert [f for f in reports["h4"]["failures"] if not _inside(f, victims, killed_at, dead_at)] == []


def test_an_agent_that_dies_costs_nothing_and_finds_its_containers_again(fleet: Fleet) -> None:
    before = {name: fleet.container(name) for name in fleet.serving("h1")}
    with fleet.load() as reports:
        assert fleet.lab("kill", "h1", "agent").code == 0
        time.sleep(1.0)
        assert fleet.lab("heal", "h1").code == 0
        fleet.until(lambda: "adopted" in fleet.log("h1/agent"), 60.0, "adopted")
        time.sleep(LEASE_TTL_S)
    assert failures(reports) == []
    assert {name: fleet.container(name) for name in fleet.serving("h1")} == before


def test_a_host_cut_off_from_etcd_serves_on_and_then_there_is_one_truth(fleet: Fleet) -> None:
    """h4 hears neither etcd nor its fellows there, so its load balancer serves with what it and h5 run."""
    before = {name: fleet.container(name) for name in fleet.serving("h4")}
    with fleet.load() as reports:
        assert fleet.lab("cut", "h4", "--from", "h1,h2,h3").code == 0
        cut_at = time.time()
        fleet.until(lambda: "h4" not in fleet.world.nodes, 60.0, "its lease ends")
        fleet.until(lambda: len(fleet.serving()) == 10, 60.0, "it is replaced")
        assert {name: fleet.container(name) for name in before} == before, "they run on"
        assert fleet.lab("heal", "h4").code == 0
        fleet.until(fleet.settled, 60.0, "one truth")
    assert {i.restarts for i in fleet.world.of_service(WEB)} == {0}
    assert {n: fleet.container(n) for n in before if n in fleet.serving()} == {
        n: pid for n, pid in before.items() if n in fleet.serving()
    }
    wrong = [f for f in failures(reports) if not _over_the_cut(f, cut_at)]
    assert wrong == []


def test_all_of_etcd_away_costs_nothing(fleet: Fleet) -> None:
    before = {name: fleet.container(name) for name in fleet.serving()}
    with fleet.load() as reports:
        for host in ("h1", "h2", "h3"):
            assert fleet.lab("kill", host, "etcd").code == 0
        time.sleep(LEASE_TTL_S + 5.0)
        assert fleet.lab("heal").code == 0
        fleet.until(fleet.settled, 60.0, "settled again")
    assert failures(reports) == []
    assert {name: fleet.container(name) for name in fleet.serving()} == before


def test_two_halves_serve_apart_and_agree_when_they_hear_each_other_again(fleet: Fleet) -> None:
    """The smaller half has the leader of control: it must stop acting, as the other half elects another one."""
    leader = fleet.leader
    small, large = [leader, "h5"], [h for h in fleet.hosts if h not in (leader, "h5")]
    before = {name: fleet.container(name) for name in fleet.serving()}
    with fleet.load() as reports:
        cut_at = time.time()
        for host in small:
            assert fleet.lab("cut", host, "--from", ",".join(large)).code == 0
        apart_at = time.time()
        fleet.until(lambda: fleet.leader not in ("", leader), 60.0, "the larger half has a leader")
        fleet.until(lambda: len(fleet.serving(*large)) == 10, 60.0, "it replaces what it does not see")
        assert {name: fleet.container(name) for name in before} == before, "both halves run what they ran"
        assert fleet.lab("heal").code == 0
        fleet.until(fleet.settled, 60.0, "one truth")
    wrong = [f for f in failures(reports) if not (_over_the_cut(f, apart_at) and f["ended_at"] > cut_at)]
    assert wrong == [], (wrong, cut_at, apart_at)
    assert late_after(reports, apart_at) == []
    left = fleet.serving() & set(before)
    assert {name: fleet.container(name) for name in left} == {name: before[name] for name in left}
    assert "leadership lost" in fleet.log(f"{leader}/control")


def test_a_leader_that_stood_still_changes_nothing_when_it_wakes(fleet: Fleet) -> None:
    leader = fleet.leader
    others = [h for h in ("h1", "h2", "h3") if h != leader]
    assert fleet.lab("freeze", leader, "control").code == 0
    fleet.until(lambda: fleet.leader in others, 60.0, "another one leads")
    assert fleet.lab("heal", leader).code == 0
    fleet.deploy()
    assert fleet.leader in others


def late_after(reports: dict[str, dict[str, Any]], moment: float) -> list[dict[str, Any]]:
    """The answers that took long though their requests were sent when traffic should have been right again."""
    return [late for r in reports.values() for late in r["late"] if late["sent_at"] > moment + RIGHT_WITHIN_S]


def _inside(failure: dict[str, Any], victims: set[str], killed_at: float, dead_at: float) -> bool:
    """Whether the request was in the dead host, or on its way there before anybody could know. What can be repeated is,
    and fails only where no answer came at all: the dead one tells nobody that it has it. It died between `killed_at`
    and `dead_at`."""
    soon = failure["ended_at"] >= killed_at and failure["sent_at"] <= dead_at + RIGHT_WITHIN_S
    named = failure["instance"] in victims or failure["instance"] == ""
    return bool(soon and named and (failure["method"] == "POST" or failure["kind"] == "timeout"))


def _over_the_cut(failure: dict[str, Any], cut_at: float) -> bool:
    """Whether the request was under way between the two sides when, or just after, they were cut apart. Then nobody can
    tell a load balancer that no answer will come."""
    return bool(failure["sent_at"] <= cut_at + RIGHT_WITHIN_S)
