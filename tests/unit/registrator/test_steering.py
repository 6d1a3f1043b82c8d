"""What pause, resume, promote and abort do to a rollout: one by one, and in any order."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registrator.control.actions import Assign, Drain
from registrator.control.steering import steer
from registrator.errors import HecdError
from registrator.model.names import ReleaseNumber
from registrator.model.rollout import ENDED, Rollout
from registrator.model.steering import MAY, Steering
from registrator.orders import give
from registrator.registry import schema
from tests.unit.registrator.test_orders import Desk, spec
from tests.unit.registrator.test_rollout import WEB, Stage

STATES = ("rolling", "monitoring", "held", "rolling-back", "done", "rolled-back", "paused")
LEADS_TO = {
    ("rolling", "pause"): "held",
    ("monitoring", "pause"): "held",
    ("held", "resume"): "rolling",
    ("paused", "resume"): "rolling",
    ("rolling", "promote"): "rolling",
    ("monitoring", "promote"): "monitoring",
    ("held", "promote"): "rolling",
    **{(state, "abort"): "rolling-back" for state in ("rolling", "monitoring", "held", "paused")},
}


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("order", MAY)
def test_each_order_in_each_state(state: str, order: str) -> None:
    before = Rollout(WEB, ReleaseNumber(2), ReleaseNumber(1), state)
    wish = Steering(WEB, ReleaseNumber(2), order, 7.0, "ann@host", "because")
    after, why = steer(before, wish, True, 9.0)
    assert after.state == LEADS_TO.get((state, order), state)
    assert (after.obeyed, "ann@host: because" in why) == (7.0, True)
    assert steer(after, wish, True, 9.0) == (after, "")


def test_an_order_about_another_release_changes_nothing() -> None:
    before = Rollout(WEB, ReleaseNumber(3), ReleaseNumber(1))
    after, _ = steer(before, Steering(WEB, ReleaseNumber(2), "abort", 7.0), True, 9.0)
    assert after == replace(before, obeyed=7.0)


def half_way(**update: object) -> Stage:
    stage = Stage(4, monitor_s=60.0, **update)
    stage.play("done", passes=400)
    stage.want(2)
    for _ in range(4):
        stage.step()
        stage.agents()
    assert {a.release for a in stage.assignments.values()} == {1, 2}
    return stage


def test_a_release_that_is_held_makes_no_step_and_outlives_its_deadline() -> None:
    stage = half_way(deadline_s=30.0)
    stage.say("pause", "looking")
    stage.step()
    held = dict(stage.assignments)
    for _ in range(10):
        stage.agents()
        stage.now += 60.0
        stage.step()
    live = {n for n, a in held.items() if not a.drain}
    assert {n for n, a in stage.assignments.items() if not a.drain} == live
    assert stage.rollout is not None
    assert (stage.rollout.state, stage.rollout.reason) == ("held", "held by ann@host: looking")
    stage.say("resume")
    stage.play("done", passes=400)
    assert {a.release for a in stage.assignments.values()} == {2}


def test_what_dies_while_a_release_is_held_is_replaced_by_the_stable_one() -> None:
    stage = half_way()
    stage.say("pause")
    stage.step()
    stage.agents()
    stage.step()
    lost = [n for n, a in stage.assignments.items() if a.release == 2]
    while len(stage.assignments) >= 4:
        name = lost.pop() if lost else next(iter(stage.assignments))
        del stage.assignments[name], stage.instances[name]
    assigned = [a.assignment.release for a in stage.step() if isinstance(a, Assign)]
    assert assigned == [1]


def test_promote_needs_neither_delay_nor_window() -> None:
    stage = half_way(delay_s=1000.0, deadline_s=9000.0)
    began = stage.now
    stage.say("promote")
    stage.play("done")
    assert stage.now - began < 10.0
    assert stage.least_serving >= 4
    assert {a.release for a in stage.assignments.values()} == {2}


def test_promote_does_not_empty_a_service_that_stops_first() -> None:
    stage = Stage(4, order="stop-first", monitor_s=60.0)
    stage.play("done", passes=400)
    stage.want(2)
    stage.least_serving = 99
    stage.step()
    stage.say("promote")
    stage.play("done")
    assert stage.least_serving >= 3


def test_abort_goes_back_and_restarts_nothing_that_is_well() -> None:
    stage = half_way()
    kept = {n for n, a in stage.assignments.items() if a.release == 1 and not a.drain}
    stage.say("abort")
    stage.play("rolled-back")
    assert kept <= set(stage.assignments)
    assert {a.release for a in stage.assignments.values()} == {1}
    assert stage.history[2].reason == "aborted by ann@host"


def test_abort_of_a_first_release_waits_for_a_person() -> None:
    stage = Stage(2, monitor_s=60.0)
    stage.step()
    stage.say("abort")
    stage.step()
    assert stage.rollout is not None
    assert stage.rollout.state == "paused"
    assert "no earlier release" in stage.rollout.reason


def test_a_word_that_nobody_heard_is_not_obeyed_when_its_release_comes_again() -> None:
    stage = half_way()
    stage.say("pause")
    stage.want(3)
    stage.step()
    stage.want(2)
    stage.play("done", passes=400)


WORD = st.sampled_from([*MAY, "", "", "", "another release"])


@given(words=st.lists(WORD, max_size=25), order=st.sampled_from(["start-first", "stop-first"]))
def test_whatever_is_said_enough_serves_and_it_ends(words: list[str], order: str) -> None:
    stage = Stage(3, order=order, monitor_s=2.0)
    stage.play("done")
    for word in words:
        if word == "another release":
            stage.want(stage.service.release % 8 + 1)
        elif word:
            stage.say(word)
        held = stage.rollout is not None and stage.rollout.state == "held" and not word
        actions = stage.step()
        assert not (held and any(isinstance(a, Drain) for a in actions))
        stage.agents()
        stage.now += 0.5
    assert stage.least_serving >= (3 if order == "start-first" else 2)
    stage.now += 1.0
    if stage.rollout is not None and stage.rollout.state == "held":
        stage.say("resume")
    for _ in range(60):
        stage.step()
        stage.agents()
        stage.now += 0.5
    assert stage.rollout is not None
    assert stage.rollout.state in ENDED
    assert {a.release for a in stage.assignments.values()} == {stage.rollout.target}


@pytest.mark.parametrize("order", MAY)
@pytest.mark.parametrize("state", [None, *STATES])
async def test_an_order_that_means_nothing_is_refused_with_what_to_do(order: str, state: str | None) -> None:
    desk = Desk()
    await desk.deploy(spec())
    if state is not None:
        rollout = Rollout(WEB, ReleaseNumber(1), ReleaseNumber(7), state)
        await desk.store.commit([schema.put(rollout)])
    if state in MAY[order]:
        wish = await give.steer(desk.store, desk.world(), WEB, order, "m", now=3.0, who="me")
        assert desk.world().steering[WEB] == wish == Steering(WEB, ReleaseNumber(1), order, 3.0, "me", "m")
        return
    with pytest.raises(HecdError, match=f"nothing to {order}") as caught:
        await give.steer(desk.store, desk.world(), WEB, order, now=3.0, who="me")
    assert caught.value.hint


@pytest.mark.parametrize(("stable", "offered"), [(0, False), (1, False), (7, True)])
async def test_a_failed_release_is_offered_to_be_aborted_only_where_there_is_one_to_go_back_to(
    stable: int, offered: bool
) -> None:
    desk = Desk()
    await desk.deploy(spec())
    await desk.store.commit([schema.put(Rollout(WEB, ReleaseNumber(1), ReleaseNumber(stable), "paused"))])
    with pytest.raises(HecdError) as caught:
        await give.steer(desk.store, desk.world(), WEB, "promote", now=3.0, who="me")
    assert ("abort" in str(caught.value.hint)) is offered
