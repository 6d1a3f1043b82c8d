"""How a service gets from what it is to what is wanted. Pure: (view, board, now) -> actions.

Every call looks at the whole state again, so a new leader goes on where the last one stopped. The table:

  preparing ──> canary ──> rolling ──all steps made──> monitoring ──window passed──> done
     └─────────────┴──────────┴── too many failures, or no progress ──┐ (failure_action)
                                            rolling-back <────────────┤ rollback
                               rolled-back <─────┘          paused <──┘ pause, or nothing to go back to

Operators steer it besides: see steering.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from registrator.control import bluegreen, canary, doubt, hooks, steps, watch
from registrator.control.actions import Action, Assign, Conclude, Drain, Progress, Unassign
from registrator.control.history import concluded
from registrator.control.holding import ACKNOWLEDGED_WITHIN_S, holding
from registrator.control.placement import Board
from registrator.control.steering import no_way_back, steer
from registrator.control.view import ServiceView
from registrator.model.hook import PRE_DEPLOY
from registrator.model.instance import Assignment
from registrator.model.names import ReleaseNumber, instance_number
from registrator.model.rollout import ENDED, Rollout


def decide(view: ServiceView, board: Board, now: float, since: float = 0.0) -> list[Action]:
    """All that is to be done for one service now, in order.

    `now` is seconds since the epoch; `since` is when this leader began: time without a leader is no lack of progress.
    """
    rollout, why = _follow_wanted(view, now)
    rollout, told = steer(rollout, view.steering, steps.can_return(view, rollout), now, view.known_releases)
    rollout = _steered(view, rollout, now) if told else rollout
    if told and rollout.state not in ENDED and view.rollout is not None and view.rollout.state == "paused":
        rollout = replace(rollout, first_number=rollout.next_number)  # what had failed until then is replaced
    rollout, hooked, heard = hooks.advance(view, rollout, board, now, since)
    rollout, prepared = _prepared(view, rollout, now)
    rollout, why = _judge(view, rollout, now, told or prepared or heard or why, since)
    rollout = bluegreen.turned(rollout)
    if rollout.state == "rolling-back" and (view.rollout is None or view.rollout.state != "rolling-back"):
        rollout = replace(rollout, first_number=rollout.next_number)
    rollout = replace(rollout, weights=_weights(view, rollout))
    if view.service.placement.every_node:
        rollout = replace(rollout, wanted=view.service.replicas)
    actions: list[Action] = [*_forget(view), *_adopt(view), *hooked]
    if rollout.state == "paused" or (rollout.state == "held" and view.service.replicas == 0):
        actions += steps.shrunk(view, rollout, view.service.replicas if rollout.switch else canary.kept(view, rollout))
        actions += steps.kept_up(view, rollout, board) if view.service.replicas else ()
    elif rollout.state == "held" or (rollout.state == "preparing" and steps.can_return(view, rollout)):
        actions += steps.kept_up(view, rollout, board)
    elif rollout.state == "preparing":
        pass  # nothing starts before it
    elif not view.unclaimed:
        beside = rollout.state in ("canary", "warming")
        moves, blocked = (steps.beside if beside else steps.rolled)(view, rollout, board, now)
        actions += bluegreen.unhurried(view, rollout, moves)
        if rollout.state in ("canary", "warming", "rolling", "done"):
            rollout = replace(rollout, reason=blocked)
    actions = holding(view, rollout, actions, now)
    rollout, why = _advance(view, rollout, actions, now, why)
    rollout = replace(rollout, weights=_weights(view, rollout))
    if rollout != view.rollout:
        actions.append(Progress(rollout, why or f"weights {rollout.weights or 'as usual'}"))
        ends = concluded(view.service, view.rollout, rollout, now)
        actions += [Conclude(end, f"release {end.release} ended {end.state}") for end in ends]
    return actions


def _follow_wanted(view: ServiceView, now: float) -> tuple[Rollout, str]:
    """The rollout towards what the service record wants: the one under way, or a new one."""
    service, before = view.service, view.rollout
    if before is not None and before.release == service.release:
        return before, ""
    seen = [instance_number(n) for n in (*view.instances, *(a.instance for a in view.assignments))]
    fresh = Rollout(service.service, service.release, ReleaseNumber(0), started_at=now, progress_at=now)
    if before is not None:
        old_wish = view.steering is not None and view.steering.release != service.release
        obeyed = view.steering.at if view.steering is not None and old_wish else before.obeyed
        fresh = replace(fresh, stable=before.stable, proven=before.proven, obeyed=obeyed)
        on_trial = before.trial is not None and str(before.release) in before.weights
        none = [release for release, weight in before.weights.items() if weight == 0]
        none += [str(before.release)] if on_trial else []
        fresh = replace(fresh, weights={release: 0 for release in none if release != str(service.release)})
        fresh = replace(fresh, next_number=before.next_number)
    first = max([fresh.next_number, *(n + 1 for n in seen)])
    fresh = replace(fresh, next_number=first, first_number=first)
    fresh = bluegreen.owed(view, fresh)
    fresh = hooks.begun(view, replace(fresh, prepared=before.prepared if before else ()), now)
    return _set_out(view, fresh, f"release {service.release} is wanted")


def _set_out(view: ServiceView, rollout: Rollout, why: str) -> tuple[Rollout, str]:
    """The first state of a rollout that has nothing to wait for."""
    if rollout.state == "preparing":
        return rollout, f"{why}, after its pre_deploy hook"
    begun = watch.begun(view, canary.begun(view, bluegreen.begun(view, rollout)))
    first = f", with {canary.FIRST.weight:g} % of the requests first" if begun.state == "canary" else ""
    return begun, why + first


def _steered(view: ServiceView, rollout: Rollout, now: float) -> Rollout:
    return canary.steered(view, bluegreen.steered(hooks.steered(rollout, now)))


def _weights(view: ServiceView, rollout: Rollout) -> dict[str, int]:
    if rollout.switch is not None:
        return bluegreen.weights(view, rollout, rollout.switch)
    return canary.weights(view, rollout)


def _prepared(view: ServiceView, rollout: Rollout, now: float) -> tuple[Rollout, str]:
    """Go on when the pre_deploy hook has passed; end the release when it failed, which touched nothing."""
    first = rollout.hooks.get(PRE_DEPLOY)
    if rollout.state != "preparing" or first is None:
        return rollout, ""
    if first.state == "passed":
        prepared = tuple(sorted({*rollout.prepared, rollout.release}))
        ready = replace(rollout, state="rolling", reason="", prepared=prepared, progress_at=now)
        return _set_out(view, ready, "pre_deploy passed")
    if first.state != "failed" and not view.service.retiring:
        return replace(rollout, reason=first.reason), ""
    where = f" on {first.node}" if first.node else ""
    cause = "its service is removed" if view.service.retiring else f"pre_deploy{where}: {first.reason}"
    return _fail(view, rollout, cause, hooks.tail(view, rollout), now)


def _judge(view: ServiceView, rollout: Rollout, now: float, why: str, since: float) -> tuple[Rollout, str]:
    """Turn back when too much of the new release failed, or when nothing has moved for too long."""
    update = view.service.update
    if rollout.state not in ("canary", "warming", "rolling", "monitoring", "rolling-back"):
        return rollout, why
    failing = (a for a in view.live if a.release == rollout.target and view.failing(a))
    failed = [a for a in failing if not steps.was_broken(view, rollout, a)]
    rollout = replace(rollout, failures=max(rollout.failures, len(failed)))
    stuck_for_s = now - max(canary.stuck_since(view, rollout), since)
    if rollout.state == "rolling-back" and stuck_for_s > update.deadline_s:
        cause = next((why for _, why in sorted(view.leaving.items())), "") or _edge_trouble(view)
        stuck_words = f"{rollout.reason}; and going back made no progress for {update.deadline_s:g} s"
        reason = ": ".join(filter(None, (stuck_words, cause)))
        return replace(rollout, state="paused", reason=reason, ended_at=now), reason
    if rollout.state == "rolling-back" or update.failure_action == "continue":
        return rollout, why
    allowed = update.max_failure_ratio * max(view.service.replicas, 1)
    if len(failed) > allowed:
        return _turn_back(view, rollout, failed[0], now)
    rollout, fault = doubt.judged(view, rollout, now)
    if rollout.trial and fault:
        guilty = replace(rollout, trial=replace(rollout.trial, guilty=True))
        return _turn_back(view, guilty, None, now, fault)
    under_way = rollout.state in ("canary", "warming", "rolling") or bluegreen.pending(rollout)
    if under_way and stuck_for_s > update.deadline_s:
        stuck = next((a for a in view.live if a.release == rollout.target and not view.ready(a)), None)
        missing = canary.hindrance(view, rollout) if rollout.state == "canary" and not stuck else ""
        missing = rollout.reason if rollout.state in ("warming", "rolling") and not stuck else missing
        cause = ": ".join(filter(None, (f"no progress for {update.deadline_s:g} s", missing)))
        return _turn_back(view, rollout, stuck, now, cause)
    return rollout, why


def _turn_back(
    view: ServiceView, rollout: Rollout, culprit: Assignment | None, now: float, cause: str = ""
) -> tuple[Rollout, str]:
    instance = view.instances.get(culprit.instance) if culprit else None
    blame = ": ".join(
        part
        for part in (
            cause,
            f"{culprit.instance} on {culprit.node}" if culprit else "",
            (instance.trouble if instance.failing else instance.reason) if instance else "",
            _edge_trouble(view),
        )
        if part
    )
    return _fail(view, rollout, blame or "an instance broke", instance.log_tail if instance else (), now)


def _fail(
    view: ServiceView, rollout: Rollout, blame: str, log_tail: tuple[str, ...], now: float
) -> tuple[Rollout, str]:
    reason = f"release {rollout.release} failed: {blame}"
    can_return = steps.can_return(view, rollout)
    back = view.service.update.failure_action != "pause" and can_return
    if not back and not can_return:
        reason += f"; {no_way_back(rollout, view.known_releases)}"
    state = "rolling-back" if back else "paused"
    ended_at = 0.0 if back else now
    return replace(rollout, state=state, reason=reason, log_tail=log_tail, progress_at=now, ended_at=ended_at), reason


def _edge_trouble(view: ServiceView) -> str:
    return next((f"load balancer on {e.node}: {e.error}" for e in view.edges if e.error), "")


def _forget(view: ServiceView) -> Iterator[Action]:
    """Assignments whose node is lost. Those that have ended are taken away by the agent, which alone knows: one that
    was never announced may be starting."""
    for assignment in view.assignments:
        if assignment.node in view.lost and assignment.instance not in view.instances:
            yield Unassign(assignment, f"node {assignment.node} is gone")


def _adopt(view: ServiceView) -> Iterator[Action]:
    """Give announced instances without an order one, so that they are replaced or drained like any other."""
    for instance in sorted(view.unclaimed, key=lambda i: instance_number(i.instance)):
        order = Assignment(instance.instance, instance.service, instance.release, instance.node)
        yield Assign(order, "it runs already; its order had been lost")


def _advance(view: ServiceView, rollout: Rollout, actions: list[Action], now: float, why: str) -> tuple[Rollout, str]:
    """Count the steps just decided, and move to the next state when there is none left."""
    started = [instance_number(a.assignment.instance) for a in actions if isinstance(a, Assign)]
    moved = [a for a in actions if isinstance(a, Assign | Drain)]
    if started:
        rollout = replace(rollout, next_number=max(rollout.next_number, max(started) + 1))
    if moved:
        return replace(rollout, progress_at=now), why or moved[0].reason
    if doubt.pending(rollout):
        return rollout, why
    if rollout.state == "canary":
        rollout, why = canary.advance(view, rollout, now, why)
        return bluegreen.promoted(view, rollout, now, why)
    if rollout.state == "warming" or bluegreen.pending(rollout):
        return bluegreen.advance(view, rollout, now, why)
    new = view.of_target(rollout.target)
    settled = len(new) == view.service.replicas == len(view.live) and all(view.ready(a) for a in new)
    if rollout.state == "rolling" and settled and not actions:
        return replace(rollout, state="monitoring", progress_at=now), "all steps are made"
    if rollout.state == "rolling-back" and settled and not view.draining:
        return watch.closed(replace(rollout, state="rolled-back", ended_at=now)), rollout.reason
    if watch.settles(view, rollout, now):
        return watch.settled(view, rollout, now), why or "its speed is judged from now on"
    quiet = rollout.promoted or now - rollout.progress_at >= view.service.update.monitor_s
    if rollout.state == "monitoring" and quiet and not view.draining and not watch.doubted(rollout, now):
        proven = tuple(sorted({*rollout.proven, rollout.release}))
        done = replace(rollout, state="done", stable=rollout.release, proven=proven, ended_at=now)
        return watch.closed(done), watch.verdict(view, rollout)
    return rollout, why


def wake_after_s(view: ServiceView, now: float, since: float = 0.0) -> float | None:
    """When `decide` must be asked again though nothing changed: a delay, a window or a deadline ends. None: never."""
    rollout, update = view.rollout, view.service.update
    if rollout is None:
        return None
    if rollout.state not in ("canary", "warming", "rolling", "monitoring", "rolling-back"):
        later = [*hooks.ends(view, rollout, since), *bluegreen.ends(view, rollout)]
        return min((end - now for end in later if end > now), default=None)
    if doubted := [end - now for end in doubt.ends(view, rollout)]:
        return max(0.0, *doubted)
    if rollout.state == "canary":
        return min((end - now for end in canary.ends(view, rollout) if end > now), default=1.0)
    ends = [rollout.progress_at + s for s in (update.delay_s, update.monitor_s, update.deadline_s)]
    ends += watch.ends(view, rollout)
    ends += [hold.since + ACKNOWLEDGED_WITHIN_S for hold in view.holds.values()]
    later = [end - now for end in ends if end > now]
    return min(later, default=1.0)
