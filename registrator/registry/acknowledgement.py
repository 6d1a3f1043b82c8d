"""Acknowledgements: has every live load balancer taken an instance in, or let go of it? Pure."""

from __future__ import annotations

from collections.abc import Collection

from registrator.model.instance import Instance
from registrator.model.names import backend_name
from registrator.model.node import Edge, ServerReport
from registrator.model.service import Traffic


def admitted(instance: Instance, traffic: Traffic, edges: Collection[Edge]) -> bool:
    """Whether `instance` serves, as the agent and every edge say. An edge is alive while its record exists."""
    if not instance.serving:
        return False
    return all(
        (report := _report(edge, instance, port.target)) is not None and report.open
        for edge in edges
        for port in traffic.ports
    )


def released(instance: Instance, revision: int, edges: Collection[Edge]) -> bool:
    """Whether no edge sends `instance` requests any more and all it had are answered.

    `revision` is that of the record that said `draining`: an edge that applied less has not heard of it.
    """
    return all(edge.applied_revision >= revision and _idle(edge, instance) for edge in edges)


def _idle(edge: Edge, instance: Instance) -> bool:
    reports = (servers.get(instance.instance) for servers in edge.servers.values())
    return all(r is None or (not r.open and r.sessions == 0) for r in reports)


def _report(edge: Edge, instance: Instance, target_port: int) -> ServerReport | None:
    return edge.servers.get(backend_name(instance.service, target_port), {}).get(instance.instance)
