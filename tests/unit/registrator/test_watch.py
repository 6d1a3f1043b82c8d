"""Releases without a canary, judged by what load balancers answer: after a switch, and while they roll."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from registrator.control import judgement, shares
from registrator.model.canary import JUDGED_BY, Step, Trial
from registrator.model.node import Edge, ServerReport
from registrator.model.usage import Figures
from registrator.orders import events, follow
from tests.unit.registrator.test_canary import TICK_S, Behaviour, Traffic, answers
from tests.unit.registrator.test_rollout import WEB

SWITCHED = {"strategy": "blue-green", "parallelism": 0, "judge": JUDGED_BY}
NONE = Figures()


def switching(rate: float = 500.0, **update: Any) -> Traffic:
    """Release 1 has served for a minute; release 2 is to take over all at once."""
    return served(Traffic(4, rate, (), **{**SWITCHED, **update}))


def rolling(rate: float = 500.0, **update: Any) -> Traffic:
    """The same, for one that rolls."""
    return served(Traffic(4, rate, (), **update))


def served(stage: Traffic, old: Behaviour | None = None) -> Traffic:
    stage.releases[1] = old or stage.releases.get(1, Behaviour())
    stage.play("done")
    stage.serve(60.0)
    return stage


def begin(stage: Traffic, new: Behaviour) -> None:
    stage.releases[2] = new
    stage.want(2)
    stage.requests = stage.harmed = 0


# -- what is held against it -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("before", "beside", "new", "said"),
    [
        (answers(2000), NONE, answers(2, failed=2), "2 of 2 requests failed; of the old release 0 of 2000"),
        (answers(2000), NONE, answers(1, failed=1), ""),
        (NONE, NONE, answers(500, failed=500), ""),  # nothing is known of the old one
        (answers(10), NONE, answers(500, failed=500), "500 of 500 requests failed"),
        (answers(100_000, failed=500), NONE, answers(10_000, failed=95), ""),  # not twice as often
        (answers(100_000, failed=500), NONE, answers(10_000, failed=160), "160 of 10000 requests failed"),
        (answers(100_000), answers(1000, failed=300), answers(1000, failed=330), ""),  # it is the hour
        (answers(100_000), answers(1000, failed=300), answers(1000, failed=900), "of the old release 300 of 1000"),
        (answers(100_000), answers(1, failed=1), answers(9, failed=9), "of the old release 1 of 100001"),  # chance
        (
            answers(100_000),
            answers(900),
            answers(100, failed=3),
            "budget is spent: it failed 3 of all 1000",
        ),
        (answers(100_000), answers(9_000), answers(5000, failed=12), ""),  # within it
        (NONE, NONE, NONE, ""),
    ],
)
def test_failures_that_are_held_against_it(before: Figures, beside: Figures, new: Figures, said: str) -> None:
    found = judgement.failing(before, beside, new)
    assert said in found
    assert bool(said) == bool(found)


@pytest.mark.parametrize(
    ("before", "beside", "new", "said"),
    [
        (answers(9900), NONE, answers(100, ms=80), "p99 is 80 ms, that of the old release 5 ms"),
        (answers(9900), answers(500, ms=80), answers(100, ms=90), ""),  # the old one is as slow now
        (answers(9900), NONE, answers(100, ms=12), ""),
        (NONE, NONE, answers(100, ms=80), ""),
    ],
)
def test_slowness_that_is_held_against_it(before: Figures, beside: Figures, new: Figures, said: str) -> None:
    found = judgement.slow(before, beside, new)
    assert said in found
    assert bool(said) == bool(found)


@pytest.mark.parametrize(
    ("old", "new", "answered", "hangs"),
    [(0, 10, 0, False), (0, 12, 0, True), (0, 12, 12, False), (300, 620, 0, False), (300, 800, 10, True)],
)
def test_requests_that_are_under_way_tell_of_one_that_hangs(old: int, new: int, answered: int, hangs: bool) -> None:
    assert bool(judgement.stuck(old, new, answered)) == hangs


# -- whole releases ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("new", "said"),
    [
        (Behaviour(failing=1.0), "requests failed; of the old release 0 of"),
        (Behaviour(failing=0.02), "it failed"),
        (Behaviour(ms=300), "p99 is"),
        (Behaviour(hangs=True), "requests pile up"),
    ],
)
def test_after_a_switch_one_that_is_worse_is_turned_back_in_one_change_and_told_why(new: Behaviour, said: str) -> None:
    stage = switching()
    before = follow.standing(stage.world(), WEB)
    assert before is not None and before.settled
    begin(stage, new)
    stage.until(lambda: stage.state() == "monitoring", 20.0)
    world = stage.world()
    stage.until(lambda: stage.state() == "rolling-back", 5.0)
    assert stage.rollout is not None and stage.rollout.weights == {"2": 0}, "in the pass that heard of it"
    assert said in stage.reason
    harmed = stage.harmed
    stage.until(stage.ended)
    assert (stage.state(), stage.harmed) == ("rolled-back", harmed)
    assert said in stage.history[2].reason
    assert any(said in event.text for event in events.between(world, stage.world(), 1.0))
    assert {a.release for a in stage.assignments.values()} == {1}
    assert stage.rollout.trial is None, "nothing is left of the counts"


@pytest.mark.parametrize("failing", [0.0, 0.005, 0.05, 1.0])
@pytest.mark.parametrize("make", [switching, rolling])
@pytest.mark.parametrize("rate", [20.0, 300.0])
def test_one_that_does_as_the_old_one_does_passes(make: Callable[..., Traffic], failing: float, rate: float) -> None:
    for seed in range(2):
        stage = make(rate, monitor_s=10.0)
        stage.random.seed(seed)
        stage.releases[1] = Behaviour(failing)
        stage.serve(600.0)
        begin(stage, Behaviour(failing))
        stage.until(stage.ended)
        assert stage.state() == "done", stage.reason


def test_one_that_is_slow_only_while_it_warms_up_passes() -> None:
    stage = switching(monitor_s=9.0)
    begin(stage, Behaviour(ms=400))
    stage.until(lambda: stage.state() == "monitoring", 20.0)
    run(stage, 2.5)
    stage.releases[2] = Behaviour()
    stage.until(stage.ended)
    assert stage.state() == "done", stage.reason


def test_a_burst_that_is_answered_a_second_later_is_no_hang() -> None:
    stage = switching(0.0, monitor_s=9.0)
    begin(stage, Behaviour())
    stage.until(lambda: stage.state() == "monitoring", 20.0)
    run(stage, 4.0)
    stage.hanging[2] = 50
    run(stage, 1.0)
    assert stage.rollout is not None and stage.rollout.trial is not None and stage.rollout.trial.stuck_since
    stage.hanging[2] = 0
    stage.until(stage.ended)
    assert stage.state() == "done", stage.reason


def test_what_looks_as_if_it_hangs_when_its_window_ends_is_looked_at_for_a_moment_longer() -> None:
    stage = switching(0.0, monitor_s=5.0)
    begin(stage, Behaviour())
    stage.until(lambda: stage.state() == "monitoring", 20.0)
    run(stage, 4.75)
    assert stage.state() == "monitoring"
    stage.hanging[2] = 50
    stage.until(stage.ended, 10.0)
    assert stage.state() == "rolled-back" and "requests pile up" in stage.reason


@pytest.mark.parametrize("make", [switching, rolling])
def test_without_a_request_it_is_done_and_nothing_is_said_of_it(make: Callable[..., Traffic]) -> None:
    stage = make(0.0)
    begin(stage, Behaviour(failing=1.0))
    stage.until(stage.ended)
    assert (stage.state(), stage.reason) == ("done", "")


def test_one_that_rolls_and_only_fails_is_stopped_at_its_first_instance() -> None:
    stage = rolling(parallelism=1, delay_s=5.0)
    begin(stage, Behaviour(failing=1.0))
    stage.until(lambda: stage.state() == "rolling-back", 20.0)
    assert sum(a.release == 2 for a in stage.assignments.values()) == 1
    assert stage.weight(2) == 0, "half of the others are there"
    harmed = stage.harmed
    stage.until(stage.ended)
    assert (stage.state(), stage.harmed) == ("rolled-back", harmed)
    assert "requests failed; of the old release 0 of" in stage.reason


def test_one_that_turns_bad_when_all_of_the_old_is_gone_is_turned_back_within_the_window() -> None:
    stage = rolling(monitor_s=30.0)
    begin(stage, Behaviour())
    stage.until(lambda: stage.state() == "monitoring", 60.0)
    run(stage, 10.0)
    stage.releases[2] = Behaviour(failing=0.5)
    stage.until(lambda: stage.state() == "rolling-back", 5.0)
    assert stage.weight(2) == 100, "nobody else is there"
    stage.until(stage.ended)
    assert stage.state() == "rolled-back"


@pytest.mark.parametrize(
    ("update", "new"),
    [
        ({"judge": ()}, Behaviour(failing=1.0)),
        ({"failure_action": "continue"}, Behaviour(failing=1.0)),
        ({}, Behaviour(ms=300)),  # failures alone, if nothing else is said
    ],
)
def test_what_is_not_to_be_judged_is_not(update: dict[str, Any], new: Behaviour) -> None:
    stage = rolling(**update)
    begin(stage, new)
    stage.until(stage.ended)
    assert stage.state() == "done"


def test_one_that_rolls_is_judged_by_its_speed_where_that_is_asked_for() -> None:
    stage = rolling(judge=JUDGED_BY)
    begin(stage, Behaviour(ms=300))
    stage.until(stage.ended)
    assert stage.state() == "rolled-back" and "p99 is" in stage.reason


@pytest.mark.parametrize("make", [switching, rolling])
def test_one_that_is_gone_back_to_is_not_judged(make: Callable[..., Traffic]) -> None:
    stage = make()
    begin(stage, Behaviour())
    stage.until(stage.ended)
    stage.releases[1] = Behaviour(failing=1.0)
    stage.want(1)
    stage.until(stage.ended)
    assert stage.state() == "done" and stage.rollout is not None and stage.rollout.stable == 1


@pytest.mark.parametrize("make", [switching, rolling])
def test_one_that_failed_and_is_resumed_is_judged_anew(make: Callable[..., Traffic]) -> None:
    stage = make(failure_action="pause")
    begin(stage, Behaviour(failing=1.0))
    stage.until(stage.ended)
    assert stage.state() == "paused" and stage.weight(2) == 0
    stage.releases[2] = Behaviour()
    stage.say("resume")
    stage.until(stage.ended)
    assert stage.state() == "done", stage.reason


def test_who_leads_after_the_switch_judges_by_what_was_written_then() -> None:
    """Edges that begin to count anew know nothing of the old release any more: the record does."""
    stage = switching(monitor_s=20.0)
    begin(stage, Behaviour())
    stage.until(lambda: stage.state() == "monitoring", 20.0)
    stage.rollout = replace(stage.rollout) if stage.rollout else None
    stage.counted, stage.counted_since = {}, {"e1": 5000.0, "e2": 5000.0}
    stage.releases[2] = Behaviour(failing=0.3)
    stage.until(lambda: stage.state() == "rolling-back", 5.0)
    assert "of the old release 0 of 301" in stage.reason


def test_an_old_release_that_is_long_gone_and_counted_no_more_is_still_the_measure() -> None:
    stage = rolling()
    stage.service = replace(stage.service, update=replace(stage.service.update, monitor_s=1000.0))
    begin(stage, Behaviour(failing=0.0005))
    stage.until(lambda: stage.state() == "monitoring", 60.0)
    stage.counted = {place: figures for place, figures in stage.counted.items() if place[1] == 2}
    run(stage, 20.0)
    assert stage.state() == "monitoring", stage.reason
    stage.releases[2] = Behaviour(failing=0.5)
    stage.until(lambda: stage.state() == "rolling-back", 5.0)


def test_one_that_is_overtaken_while_it_rolls_serves_on() -> None:
    stage = rolling(delay_s=5.0)
    begin(stage, Behaviour())
    stage.until(lambda: sum(i.release == 2 for i in stage.instances.values()) == 2, 60.0)
    stage.want(3)
    stage.step()
    assert stage.weight(2) == 100
    stage.until(stage.ended)
    assert stage.state() == "done"


def test_one_broken_instance_takes_no_requests_from_the_others_of_its_release() -> None:
    stage = rolling(delay_s=5.0)
    begin(stage, Behaviour())
    stage.until(lambda: sum(i.release == 2 for i in stage.instances.values()) == 2, 60.0)
    stage.announce(next(n for n, i in stage.instances.items() if i.release == 2), 2, "failed")
    stage.step()
    assert stage.state() == "rolling-back" and stage.weight(2) == 100


def test_before_and_beside_are_told_apart() -> None:
    stage = switching()
    begin(stage, Behaviour())
    stage.until(lambda: stage.state() == "monitoring", 20.0)
    trial = stage.rollout.trial if stage.rollout else Trial()
    assert trial is not None and trial.old.requests > 0, "since the release was wanted"
    assert sum(mark.old.requests for mark in trial.marks.values()) == trial.old.requests + 30_000


# -- a canary before the switch ----------------------------------------------------------------------------------------


def trying(**update: object) -> Traffic:
    """A switch that comes after two steps."""
    return served(Traffic(4, 500.0, (Step(1, 20.0), Step(25, 20.0)), **{**SWITCHED, **update}))


def test_with_a_canary_the_whole_set_is_warm_then_gets_its_shares_and_then_all() -> None:
    stage = trying()
    begin(stage, Behaviour())
    seen: list[tuple[str, int]] = []

    def ended() -> bool:
        share = round(1000 * shares.share_of(4, 4, (stage.weight(1), stage.weight(2))))
        if not seen or seen[-1] != (stage.state(), share):
            seen.append((stage.state(), share))
        assert sum(a.release == 1 and not a.drain for a in stage.assignments.values()) == 4
        return stage.ended()

    stage.until(ended)
    assert seen == [
        ("warming", 0),
        ("canary", 4),
        ("canary", 10),
        ("canary", 250),
        ("monitoring", 1000),
        ("done", 1000),
    ]
    assert stage.harmed == 0 and stage.rollout is not None and stage.rollout.trial is None


def test_with_a_canary_one_that_only_fails_gets_no_more_than_its_first_requests() -> None:
    stage = trying()
    begin(stage, Behaviour(failing=1.0))
    stage.until(stage.ended)
    assert stage.state() == "rolled-back" and "with 0.1 % of the requests, " in stage.reason
    assert stage.harmed <= 5
    assert {a.release for a in stage.assignments.values()} == {1}


def test_one_that_passed_its_canary_is_judged_after_the_switch_too() -> None:
    stage = trying(monitor_s=20.0)
    begin(stage, Behaviour())
    stage.until(lambda: stage.state() == "monitoring")
    stage.releases[2] = Behaviour(failing=0.5)
    stage.until(lambda: stage.state() == "rolling-back", 5.0)
    assert stage.weight(2) == 0 and stage.weight(1) == 100


@pytest.mark.parametrize("order", ["promote", "abort", "pause"])
def test_a_canary_before_a_switch_is_steered(order: str) -> None:
    stage = trying()
    begin(stage, Behaviour())
    stage.until(lambda: stage.state() == "canary" and stage.weight(2) > 30)
    weights = stage.weight(1), stage.weight(2)
    stage.say(order)
    if order == "pause":
        run(stage, 100.0)
        assert (stage.state(), stage.weight(1), stage.weight(2)) == ("held", *weights)
        stage.say("resume")
        assert (stage.state(), stage.weight(1), stage.weight(2)) == ("canary", *weights), "in one change"
    stage.until(stage.ended)
    assert stage.state() == ("rolled-back" if order == "abort" else "done")
    assert stage.harmed == 0


def run(stage: Traffic, seconds: float) -> None:
    end = stage.now + seconds
    while stage.now < end:
        stage.step()
        stage.agents()
        stage.serve(TICK_S)
        stage.now += TICK_S


def test_what_is_under_way_at_the_switch_is_remembered() -> None:
    stage = switching()
    begin(stage, Behaviour())
    stage.until(lambda: stage.state() == "warming", 5.0)
    usual = stage.edge

    def busy(name: str, reports: dict[str, ServerReport]) -> Edge:
        edge = usual(name, reports)
        known = edge.usage["web.80"]["1"]
        return replace(edge, usage={"web.80": {**edge.usage["web.80"], "1": replace(known, sessions=7)}})

    stage.edge = busy  # type: ignore[method-assign]
    stage.until(lambda: stage.state() == "monitoring", 20.0)
    assert stage.rollout is not None and stage.rollout.trial is not None
    assert stage.rollout.trial.under_way == 14
