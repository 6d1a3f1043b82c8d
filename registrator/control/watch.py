"""A release without a canary, judged by what load balancers answer while it takes over and within `monitor`. Pure.

  rolling:     wanted ──────────────── beside the old one ────────────────> monitoring ──> done
  blue/green:  wanted ── the old one's figures ──> switch ── settles ──> its speed counts, too ──> done

It is compared with the old release: as that one is since the rollout began, and as it was before, so far as the load
balancers have counted. What is known of it at the switch stands in the rollout's trial, for whoever leads next.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from registrator.control import evidence, judgement
from registrator.control.view import ServiceView
from registrator.model.canary import FAILURES, NO_STEP, P99, QUEUE, Trial
from registrator.model.names import InstanceName
from registrator.model.rollout import JUDGED, Rollout
from registrator.model.usage import Figures

SETTLES_S = 3.0  # or a third of `monitor`: fresh processes that get all requests at once are slow at first
STUCK_S = 1.5  # requests that pile up for so long are no burst


def begun(view: ServiceView, rollout: Rollout) -> Rollout:
    """A fresh rollout that is watched, where there is something to compare with, and something to turn back to.

    A release that served once is not: it is gone back to for a reason.
    """
    update = view.service.update
    known = rollout.stable in view.known_releases and rollout.release not in rollout.proven
    if rollout.trial or not known or not update.judge or not view.backends:
        return rollout
    if update.failure_action == "continue" or not view.service.replicas:
        return rollout
    return marked(view, replace(rollout, trial=Trial(NO_STEP)))


def marked(view: ServiceView, rollout: Rollout) -> Rollout:
    """What was answered until now is the old release's merit, and not held against the new one: a switch, a resume."""
    trial = rollout.trial
    if trial is None:
        return rollout
    old, _ = evidence.window(view, rollout) if trial.marks else (Figures(), Figures())
    under_way = max(trial.under_way, evidence.under_way(view, rollout)[0])
    marks = evidence.marks(view, rollout)
    fresh = Trial(NO_STEP, marks=marks, old=trial.old + old, under_way=under_way, away=trial.away)
    return replace(rollout, trial=fresh)


def steered(view: ServiceView, rollout: Rollout) -> Rollout:
    """One that is to go on after a hold, or after it failed and was looked at: what it did until then is forgiven."""
    watched = rollout.trial is not None and rollout.trial.watched
    return marked(view, rollout) if watched and rollout.state in JUDGED else rollout


def looked(view: ServiceView, rollout: Rollout, now: float) -> Rollout:
    """Note since when requests pile up: a burst has been answered at the next look."""
    trial = rollout.trial
    if trial is None or not trial.watched:
        return rollout
    stuck = bool(_stuck(view, rollout, trial))
    if stuck == bool(trial.stuck_since):
        return rollout
    return replace(rollout, trial=replace(trial, stuck_since=now if stuck else 0.0))


def settles(view: ServiceView, rollout: Rollout, now: float) -> bool:
    """Whether its speed is to be looked at from now on."""
    trial = rollout.trial
    return trial is not None and trial.watched and any(now >= end for end in _settles_at(view, rollout, trial))


def doubted(rollout: Rollout, now: float) -> bool:
    """Whether its window must not end yet: not before it is known whether it hangs."""
    return rollout.trial is not None and now < rollout.trial.stuck_since + 2 * STUCK_S


def settled(view: ServiceView, rollout: Rollout, now: float) -> Rollout:
    """It has had its time: how long its answers took until now is not held against it."""
    trial = rollout.trial or Trial()
    old, new = evidence.window(view, rollout)
    marks = evidence.marks(view, rollout)
    old, new = trial.old + old, (trial.new + new).timeless
    return replace(rollout, trial=replace(trial, open_since=now, marks=marks, old=old, new=new))


def fault(view: ServiceView, rollout: Rollout, now: float, besides: Collection[InstanceName] = ()) -> str:
    """Why the release must not go on, by the figures of all live edges; "" if it may. What was cut with the instances
    `besides` is not held against it, either."""
    trial = rollout.trial
    if trial is None or not trial.watched or not _judged(rollout):
        return ""
    judge, (old, new) = view.service.update.judge, evidence.window(view, rollout, besides)
    before, beside = evidence.before(rollout), trial.old + old
    found = judgement.failing(before, beside, trial.new + new) if FAILURES in judge else ""
    if not found and P99 in judge and _settled(rollout, trial):
        found = judgement.slow(before, beside, new)
    if not found and trial.stuck_since and now >= trial.stuck_since + STUCK_S:
        found = _stuck(view, rollout, trial, besides)
    return found


def verdict(view: ServiceView, rollout: Rollout) -> str:
    """What its window has shown."""
    trial = rollout.trial
    if trial is None or not trial.watched:
        return "no failure in the window"
    new = trial.new + evidence.window(view, rollout)[1]
    return f"it failed {new.failed} of {new.requests} requests" if new.requests > 0 else "no request in the window"


def closed(rollout: Rollout) -> Rollout:
    """One that has ended, without the counts it was judged by."""
    return replace(rollout, trial=None) if rollout.trial and rollout.trial.watched else rollout


def ends(view: ServiceView, rollout: Rollout) -> list[float]:
    """When it is to be looked at again though nothing changes."""
    trial = rollout.trial
    if trial is None or not trial.watched:
        return []
    stuck = [trial.stuck_since + STUCK_S] if trial.stuck_since else []
    return [*stuck, *_settles_at(view, rollout, trial)]


def _settles_at(view: ServiceView, rollout: Rollout, trial: Trial) -> list[float]:
    switch = rollout.switch
    if trial.open_since or switch is None or not switch.taken_at or rollout.state != "monitoring":
        return []
    return [switch.taken_at + min(SETTLES_S, view.service.update.monitor_s / 3)]


def _stuck(view: ServiceView, rollout: Rollout, trial: Trial, besides: Collection[InstanceName] = ()) -> str:
    if QUEUE not in view.service.update.judge or not _judged(rollout) or not _settled(rollout, trial):
        return ""
    old_now, new_now = evidence.under_way(view, rollout, besides)
    answered = trial.new.requests + evidence.window(view, rollout)[1].requests
    return judgement.stuck(max(old_now, trial.under_way), new_now, answered)


def _settled(rollout: Rollout, trial: Trial) -> bool:
    """Whether its speed counts: of one that rolls, at once."""
    return rollout.switch is None or trial.open_since > 0


def _judged(rollout: Rollout) -> bool:
    if rollout.promoted:
        return False
    if rollout.switch is not None:
        return rollout.state == "monitoring" and rollout.switch.at > 0
    return rollout.state in ("rolling", "monitoring")
