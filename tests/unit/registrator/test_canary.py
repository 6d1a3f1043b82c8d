"""Canaries: weights that give exact shares, the judgement of few requests, and whole trials played through."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from registrator.control import evidence, judgement, rollout, shares
from registrator.control.actions import Drain
from registrator.control.view import ServiceView
from registrator.model.canary import FIRST_REQUESTS, Mark, Step, Trial
from registrator.model.names import NodeName, ReleaseNumber
from registrator.model.node import Edge, ServerReport
from registrator.model.rollout import ENDED
from registrator.model.service import Update
from registrator.model.steering import Steering
from registrator.model.usage import Figures, Usage, bound_of
from registrator.orders import follow
from registrator.orders.steps import steps
from registrator.registry.world import World
from tests.unit.registrator.test_rollout import WEB, Stage

STEPS = (Step(1, 60.0), Step(25, 300.0))
TICK_S = 0.25


def answers(count: int, *, failed: int = 0, ms: int = 5) -> Figures:
    return Figures(count, failed, 0, {bound_of(ms): count} if count else {})


# -- weights ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("old", "new", "percent", "pair"),
    [(1, 1, 1, (100, 1)), (4, 1, 1, (100, 4)), (10, 1, 1, (100, 10)), (10, 3, 25, (100, 111)), (4, 4, 50, (100, 100))],
)
def test_weights_of_usual_cases(old: int, new: int, percent: float, pair: tuple[int, int]) -> None:
    assert shares.weights(old, new, percent / 100) == pair


@given(st.integers(1, 500), st.integers(1, 99))
def test_a_share_is_exact_to_a_fifth_of_a_percent_whatever_the_counts(replicas: int, percent: int) -> None:
    new = max(1, -(-replicas * percent // 100))
    pair = shares.weights(replicas, new, percent / 100)
    assert all(1 <= weight <= 256 for weight in pair)
    assert abs(shares.share_of(replicas, new, pair) * 100 - percent) <= 0.2


def test_the_first_requests_are_one_in_a_thousand_where_weights_can_be_so_small() -> None:
    assert shares.share_of(4, 1, shares.weights(4, 1, 0.001)) == pytest.approx(0.001, abs=0.0001)
    assert shares.weights(1, 1, 0.001) == (256, 1), "with one server it is one in 257"


# -- judgement ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("least", "of", "chance"), [(0, 5, 0.1), (2, 2, 0.001), (3, 40, 0.01), (9, 12, 0.5), (60, 100, 0.5)]
)
def test_the_tail_is_that_of_the_binomial(least: int, of: int, chance: float) -> None:
    from math import comb

    exact = sum(comb(of, k) * chance**k * (1 - chance) ** (of - k) for k in range(least, of + 1))
    assert judgement.tail(least, of, chance) == pytest.approx(exact, rel=1e-6)


@given(st.integers(0, 2_000_000), st.integers(0, 2_000_000), st.floats(0, 1))
def test_the_tail_is_a_likelihood_whatever_the_numbers(least: int, of: int, chance: float) -> None:
    assert 0.0 <= judgement.tail(least, of, chance) <= 1.0


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (answers(2000), answers(1, failed=1), ""),
        (answers(2000), answers(2, failed=2), "2 of 2 requests failed"),
        (answers(20), answers(2, failed=2), ""),  # of so few, nothing is known
        (answers(99_000), answers(1000, failed=2), ""),
        (answers(99_000), answers(1000, failed=12), "12 of 1000 requests failed"),
        (answers(99_000, failed=5000), answers(1000, failed=60), ""),  # the old one fails as often
        (answers(99_000, failed=5000), answers(1000, failed=120), "of the old release 5000 of 99000"),
        (answers(9900), answers(100, ms=12), ""),
        (answers(9900), answers(100, ms=80), "p99 is 80 ms, that of the old release 5 ms"),
        (answers(9900), answers(19, ms=80), ""),  # a fresh process
        (answers(9900, ms=80), answers(100, ms=120), ""),
        (answers(9900, ms=80), answers(100, ms=200), "p99 is 224 ms"),
        (answers(0), answers(100, ms=200), ""),  # nothing to compare with
        (Figures(), Figures(), ""),
    ],
)
def test_what_is_held_against_a_release(old: Figures, new: Figures, said: str) -> None:
    fault = judgement.fault(old, new)
    assert said in fault
    assert bool(said) == bool(fault)


@pytest.mark.parametrize(
    ("old", "new", "share", "piles"),
    [(0, 2, 0.001, False), (5, 3, 0.001, True), (100, 3, 0.01, False), (100, 15, 0.01, True), (60, 25, 0.25, False),
     (10, 40, 0.25, True), (0, 0, 0.25, False)],
)  # fmt: skip
def test_requests_that_pile_up_tell_of_a_release_that_answers_nothing(
    old: int, new: int, share: float, piles: bool
) -> None:
    assert bool(judgement.piling(old, new, share)) == piles


def test_the_budget_is_in_requests_and_only_for_what_the_old_release_does_not_do() -> None:
    assert "12 of all 11000" in judgement.overspent(answers(10_000), answers(1000, failed=12))
    assert not judgement.overspent(answers(10_000), answers(1000, failed=10))
    assert not judgement.overspent(answers(10_000, failed=120), answers(1000, failed=12))
    assert not judgement.overspent(answers(100), answers(2, failed=2))
    assert judgement.overspent(answers(100), answers(3, failed=3))


# -- whole trials -------------------------------------------------------------------------------------------------


@dataclass
class Behaviour:
    """How requests to one release end."""

    failing: float = 0.0
    ms: int = 5
    hangs: bool = False


class Traffic(Stage):
    """The small cluster, with requests through two load balancers that follow the weights and count."""

    def __init__(self, replicas: int, rate: float = 1000.0, canary: tuple[Step, ...] = STEPS, **update: Any) -> None:
        super().__init__(replicas, canary=canary, **update)
        self.rate = rate
        self.random = random.Random(7)
        self.releases: dict[int, Behaviour] = {}
        self.counted: dict[tuple[str, int], Figures] = {}
        self.hanging: dict[int, int] = {}
        self.counted_since = {"e1": 1.0, "e2": 1.0}
        self.requests = self.harmed = 0
        self.share_lags = False
        self.steering: Steering | None = None
        self.most_share = 0.0

    def weight(self, release: int) -> int:
        return self.rollout.weights.get(str(release), 100) if self.rollout else 100

    def world(self) -> World:
        reports: dict[str, ServerReport] = {
            name: ServerReport("UP", 100 if self.share_lags else self.weight(i.release))
            for name, i in self.instances.items()
            if i.state == "running"
        }
        edges = {NodeName(e): self.edge(e, reports) for e in self.counted_since}
        return replace(super().world(), edges=edges, steering={WEB: self.steering} if self.steering else {})

    def edge(self, name: str, reports: dict[str, ServerReport]) -> Edge:
        usage = {"0": Usage()}
        for release in {*(i.release for i in self.instances.values()), *(r for _, r in self.counted)}:
            figures = self.counted.get((name, release), Figures())
            usage[str(release)] = Usage(figures, sessions=self.hanging.get(release, 0))
        return Edge(
            NodeName(name), 1, {"web.80": reports}, usage={"web.80": usage}, counted_since=self.counted_since[name]
        )

    def serve(self, seconds: float) -> None:
        """Requests of so long."""
        open_ = [i for n, i in self.instances.items() if i.serving and not self.assignments[n].drain]
        weights = [self.weight(i.release) for i in open_]
        if not any(weights):
            return
        new = sum(w for i, w in zip(open_, weights, strict=True) if self.rollout and i.release == self.rollout.release)
        if self.rollout and self.rollout.state == "canary":
            self.most_share = max(self.most_share, new / sum(weights))
        met = Counter(i.release for i in self.random.choices(open_, weights, k=round(self.rate * seconds)))
        for release, count in met.items():
            behaviour = self.releases.get(release, Behaviour())
            bad = count if behaviour.hangs else sum(self.random.random() < behaviour.failing for _ in range(count))
            self.requests += count
            self.harmed += bad
            if behaviour.hangs:
                self.hanging[release] = self.hanging.get(release, 0) + count
                continue
            place = self.random.choice(list(self.counted_since)), int(release)
            more = answers(count, failed=bad, ms=behaviour.ms)
            self.counted[place] = self.counted.get(place, Figures()) + more

    def until(self, good: Callable[[], bool], within_s: float = 1000.0, tick_s: float = TICK_S) -> None:
        end = self.now + within_s
        while self.now < end:
            self.step()
            self.agents()
            if good():
                return
            self.serve(tick_s)
            self.now += tick_s
        raise AssertionError(f"not within {within_s:g} s: {self.rollout}")

    def state(self) -> str:
        return self.rollout.state if self.rollout else ""

    def begin(self) -> None:
        """Release 1 serves, release 2 is wanted."""
        self.play("done")
        self.want(2)
        self.requests = self.harmed = 0

    def say(self, order: str, message: str = "") -> None:
        """What an operator types, and the leader's next step."""
        assert self.rollout is not None
        self.steering = Steering(WEB, self.rollout.release, order, self.now, "me@here", message)
        self.step()

    def ended(self) -> bool:
        return self.state() in ENDED

    @property
    def reason(self) -> str:
        return self.rollout.reason if self.rollout else ""


