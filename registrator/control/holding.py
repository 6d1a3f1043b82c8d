"""When requests wait at the load balancers: while a release that stops first would leave none to answer them. Pure.

  none ──the last one that serves is to drain──> held ──a new one could serve──> none
                                                   └──── LONGEST_S passed ─────> none

The old one drains only when every edge says that requests wait, or when one has not said so for ACKNOWLEDGED_WITHIN_S.
"""

from __future__ import annotations

from collections.abc import Iterable

from registrator.control.actions import Action, Drain, HoldBack, LetGo
from registrator.control.view import ServiceView
from registrator.model.hold import LONGEST_S, RELEASE, Hold
from registrator.model.rollout import Rollout
from registrator.registry.acknowledgement import held_back, without_holder

ACKNOWLEDGED_WITHIN_S = 3.0


def holding(view: ServiceView, rollout: Rollout, steps: list[Action], now: float) -> list[Action]:
    """`steps` with what has to be held before them, or can be let go after them."""
    draining = {a.assignment.instance for a in steps if isinstance(a, Drain)}
    if (mine := view.holds.get(RELEASE)) is not None:
        wanted = view.live if rollout.state in ("held", "preparing") else view.of_target(rollout.target)
        could = [a for a in wanted if view.ready(a) and a.instance not in draining]
        if could or view.service.replicas == 0 or rollout.state == "paused":
            reason = f"{could[0].instance} can serve" if could else f"the release is {rollout.state}"
            return [*steps, LetGo(mine, reason)]
        if now - mine.since < ACKNOWLEDGED_WITHIN_S and not held_back(view.service, view.edges):
            return [a for a in steps if not isinstance(a, Drain)]
        return steps
    serving = {a.instance for a in view.live if view.ready(a)}
    empties = bool(serving & draining) and serving <= draining and view.service.replicas > 0
    if not empties or view.holds or not _possible(view):
        return steps
    why = f"release {rollout.target} stops first"
    hold = Hold(view.service.service, RELEASE, "wait", now, now + LONGEST_S, "control", why)
    return [*(a for a in steps if not isinstance(a, Drain)), HoldBack(hold, why)]


def ended(holds: Iterable[Hold], now: float) -> list[Action]:
    """The holds whose time is over, whoever wanted them."""
    return [LetGo(hold, "its time is over") for hold in holds if hold.until and now >= hold.until]


def _possible(view: ServiceView) -> bool:
    served = bool(view.service.traffic.ports) and bool(view.edges)
    return served and not without_holder(view.service, view.edges)
