"""A canary: a new release beside the old one, with a share of the requests that grows step by step. Pure.

  first requests ──3 answers, or 30 s──> step 1 ──for──> step 2 ... ──for──> promoted: it rolls as any release does
        └──────────── worse than the old one, or a step that can't be made ────────┘ turned back: weight 0 at once

The first requests are one in a thousand: a release that answers nothing but errors never gets further, so that however
long it takes to notice, it harms no more than that. Old instances stay until it is promoted. With strategy
blue-green, all instances of the new one are warm first, and promotion is the switch.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from registrator.control import evidence, judgement, shares, watch
from registrator.control.view import ServiceView
from registrator.model.canary import FIRST_REQUESTS, Step, Trial
from registrator.model.instance import Assignment
from registrator.model.names import InstanceName
from registrator.model.node import Edge
from registrator.model.rollout import JUDGED, Rollout
from registrator.model.usage import Figures

FIRST = Step(0.1, 30.0)
FIRST_ANSWERS = 3


def begun(view: ServiceView, rollout: Rollout) -> Rollout:
    """A fresh rollout as a canary, where one is asked for and there is something to compare with.

    A release that served once is not tried again: going back is quick.
    """
    tried = rollout.release in rollout.proven or rollout.stable not in view.known_releases
    if not view.service.update.canary or not view.service.replicas or tried:
        return rollout
    state = "canary" if rollout.switch is None else rollout.state  # a whole set is warmed first
    return replace(rollout, state=state, trial=Trial(marks=evidence.marks(view, rollout)))


def step_of(view: ServiceView, trial: Trial) -> Step:
    """The step that is made."""
    steps = view.service.update.canary
    if trial.step == FIRST_REQUESTS or not steps:
        return FIRST
    return steps[min(trial.step, len(steps) - 1)]


def wanted(view: ServiceView, rollout: Rollout) -> int:
    """How many instances of the new release its share takes: at least one; with a switch to come, all."""
    trial, replicas = rollout.trial, view.service.replicas
    if rollout.switch is not None:
        return replicas
    return -(-int(step_of(view, trial).weight * replicas) // 100) or 1 if trial else 0


def old_ones(view: ServiceView, rollout: Rollout) -> list[Assignment]:
    """The old release's instances, which all stay."""
    return view.of_target(rollout.old)


def weights(view: ServiceView, rollout: Rollout) -> dict[str, int]:
    """Release -> weight of each of its servers, where it is not the usual one."""
    trial, new, here = rollout.trial, str(rollout.release), view.here
    aside = {r: 0 for r, w in rollout.weights.items() if w == 0 and r in here - {str(rollout.target)}}
    if trial is None or (trial.watched and not trial.guilty):
        return aside
    old = old_ones(view, rollout)
    if (
        rollout.state in ("rolling-back", "paused")
        and new in here
        and sum(map(view.ready, old)) >= _enough(view, rollout)
    ):
        return {**aside, new: 0}
    if passed(view, rollout):
        return aside
    if rollout.state == "held":
        return rollout.weights
    return shared(view, rollout, trial) if rollout.state == "canary" else aside


def shared(view: ServiceView, rollout: Rollout, trial: Trial) -> dict[str, int]:
    """The weights that give the new release the share of its step."""
    old, new = str(rollout.old), str(rollout.release)
    others = dict.fromkeys(view.here - {old, new, "0"}, 0)
    pair = shares.weights(len(old_ones(view, rollout)), wanted(view, rollout), step_of(view, trial).weight / 100)
    return {**others, old: pair[0], new: pair[1]}


def kept(view: ServiceView, rollout: Rollout) -> int:
    """How many instances of a failed canary a paused service keeps besides its replicas."""
    return 0 if passed(view, rollout) else wanted(view, rollout)


def passed(view: ServiceView, rollout: Rollout) -> bool:
    """Whether it has passed all its steps, or an operator says that it has."""
    return rollout.promoted or rollout.trial is None or rollout.trial.step >= len(view.service.update.canary)


def steered(view: ServiceView, rollout: Rollout) -> Rollout:
    """A canary that is to go on after a hold, or after it failed and was looked at: its step begins anew."""
    if rollout.state != "rolling" or rollout.trial is None or passed(view, rollout):
        return watch.steered(view, rollout)
    trial = replace(rollout.trial, open_since=0.0, marks=evidence.marks(view, rollout))
    return replace(rollout, state="canary", trial=trial)