def test_a_good_release_passes_its_steps_and_replaces_the_old_one() -> None:
    stage = Traffic(4, rate=100.0)
    stage.begin()
    stage.until(lambda: stage.state() == "rolling")
    assert 360.0 <= stage.now - 1000.0 <= 400.0
    assert stage.most_share == pytest.approx(0.25, abs=0.002)
    stage.until(stage.ended)
    assert (stage.state(), stage.harmed) == ("done", 0)
    assert {a.release for a in stage.assignments.values()} == {2}
    assert stage.rollout is not None and stage.rollout.weights == {}


def test_the_old_release_stays_whole_until_the_new_one_is_promoted() -> None:
    stage = Traffic(4, rate=20.0)
    stage.begin()
    while stage.state() != "rolling":
        assert not any(isinstance(a, Drain) for a in stage.step())
        stage.agents()
        assert sum(a.release == 1 for a in stage.assignments.values()) == 4
        assert sum(a.release == 2 for a in stage.assignments.values()) <= 1
        stage.serve(TICK_S)
        stage.now += TICK_S


@pytest.mark.parametrize("replicas", [4, 10])
@pytest.mark.parametrize("rate", [50.0, 1000.0])
def test_a_release_that_only_fails_is_turned_back_by_its_first_requests(replicas: int, rate: float) -> None:
    stage = Traffic(replicas, rate)
    stage.releases[2] = Behaviour(failing=1.0)
    stage.begin()
    stage.until(stage.ended)
    assert stage.state() == "rolled-back"
    assert "requests failed" in stage.reason or "it failed" in stage.reason
    assert stage.harmed <= max(4, 0.001 * stage.requests), "what it takes to be sure"
    assert rate < 1000 or "with 0.1 % of the requests" in stage.reason
    assert {a.release for a in stage.assignments.values()} == {1}


