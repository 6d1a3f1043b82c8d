"""The rollout decider, as tables: a service in some state, what is decided, and whole releases played through."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from registrator.control import rollout
from registrator.control.actions import Assign, Conclude, Drain, Progress, Unassign
from registrator.control.placement import Board
from registrator.control.view import ServiceView
from registrator.model.instance import Assignment, Instance
from registrator.model.names import InstanceName, NodeName, ReleaseNumber, ServiceName
from registrator.model.node import Edge, Node, ServerReport
from registrator.model.outcome import Outcome
from registrator.model.placement import Placement
from registrator.model.release import Release, Settings
from registrator.model.rollout import ENDED, Rollout
from registrator.model.service import Port, Service, Traffic, Update
from registrator.model.steering import Steering
from registrator.orders import follow
from registrator.registry.world import World

WEB = ServiceName("web")
N1 = NodeName("n1")


class Stage:
    """A small cluster that does what is decided, at once, so that whole releases can be played."""

    def __init__(self, replicas: int, **update: Any) -> None:
        self.now = 1000.0
        self.service = Service(WEB, ReleaseNumber(1), replicas, Update(**update), Traffic((Port(8080, 80),)))
        self.rollout: Rollout | None = None
        self.assignments: dict[InstanceName, Assignment] = {}
        self.instances: dict[InstanceName, Instance] = {}
        self.nodes = {N1: Node(N1), NodeName("n2"): Node(NodeName("n2"))}
        self.edges = True
        self.edge_error: str | None = None
        self.bad_releases: set[int] = set()
        self.log: list[str] = []
        self.history: dict[int, Outcome] = {}
        self.steering: Steering | None = None
        self.least_serving = 10_000
        self.most_live = 0

    def world(self) -> World:
        reports: dict[str, ServerReport] = {
            name: ServerReport("UP", 100) for name, i in self.instances.items() if i.state == "running" and self.edges
        }
        edge = Edge(N1, 1, {"web.80": reports}, error=self.edge_error)
        releases = {(WEB, ReleaseNumber(n)): Release(WEB, ReleaseNumber(n), Settings("i")) for n in range(1, 9)}
        return World(
            revision=1,
            nodes=self.nodes,
            services={WEB: self.service},
            releases=releases,
            assignments={(a.node, a.instance): a for a in self.assignments.values()},
            instances=self.instances,
            edges={N1: edge},
            rollouts={WEB: self.rollout} if self.rollout else {},
            steering={WEB: self.steering} if self.steering else {},
        )

    def decide(self, lost: frozenset[NodeName] = frozenset()) -> list[object]:
        board = Board(self.nodes, self.assignments.values(), lost)
        leaving = board.leaving(self.service, self.assignments.values())
        return list(rollout.decide(ServiceView.of(self.world(), self.service, lost, leaving), board, self.now))

    def step(self) -> list[object]:
        actions = self.decide()
        self.perform(actions)
        self.most_live = max(self.most_live, len(self.assignments))
        return actions

    def perform(self, actions: Sequence[object]) -> None:
        for action in actions:
            match action:
                case Assign(assignment):
                    self.assignments[assignment.instance] = assignment
                case Drain(assignment):
                    self.assignments[assignment.instance] = replace(assignment, drain=True)
                case Unassign(assignment):
                    del self.assignments[assignment.instance]
                case Progress(record):
                    self.rollout = record
                case Conclude(outcome):
                    self.history[outcome.release] = outcome
            self.log.append(type(action).__name__)

    def agents(self) -> None:
        """What agents do: start what is assigned, end what drains."""
        for a in list(self.assignments.values()):
            if a.drain and a.instance in self.instances:
                del self.instances[a.instance]
            elif a.drain:
                del self.assignments[a.instance]
            elif a.instance not in self.instances:
                self.announce(a.instance, a.release, "failed" if a.release in self.bad_releases else "running")
        if self.rollout is not None and self.rollout.stable:
            self.least_serving = min(self.least_serving, self.serving())

    def announce(self, name: str, release: int, state: str = "running", node: str = "n1") -> None:
        health = "healthy" if state == "running" else "unknown"
        self.instances[InstanceName(name)] = Instance(
            InstanceName(name),
            WEB,
            ReleaseNumber(release),
            NodeName(node),
            {"80": "10.0.0.1:80"},
            state,
            health,
            reason="exit code 3" if state == "failed" else "",
            log_tail=("boom",) if state == "failed" else (),
            changed_at=self.now,
        )

    def serving(self) -> int:
        return sum(
            i.serving and not self.assignments[n].drain for n, i in self.instances.items() if n in self.assignments
        )

    def play(self, until: str, passes: int = 200) -> None:
        for _ in range(passes):
            actions = self.step()
            if self.rollout is not None and self.rollout.state == until and not actions:
                return
            self.agents()
            self.now += 0.5
        raise AssertionError(f"not {until}: {self.rollout}")

    def say(self, order: str, message: str = "") -> None:
        self.steering = Steering(WEB, self.service.release, order, self.now, "ann@host", message)

    def want(self, release: int) -> None:
        self.service = replace(self.service, release=ReleaseNumber(release))


@pytest.mark.parametrize("replicas", [0, 1, 4])
def test_a_first_release_starts_all_at_its_pace_and_is_done(replicas: int) -> None:
    stage = Stage(replicas)
    stage.play("done")
    assert stage.serving() == replicas
    assert stage.rollout is not None
    assert stage.rollout.stable == 1


@pytest.mark.parametrize(
    ("order", "parallelism", "least", "most"),
    [
        ("start-first", 1, 4, 6),
        ("start-first", 2, 4, 8),
        ("start-first", 0, 4, 8),
        ("stop-first", 1, 3, 4),
        ("stop-first", 2, 2, 4),
    ],
)
def test_a_release_keeps_enough_serving(order: str, parallelism: int, least: int, most: int) -> None:
    stage = Stage(4, order=order, parallelism=parallelism)
    stage.play("done")
    stage.want(2)
    stage.least_serving, stage.most_live = 99, 0
    stage.play("done")
    assert stage.least_serving >= least
    assert stage.most_live <= most
    assert {a.release for a in stage.assignments.values()} == {2}
    assert stage.serving() == 4


def test_numbers_are_never_used_twice() -> None:
    stage = Stage(2)
    stage.play("done")
    stage.want(2)
    stage.play("done")
    assert sorted(stage.assignments) == ["web.3", "web.4"]


def test_nothing_old_is_drained_before_the_new_one_is_up_on_every_edge() -> None:
    stage = Stage(1)
    stage.play("done")
    stage.want(2)
    stage.step()
    stage.agents()
    stage.edges = False
    assert not any(isinstance(a, Drain) for a in stage.step())
    stage.edges = True
    assert any(isinstance(a, Drain) for a in stage.step())


@pytest.mark.parametrize(("action", "state"), [("rollback", "rolled-back"), ("pause", "paused")])
def test_a_failing_release_ends_as_asked_and_says_why(action: str, state: str) -> None:
    stage = Stage(4, failure_action=action)
    stage.play("done")
    stage.bad_releases = {2}
    stage.want(2)
    stage.play(state)
    assert stage.rollout is not None
    assert "web.5" in stage.rollout.reason
    assert "exit code 3" in stage.rollout.reason
    assert stage.rollout.log_tail == ("boom",)
    assert sum(i.release == 1 and i.serving for i in stage.instances.values()) == 4
    if state == "rolled-back":
        assert {a.release for a in stage.assignments.values()} == {1}


@pytest.mark.parametrize("parallelism", [1, 0])
@pytest.mark.parametrize("how", ["it fails", "rollback", "abort"])
def test_an_instance_that_was_broken_before_is_replaced_on_the_way_back_and_no_failure_of_it(
    how: str, parallelism: int
) -> None:
    stage = Stage(3, parallelism=parallelism)
    stage.play("done")
    stage.bad_releases = {2} if how == "it fails" else set()
    stage.want(2)
    stage.step()
    stage.now += 0.5
    if how == "rollback":
        stage.want(1)
    elif how == "abort":
        stage.say("abort")
    for restarts in range(200):
        if (found := stage.instances.get(InstanceName("web.2"))) is not None:  # crashes again and again
            state = ("exited", "starting")[restarts % 2]
            stage.instances[found.instance] = replace(
                found, state=state, health="unknown", restarts=restarts + 1, changed_at=stage.now
            )
        actions = stage.step()
        assert stage.rollout is not None
        if stage.rollout.state in ENDED and not actions:
            break
        stage.agents()
        stage.now += 0.5
    assert stage.rollout is not None and stage.rollout.state == ("done" if how == "rollback" else "rolled-back")
    assert stage.serving() == len(stage.assignments) == 3
    assert "web.2" not in stage.assignments
    assert {"web.1", "web.3"} <= stage.assignments.keys(), "those that were well run on"


def test_one_that_breaks_in_a_rollback_is_a_failure_of_it() -> None:
    stage = Stage(3)
    stage.play("done")
    stage.want(2)
    stage.play("done")
    stage.bad_releases = {1}
    stage.want(1)
    stage.play("rolled-back")
    assert stage.rollout is not None
    assert stage.rollout.reason.startswith("release 1 failed: web.")


def test_a_rollback_restarts_no_healthy_instance() -> None:
    stage = Stage(4)
    stage.play("done")
    before = set(stage.assignments)
    stage.bad_releases = {2}
    stage.want(2)
    stage.play("rolled-back")
    assert set(stage.assignments) == before


def test_a_tolerated_failure_does_not_turn_the_release_back() -> None:
    stage = Stage(4, max_failure_ratio=0.25)
    stage.play("done")
    stage.want(2)
    stage.step()
    stage.announce("web.5", 2, "failed")
    stage.step()
    assert stage.rollout is not None
    assert stage.rollout.state == "rolling"
    stage.announce("web.5", 2, "running")
    stage.play("done")


def test_a_failure_within_the_window_still_counts_and_one_after_it_does_not() -> None:
    stage = Stage(2, monitor_s=5.0)
    stage.play("done")
    stage.want(2)
    stage.play("monitoring")
    stage.announce("web.3", 2, "exited")
    stage.step()
    assert stage.rollout is not None
    assert stage.rollout.state == "rolling-back"
    stage.announce("web.3", 2, "running")
    stage.play("rolled-back")
    stage.announce(next(iter(stage.assignments)), 1, "exited")
    stage.step()
    assert stage.rollout.state == "rolled-back"


def test_a_release_without_progress_ends_by_its_deadline_naming_the_load_balancer() -> None:
    stage = Stage(1, deadline_s=30.0)
    stage.play("done")
    stage.edges, stage.edge_error = False, "cannot bind :8080"
    stage.want(2)
    stage.step()
    stage.agents()
    stage.now += 31.0
    stage.step()
    assert stage.rollout is not None
    assert stage.rollout.state == "rolling-back"
    assert "no progress for 30 s" in stage.rollout.reason
    assert "cannot bind :8080" in stage.rollout.reason


def test_a_first_release_that_fails_waits_for_a_person() -> None:
    stage = Stage(2)
    stage.bad_releases = {1}
    stage.play("paused")
    assert stage.rollout is not None
    assert "no earlier release" in stage.rollout.reason


@pytest.mark.parametrize(("wanted", "names"), [(6, 6), (2, 2), (0, 0)])
def test_scaling_starts_or_drains_the_difference(wanted: int, names: int) -> None:
    stage = Stage(4)
    stage.play("done")
    kept = set(stage.assignments)
    stage.service = replace(stage.service, replicas=wanted)
    stage.step()
    live = {n for n, a in stage.assignments.items() if not a.drain}
    assert len(live) == names
    assert live <= kept if wanted < 4 else kept <= live


def test_scaling_down_prefers_what_does_not_serve() -> None:
    stage = Stage(3)
    stage.play("done")
    stage.announce("web.1", 1, "exited")
    stage.service = replace(stage.service, replicas=2)
    stage.step()
    assert [n for n, a in stage.assignments.items() if a.drain] == ["web.1"]


def test_instances_that_lost_their_order_are_adopted_not_restarted() -> None:
    stage = Stage(2)
    for n in (7, 8):
        stage.announce(f"web.{n}", 1)
    stage.play("done")
    assert sorted(stage.assignments) == ["web.7", "web.8"]


def test_instances_of_an_unknown_release_are_replaced_start_first() -> None:
    stage = Stage(2)
    stage.want(6)
    for n in (7, 8):
        stage.announce(f"web.{n}", 5)
    stage.play("done")
    assert sorted(stage.assignments) == ["web.10", "web.9"]


def test_a_lost_node_gets_its_instances_replaced_elsewhere() -> None:
    stage = Stage(2)
    stage.play("done")
    gone = [a for a in stage.assignments.values() if a.node == "n2"]
    assert len(gone) == 1
    for a in gone:
        del stage.instances[a.instance]
    del stage.nodes[NodeName("n2")]
    lost = frozenset({NodeName("n2")})
    actions = stage.decide(lost)
    assert [type(a).__name__ for a in actions if not isinstance(a, Progress)] == ["Unassign", "Assign"]
    assert all(a.assignment.node == "n1" for a in actions if isinstance(a, Assign))


def test_a_delay_paces_the_steps() -> None:
    stage = Stage(2, delay_s=10.0)
    stage.play("done")
    stage.want(2)
    stage.step()
    stage.agents()
    stage.step()
    stage.agents()
    assert not any(isinstance(a, Assign) for a in stage.step())
    assert rollout.wake_after_s(ServiceView.of(stage.world(), stage.service), stage.now) is not None
    stage.now += 10.0
    assert any(isinstance(a, Assign) for a in stage.step())


def test_a_paused_service_can_be_shrunk_and_so_removed() -> None:
    stage = Stage(2)
    stage.bad_releases = {1}
    stage.play("paused")
    stage.service = replace(stage.service, replicas=0)
    stage.step()
    stage.agents()
    stage.agents()
    assert not stage.assignments


def test_the_end_of_one_that_was_never_announced_is_not_believed() -> None:
    """Its agent may be starting it: it alone knows, and takes the order away."""
    stage = Stage(4)
    stage.step()
    assert len(stage.assignments) == 4 and not stage.instances
    stage.service = replace(stage.service, replicas=0)
    stage.step()
    assert all(a.drain for a in stage.assignments.values())
    stage.step()
    now = follow.standing(stage.world(), WEB)
    assert now is not None and not now.settled and now.draining == 4, "`hecd scale` still waits"
    assert any(isinstance(a, Unassign) for a in stage.decide(lost=frozenset(stage.nodes))), "but for no lost node"


def test_a_paused_service_is_kept_up_by_the_release_that_is_known_to_be_good() -> None:
    stage = Stage(3, failure_action="pause")
    stage.play("done")
    stage.bad_releases = {2}
    stage.want(2)
    stage.play("paused")
    assert [a.release for a in stage.assignments.values() if not a.drain] == [1, 1, 1]

    def orders(service: Service, leaving: dict[InstanceName, str], lost: frozenset[NodeName]) -> list[Assign | Drain]:
        board = Board(stage.nodes, stage.assignments.values(), lost)
        found = rollout.decide(ServiceView.of(stage.world(), service, lost, leaving), board, stage.now)
        return [a for a in found if isinstance(a, Assign | Drain)]

    drained = {InstanceName("web.1"): "n1: drained"}
    (start,) = orders(stage.service, drained, frozenset())
    assert isinstance(start, Assign) and start.assignment.release == 1, "what fails is no replacement"
    stage.assignments[start.assignment.instance] = start.assignment
    stage.agents()
    (drain,) = orders(stage.service, drained, frozenset())
    assert isinstance(drain, Drain) and drain.assignment.instance == "web.1"
    assert [a.assignment.release for a in orders(replace(stage.service, replicas=6), {}, frozenset())] == [1, 1]
    lost = stage.assignments[InstanceName("web.1")].node
    gone = [stage.instances.pop(a.instance) for a in stage.assignments.values() if a.node == lost]
    missing = 3 - sum(a.release == 1 and a.node != lost for a in stage.assignments.values())
    assert gone and len(orders(stage.service, {}, frozenset({lost}))) == missing


def test_a_first_release_that_failed_is_not_started_again_and_again() -> None:
    stage = Stage(2)
    stage.bad_releases = {1}
    stage.play("paused")
    stage.service = replace(stage.service, replicas=4)
    assert not any(isinstance(a, Assign) for a in stage.decide())


def test_what_fails_of_a_good_release_is_not_replaced_without_end() -> None:
    """Beside it is an instance that failed of another release: that goes, and makes no room for one more to fail."""
    stage = Stage(1)
    stage.play("done")
    stage.bad_releases = {1, 2}
    stage.want(2)
    stage.step()
    stage.want(1)
    crash(stage, "web.1", "exited", 1)
    for _ in range(20):
        stage.step()
        stage.agents()
    assert stage.rollout is not None and stage.rollout.state == "paused"
    assert sorted(stage.assignments) == ["web.3"]


def test_where_nothing_is_gone_back_to_by_itself_what_has_served_is_named() -> None:
    stage = Stage(1)
    for release in (1, 2):
        stage.want(release)
        stage.play("done")
    stage.bad_releases = {2, 3}
    stage.want(3)
    stage.step()
    stage.want(2)
    crash(stage, next(n for n, a in stage.assignments.items() if a.release == 2), "exited", 1)
    stage.play("paused")
    assert stage.rollout is not None
    assert stage.rollout.reason.endswith("; release 1 has served, too: `hecd rollback web 1`")


def test_one_that_went_back_says_what_serves() -> None:
    stage = Stage(1)
    stage.play("done")
    stage.bad_releases = {2}
    stage.want(2)
    stage.play("rolling-back")
    now = follow.standing(stage.world(), WEB)
    assert now is not None and now.line() == "web release 2 rolling-back to release 1: 1/1 serving, 1 draining"
    stage.play("rolled-back")
    now = follow.standing(stage.world(), WEB)
    assert now is not None and now.line() == "web release 2 rolled-back to release 1: 1/1 serving"


def crash(stage: Stage, name: str, state: str, restarts: int) -> None:
    """It ended with code 3, was started again so often, and is `state` now."""
    told = replace(stage.instances[InstanceName(name)], state=state, health="unknown", reason="exit code 3")
    stage.instances[InstanceName(name)] = replace(told, restarts=restarts)


def test_what_crashes_again_and_again_is_not_said_to_be_starting() -> None:
    stage = Stage(3)
    stage.play("done")
    crash(stage, "web.1", "exited", 4)
    crash(stage, "web.2", "starting", 1)
    now = follow.standing(stage.world(), WEB)
    assert now is not None and not now.settled
    assert now.line() == ("web release 1 done: 1/3 serving, 2 failing (web.1 on n1: exit code 3, 4 times by now)")
    assert now.failing[1] == "web.2 on n2: exit code 3"
    assert stage.rollout is not None
    assert follow.ends(stage.world(), {WEB: stage.rollout}) == ["web: release 1 is done, but 1/3 serve"]
    stage.announce("web.1", 1)
    stage.announce("web.2", 1)
    assert follow.ends(stage.world(), {WEB: stage.rollout}) == ["web: release 1 serves"]


def test_what_went_with_its_node_is_not_said_to_be_starting() -> None:
    stage = Stage(2)
    stage.play("done")
    del stage.instances[InstanceName("web.2")], stage.nodes[NodeName("n2")]
    now = follow.standing(stage.world(), WEB)
    assert now is not None and now.line() == "web release 1 done: 1/2 serving, 1 lost with their node"


@pytest.mark.parametrize("state", ["held", "paused"])
def test_a_release_that_stands_is_scaled_though_the_old_one_serves(state: str) -> None:
    stage = Stage(2, monitor_s=60.0, failure_action="pause")
    stage.play("done")
    stage.bad_releases = {2} if state == "paused" else set()
    stage.want(2)
    stage.step()
    stage.agents()
    if state == "held":
        stage.say("pause")
    stage.play(state)
    stage.service = replace(stage.service, replicas=4)
    now = follow.standing(stage.world(), WEB)
    assert now is not None and not now.enough
    stage.play(state)
    now = follow.standing(stage.world(), WEB)
    assert now is not None and (now.enough, now.settled, now.ready + now.others) == (True, False, 4)


def test_a_crash_is_a_failure_though_nobody_saw_it_but_by_its_restart() -> None:
    stage = Stage(2)
    stage.play("done")
    stage.want(2)
    stage.step()
    stage.announce("web.3", 2)
    crash(stage, "web.3", "starting", 1)
    stage.step()
    assert stage.rollout is not None and stage.rollout.state == "rolling-back"
    assert stage.rollout.reason == "release 2 failed: web.3 on n1: exit code 3"


def test_what_had_failed_is_replaced_when_it_is_to_be_tried_once_more() -> None:
    stage = Stage(2)
    stage.bad_releases = {1}
    stage.play("paused")
    failed = set(stage.assignments)
    stage.bad_releases = set()
    stage.say("resume")
    stage.play("done")
    assert failed and not failed & set(stage.assignments)
    assert stage.serving() == 2


def test_going_back_that_finds_no_place_says_what_is_in_its_way() -> None:
    """Where instances may be is the service's, and does not go back with the release."""
    stage = Stage(1, deadline_s=30.0)
    stage.play("done")
    stage.service = replace(stage.service, placement=Placement(constraints=("node.labels.disk==ssd",)))
    stage.want(2)
    stage.play("paused")
    assert stage.rollout is not None
    assert "and going back made no progress for 30 s: n1: not node.labels.disk==ssd" in stage.rollout.reason
    assert stage.serving() == 1, "what serves stays"


