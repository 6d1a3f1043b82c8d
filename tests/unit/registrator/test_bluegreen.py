"""Blue/green releases, played through with load balancers that follow the weights: who gets requests at each moment."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from registrator.control.actions import Drain
from registrator.control.placement import Board
from registrator.control.rollout import decide, wake_after_s
from registrator.control.view import ServiceView
from registrator.model.canary import Step
from registrator.model.hook import Hook, Hooks
from registrator.model.names import NodeName
from registrator.model.node import Capacity, Edge, Node, ServerReport
from registrator.model.release import Settings
from registrator.model.rollout import ENDED
from registrator.model.service import Project, ServiceSpec
from registrator.model.usage import Usage
from registrator.orders import follow
from registrator.orders.plan import plan
from registrator.orders.steps import steps
from registrator.registry.world import World
from tests.unit.registrator.test_hooks import Hooked
from tests.unit.registrator.test_rollout import WEB

KEEP_S = 60.0
EDGES = ("e1", "e2")


class Colours(Hooked):
    """Two load balancers that take the weights when the test lets them."""

    def __init__(self, replicas: int = 3, hooks: Hooks | None = None, **update: Any) -> None:
        more = {"strategy": "blue-green", "keep_s": KEEP_S, "parallelism": 0, **update}
        super().__init__(replicas, hooks or Hooks(), **more)
        self.given: dict[str, dict[str, int]] = {edge: {} for edge in EDGES}  # the weights that each has
        self.frozen: set[str] = set()  # edges that follow nothing

    def world(self) -> World:
        usage: dict[str, dict[str, Usage]] = {"web.80": {}}
        edges = {
            NodeName(name): Edge(NodeName(name), 1, {"web.80": self.reports(name)}, usage=usage, counted_since=1.0)
            for name in EDGES
        }
        return replace(super().world(), edges=edges)

    def reports(self, edge: str) -> dict[str, ServerReport]:
        return {
            name: ServerReport("UP", self.given[edge].get(str(i.release), 100))
            for name, i in self.instances.items()
            if i.state == "running"
        }

    def step(self) -> list[object]:
        actions = super().step()
        for edge in set(EDGES) - self.frozen:
            self.given[edge] = dict(self.rollout.weights) if self.rollout else {}
        return actions

    def requests(self) -> dict[str, set[int]]:
        """The releases that get requests, by edge."""
        return {
            edge: {
                int(i.release)
                for name, i in self.instances.items()
                if i.serving and self.given[edge].get(str(i.release), 100) and not self.assignments[name].drain
            }
            for edge in EDGES
        }

    def only(self, release: int) -> bool:
        return all(found == {release} for found in self.requests().values())

    def of(self, release: int) -> int:
        return sum(a.release == release and not a.drain for a in self.assignments.values())

    def tick(self, count: int = 1) -> list[object]:
        actions: list[object] = []
        for _ in range(count):
            actions += self.step()
            self.agents()
            self.now += 0.5
        return actions

    def until(self, state: str) -> None:
        for _ in range(300):
            self.step()
            if self.state == state:
                return
            self.agents()
            self.now += 0.5
        raise AssertionError(self.rollout)


@pytest.fixture
def stage() -> Colours:
    """Release 1 serves."""
    made = Colours()
    made.play("done")
    made.want(2)
    return made


def test_the_new_set_is_whole_and_warm_before_it_gets_a_request_and_then_gets_all(stage: Colours) -> None:
    stage.step()
    assert (stage.state, stage.of(2)) == ("warming", 3), "all at once"
    assert stage.rollout is not None and stage.rollout.weights == {"2": 0}, "before the first one is there"
    while stage.state == "warming":
        stage.agents()
        assert stage.only(1)
        assert not any(isinstance(a, Drain) for a in stage.step())
    assert stage.state == "monitoring"
    assert stage.rollout.weights == {"1": 0}
    assert stage.only(2)
    assert (stage.of(1), stage.of(2)) == (3, 3)


def test_the_old_set_stays_for_its_time_and_then_drains(stage: Colours) -> None:
    stage.until("done")
    switched = stage.rollout.switch.at if stage.rollout and stage.rollout.switch else 0.0
    assert switched
    now = follow.standing(stage.world(), WEB)
    assert now is not None and now.settled
    assert now.line() == "web release 2 done: 3/3 serving, 3 of the old release kept"
    while stage.now < switched + KEEP_S:
        assert not stage.tick()
        view = ServiceView.of(stage.world(), stage.service)
        assert wake_after_s(view, stage.now) == pytest.approx(switched + KEEP_S - stage.now) or stage.now >= switched
    assert stage.of(1) == 3
    stage.tick(4)
    assert (stage.of(1), stage.of(2)) == (0, 3)
    assert stage.rollout is not None and stage.rollout.weights == {}


def test_going_back_within_its_time_is_one_change_in_the_pass_that_hears_of_it(stage: Colours) -> None:
    stage.until("done")
    before = set(stage.instances)
    stage.want(1)
    actions = stage.step()
    assert [type(a).__name__ for a in actions] == ["Progress"]
    assert stage.rollout is not None
    assert (stage.rollout.weights, stage.state) == ({"2": 0}, "monitoring")
    assert stage.only(1)
    stage.play("done")
    assert set(stage.instances) == before, "nothing was started or stopped"
    stage.want(2)
    assert [type(a).__name__ for a in stage.step()] == ["Progress"], "and forth again"
    assert stage.only(2)


def test_going_back_later_warms_the_old_release_anew(stage: Colours) -> None:
    stage.until("done")
    stage.now += KEEP_S
    stage.tick(5)
    stage.want(1)
    stage.step()
    assert (stage.state, stage.of(1), stage.only(2)) == ("warming", 3, True)
    stage.until("done")
    assert stage.only(1)


@pytest.mark.parametrize("when", ["warming", "monitoring"])
@pytest.mark.parametrize("how", ["abort", "broken"])
def test_a_failure_or_an_abort_gives_all_requests_back_at_once(stage: Colours, when: str, how: str) -> None:
    stage.until(when)
    if when == "warming":
        stage.agents()
    assert stage.only({"warming": 1, "monitoring": 2}[when])
    if how == "abort":
        stage.say("abort")
    else:
        name = next(n for n, i in stage.instances.items() if i.release == 2)
        stage.announce(name, 2, "failed")
    stage.step()
    assert stage.state == "rolling-back"
    assert stage.rollout is not None and stage.rollout.weights == {"2": 0}
    assert stage.only(1)
    for _ in range(20):
        stage.tick()
        assert stage.only(1)
    assert (stage.state, stage.of(2), stage.of(1)) == ("rolled-back", 0, 3)
    assert stage.rollout.weights == {}


def test_the_way_back_is_not_taken_again_while_load_balancers_are_late(stage: Colours) -> None:
    stage.until("monitoring")
    stage.agents()
    stage.frozen = set(EDGES)
    stage.say("abort")
    for _ in range(5):
        stage.tick()
        assert stage.rollout is not None and stage.rollout.weights == {"2": 0}
        assert stage.of(2) == 3, "they serve until every load balancer has gone back"
    stage.frozen = set()
    stage.tick(8)
    assert (stage.state, stage.only(1)) == ("rolled-back", True)


@pytest.mark.parametrize("when", ["warming", "monitoring"])
def test_one_that_dies_while_it_is_held_is_replaced_in_the_set_that_serves(stage: Colours, when: str) -> None:
    stage.until(when)
    stage.agents()
    stage.say("pause")
    stage.step()
    serving = {"warming": 1, "monitoring": 2}[when]
    name = next(n for n, a in stage.assignments.items() if a.release == serving)
    del stage.assignments[name], stage.instances[name]
    stage.tick(2)
    assert (stage.state, stage.of(serving), stage.only(serving)) == ("held", 3, True)


def test_a_set_that_can_not_get_warm_ends_by_the_deadline(stage: Colours) -> None:
    stage.until("warming")
    stage.now += 1.0
    for name in [n for n, a in stage.assignments.items() if a.release == 2]:
        stage.announce(name, 2, "starting")
    stage.tick(4)
    assert stage.state == "warming"
    stage.now += 121.0
    stage.step()
    assert stage.state == "rolling-back"
    assert "no progress for 120 s" in stage.reason
    assert stage.only(1)


def test_one_load_balancer_that_lacks_one_instance_holds_the_switch_back(stage: Colours) -> None:
    missing = "web.6"

    def reports(edge: str) -> dict[str, ServerReport]:
        found = Colours.reports(stage, edge)
        return {n: r for n, r in found.items() if (edge, n) != ("e2", missing)}

    stage.reports = reports  # type: ignore[method-assign]
    stage.tick(10)
    assert missing in stage.instances
    assert (stage.state, stage.only(1)) == ("warming", True)
    del stage.reports
    stage.tick()
    assert stage.state == "monitoring"


def test_a_load_balancer_that_does_not_follow_the_switch_fails_the_release(stage: Colours) -> None:
    stage.until("warming")
    stage.frozen = {"e2"}
    stage.tick(40)
    assert stage.state == "monitoring", "not done: one of them still serves the old release"
    stage.now += 121.0
    stage.step()
    assert stage.state == "rolling-back"
    assert "no progress for 120 s" in stage.reason


def test_a_load_balancer_that_is_away_for_a_moment_later_fails_nothing(stage: Colours) -> None:
    stage.service = replace(stage.service, update=replace(stage.service.update, monitor_s=600.0))
    stage.until("monitoring")
    stage.tick(10)
    assert stage.rollout is not None and stage.rollout.switch is not None and stage.rollout.switch.taken_at
    stage.now += 300.0
    stage.edges = False
    stage.reports = lambda edge: {}  # type: ignore[method-assign]
    stage.tick()
    assert stage.state == "monitoring"


def test_who_leads_next_goes_on_at_every_step(stage: Colours) -> None:
    """Nothing is remembered but what stands in the records: each pass is that of another leader."""
    seen: list[str] = []
    for _ in range(400):
        stage.rollout = replace(stage.rollout) if stage.rollout else None
        stage.tick()
        if not seen or seen[-1] != stage.state:
            seen.append(stage.state)
        assert stage.only(1) or stage.only(2)
    assert seen == ["warming", "monitoring", "done"]
    assert stage.of(1) == 0


def test_it_is_held_goes_on_and_is_promoted(stage: Colours) -> None:
    stage.until("warming")
    stage.say("pause")
    stage.tick(20)
    assert (stage.state, stage.only(1)) == ("held", True)
    stage.now += 1.0
    stage.say("resume")
    stage.until("monitoring")
    stage.now += 1.0
    stage.say("pause")
    stage.tick(20)
    assert (stage.state, stage.only(2), stage.of(1)) == ("held", True, 3)
    stage.now += 1.0
    stage.say("promote")
    stage.tick(3)
    assert (stage.state, stage.only(2), stage.of(1)) == ("done", True, 3)


def test_a_failed_one_that_is_paused_stays_beside_to_be_looked_at_and_can_be_tried_on() -> None:
    stage = Colours(failure_action="pause")
    stage.play("done")
    stage.want(2)
    stage.until("monitoring")
    name = next(n for n, i in stage.instances.items() if i.release == 2)
    stage.announce(name, 2, "failed")
    stage.tick(10)
    assert (stage.state, stage.of(1), stage.of(2), stage.only(1)) == ("paused", 3, 3, True)
    stage.announce(name, 2)
    stage.say("resume")
    stage.until("done")
    assert stage.only(2)


def test_a_third_release_within_the_time_takes_over_and_the_first_one_goes(stage: Colours) -> None:
    stage.until("done")
    stage.want(3)
    while stage.state != "monitoring":
        stage.step()
        assert stage.only(2) or stage.only(3)
        stage.agents()
        stage.now += 0.5
    assert stage.only(3)
    stage.tick(4)
    assert (stage.of(1), stage.of(2), stage.of(3)) == (0, 3, 3)


@pytest.mark.parametrize("when", ["warming", "monitoring"])
def test_one_that_is_overtaken_loses_nothing(stage: Colours, when: str) -> None:
    stage.until(when)
    stage.want(3)
    serving = 1 if when == "warming" else 2
    for _ in range(8):
        stage.tick()
        assert stage.only(serving) or stage.only(3)
    stage.until("done")
    assert stage.only(3)
    assert stage.history[2].state == "overtaken"


def test_a_rollback_while_it_is_watched_is_one_change_too(stage: Colours) -> None:
    stage.until("monitoring")
    stage.agents()
    stage.want(1)
    stage.step()
    assert stage.only(1)
    stage.play("done")
    assert stage.rollout is not None and stage.rollout.stable == 1


def test_after_its_hook_and_not_before(stage: Colours) -> None:
    hooked = Colours(hooks=Hooks(Hook(("./migrate",))))
    hooked.passed()
    hooked.want(2)
    hooked.tick(5)
    assert (hooked.state, hooked.of(2)) == ("preparing", 0)
    hooked.hear("web.2.pre-deploy.1", "passed")
    hooked.step()
    assert (hooked.state, hooked.of(2)) == ("warming", 3)
    hooked.until("done")
    assert hooked.only(2)


def test_a_first_release_and_one_without_anything_to_switch_from_just_roll() -> None:
    stage = Colours()
    stage.step()
    assert stage.state == "rolling"
    stage.play("done")
    assert stage.rollout is not None and stage.rollout.switch is None


def test_what_is_removed_or_scaled_to_none_keeps_nothing(stage: Colours) -> None:
    stage.until("done")
    stage.service = replace(stage.service, replicas=0)
    stage.tick(5)
    assert stage.assignments == {}


def test_a_plan_shows_the_switch_and_says_when_there_is_no_room_for_two_sets(stage: Colours) -> None:
    lines = steps(stage.world(), replace(stage.service, updated_at=stage.now), None)
    assert [line.split(" of ")[0] for line in lines[:3]] == ["start web.4", "start web.5", "start web.6"]
    assert lines[3].endswith("HAProxy: set each server of release 2 weight 0")
    assert lines[4].startswith("weigh web (all requests go to release 2 now, and none to release 1)")
    assert [line.split(" of ")[0] for line in lines[5:]] == ["drain web.3", "drain web.2", "drain web.1"]
    stage.want(1)
    full = {name: Node(name, capacity=Capacity(instances=2)) for name in stage.nodes}
    world = replace(stage.world(), nodes=full, revisions={"/hecd/services/web": 1})
    spec = ServiceSpec(WEB, Settings("j"), 3, stage.service.update, stage.service.traffic)
    (change,) = plan(Project("p", (spec,)), world, {"j": ""}, now=1.0, who="me")
    assert change.places[0].startswith("no room for two sets, as strategy blue-green takes: 2 can't be placed: 2 nodes")


def test_while_it_is_held_a_node_is_emptied_of_both_sets(stage: Colours) -> None:
    stage.tick(1)
    stage.say("pause")
    stage.tick(1)
    assert (stage.state, stage.of(1), stage.of(2)) == ("held", 3, 3)
    leaving = {n: "n1: drained" for n, a in stage.assignments.items() if a.node == "n1"}
    assert {stage.assignments[n].release for n in leaving} == {1, 2}
    for _ in range(3):
        view = ServiceView.of(stage.world(), stage.service, (), leaving)
        board = Board({NodeName("n2"): stage.nodes[NodeName("n2")]}, stage.assignments.values())
        stage.perform(decide(view, board, stage.now))
        stage.agents()
        assert stage.only(1) and stage.of(1) >= 3
    assert not [a for n, a in stage.assignments.items() if n in leaving and not a.drain]


def test_where_there_is_no_room_it_ends_by_the_deadline_and_says_so(stage: Colours) -> None:
    stage.nodes = {name: Node(name, capacity=Capacity(instances=2)) for name in stage.nodes}
    stage.tick(3)
    assert (stage.state, stage.only(1)) == ("warming", True)
    assert "2 can't be placed" in stage.reason
    stage.now += 121.0
    stage.step()
    assert "no progress for 120 s: 2 can't be placed" in stage.reason


EVENTS = st.lists(
    st.sampled_from(
        [
            *("tick", "tick", "tick", "deploy", "rollback", "abort", "pause", "resume", "promote"),
            *("break", "wait", "scale", "late", "late", "in time"),
        ]
    ),
    max_size=20,
)


@settings(max_examples=60, deadline=None)
@given(EVENTS, st.integers(0, 1000), st.sampled_from([(), (Step(10, 5.0),)]))
@example(["deploy", "tick", "deploy", "tick", "tick", "deploy", "break"], 0, ())  # three sets, of which one serves
@example(["deploy", "tick", "deploy", "late", "tick", "deploy", "abort"], 0, ())
def test_whatever_happens_each_load_balancer_has_somebody_to_send_requests_to(
    events: list[str], seed: int, canary: tuple[Step, ...]
) -> None:
    stage, chance = Colours(canary=canary), random.Random(seed)
    stage.play("done")
    for event in events:
        happen(stage, event, chance)
        serving = stage.requests()
        assert all(serving.values()), (event, stage.rollout, stage.given)
    stage.frozen = set()
    for name, instance in list(stage.instances.items()):
        if instance.state == "failed":
            stage.announce(name, instance.release)
    if stage.state in ("held", "paused"):
        stage.say("resume")
    stage.tick(150)
    assert stage.state in ENDED, stage.rollout
    assert stage.rollout is not None
    assert all(len(found) == 1 for found in stage.requests().values())


def happen(stage: Colours, event: str, chance: random.Random) -> None:
    stage.now += 0.01
    match event:
        case "deploy":
            stage.want(min(int(stage.service.release) + 1, 8))
        case "rollback" if stage.rollout and stage.rollout.proven:
            stage.want(chance.choice(stage.rollout.proven))
        case "abort" | "pause" | "resume" | "promote":
            stage.say(event)
        case "break":
            new = [n for n, i in stage.instances.items() if stage.rollout and i.release == stage.rollout.release]
            weights = stage.rollout.weights if stage.rollout else {}
            left = {n for n, i in stage.instances.items() if i.serving and weights.get(str(i.release)) != 0}
            for name in new[:1] if left - set(new[:1]) else []:  # where the last one breaks, nobody is left indeed
                stage.announce(name, stage.service.release, "failed")
        case "late":
            stage.frozen = {chance.choice(EDGES)} if chance.random() < 0.5 else set(EDGES)
        case "in time":
            stage.frozen = set()
        case "wait":
            stage.now += chance.choice([5.0, 61.0])
        case "scale":
            stage.service = replace(stage.service, replicas=chance.choice([2, 3, 4]))
    stage.tick()