@pytest.mark.parametrize(
    ("behaviour", "said"),
    [
        (Behaviour(failing=0.3), "requests failed"),
        (Behaviour(ms=300), "p99 is"),
        (Behaviour(hangs=True), "requests pile up"),
    ],
)
def test_a_release_that_is_worse_is_turned_back_and_told_why(behaviour: Behaviour, said: str) -> None:
    stage = Traffic(4, rate=500.0)
    stage.releases[2] = behaviour
    stage.begin()
    before = set(stage.assignments)
    stage.until(stage.ended, 60.0)
    assert stage.state() == "rolled-back"
    assert said in stage.reason
    assert set(stage.assignments) == before, "no instance of the old release was touched"


def test_a_release_that_turns_bad_late_gets_nothing_from_then_on() -> None:
    stage = Traffic(4, rate=200.0)
    stage.begin()
    stage.until(lambda: stage.rollout is not None and stage.rollout.trial is not None and stage.rollout.trial.step == 1)
    stage.releases[2] = Behaviour(failing=1.0)
    stage.until(lambda: stage.state() == "rolling-back", 5.0)
    assert stage.weight(2) == 0
    assert stage.harmed <= 0.25 * 200.0 * 2 * TICK_S * 1.5


def test_a_release_that_turns_bad_after_its_promotion_gets_nothing_while_enough_others_are_there() -> None:
    stage = Traffic(10, rate=200.0, canary=(Step(10, 5.0),), parallelism=1)
    stage.begin()
    stage.until(lambda: stage.state() == "rolling")
    stage.releases[2] = Behaviour(failing=1.0)
    stage.until(lambda: stage.state() == "rolling-back", 5.0)
    assert stage.weight(2) == 0
    met = stage.harmed
    stage.until(stage.ended)
    assert (stage.state(), stage.harmed) == ("rolled-back", met)


