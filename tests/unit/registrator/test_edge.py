"""Which servers a load balancer is told to give up waiting for, and of which releases each failure is told at once."""

from __future__ import annotations

from registrator.agent.edge import dead, judged
from registrator.model.canary import Trial
from registrator.model.instance import Instance
from registrator.model.names import InstanceName, NodeName, ReleaseNumber, ServiceName
from registrator.model.node import ServerReport
from registrator.model.rollout import Rollout
from registrator.registry.world import World

WEB1 = InstanceName("web.1")


def given_up(report: ServerReport, *, announced: bool) -> bool:
    instance = Instance(WEB1, ServiceName("web"), ReleaseNumber(1), NodeName("n1"))
    world = World(instances={WEB1: instance} if announced else {})
    return dead({"web.80": {"web.1": report}}, world) == [("web.80", "web.1")]


def test_only_what_neither_answers_checks_nor_is_announced_is_given_up() -> None:
    for check in ("L4CON", "L4TOUT", "L7TOUT"):
        for state in ("DOWN", "DRAIN", "MAINT"):
            mute = ServerReport(state, 100, 3, check)
            assert given_up(mute, announced=False)
            assert not given_up(mute, announced=True), "its agent lives: it may be busy"
    assert not given_up(ServerReport("UP", 100, 3, "L4TOUT"), announced=False)
    assert not given_up(ServerReport("DOWN", 100, 3, "L7STS"), announced=False), "it answers, though badly"
    assert not given_up(ServerReport("DRAIN", 0, 3, "L7OK"), announced=False), "it finishes what it has"
    assert not given_up(ServerReport("DOWN", 100, 0, "L4TOUT"), announced=False), "nobody waits"


def test_each_failure_of_a_release_that_is_judged_is_told_at_once() -> None:
    for state, trial, told in (
        *((state, Trial(), True) for state in ("canary", "rolling", "monitoring")),
        *((state, Trial(), False) for state in ("warming", "done", "rolling-back", "held")),
        ("rolling", None, False),
    ):
        web = Rollout(ServiceName("web"), ReleaseNumber(2), ReleaseNumber(1), state, trial=trial)
        assert (judged(World(rollouts={web.service: web})) == {("web", "2")}) == told, state
