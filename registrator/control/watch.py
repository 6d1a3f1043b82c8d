"""A release without a canary, judged by what load balancers answer while it takes over and within `monitor`. Pure.

  rolling:     wanted ──────────────── beside the old one ────────────────> monitoring ──> done
  blue/green:  wanted ── the old one's figures ──> switch ── settles ──> its speed counts, too ──> done

It is compared with the old release: as that one is since the rollout began, and as it was before, so far as the load
balancers have counted. What is known of it at the switch stands in the rollout's trial, for whoever leads next.
"""

from __future__ import annotations

from dataclasses import replace

from registrator.control import evidence, judgement
from registrator.control.view import ServiceView
from registrator.model.canary import FAILURES, NO_STEP, P99, QUEUE, Trial
from registrator.model.rollout import JUDGED, Rollout
from registrator.model.usage import Figures

SETTLES_S = 3.0  # or a third of `monitor`: fresh processes that get all requests at once are slow at first


def begun(view: ServiceView, rollout: Rollout) -> Rollout:
    """A fresh rollout that is watched, where there is something to compare with, and something to turn back to.

    A release that served once is not: it is gone back to for a reason.
    """
    update = view.service.update
    known = rollout.stable in view.known_releases and rollout.release not in rollout.proven
    if rollout.trial or not known or not update.judge or not evidence.backends(view):
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
    return replace(rollout, trial=Trial(NO_STEP, marks=marks, old=trial.old + old, under_way=under_way))


def steered(view: ServiceView, rollout: Rollout) -> Rollout:
    """One that is to go on after a hold, or after it failed and was looked at: what it did until then is forgiven."""
    watched = rollout.trial is not None and rollout.trial.watched
    return marked(view, rollout) if watched and rollout.state in JUDGED else rollout


def settles(view: ServiceView, rollout: Rollout, now: float) -> bool:
    """Whether its speed is to be looked at from now on."""
    return any(now >= end for end in ends(view, rollout))


def settled(view: ServiceView, rollout: Rollout, now: float) -> Rollout:
    """It has had its time: how long its answers took until now is not held against it."""
    trial = rollout.trial or Trial()
    old, new = evidence.window(view, rollout)
    marks = evidence.marks(view, rollout)
    old, new = trial.old + old, (trial.new + new).timeless
    return replace(rollout, trial=replace(trial, open_since=now, marks=marks, old=old, new=new))


def fault(view: ServiceView, rollout: Rollout) -> str:
    """Why the release must not go on, by the figures of all live edges; "" if it may."""
    trial = rollout.trial
    if trial is None or not trial.watched or rollout.promoted or not _takes_requests(rollout):
        return ""
    judge, switched = view.service.update.judge, rollout.switch is not None
    since_old, since_new = evidence.window(view, rollout)
    before, beside, new = evidence.before(rollout), trial.old + since_old, trial.new + since_new
    found = judgement.failing(before, beside, new) if FAILURES in judge else ""
    if switched and not trial.open_since:
        return found
    if not found and P99 in judge:
        found = judgement.slow(before, beside, since_new)
    if not found and QUEUE in judge:
        old_now, new_now = evidence.under_way(view, rollout)
        found = judgement.stuck(max(old_now, trial.under_way), new_now, new.requests)
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
    """When its speed is to be looked at, though nothing changes."""
    trial, switch = rollout.trial, rollout.switch
    waits = trial is not None and trial.watched and not trial.open_since
    if not waits or switch is None or not switch.taken_at or rollout.state != "monitoring":
        return []
    return [switch.taken_at + min(SETTLES_S, view.service.update.monitor_s / 3)]


def _takes_requests(rollout: Rollout) -> bool:
    if rollout.switch is not None:
        return rollout.state == "monitoring" and rollout.switch.at > 0
    return rollout.state in ("rolling", "monitoring")