def test_a_release_that_turns_bad_when_the_old_one_is_gone_is_turned_back_within_the_window() -> None:
    stage = Traffic(4, rate=200.0, canary=(Step(10, 5.0),), monitor_s=30.0)
    stage.begin()
    stage.until(lambda: stage.state() == "monitoring")
    stage.releases[2] = Behaviour(failing=1.0)
    stage.until(lambda: stage.state() == "rolling-back", 5.0)
    stage.until(stage.ended)
    assert stage.state() == "rolled-back"


def test_speed_when_the_old_one_is_gone_is_not_compared_with_that_of_before() -> None:
    stage = Traffic(4, rate=200.0, canary=(Step(10, 5.0),), monitor_s=10.0)
    stage.begin()
    stage.until(lambda: stage.state() == "monitoring")
    stage.releases[2] = Behaviour(ms=500)
    stage.until(stage.ended)
    assert stage.state() == "done"


def test_a_release_is_not_blamed_for_what_the_old_one_does_too() -> None:
    stage = Traffic(4, rate=100.0, canary=(Step(10, 60.0),))
    stage.releases = {1: Behaviour(failing=0.05), 2: Behaviour(failing=0.05)}
    stage.begin()
    stage.until(lambda: stage.state() == "rolling", 200.0)


def test_going_back_to_a_release_that_has_served_takes_no_trial() -> None:
    stage = Traffic(2, rate=20.0, canary=(Step(10, 5.0),))
    stage.begin()
    stage.until(stage.ended)
    stage.want(1)
    stage.step()
    assert stage.state() == "rolling"


def test_the_first_release_of_all_takes_no_trial() -> None:
    stage = Traffic(2)
    stage.step()
    assert stage.state() == "rolling"


def test_another_release_meanwhile_leaves_the_one_on_trial_without_requests() -> None:
    stage = Traffic(4, rate=20.0)
    stage.begin()
    stage.until(lambda: any(i.release == 2 for i in stage.instances.values()))
    stage.want(3)
    stage.service = replace(stage.service, update=Update())
    stage.step()
    assert stage.state() == "rolling" and stage.weight(2) == 0 and stage.weight(1) == 100
    stage.until(stage.ended)
    assert {a.release for a in stage.assignments.values()} == {3}
    assert stage.rollout is not None and stage.rollout.weights == {}


@pytest.mark.parametrize("lacking", ["weights", "figures", "edges"])
def test_a_step_that_no_load_balancer_takes_or_tells_of_ends_by_its_deadline(lacking: str) -> None:
    stage = Traffic(4, deadline_s=30.0)
    stage.begin()
    if lacking == "weights":
        stage.share_lags = True
    elif lacking == "figures":
        stage.counted_since["e2"] = 0.0
    else:
        stage.counted_since = {}
        stage.serve = lambda seconds: None  # type: ignore[method-assign]
    stage.until(lambda: stage.state() == "rolling-back", 40.0)
    assert "no progress for 30 s" in stage.reason
    said = {"weights": "has not taken the weights", "figures": "e2 gives no figures", "edges": "no load balancer"}
    assert said[lacking] in stage.reason


