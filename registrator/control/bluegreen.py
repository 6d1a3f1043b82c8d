"""Blue/green: a whole new set beside the old one, all requests given to it at once, the old one kept for a while. Pure.

  warming ──all are warm on every live edge──> monitoring ──window passed──> done ──keep is over──> the old set drains
     └── broken, late ──> rolling-back            └── broken, worse, not taken ──> rolling-back: all to the old set

With a canary, all are warm first, then the release gets its shares, and promotion is the switch.

The switch is one change of `weights` in the rollout: of all other releases 0. So is the way back while the old set is
there: a rollback to it finds it warm, and switches in the pass that hears of it.
"""

from __future__ import annotations

from dataclasses import replace

from registrator.control import canary, evidence, watch
from registrator.control.actions import Action, Drain
from registrator.control.view import ServiceView
from registrator.model.canary import Trial
from registrator.model.instance import Assignment
from registrator.model.names import ReleaseNumber
from registrator.model.rollout import Rollout
from registrator.model.switch import BLUE_GREEN, Switch

_BACK = ("rolling-back", "rolled-back", "paused")


def owed(view: ServiceView, rollout: Rollout) -> Rollout:
    """A fresh rollout that knows whom it takes the requests from, if that is how it is to be."""
    before = view.rollout
    if view.service.update.strategy != BLUE_GREEN or before is None:
        return rollout
    old = _serving(before)
    return replace(rollout, switch=Switch(old)) if old not in (0, rollout.release) else rollout


def begun(view: ServiceView, rollout: Rollout) -> Rollout:
    """It sets out: it is warmed beside the old set, where there is one."""
    if rollout.switch is None or not view.service.replicas or not view.of_target(rollout.switch.old):
        return replace(rollout, switch=None)
    return replace(rollout, state="warming")


def steered(rollout: Rollout) -> Rollout:
    """One that is to go on after a hold, or after it failed and was looked at."""
    if rollout.switch is None or rollout.state != "rolling":
        return rollout
    return replace(rollout, state="monitoring" if rollout.switch.at else "warming")


def turned(rollout: Rollout) -> Rollout:
    """One that goes back has not switched any more."""
    if rollout.switch is None or not rollout.switch.at or rollout.state not in _BACK:
        return rollout
    return replace(rollout, switch=Switch(rollout.switch.old))


def advance(view: ServiceView, rollout: Rollout, now: float, why: str) -> tuple[Rollout, str]:
    """Switch when all are warm; note when every load balancer has followed."""
    switch = rollout.switch
    if switch is None or not _whole(view, rollout):
        return rollout, why
    if rollout.state == "warming":
        return _tried(view, rollout, rollout.trial, now) or _switched(view, rollout, switch, now)
    if rollout.state == "monitoring":
        return replace(rollout, switch=replace(switch, taken_at=now)), "every load balancer has switched"
    return rollout, why


def promoted(view: ServiceView, rollout: Rollout, now: float, why: str) -> tuple[Rollout, str]:
    """After its canary, if that was passed, it gets all requests."""
    if rollout.switch is None or rollout.state != "rolling":
        return rollout, why
    over, told = _switched(view, rollout, rollout.switch, now)
    return over, f"{why}; {told}"


def unhurried(view: ServiceView, rollout: Rollout, steps: list[Action]) -> list[Action]:
    """`steps`, but none is drained in the pass that gives requests to others: these were ready to be without. Nor all
    to which some load balancer, that follows late, sends requests now."""
    before = view.rollout.weights if view.rollout else {}
    if rollout.switch is None or (before == rollout.weights and not _empties(view, steps)):
        return steps
    return [step for step in steps if not isinstance(step, Drain)]


def pending(rollout: Rollout) -> bool:
    """Whether some load balancer may not have switched yet."""
    return rollout.switch is not None and rollout.state == "monitoring" and not rollout.switch.taken_at


def weights(view: ServiceView, rollout: Rollout, switch: Switch) -> dict[str, int]:
    """Release -> 0 where it is to get no requests."""
    here, new, none = (
        view.here,
        str(rollout.release),
        {release for release, weight in rollout.weights.items() if weight == 0},
    )
    if switch.at:
        return dict.fromkeys(sorted(here - {new}), 0)
    if rollout.trial and rollout.state == "canary":
        return canary.shared(view, rollout, rollout.trial)
    if rollout.state == "held" and rollout.weights.get(new):
        return rollout.weights  # a canary's
    aside = (none & here) - {str(switch.old), new}
    if rollout.state in _BACK:
        aside.discard(str(rollout.stable))
        can_do_without = new in none or sum(map(view.ready, view.of_target(switch.old))) >= _enough(view)
        aside |= {new} & here if can_do_without else set()
    elif rollout.state != "preparing":
        aside.add(new)
    return dict.fromkeys(sorted(aside), 0)


def kept(view: ServiceView, rollout: Rollout, now: float) -> list[Assignment]:
    """The old set, as long as it is to be there to go back to."""
    switch = rollout.switch
    if switch is None or not switch.at or not view.service.replicas or rollout.state not in ("monitoring", "done"):
        return []
    over = rollout.state == "done" and now >= switch.at + view.service.update.keep_s
    return [] if over else view.of_target(switch.old)


def ends(view: ServiceView, rollout: Rollout) -> list[float]:
    """When the old set has been kept for long enough."""
    if rollout.switch is None or not kept(view, rollout, 0.0):
        return []
    return [rollout.switch.at + view.service.update.keep_s]


def serving(rollout: Rollout) -> ReleaseNumber:
    """The release that gets the requests of a rollout that has a switch."""
    switch = rollout.switch
    return rollout.release if switch is None or switch.at else switch.old


def _tried(view: ServiceView, rollout: Rollout, trial: Trial | None, now: float) -> tuple[Rollout, str] | None:
    """Warm, and with some of the requests first, where a canary is to be passed."""
    if trial is None or trial.watched or canary.passed(view, rollout):
        return None
    trial = replace(trial, open_since=0.0, marks=evidence.marks(view, rollout))
    share = f"{canary.step_of(view, trial).weight:g} % of the requests first"
    return replace(rollout, state="canary", trial=trial, progress_at=now), f"all are warm; {share}"


def _switched(view: ServiceView, rollout: Rollout, switch: Switch, now: float) -> tuple[Rollout, str]:
    over = replace(rollout, state="monitoring", switch=replace(switch, at=now), progress_at=now)
    told = f"all requests go to release {rollout.release} now, and none to release {switch.old}"
    return watch.marked(view, over), told


def _serving(before: Rollout) -> ReleaseNumber:
    if before.switch is not None:
        return serving(before)
    return before.release if before.state in ("monitoring", "done") else before.stable


def _whole(view: ServiceView, rollout: Rollout) -> bool:
    new = view.of_target(rollout.release)
    return len(new) == view.service.replicas and all(map(view.ready, new))


def _empties(view: ServiceView, steps: list[Action]) -> bool:
    drained = {step.assignment.instance for step in steps if isinstance(step, Drain)}
    live = {str(a.instance) for a in view.live}
    for edge in view.edges if view.service.replicas else ():
        servers = (edge.servers.get(backend, {}) for backend in view.backends)
        opened = {name for found in servers for name, report in found.items() if report.open}
        if opened & live and not (opened & live) - drained:
            return True
    return False


def _enough(view: ServiceView) -> int:
    return max(1, view.service.replicas // 2)
