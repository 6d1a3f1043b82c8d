"""Hooks of a release, as the leader decides about them: tables, and whole releases played through."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from registrator.control import rollout
from registrator.control.actions import Assign, Conclude, Drain, ForgetRun, OrderRun, Progress
from registrator.control.placement import Board
from registrator.control.view import ServiceView
from registrator.errors import NotFound
from registrator.model.hook import FEATURE, Hook, Hooks, Result, Run
from registrator.model.names import NodeName, ReleaseNumber
from registrator.model.node import Node
from registrator.model.release import Release, Settings
from registrator.model.service import Project, ServiceSpec
from registrator.orders import events, follow, hooks
from registrator.orders.history import history
from registrator.orders.plan import plan
from registrator.orders.steps import steps
from registrator.registry.store import Raw, Snapshot, room_word
from registrator.registry.world import Reader, World
from tests.unit.registrator.test_rollout import N1, WEB, Stage

MIGRATE = Hooks(pre_deploy=Hook(("./migrate",), timeout_s=60.0))
BOTH = replace(MIGRATE, post_deploy=Hook(("./purge",), timeout_s=60.0))


class Hooked(Stage):
    """Every release has these hooks. Agents run them when the test says what comes of it."""

    def __init__(self, replicas: int = 2, hooks: Hooks = MIGRATE, **update: Any) -> None:
        super().__init__(replicas, **update)
        self.hooks = hooks
        self.runs: dict[str, Run] = {}
        self.results: dict[str, Result] = {}
        self.nodes = {name: Node(name, features=(FEATURE,)) for name in self.nodes}
        self.ever: list[str] = []  # every run that was ever ordered, in order

    def world(self) -> World:
        releases = {(WEB, ReleaseNumber(n)): Release(WEB, ReleaseNumber(n), Settings("i"), hooks=self.hooks)
                    for n in range(1, 9)}  # fmt: skip
        return replace(super().world(), releases=releases, runs=self.runs, results=self.results)

    def step(self) -> list[object]:
        actions = super().step()
        for action in actions:
            match action:
                case OrderRun(run):
                    self.ever += [run.run] * (run.order == "run")
                    self.runs[run.run] = run
                case ForgetRun(record):
                    (self.runs if isinstance(record, Run) else self.results).pop(record.run)
        return actions

    def hear(self, name: str, state: str, reason: str = "") -> None:
        """What the agent says of a run."""
        run = self.runs[name]
        tail = ("no such table",) if state == "failed" else ()
        self.results[name] = Result(
            name, WEB, run.release, run.hook, run.node, state, reason, tail, ordered_at=run.ordered_at
        )

    def begin(self, release: int) -> None:
        self.want(release)
        self.step()

    def passed(self, release: int = 1) -> None:
        """That release is done, its hooks have passed."""
        self.want(release)
        for _ in range(100):
            actions = self.step()
            for name, run in self.runs.items():
                if run.order == "run" and name not in self.results:
                    self.hear(name, "passed")
            self.agents()
            self.now += 0.5
            if not actions and self.state == "done":
                return
        raise AssertionError(self.rollout)

    @property
    def state(self) -> str:
        return self.rollout.state if self.rollout else ""

    @property
    def reason(self) -> str:
        return self.rollout.reason if self.rollout else ""


def started(actions: list[object]) -> list[Assign]:
    return [a for a in actions if isinstance(a, Assign)]


@pytest.mark.parametrize("canary", [False, True])
def test_nothing_of_the_release_starts_before_its_hook_has_passed(canary: bool) -> None:
    from registrator.model.canary import Step

    stage = Hooked(canary=(Step(1, 10.0),) if canary else ())
    stage.passed()
    stage.want(2)
    for _ in range(20):
        actions = stage.step()
        assert not any(isinstance(a, Assign | Drain) for a in actions)
        stage.agents()
        stage.now += 2.0
    assert (stage.state, stage.ever) == ("preparing", ["web.1.pre-deploy.1", "web.2.pre-deploy.1"])
    stage.hear("web.2.pre-deploy.1", "running")
    assert not started(stage.step())
    stage.hear("web.2.pre-deploy.1", "passed")
    assert started(stage.step())
    assert stage.state == ("canary" if canary else "rolling")
    assert stage.rollout is not None and stage.rollout.prepared == (1, 2)


def test_a_first_release_waits_for_its_hook_too_also_with_no_replicas() -> None:
    for replicas in (0, 3):
        stage = Hooked(replicas)
        assert not started(stage.step())
        assert stage.state == "preparing"
        stage.hear("web.1.pre-deploy.1", "passed")
        stage.play("done")
        assert stage.serving() == replicas


def test_it_is_ordered_once_whoever_leads_and_however_often_it_is_decided() -> None:
    stage = Hooked()
    actions = stage.decide()
    assert sum(isinstance(a, OrderRun) for a in actions) == 1
    stage.step()
    for _ in range(50):
        stage.now += 1.0
        assert not any(isinstance(a, OrderRun) for a in stage.step())
    assert stage.ever == ["web.1.pre-deploy.1"]


FAILURES: dict[str, tuple[Callable[[Hooked], object], float, str]] = {
    "exit code": (
        lambda s: s.hear("web.2.pre-deploy.1", "failed", "exit code 3"),
        0.0,
        "pre_deploy on n1: exit code 3",
    ),
    "never begun": (lambda s: None, 121.0, "it did not begin within 120 s"),
    "image": (lambda s: s.hear("web.2.pre-deploy.1", "preparing"), 121.0, "it did not begin within 120 s"),
    "no word": (lambda s: s.hear("web.2.pre-deploy.1", "running"), 211.0, "nothing was heard of its end"),
    "order gone": (lambda s: s.runs.clear(), 0.0, "its order is gone from etcd"),
}


@pytest.mark.parametrize("name", FAILURES)
def test_a_failure_ends_the_release_and_touches_nothing(name: str) -> None:
    happens, after_s, reason = FAILURES[name]
    stage = Hooked()
    stage.passed()
    before = dict(stage.assignments)
    stage.begin(2)
    happens(stage)
    stage.now += after_s
    for _ in range(3):
        assert not any(isinstance(a, Assign | Drain) for a in stage.step())
    assert stage.state == "rolled-back"
    assert stage.reason.startswith("release 2 failed: pre_deploy on ")
    assert reason in stage.reason
    assert stage.assignments == before
    assert stage.history[2].state == "rolled-back"
    if name == "exit code":
        assert stage.rollout is not None and stage.rollout.log_tail == ("no such table",)


@pytest.mark.parametrize(
    ("result", "reason"),
    [(None, "n1 was lost before"), ("running", "what became of it is not known"), ("passed", "")],
)
def test_what_a_lost_node_did_is_not_known_and_not_tried_again(result: str | None, reason: str) -> None:
    stage = Hooked(replicas=0)
    stage.passed()
    stage.begin(2)
    assert stage.runs["web.2.pre-deploy.1"].node == N1
    if result:
        stage.hear("web.2.pre-deploy.1", result)
    del stage.nodes[N1]
    view = ServiceView.of(stage.world(), stage.service, frozenset({N1}))
    actions = rollout.decide(view, Board(stage.nodes, (), {N1}), stage.now)
    orders = [a.run for a in actions if isinstance(a, OrderRun)]
    assert not [run for run in orders if run.order == "run"]
    told = next(a for a in actions if isinstance(a, Progress))
    assert told.rollout.state == ("rolled-back" if reason else "rolling")
    assert reason in told.rollout.reason
    if reason:
        assert [run.order for run in orders if run.release == 2] == ["stop"], "should the node come back"


def test_the_deadline_of_the_release_stands_still_while_it_runs() -> None:
    stage = Hooked(hooks=Hooks(Hook(("x",), timeout_s=3600.0)))
    stage.step()
    stage.hear("web.1.pre-deploy.1", "running")
    stage.now += 3000.0
    stage.step()
    assert stage.state == "preparing"
    stage.hear("web.1.pre-deploy.1", "passed")
    stage.step()
    assert stage.state == "rolling"
    stage.now += 100.0
    stage.step()
    assert stage.state == "rolling", "its deadline began with its first step"


def test_agents_that_are_too_old_are_named_at_once_and_end_the_release_by_its_deadline() -> None:
    stage = Hooked()
    stage.nodes = {name: Node(name) for name in stage.nodes}
    stage.step()
    assert stage.reason == "no node for it: 2 nodes: its agent is too old to run hooks"
    wake = rollout.wake_after_s(ServiceView.of(stage.world(), stage.service), stage.now)
    assert wake is not None and wake <= 120.0
    stage.nodes[NodeName("n2")] = Node(NodeName("n2"), features=(FEATURE,))
    stage.step()
    assert stage.runs["web.1.pre-deploy.1"].node == "n2", "one was updated meanwhile"
    stage.runs.clear()
    old = Hooked()
    old.nodes = {name: Node(name) for name in old.nodes}
    old.step()
    old.now += 121.0
    old.step()
    assert (old.state, old.ever) == ("paused", [])
    assert "too old to run hooks; there is no earlier release" in old.reason


def test_time_without_a_leader_is_no_fault_of_a_hook() -> None:
    stage = Hooked()
    stage.step()
    stage.now += 1000.0
    view = ServiceView.of(stage.world(), stage.service)
    board = Board(stage.nodes, ())
    assert rollout.decide(view, board, stage.now, since=stage.now - 10.0) == []
    wake = rollout.wake_after_s(view, stage.now, stage.now - 10.0)
    assert wake == pytest.approx(110.0)


def test_none_runs_beside_another_one_of_its_service() -> None:
    stage = Hooked(hooks=BOTH)
    stage.passed(1)
    stage.results.pop("web.1.post-deploy.1")
    stage.hear("web.1.post-deploy.1", "running")
    stage.begin(2)
    assert "waits for the end of web.1.post-deploy.1 on n" in stage.reason
    assert "web.2.pre-deploy.1" not in stage.runs
    stage.hear("web.1.post-deploy.1", "passed")
    stage.step()
    assert "web.2.pre-deploy.1" in stage.runs
    stage.hear("web.2.pre-deploy.1", "running")
    stage.begin(3)
    assert stage.runs["web.2.pre-deploy.1"].order == "stop"
    assert "web.3.pre-deploy.1" not in stage.runs
    stage.hear("web.2.pre-deploy.1", "failed", "stopped")
    stage.step()
    assert "web.3.pre-deploy.1" in stage.runs


def test_an_abort_stops_it_and_a_release_tried_on_runs_it_once_more() -> None:
    stage = Hooked(failure_action="pause")
    stage.passed()
    stage.begin(2)
    stage.hear("web.2.pre-deploy.1", "failed", "exit code 1")
    stage.step()
    assert stage.state == "paused"
    stage.say("resume")
    stage.step()
    assert stage.ever[-1] == "web.2.pre-deploy.2"
    stage.now += 1.0
    stage.say("abort", "enough")
    stage.step()
    assert stage.state == "rolled-back"
    assert stage.runs["web.2.pre-deploy.2"].order == "stop"
    assert "enough" in stage.reason


def test_going_back_runs_none_and_a_release_whose_hook_passed_needs_none_again() -> None:
    stage = Hooked(hooks=BOTH)
    stage.passed(1)
    stage.passed(2)
    before = list(stage.ever)
    stage.want(1)
    stage.play("done")
    assert stage.ever == before
    stage.begin(3)
    stage.hear("web.3.pre-deploy.1", "passed")
    stage.step()
    assert stage.state == "rolling"
    stage.passed(4)
    stage.begin(3)
    assert stage.state == "rolling", "its pre_deploy has passed, though it was overtaken"


def test_post_deploy_runs_when_it_is_done_and_its_failure_is_told_and_turns_nothing_back() -> None:
    stage = Hooked(hooks=Hooks(post_deploy=Hook(("./purge",))))
    stage.want(1)
    while "web.1.post-deploy.1" not in stage.runs:
        assert not stage.ever
        stage.step()
        stage.agents()
        stage.now += 0.5
    assert stage.state == "done"
    stage.hear("web.1.post-deploy.1", "failed", "exit code 7")
    actions = stage.step()
    assert any(isinstance(a, Conclude) for a in actions)
    assert stage.history[1].reason == "it serves, but post_deploy on n1: exit code 7"
    assert (stage.state, stage.history[1].state) == ("done", "done")
    assert not stage.step()
    assert stage.serving() == 2


def test_what_is_left_of_runs_goes_with_the_next_one_and_with_the_service() -> None:
    stage = Hooked(hooks=BOTH)
    stage.passed(1)
    stage.passed(2)
    kept = {name: run.order for name, run in stage.runs.items()}
    assert kept["web.2.pre-deploy.1"] == kept["web.2.post-deploy.1"] == "run"
    assert kept["web.1.pre-deploy.1"] == kept["web.1.post-deploy.1"] == "remove"
    for name in ("web.1.pre-deploy.1", "web.1.post-deploy.1"):
        del stage.results[name]  # its agent has removed the container
    stage.step()
    assert set(stage.runs) == {"web.2.pre-deploy.1", "web.2.post-deploy.1"}
    stage.service = replace(stage.service, replicas=0, retiring=True)
    stage.step()
    assert {run.order for run in stage.runs.values()} == {"remove"}
    stage.results.clear()
    stage.step()
    assert stage.runs == {}


def test_a_service_that_is_removed_meanwhile_ends_its_hook() -> None:
    stage = Hooked()
    stage.step()
    stage.service = replace(stage.service, replicas=0, retiring=True)
    stage.step()
    assert (stage.state, stage.runs["web.1.pre-deploy.1"].order) == ("paused", "remove")
    assert "its service is removed" in stage.reason


def test_a_result_of_an_earlier_life_of_the_service_is_none() -> None:
    stage = Hooked()
    stage.step()
    stage.hear("web.1.pre-deploy.1", "passed")
    stale = stage.results["web.1.pre-deploy.1"]
    stage.results["web.1.pre-deploy.1"] = replace(stale, ordered_at=1.0)
    stage.step()
    assert stage.state == "preparing"


def test_one_that_dies_meanwhile_is_replaced_by_the_stable_release() -> None:
    stage = Hooked()
    stage.passed()
    stage.begin(2)
    name = next(iter(stage.assignments))
    del stage.assignments[name], stage.instances[name]
    (order,) = started(stage.step())
    assert order.assignment.release == 1


# -- what a person is shown ---------------------------------------------------------------------------------------


def test_its_progress_is_shown_until_it_has_ended_also_after_the_release_has() -> None:
    stage = Hooked(hooks=BOTH)
    stage.step()
    stage.hear("web.1.pre-deploy.1", "running")
    line = follow.standing(stage.world(), WEB)
    assert line is not None
    assert line.line() == "web release 1 preparing: pre_deploy running on n1, 0/2 serving"
    assert history(stage.world(), WEB)[-1].reason == "pre_deploy running on n1"
    stage.hear("web.1.pre-deploy.1", "passed")
    stage.play("done")
    waits = stage.rollout
    assert waits is not None and not waits.over
    assert waits.hook == "post_deploy"
    stage.hear("web.1.post-deploy.1", "failed", "exit code 7")
    stage.step()
    ended = stage.rollout
    assert ended is not None and ended.over
    assert hooks.lines(stage.world(), ended) == [
        "pre_deploy passed on n1",
        "post_deploy failed on n1: exit code 7",
    ]
    assert hooks.last_run(stage.world(), WEB, "post_deploy").release == 1
    with pytest.raises(NotFound, match="no pre_deploy of web"):
        hooks.last_run(World(), WEB, "pre_deploy")


def test_a_hook_that_will_not_run_is_not_said_to_wait() -> None:
    stage = Hooked(hooks=BOTH)
    stage.bad_releases = {1}
    stage.step()
    stage.hear("web.1.pre-deploy.1", "passed")
    stage.play("paused")
    assert stage.rollout is not None and stage.rollout.hooks["post_deploy"].state == "waiting"
    assert hooks.lines(stage.world(), stage.rollout) == ["pre_deploy passed on n1"]


def test_events_tell_of_it() -> None:
    stage = Hooked()
    stage.step()
    before = stage.world()
    before = replace(before, results=dict(before.results))
    stage.hear("web.1.pre-deploy.1", "failed", "exit code 3")
    found = [event.text for event in events.between(before, stage.world(), 1.0)]
    assert found == ["pre_deploy of release 1 failed on n1: exit code 3"]


def test_a_plan_lists_it_as_a_step_and_says_when_no_node_can_run_it() -> None:
    stage = Hooked(hooks=BOTH)
    world = replace(stage.world(), services={}, releases={})
    release = Release(WEB, ReleaseNumber(1), Settings("i"), hooks=BOTH)
    found = [line.split(" (")[0] for line in steps(world, stage.service, release)]
    assert found == [
        "run pre_deploy of release 1 on n1, once, for 60 s at most",
        "start web.1 of release 1 on n1",
        "start web.2 of release 1 on n2",
        "run post_deploy of release 1 on n1, once, for 60 s at most",
    ]
    old = replace(world, nodes={N1: Node(N1)})
    spec = ServiceSpec(WEB, Settings("i"), hooks=BOTH)
    (change,) = plan(Project("p", (spec,)), old, {"i": "sha256:1"}, now=1.0, who="me")
    assert change.places[0] == "its hooks can't be run: n1: its agent is too old to run hooks"


def test_another_hook_is_another_release_and_its_environment_is_not_shown() -> None:
    stage = Hooked()
    world = replace(stage.world(), services={WEB: stage.service}, revisions={"/hecd/services/web": 1})
    world = replace(
        world, releases={(WEB, ReleaseNumber(1)): Release(WEB, ReleaseNumber(1), Settings("i"), hooks=MIGRATE)}
    )
    for hook, told in (
        (Hooks(Hook(("./other",), 60.0)), "hooks.pre_deploy.command: ('./migrate',) -> ('./other',)"),
        (Hooks(Hook(("./migrate",), 60.0, None, {"P": "s3cret"})), "hooks.pre_deploy.environment.P changed"),
        (Hooks(), "hooks.pre_deploy: is gone"),
        (BOTH, "hooks.post_deploy: is new: ./purge"),
    ):  # fmt: skip
        spec = ServiceSpec(WEB, Settings("i"), 2, traffic=stage.service.traffic, hooks=hook)
        (change,) = plan(Project("p", (spec,)), world, {"i": ""}, now=1.0, who="me")
        assert (change.kind, change.reasons) == ("release", (told,))
        assert change.release_record is not None and change.release_record.hooks == hook


def test_records_of_before_there_were_hooks_are_read() -> None:
    raw = {
        "/hecd/releases/web/1": b'{"service": "web", "number": 1, "settings": {"image": "i"}}',
        "/hecd/rollouts/web": b'{"service": "web", "release": 1, "stable": 1, "state": "done"}',
        "/hecd/nodes/n1": b'{"node": "n1"}',
        "/hecd/services/web": b'{"service": "web", "release": 1, "replicas": 0}',
    }
    world = Reader().read(Snapshot(1, 1, 1, {room_word(key): {key: Raw(value, 1, 1)} for key, value in raw.items()}))
    assert not world.faults
    view = ServiceView.of(world, world.services[WEB])
    assert rollout.decide(view, Board(world.nodes, ()), 5.0) == []
    assert world.rollouts[WEB].over and world.nodes[N1].features == ()