def fault(view: ServiceView, rollout: Rollout, besides: Collection[InstanceName] = ()) -> str:
    """Why the new release must not go on, by the figures of all live edges since the step began; "" if it may. What was
    cut with the instances `besides` is not held against it, either."""
    trial = rollout.trial
    if trial is None or trial.watched or rollout.promoted or rollout.state not in JUDGED:
        return ""
    old, new = evidence.window(view, rollout, besides)
    if rollout.state == "monitoring":  # the old one is gone: another minute's speed says nothing of this one's
        return judgement.failing(Figures(), trial.old + old, trial.new + new)
    found = judgement.fault(old, new) or judgement.overspent(trial.old + old, trial.new + new)
    if not found and rollout.state == "canary":
        found = judgement.piling(*evidence.under_way(view, rollout, besides), step_of(view, trial).weight / 100)
    share = f"with {step_of(view, trial).weight:g} % of the requests, " if rollout.state == "canary" else ""
    return found and share + found


def advance(view: ServiceView, rollout: Rollout, now: float, why: str) -> tuple[Rollout, str]:
    """Open the step once every edge has its weights; when its time is over, the next one, or promotion."""
    trial = rollout.trial
    if trial is None or hindrance(view, rollout):
        return rollout, why
    if not trial.open_since:
        return replace(rollout, trial=replace(trial, open_since=now), progress_at=now), why or _said(view, trial)
    if not _over(view, rollout, trial, now):
        return rollout, why
    return _next_step(view, rollout, trial, now)


def hindrance(view: ServiceView, rollout: Rollout) -> str:
    """What is missing until every live edge serves the step as it should, and tells of it; "" if nothing."""
    if not view.edges:
        return "there is no load balancer to judge it by"
    if (new := view.of_target(rollout.release)) and len(new) != wanted(view, rollout):
        return f"{len(new)} of {wanted(view, rollout)} instances are there"
    if late := next((a for a in new if not view.ready(a)), None):
        return f"{late.instance} on {late.node} does not serve on every load balancer"
    for edge in view.edges:
        if not evidence.given(view, edge):
            return f"load balancer on {edge.node} gives no figures"
        if not _weighed(view, rollout, edge):
            return f"load balancer on {edge.node} has not taken the weights"
    return "" if new else "no instance is there"


def ends(view: ServiceView, rollout: Rollout) -> list[float]:
    """When something is due though nothing changes."""
    trial, deadline_s = rollout.trial, view.service.update.deadline_s
    if trial is None or rollout.state != "canary":
        return []
    if not trial.open_since:
        return [rollout.progress_at + deadline_s]
    over_at = trial.open_since + step_of(view, trial).for_s
    return [over_at, over_at + deadline_s / 2, stuck_since(view, rollout) + deadline_s]


def stuck_since(view: ServiceView, rollout: Rollout) -> float:
    """Since when the next thing has been due."""
    trial = rollout.trial
    open_since = trial.open_since if trial and rollout.state == "canary" else 0.0
    due = open_since + step_of(view, trial).for_s if trial and open_since else 0.0
    return max(rollout.progress_at, due)


def _enough(view: ServiceView, rollout: Rollout) -> int:
    """How many of the old release can do without the new one, that failed: any, where it had but its share."""
    return max(1, view.service.replicas // 2) if passed(view, rollout) else 1


def _next_step(view: ServiceView, rollout: Rollout, before: Trial, now: float) -> tuple[Rollout, str]:
    old, new = evidence.window(view, rollout)
    old, new = (before.old + old).timeless, (before.new + new).timeless
    trial = Trial(before.step + 1, marks=evidence.marks(view, rollout), old=old, new=new, away=before.away)
    further = replace(rollout, trial=trial, progress_at=now)
    if passed(view, further):
        return replace(further, state="rolling"), f"promoted: it failed {new.failed} of {new.requests} requests"
    return further, _said(view, trial)


def _over(view: ServiceView, rollout: Rollout, trial: Trial, now: float) -> bool:
    """The first requests are over when there were enough, or none failed in their time. Any other step takes its time.
    Where it is not enough to tell, both go on for up to half the deadline; where none come, nobody can be harmed."""
    old, new = evidence.window(view, rollout)
    enough = trial.new.requests + new.requests >= FIRST_ANSWERS
    over_at = trial.open_since + step_of(view, trial).for_s
    late = now >= over_at + view.service.update.deadline_s / 2
    if trial.step == FIRST_REQUESTS:
        return enough or late or (now >= over_at and not new.failed)
    return now >= over_at and (enough or late or not old.requests + new.requests)


def _said(view: ServiceView, trial: Trial) -> str:
    step = step_of(view, trial)
    return f"{step.weight:g} % of the requests" + (f" for {step.for_s:g} s" if trial.step != FIRST_REQUESTS else "")


def _weighed(view: ServiceView, rollout: Rollout, edge: Edge) -> bool:
    """Whether all that are open there have the weights that are wanted."""
    releases = {str(a.instance): str(a.release) for a in view.live}
    return all(
        report.weight == rollout.weights.get(releases[name], report.weight)
        for backend in view.backends
        for name, report in edge.servers.get(backend, {}).items()
        if name in releases and report.open
    )