def test_an_edge_whose_agent_counts_anew_takes_no_failure_back() -> None:
    stage = Traffic(4, rate=100.0)
    stage.begin()
    stage.until(lambda: stage.rollout is not None and stage.rollout.trial is not None and stage.rollout.trial.step == 0)
    stage.counted = {place: Figures() for place in stage.counted if place[0] == "e1"}
    stage.counted_since["e1"] = 2000.0
    stage.releases[2] = Behaviour(failing=1.0)
    stage.until(lambda: stage.state() == "rolling-back", 30.0)


def test_a_plan_has_the_steps_of_a_trial_and_what_the_load_balancers_are_told() -> None:
    stage = Traffic(4)
    stage.play("done")
    wanted = replace(stage.service, release=ReleaseNumber(2), updated_at=5000.0)
    made = steps(stage.world(), wanted, None)
    assert [line.split("; ")[0].split(" (fewest")[0] for line in made[:5]] == [
        "start web.5 of release 2 on n1",
        "weigh web (release 2 is wanted, with 0.1 % of the requests first)",
        "weigh web (1 % of the requests for 60 s)",
        "weigh web (25 % of the requests for 300 s)",
        "weigh web (promoted: it failed 0 of 0 requests)",
    ]
    assert "HAProxy: set each server of release 1 weight 100; HAProxy: set each server of release 2 weight 4" in made[2]
    assert made[4].endswith("HAProxy: set all servers weight 100")
    assert sum(line.startswith("drain") for line in made) == 4


def test_who_follows_a_trial_is_told_its_share() -> None:
    stage = Traffic(4, rate=20.0)
    stage.begin()
    stage.until(lambda: at_step(stage, 0))
    now = follow.standing(stage.world(), WEB)
    assert now is not None
    assert now.line() == "web release 2 canary at 1 %: 1/4 serving, 4 of the old release"


def test_the_window_is_what_every_edge_counted_since_its_mark_or_since_it_counts_anew() -> None:
    stage = Traffic(2)
    stage.begin()
    stage.step()
    assert stage.rollout is not None
    marks = {name: Mark(1.0, answers(100), answers(10, failed=1)) for name in ("e1", "e2", "e9")}
    trial = replace(stage.rollout, trial=Trial(marks=marks))
    stage.agents()
    stage.counted = {(e, r): answers(n) for e, r, n in (("e1", 1, 150), ("e1", 2, 30), ("e2", 1, 7), ("e2", 2, 2))}
    stage.counted_since["e2"] = 9.0
    old, new = evidence.window(ServiceView.of(stage.world(), stage.service), trial)
    assert (old.requests, new.requests, new.failed) == (50 + 7, 20 + 2, -1)


@pytest.mark.parametrize(("order", "state"), [("promote", "rolling"), ("abort", "rolling-back")])
def test_an_operator_ends_a_trial_at_once(order: str, state: str) -> None:
    stage = Traffic(4, rate=20.0)
    stage.begin()
    stage.until(lambda: at_step(stage, 0))
    stage.say(order)
    assert stage.state() == state
    assert stage.weight(2) == (100 if order == "promote" else 0)
    stage.until(stage.ended)
    assert stage.state() == ("done" if order == "promote" else "rolled-back")
    if order == "abort":
        assert "aborted by me@here" in stage.reason


def test_a_trial_that_is_held_keeps_its_share_and_then_begins_its_step_anew() -> None:
    stage = Traffic(4, rate=20.0, deadline_s=30.0)
    stage.begin()
    stage.until(lambda: at_step(stage, 0))
    weights = dict(stage.rollout.weights) if stage.rollout else {}
    stage.say("pause")
    for _ in range(400):
        stage.step()
        stage.agents()
        stage.serve(TICK_S)
        stage.now += TICK_S
    assert stage.rollout is not None and (stage.state(), stage.rollout.weights) == ("held", weights)
    stage.say("resume")
    assert stage.state() == "canary" and at_step(stage, 0)
    resumed_at = stage.now
    stage.until(lambda: at_step(stage, 1), 80.0)
    assert stage.now - resumed_at >= 60.0, "its time begins anew"


def test_a_failed_trial_that_is_resumed_is_tried_again() -> None:
    stage = Traffic(4, failure_action="pause")
    stage.releases[2] = Behaviour(failing=1.0)
    stage.begin()
    stage.until(stage.ended)
    stage.releases[2] = Behaviour()
    stage.say("resume")
    assert stage.state() == "canary" and stage.weight(2) == 1
    stage.until(lambda: at_step(stage, 0))