def test_going_back_ends_by_its_deadline_too() -> None:
    stage = Stage(1, deadline_s=30.0)
    stage.play("done")
    stage.bad_releases = {2}
    stage.want(2)
    for _ in range(3):
        stage.step()
        stage.agents()
    assert stage.rollout is not None
    assert stage.rollout.state == "rolling-back"
    stage.edges = False
    stage.step()
    stage.now += 31.0
    stage.step()
    assert stage.rollout.state == "paused"
    assert "going back made no progress" in stage.rollout.reason


def test_time_without_a_leader_is_no_lack_of_progress() -> None:
    stage = Stage(2, deadline_s=30.0)
    stage.play("done")
    stage.want(2)
    stage.step()
    stage.agents()
    stage.now += 300.0
    view = ServiceView.of(stage.world(), stage.service)
    board = Board(stage.nodes, stage.assignments.values())
    assert not any("failed" in a.reason for a in rollout.decide(view, board, stage.now, stage.now - 1.0))
    assert any("no progress" in a.reason for a in rollout.decide(view, board, stage.now, 0.0))


def test_what_can_not_be_placed_is_said() -> None:
    stage = Stage(2)
    stage.nodes = {}
    stage.step()
    assert stage.rollout is not None
    assert "2 can't be placed: no node" in stage.rollout.reason


