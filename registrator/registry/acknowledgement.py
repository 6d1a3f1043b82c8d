"""Acknowledgements: what every live load balancer has taken in, let go of, or holds. Pure.

An edge is alive while its record exists.
"""

from __future__ import annotations

from collections.abc import Collection

from registrator.model.hold import HOLD_SERVER, SORRY_SERVER
from registrator.model.instance import Instance
from registrator.model.names import backend_name
from registrator.model.node import Edge, ServerReport
from registrator.model.service import Service, Traffic

_GOOD_CHECKS = ("L4OK", "L6OK", "L7OK", "L7OKC", "")


def admitted(instance: Instance, traffic: Traffic, edges: Collection[Edge], *, held: bool = False) -> bool:
    """Whether `instance` serves, as the agent and every edge say; while its service is `held`, whether it could."""
    if not instance.serving:
        return False
    return all(
        (report := _report(edge, instance, port.target)) is not None and (report.open or (held and _able(report)))
        for edge in edges
        for port in traffic.ports
    )


def released(instance: Instance, revision: int, edges: Collection[Edge]) -> bool:
    """Whether no edge sends `instance` requests any more and all it had are answered.

    `revision` is that of the record that said `draining`: an edge that applied less has not heard of it.
    """
    return all(edge.applied_revision >= revision and _idle(edge, instance) for edge in edges)


def held_back(service: Service, edges: Collection[Edge]) -> bool:
    """Whether no edge sends an instance of `service` a new request: they wait, or are told to come again."""
    return all(_holds(servers) for edge in edges for servers in _backends(service, edge))


def let_through(service: Service, edges: Collection[Edge]) -> bool:
    """Whether no edge keeps new requests of `service` back."""
    return not any(_keeps(servers) for edge in edges for servers in _backends(service, edge))


def without_holder(service: Service, edges: Collection[Edge]) -> list[str]:
    """The edges beside which nothing runs in which requests of `service` could wait."""
    return sorted(
        edge.node
        for edge in edges
        if not all(
            (report := servers.get(HOLD_SERVER)) is not None and report.state.startswith("UP")
            for servers in _backends(service, edge)
        )
    )


def _backends(service: Service, edge: Edge) -> list[dict[str, ServerReport]]:
    return [edge.servers.get(backend_name(service.service, port.target), {}) for port in service.traffic.ports]


def _keeps(servers: dict[str, ServerReport]) -> bool:
    return any(r.open for name, r in servers.items() if name in (HOLD_SERVER, SORRY_SERVER))


def _holds(servers: dict[str, ServerReport]) -> bool:
    return _keeps(servers) and not any(r.open for name, r in servers.items() if name not in (HOLD_SERVER, SORRY_SERVER))


def _able(report: ServerReport) -> bool:
    """Up, and checked, though without requests just now."""
    return report.state.startswith(("UP", "no check")) and report.check in _GOOD_CHECKS


def _idle(edge: Edge, instance: Instance) -> bool:
    reports = (servers.get(instance.instance) for servers in edge.servers.values())
    return all(r is None or (not r.open and r.sessions == 0) for r in reports)


def _report(edge: Edge, instance: Instance, target_port: int) -> ServerReport | None:
    return edge.servers.get(backend_name(instance.service, target_port), {}).get(instance.instance)
