"""Where a new instance goes. Pure and deterministic."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from registrator.model.instance import Assignment
from registrator.model.names import NodeName, ServiceName
from registrator.model.node import Node


@dataclass(frozen=True)
class Place:
    """A node that was chosen, and why."""

    node: NodeName
    reason: str


@dataclass(frozen=True)
class NoPlace:
    """No node takes it; `reason` is what the user reads."""

    reason: str


class Board:
    """How full the nodes are; placing on it counts, so that a batch spreads out."""

    def __init__(
        self,
        nodes: Mapping[NodeName, Node],
        assignments: Iterable[Assignment],
        lost: Collection[NodeName] = (),
    ) -> None:
        self._nodes = {name: node for name, node in nodes.items() if "worker" in node.roles and name not in lost}
        self._total: Counter[NodeName] = Counter()
        self._of: Counter[tuple[NodeName, ServiceName]] = Counter()
        for assignment in assignments:
            self._count(assignment.node, assignment.service)

    def place(self, service: ServiceName) -> Place | NoPlace:
        """The node with the fewest instances of `service`, then the fewest of all, then by name."""
        if not self._nodes:
            return NoPlace("no node with the role worker is alive")
        open_nodes = [n for n in self._nodes.values() if self._total[n.node] < n.capacity.instances]
        if not open_nodes:
            return NoPlace(f"all {len(self._nodes)} nodes are full")
        chosen = min(open_nodes, key=lambda n: (self._of[n.node, service], self._total[n.node], n.node)).node
        reason = f"fewest of {service} ({self._of[chosen, service]}) among {len(open_nodes)} nodes with room"
        self._count(chosen, service)
        return Place(chosen, reason)

    def _count(self, node: NodeName, service: ServiceName) -> None:
        self._total[node] += 1
        self._of[node, service] += 1