def test_a_release_that_found_no_place_fails_with_the_reason_why() -> None:
    stage = Stage(2, deadline_s=30.0)
    stage.nodes = {}
    stage.step()
    stage.now += 31.0
    stage.step()
    assert stage.rollout is not None
    assert stage.rollout.state == "paused"
    assert "no progress for 30 s: 2 can't be placed: no node" in stage.rollout.reason


def test_the_same_state_decides_the_same() -> None:
    stage = Stage(4)
    stage.play("done")
    stage.want(2)
    assert stage.decide() == stage.decide()


@pytest.mark.parametrize(("action", "state"), [("rollback", "rolled-back"), ("pause", "paused")])
def test_the_history_tells_how_each_release_ended(action: str, state: str) -> None:
    stage = Stage(2, failure_action=action)
    stage.play("done")
    stage.bad_releases = {2}
    stage.want(2)
    stage.play(state)
    assert {n: o.state for n, o in stage.history.items()} == {1: "done", 2: state}
    assert "exit code 3" in stage.history[2].reason
    assert stage.history[2].ended_at >= stage.history[2].started_at > stage.history[1].ended_at


def test_a_release_that_another_one_overtakes_is_told_so() -> None:
    stage = Stage(2)
    stage.play("done")
    stage.want(2)
    stage.step()
    stage.service = replace(stage.service, release=ReleaseNumber(3), updated_by="ann@host")
    stage.play("done")
    assert stage.history[2].state == "overtaken"
    assert stage.history[2].reason == "release 3 was wanted, by ann@host"
    assert stage.history[3].ordered_by == "ann@host"


def test_going_back_by_order_keeps_what_runs_and_is_told() -> None:
    stage = Stage(4, parallelism=1, monitor_s=60.0)
    stage.play("done", passes=400)
    before = set(stage.assignments)
    stage.want(2)
    for _ in range(5):  # half-way
        stage.step()
        stage.agents()
    kept = {n for n, a in stage.assignments.items() if a.release == 1 and not a.drain}
    assert 0 < len(kept) < 4
    stage.service = replace(stage.service, release=ReleaseNumber(1), updated_by="ann@host")
    stage.play("done", passes=400)
    assert kept <= set(stage.assignments)
    assert kept <= before
    assert stage.history[1].reason == "went back to it, by ann@host"
