"""Nodes are emptied, spared and used as an operator says, and instances run where their compose file lets them."""

from __future__ import annotations

from collections import Counter

from registrator.model.names import NodeName
from tests.fleet.conftest import Fleet, failures

GLOBAL = """
name: watch
services:
  watch:
    image: hecd/sample:1
    ports: ["8090:8080"]
    deploy:
      mode: global
      update_config: {{monitor: 0s, parallelism: 0}}
      placement: {{constraints: [{constraint}]}}
"""


def test_a_node_is_emptied_without_a_failed_request_and_gets_nothing_until_it_is_active(fleet: Fleet) -> None:
    assert fleet.serving("h2")
    with fleet.load() as reports:
        done = fleet.hecd("drain", "h2")
        assert done.code == 0, done.err
        assert not any(a.node == "h2" for a in fleet.world.assignments.values())
        fleet.until(fleet.settled, 60.0, "ten serve elsewhere")
        assert Counter(i.node for i in fleet.world.instances.values())[NodeName("h2")] == 0
        fleet.deploy()
        assert not fleet.serving("h2")
        assert fleet.hecd("activate", "h2").code == 0
        fleet.deploy()
    assert failures(reports) == []
    assert Counter(i.node for i in fleet.world.instances.values()) == dict.fromkeys(fleet.hosts, 2)
    assert all("fewest of web" in a.reason for a in fleet.world.assignments.values())


def test_a_cordoned_node_keeps_what_it_has_and_gets_no_more(fleet: Fleet) -> None:
    before = fleet.serving("h3")
    assert before
    assert fleet.hecd("cordon", "h3").code == 0
    try:
        inspected = fleet.hecd("node", "inspect", "h3", "-o", "json").json()
        assert inspected["availability"] == "cordoned"
        assert {i["instance"] for i in inspected["instances"]} == before
        assert fleet.hecd("scale", "web=12").code == 0
        assert fleet.serving("h3") == before
    finally:
        assert fleet.hecd("activate", "h3").code == 0
        assert fleet.hecd("scale", "web=10").code == 0


def test_a_global_service_is_on_each_node_that_fits_and_follows_them(fleet: Fleet) -> None:
    def where() -> list[str]:
        return sorted(i.node for i in fleet.world.instances.values() if i.service == "watch" and i.serving)

    text = GLOBAL.format(constraint="node.labels.zone==a")
    plan = fleet.hecd("plan", "-f", "-", stdin=text)
    assert "1 on h3: fewest of watch (0), among 3 of 5 nodes" in plan.out
    try:
        done = fleet.hecd("deploy", "-f", "-", stdin=text)
        assert done.code == 0, done.err
        fleet.until(lambda: where() == ["h1", "h3", "h5"], 60.0, "one on each of zone a")
        assert fleet.hecd("drain", "h3").code == 0
        fleet.until(lambda: where() == ["h1", "h5"], 60.0, "none on the drained one")
        assert fleet.hecd("activate", "h3").code == 0
        fleet.until(lambda: where() == ["h1", "h3", "h5"], 60.0, "and back")
        refused = fleet.hecd("scale", "watch=2")
        assert refused.code == 1 and "each node" in refused.err
    finally:
        assert fleet.hecd("rm", "watch").code == 0


def test_what_fits_nowhere_says_why(fleet: Fleet) -> None:
    text = GLOBAL.format(constraint="node.labels.zone==c").replace("mode: global", "replicas: 2")
    plan = fleet.hecd("plan", "-f", "-", stdin=text)
    assert "2 can't be placed: 5 nodes: not node.labels.zone==c" in plan.out
    try:
        assert fleet.hecd("deploy", "-d", "-f", "-", stdin=text).code == 0
        status = "watch: 2 can't be placed: 5 nodes: not node.labels.zone==c"
        fleet.until(lambda: status in fleet.hecd("status").out, 60.0, status)
    finally:
        assert fleet.hecd("rm", "watch").code == 0


def test_the_leader_hands_over_when_it_is_demoted_and_a_release_goes_on(fleet: Fleet) -> None:
    leader = fleet.leader
    with fleet.load() as reports:
        fleet.deploy("--detach", delay="1s")
        fleet.until(lambda: fleet.rollout.state == "rolling", 60.0, "the release is under way")
        demoted = fleet.hecd("demote", leader)
        assert demoted.code == 0, demoted.err
        fleet.until(lambda: fleet.leader not in ("", leader), 60.0, "another one leads")
        assert demoted.out == f"{leader}: demoted; {fleet.leader} leads\n"
        fleet.until(lambda: fleet.rollout.state == "done", 60.0, "the release ends")
    try:
        assert failures(reports) == []
        others = [name for name in ("h1", "h2", "h3") if name != leader]
        assert fleet.hecd("demote", others[0]).code == 0
        refused = fleet.hecd("demote", others[1])
        assert refused.code == 1 and f"no node but {others[1]} could lead" in refused.err
        assert "h4 has no control loop" in fleet.hecd("demote", "h4").err
        assert "there is no node 'h9'" in fleet.hecd("promote", "h9").err
        assert "(demoted: does not lead)" in fleet.hecd("node", "inspect", leader).out
    finally:
        for name in ("h1", "h2", "h3"):
            assert fleet.hecd("promote", name).code == 0
