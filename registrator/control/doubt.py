"""Whether what load balancers met speaks against a release, or against a node of it that died. Pure.

  fault ──it stays though any one node is left out──────────────────────────────> certain
    └── all of it is of one node ──> doubt ──its node answers checks after all──> certain
                                       └── the node is silent, or gone ────────> none: what was cut there is forgiven

A node that died takes the requests under way there with it, whatever release they are for. It is known to be gone only
when its lease has ended; sooner, load balancers' checks get no connection to what runs there. A release that breaks its
instances without their nodes is told of by their agents, and needs no figures.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from registrator.control import canary, evidence, watch
from registrator.control.lost import lost, noted
from registrator.control.view import ServiceView
from registrator.model.names import InstanceName
from registrator.model.rollout import JUDGED, Rollout

REPORTED_WITHIN_S = 1.5


def judged(view: ServiceView, rollout: Rollout, now: float) -> tuple[Rollout, str]:
    """The rollout with what is known of its figures, and why it must not go on; "" if it may, or as long as that may be
    a node's fault."""
    rollout = watch.looked(view, noted(view, rollout), now)
    if rollout.trial is None:
        return rollout, ""
    found = _fault(view, rollout, now)
    since = rollout.trial.doubted_since
    doubtful = bool(found) and not _certain(view, rollout, now)
    if doubtful != bool(since):
        since = now if doubtful else 0.0
        rollout = replace(rollout, trial=replace(rollout.trial, doubted_since=since))
    return rollout, "" if doubtful and now < since + _known_within_s(view) else found


def pending(rollout: Rollout) -> bool:
    """Whether it is not yet known what its figures mean: it must not get further meanwhile."""
    return rollout.state in JUDGED and rollout.trial is not None and rollout.trial.doubted_since > 0


def ends(view: ServiceView, rollout: Rollout) -> list[float]:
    """When it is to be looked at again though nothing changes."""
    return [rollout.trial.doubted_since + _known_within_s(view)] if rollout.trial and pending(rollout) else []


def _certain(view: ServiceView, rollout: Rollout, now: float) -> bool:
    """Whether the fault stays, whichever node is left out."""
    nodes = {view.orders[name].node for name in evidence.cut(view, rollout) - lost(view, rollout)}
    of = {node: {a.instance for a in view.assignments if a.node == node} for node in nodes}
    return all(_fault(view, rollout, now, names) for names in of.values())


def _fault(view: ServiceView, rollout: Rollout, now: float, besides: Collection[InstanceName] = ()) -> str:
    return canary.fault(view, rollout, besides) or watch.fault(view, rollout, now, besides)


def _known_within_s(view: ServiceView) -> float:
    """How long it takes until checks of a node that died have failed for want of a connection, and edges said so."""
    check = view.service.traffic.check
    return check.interval_s + 2 * check.timeout_s + REPORTED_WITHIN_S