def test_a_paused_failure_leaves_the_new_release_without_requests() -> None:
    stage = Traffic(4, failure_action="pause")
    stage.releases[2] = Behaviour(failing=1.0)
    stage.begin()
    stage.until(stage.ended)
    assert stage.state() == "paused" and stage.weight(2) == 0
    assert any(i.release == 2 for i in stage.instances.values()), "it is there to be looked at"


def test_decide_is_asked_again_when_a_step_ends() -> None:
    stage = Traffic(4, rate=20.0)
    stage.begin()
    stage.until(
        lambda: stage.rollout is not None and stage.rollout.trial is not None and stage.rollout.trial.open_since > 0
    )
    view = ServiceView.of(stage.world(), stage.service)
    assert stage.rollout is not None and stage.rollout.trial is not None
    if stage.rollout.trial.step == FIRST_REQUESTS:
        assert rollout.wake_after_s(view, stage.now) == pytest.approx(30.0)


@settings(max_examples=30)
@given(
    replicas=st.integers(1, 12),
    rate=st.sampled_from([5.0, 80.0, 400.0]),
    failing=st.sampled_from([0.0, 0.0, 0.2, 1.0]),
    ms=st.sampled_from([5, 5, 200]),
    canary=st.lists(st.integers(1, 99), min_size=1, max_size=3, unique=True).map(sorted),
    upset=st.sampled_from(["", "counts anew", "scaled", "node lost", "edge gone"]),
    at_s=st.floats(0.0, 30.0),
)
def test_every_trial_ends_whole_and_within_its_budget(
    replicas: int, rate: float, failing: float, ms: int, canary: list[int], upset: str, at_s: float
) -> None:
    """Whatever the release and whatever happens meanwhile, it ends with one release, at its usual weight."""
    stage = Traffic(replicas, rate, tuple(Step(weight, 10.0) for weight in canary), deadline_s=20.0)
    stage.releases[2] = Behaviour(failing, ms)
    stage.begin()
    begun, upset_at = stage.now, stage.now + at_s

    def ended() -> bool:
        nonlocal upset
        if upset and stage.now >= upset_at:
            disturb(stage, upset)
            upset = ""
        return stage.ended() and not any(a.drain for a in stage.assignments.values())

    stage.until(ended, 400.0, tick_s=1.0)
    releases = {a.release for a in stage.assignments.values()}
    assert (stage.state(), releases) in [("done", {2}), ("rolled-back", {1})]
    assert stage.now - begun <= 30.0 + 20.0 * len(canary) + 4 * 20.0 + 10.0 * stage.service.replicas
    assert stage.rollout is not None and not stage.rollout.weights
    if failing == 1.0:
        assert stage.state() == "rolled-back"
        # What it takes to be sure, and what comes in the second between two reports. Of 400 requests a second, the
        # first ones tell; of 80, none of them may have come, and the first step tells; of 5, not even that may be
        # enough, and it is judged while it rolls.
        second = {400.0: 0.4, 80.0: 0.8 * canary[0], 5.0: 5.0}[rate]
        assert stage.harmed <= 3 + second + 4 * second**0.5 + 0.001 * stage.requests


def at_step(stage: Traffic, number: int) -> bool:
    trial = stage.rollout.trial if stage.rollout else None
    return trial is not None and trial.step == number and stage.state() == "canary"


def disturb(stage: Traffic, upset: str) -> None:
    if upset == "counts anew":
        stage.counted = {place: figures for place, figures in stage.counted.items() if place[0] != "e1"}
        stage.counted_since["e1"] += 1000.0
    elif upset == "scaled":
        stage.service = replace(stage.service, replicas=stage.service.replicas + 2)
    elif upset == "edge gone":
        del stage.counted_since["e2"]
    else:
        for name in [n for n, a in stage.assignments.items() if a.node == "n2"]:
            stage.instances.pop(name, None)
            del stage.assignments[name]
        stage.nodes.pop(NodeName("n2"), None)
