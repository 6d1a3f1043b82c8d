"""Which instances are lost with their nodes, or seem to be. Pure."""

from __future__ import annotations

from dataclasses import replace

from registrator.control.view import ServiceView
from registrator.model.names import InstanceName, NodeName
from registrator.model.node import Edge
from registrator.model.rollout import Rollout

_NO_WAY_THERE = ("L4CON", "L4TOUT")  # HAProxy's words for a check that got no connection


def noted(view: ServiceView, rollout: Rollout) -> Rollout:
    """Keep in mind which instances went with their nodes: soon, nothing else will tell."""
    if rollout.trial is None:
        return rollout
    gone = {str(a.instance) for a in view.assignments if a.node not in view.nodes}
    away = tuple(sorted({*rollout.trial.away, *gone}))
    return rollout if away == rollout.trial.away else replace(rollout, trial=replace(rollout.trial, away=away))


def lost(view: ServiceView, rollout: Rollout) -> frozenset[InstanceName]:
    """The instances whose nodes are gone, or to which no edge finds a way now."""
    away = {InstanceName(name) for name in rollout.trial.away} if rollout.trial else set()
    silent = {node for edge in view.edges for node in _silent(view, edge)}
    return frozenset(away | {a.instance for a in view.assignments if a.node in silent})


def _silent(view: ServiceView, edge: Edge) -> set[NodeName]:
    """The other nodes where the edge finds no way to anything of the service."""
    found: dict[NodeName, bool] = {}
    for backend in view.backends:
        for name, report in edge.servers.get(backend, {}).items():
            if (order := view.orders.get(InstanceName(name))) is not None and order.node != edge.node:
                found[order.node] = found.get(order.node, True) and report.check in _NO_WAY_THERE
    return {node for node, none_answers in found.items() if none_answers}
